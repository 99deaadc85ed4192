//! Giving up what is on a drive, so that it may join a pool again.
//!
//! ```text
//!  zero the label ─▶ flush ─▶ zero start and end ─▶ flush: blank
//! ```
//!
//! Invariants
//! - A member of a pool that is online is never wiped; nor one of a pool that nobody called offline.
//! - Whoever wipes data names it: so nobody wipes a drive that is not what he thinks.
//! - The label goes first, and the superblocks of the thin engine, with writes that are whole or not there. A member that had a label and no record any more would
//!   be taken as one that lags behind, and brought up to date with what other members say: a pool that was rightly offline
//!   would come back with holes. Without a label it is no member, whatever else is left.
//! - A wipe that failed changes nothing of what is known: the label may be as it was. Were the drive taken as one that is
//!   damaged, a new pool could take it, and lose the power when the record is gone and the label is not.
//!
//! Not here: making data unreadable. What lies between the two ends stays on the drive until it is overwritten.

use crate::create::named;
use crate::drive::{Drive, DriveId, KnownDrive, Role};
use crate::import::OfflinePool;
use crate::job::{Goal, Job, JobError, Stage, Work};
use crate::pool::Begun;
use block::{BLOCK_SIZE, Blocks, Lba};
use control::{ControlError, ErrorKind, WipeDrive};
use ondisk::thin::{HOMES, home_of};
use ondisk::{DATA_LBA, LABEL_LBA, TAIL_BLOCKS};
use uuid::Uuid;

/// Begins to wipe a drive of this node. The job belongs to no pool; [`finish_wipe`] ends it.
///
/// # Errors
/// If there is no such drive, it does not work, is a member of a pool that is not in `offline`, or the request does not name
/// what is on it.
pub fn begin_wipe(
    request: &WipeDrive,
    drives: &[KnownDrive],
    offline: &[OfflinePool],
) -> Result<(Drive, Begun), ControlError> {
    let known =
        named(&request.serial, drives, "serial", |_| "list the drives to see which there are".to_owned())?;
    let serial = &known.drive.serial;
    let refuse = |field: &str, message: String, remedy: String| {
        let error = ControlError::new(ErrorKind::FailedPrecondition, message);
        Err(error.object(format!("drive/{serial}")).field(field).remedy(remedy))
    };
    let is_named = |name: &str| !name.is_empty() && request.confirm == name;
    match &known.role {
        Role::Blank => return Ok((known.drive.clone(), Begun::Unchanged)),
        Role::Leftover => {}
        Role::Failed(why) => {
            let remedy = "replace it; what cannot be read cannot be wiped".to_owned();
            return refuse("serial", format!("drive {serial} does not work: {why}"), remedy);
        }
        Role::Member(uuid) => {
            let Some(pool) = offline.iter().find(|pool| pool.uuid == *uuid) else {
                let message = format!("drive {serial} is a member of pool {uuid}, which is in use");
                let remedy = "delete that pool: its drives are blank then".to_owned();
                return refuse("serial", message, remedy);
            };
            if !is_named(pool.name()) && !is_uuid(&request.confirm, *uuid) {
                let name = pool.name_or_uuid();
                let message = format!(
                    "drive {serial} is a member of pool \"{name}\", which is not online: {}",
                    pool.detail
                );
                let remedy = format!(
                    "bring the pool online again with all its drives; or, to give it up with all its data, confirm with its \
                     name: {name}"
                );
                return refuse("confirm", message, remedy);
            }
        }
        Role::Foreign(_) | Role::Damaged(_) => {
            let found = known.role.detail();
            if !is_named(&found) {
                let message = format!("drive {serial} carries data: {found}");
                let remedy = format!("choose another drive; or, to lose that data, confirm with: {found}");
                return refuse("confirm", message, remedy);
            }
        }
    }
    Ok((known.drive.clone(), Begun::Job(job(&known.drive))))
}

/// Ends a wipe that has a result. After `Ok` the drive is blank, and the pool that it was a member of has it no more; a pool
/// without drives is no pool. After an error everything is as before: the same request may be made again.
///
/// # Errors
/// Why the job failed.
///
/// # Panics
/// If the job has no result yet.
pub fn finish_wipe(
    drive: DriveId,
    job: &Job,
    drives: &mut [KnownDrive],
    offline: &mut Vec<OfflinePool>,
) -> Result<(), JobError> {
    job.result().expect("a job is finished when it has a result")?;
    for known in drives.iter_mut().filter(|known| known.drive.id == drive) {
        let serial = &known.drive.serial;
        known.role = Role::Blank;
        for pool in offline.iter_mut().filter(|pool| pool.present.contains(serial)) {
            pool.present.retain(|present| present != serial);
            pool.detail = format!("{}; drive {serial} was wiped", pool.detail);
        }
    }
    offline.retain(|pool| !pool.present.is_empty());
    Ok(())
}

fn is_uuid(text: &str, uuid: Uuid) -> bool {
    Uuid::try_parse(text).is_ok_and(|given| given == uuid)
}

fn job(drive: &Drive) -> Job {
    let blocks = drive.geometry.blocks.0;
    let mut label = Stage::new("erase the drive label", false, 1);
    // A write, not write zeroes: only writes are sure to be atomic for a block.
    label.push(0, Work::Write { lba: LABEL_LBA, bytes: vec![0; BLOCK_SIZE] });
    for home in (1..HOMES).filter(|_| blocks > DATA_LBA.0) {
        let lba = home_of(drive.geometry.blocks, home);
        label.push(0, Work::Write { lba, bytes: vec![0; BLOCK_SIZE] });
    }
    let mut ends = Stage::new("erase", false, 1);
    ends.push(0, Work::Zero { lba: LABEL_LBA, blocks: Blocks(DATA_LBA.0.min(blocks)) });
    let tail = TAIL_BLOCKS.0.min(blocks);
    ends.push(0, Work::Zero { lba: Lba(blocks - tail), blocks: Blocks(tail) });
    Job::new(Uuid::nil(), Goal::Wipe, core::slice::from_ref(drive), vec![label, ends])
}
