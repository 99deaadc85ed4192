//! Drives that are given up: what was on them is not recognised any more, and they are blank.
//!
//! Invariant: a drive leaves its pool when it is durably wiped, not before; so what the engine says follows what is on the drives.

use crate::changes::Kind;
use crate::core::Core;
use crate::drives::statuses;
use crate::refusals;
use crate::requests::Begin;
use control::{ControlError, Reply, WipeDrive};
use pool::{Begun, DriveId, Job};
use uuid::Uuid;

impl Core {
    pub(crate) fn begin_wipe_drive(&mut self, wipe: &WipeDrive) -> Result<Begin, ControlError> {
        self.check_working(core::slice::from_ref(&wipe.serial), "serial")?;
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
        pool::finish_wipe(drive, job, &mut self.known, &mut self.offline).map_err(|error| {
            ControlError::from(error).remedy("check the drive, then wipe it again: it may be wiped in part")
        })?;
        self.notify("drive-wiped", format!("drive/{serial}"), format!("drive {serial} was wiped"));
        Ok(self.drive_reply(serial))
    }

    fn drive_reply(&self, serial: &str) -> Reply {
        let drives = statuses(&self.drives, &self.known, self.target.devices());
        Reply::Drives(drives.into_iter().filter(|drive| drive.serial == serial).collect())
    }
}
