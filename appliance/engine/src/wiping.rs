//! Drives that are given up: what was on them is not recognised any more, and they are blank.
//!
//! Invariant: what the engine says about drives and pools follows what is on the drives; so a wiped drive leaves its pool at once,
//! and a pool without drives is no pool.

use crate::changes::Kind;
use crate::core::Core;
use crate::drives::statuses;
use crate::refusals;
use crate::requests::Begin;
use control::{ControlError, Reply, WipeDrive};
use pool::{Begun, DriveId, Job, Role};
use uuid::Uuid;

impl Core {
    pub(crate) fn begin_wipe_drive(&mut self, wipe: &WipeDrive) -> Result<Begin, ControlError> {
        self.check_opened(core::slice::from_ref(&wipe.serial), "serial")?;
        let known = self.known.iter().find(|known| known.drive.serial == wipe.serial);
        if let Some(pool) = known.and_then(|known| self.target.pool(known.role.pool())) {
            return Err(refusals::drive_in_use(&wipe.serial, pool.name()));
        }
        let (drive, begun) = pool::begin_wipe(wipe, &self.known, &self.offline)?;
        Ok(match begun {
            Begun::Job(job) => {
                let kind = Kind::WipeDrive { drive: drive.id, serial: drive.serial };
                Begin::Job(Uuid::nil(), kind, Box::new(job))
            }
            Begun::Unchanged => Begin::Reply(self.drive_reply(&drive.serial)),
        })
    }

    pub(crate) fn finish_wipe_drive(
        &mut self,
        drive: DriveId,
        serial: &str,
        job: &Job,
    ) -> Result<Reply, ControlError> {
        let result = job.result().expect("a job is finished when it has a result");
        let role = result.as_ref().map_or_else(pool::role_after_wipe, |()| Role::Blank);
        self.set_roles(&[drive], &role);
        self.leave_offline_pool(serial);
        result.map_err(|error| {
            ControlError::from(error).remedy("check the drive, then wipe it again: it may be wiped in part")
        })?;
        self.notify("drive-wiped", format!("drive/{serial}"), format!("drive {serial} was wiped"));
        Ok(self.drive_reply(serial))
    }

    /// A drive that was given up is not there for its pool any more.
    fn leave_offline_pool(&mut self, serial: &str) {
        for pool in self.offline.iter_mut().filter(|pool| pool.present.iter().any(|s| s == serial)) {
            pool.present.retain(|present| present != serial);
            pool.detail = format!("{}; drive {serial} was wiped", pool.detail);
        }
        self.offline.retain(|pool| !pool.present.is_empty());
    }

    fn drive_reply(&self, serial: &str) -> Reply {
        let drives = statuses(&self.drives, &self.known, self.target.devices());
        Reply::Drives(drives.into_iter().filter(|drive| drive.serial == serial).collect())
    }
}
