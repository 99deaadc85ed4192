//! Creating and deleting a pool: how drives become ours, and blank again.
//!
//! ```text
//!  create   zero block 0 of all drives ─▶ zero start and end ─▶ write labels ─▶ write record, generation 1
//!  delete   erase the older slot ─▶ overwrite the head of the newer slot ─▶ erase the rest and the labels
//! ```
//! (Each arrow is a flush of all members.)
//!
//! The crash each step prevents
//! - Old data at the start or the end of a drive would be recognised again once our label is gone, and a stale record
//!   in a slot could look newer than generation 1: so both ends are zeroed first.
//! - A label that outlived its record would make the drive a member of its former pool that lags behind, and is brought up to
//!   date: so the label goes before the rest, as when a drive is wiped (`wipe`).
//! - A label without any record anywhere is an unfinished creation: generation 1 has no volumes, so nothing is lost by
//!   taking such drives as blank. As soon as one record is there, the labels make the pool complete.
//! - Erasing the newer slot first would let the older generation come back, with volumes deleted since.

use crate::change::checked_name;
use crate::drive::{Drive, KnownDrive, Role};
use crate::import::OfflinePool;
use crate::job::{Goal, Job, Stage, Work};
use crate::limits::DRIVE_BLOCKS_MIN;
use crate::pool::{Begun, Phase, Pool, members};
use block::{BLOCK_SIZE, Blocks, Bytes, Lba};
use control::{ControlError, CreatePool, ErrorKind};
use ondisk::limits::{MEMBERS_MAX, SLOT_BYTES};
use ondisk::{DATA_LBA, LABEL_LBA, MemberRecord, PoolRecord, Serial, TAIL_BLOCKS, extents_on};
use uuid::Uuid;

/// Begins to create a pool of drives of this node. If the job goes well they are members. If it fails the pool is to be
/// dropped, and its drives are [left over](Role::Leftover): they carry parts of a pool that nobody was told about and that
/// has no volumes, so another creation may take them.
///
/// `offline` are the pools of the node that are not online. `new_uuid` gives a fresh random UUID for each drive. That the pool's name and UUID are unique, or that a repeated
/// request names the pool that it made, is checked by the caller.
///
/// # Errors
/// What is wrong with the request or a drive, for the operator.
pub fn begin_create_pool(
    request: &CreatePool,
    drives: &[KnownDrive],
    offline: &[OfflinePool],
    mut new_uuid: impl FnMut() -> Uuid,
) -> Result<(Pool, Job), ControlError> {
    let name = checked_name("pool", &request.name)?;
    let object = format!("pool/{name}");
    let refuse = |kind, message: String| ControlError::new(kind, message).object(object.as_str());
    if request.uuid.is_nil() {
        let error = refuse(ErrorKind::InvalidArgument, "the UUID of a pool must not be nil".to_owned());
        return Err(error.field("id").remedy("send a random UUID (version 4)"));
    }
    let count = request.drive_serials.len();
    if count == 0 || count > MEMBERS_MAX {
        let error =
            refuse(ErrorKind::InvalidArgument, format!("a pool has 1 to {MEMBERS_MAX} drives, not {count}"));
        return Err(error.field("drive_serials").remedy(available(drives)));
    }
    let mut record = PoolRecord {
        pool: request.uuid,
        name,
        generation: 1,
        members: Vec::with_capacity(count),
        volumes: Vec::new(),
    };
    let mut chosen: Vec<Drive> = Vec::with_capacity(count);
    for serial in &request.drive_serials {
        let drive = choose(serial, drives, offline, request.overwrite_foreign_data)?;
        if chosen.iter().any(|d| d.id == drive.id) {
            let error = refuse(ErrorKind::InvalidArgument, format!("drive {serial} is named twice"));
            return Err(error.field("drive_serials").remedy("name each drive once"));
        }
        let member = MemberRecord {
            drive: new_uuid(),
            serial: stored_serial(serial)?,
            extents: extents_on(drive.geometry.blocks),
        };
        record.members.push(member);
        chosen.push(drive.clone());
    }
    let phase = Phase::Busy { is_settled: false, stale: Vec::new() };
    let pool = Pool { record, drives: chosen, phase, is_zeroing: false, is_thin: false };
    let job = pool.creation();
    Ok((pool, job))
}

impl Pool {
    fn creation(&self) -> Job {
        let mut unlabel = Stage::new("erase the drive label", false, self.drives.len());
        let mut erase = Stage::new("erase", false, self.drives.len());
        let mut label = Stage::new("write the drive label", false, self.drives.len());
        for (index, drive) in self.drives.iter().enumerate() {
            let tail = Lba(drive.geometry.blocks.0 - TAIL_BLOCKS.0);
            // A write, not write zeroes: only writes are sure to be atomic for a block.
            unlabel.push(index, Work::Write { lba: LABEL_LBA, bytes: vec![0; BLOCK_SIZE] });
            erase.push(index, Work::Zero { lba: LABEL_LBA, blocks: Blocks(DATA_LBA.0) });
            erase.push(index, Work::Zero { lba: tail, blocks: TAIL_BLOCKS });
        }
        for member in members(&self.record) {
            label.push(usize::from(member), self.label_work(member));
        }
        self.job(Goal::Create, vec![unlabel, erase, label, self.commit_stage(&self.record)])
    }

    /// Begins to delete the pool: its drives become blank.
    ///
    /// # Errors
    /// If it has volumes or accepts no change.
    pub fn begin_delete_pool(&mut self) -> Result<Begun, ControlError> {
        self.accept_change()?;
        if !self.record.volumes.is_empty() {
            let names: Vec<&str> = self.record.volumes.iter().map(|v| v.name.as_str()).take(3).collect();
            let more = if self.record.volumes.len() > names.len() { ", …" } else { "" };
            let message = format!("pool \"{}\" still has volumes ({}{more})", self.name(), names.join(", "));
            return Err(ControlError::new(ErrorKind::FailedPrecondition, message)
                .object(self.object())
                .remedy("delete its volumes first"));
        }
        let count = self.drives.len();
        let (newer, slot) = (self.record.slot(), Blocks((SLOT_BYTES / BLOCK_SIZE) as u64));
        let mut older = Stage::new("erase the older pool record", false, count);
        let mut head = Stage::new("erase the pool record", true, count);
        let mut rest = Stage::new("erase the drive label", true, count);
        for index in 0..count {
            older.push(index, Work::Zero { lba: newer.other().lba(), blocks: slot });
            // A write, not write zeroes: only writes are sure to be atomic for a block.
            head.push(index, Work::Write { lba: newer.lba(), bytes: vec![0; BLOCK_SIZE] });
            rest.push(index, Work::Zero { lba: newer.lba(), blocks: slot });
            rest.push(index, Work::Write { lba: LABEL_LBA, bytes: vec![0; BLOCK_SIZE] });
        }
        self.phase = Phase::Busy { is_settled: true, stale: Vec::new() };
        Ok(Begun::Job(self.job(Goal::Delete, vec![older, head, rest])))
    }
}

/// The only drive with a serial number; `field` of the request names it, `others` says what to name instead.
pub(crate) fn named<'a>(
    serial: &str,
    drives: &'a [KnownDrive],
    field: &str,
    others: fn(&[KnownDrive]) -> String,
) -> Result<&'a KnownDrive, ControlError> {
    let refuse = |kind, message: String, remedy: String| {
        let error = ControlError::new(kind, message).object(format!("drive/{serial}"));
        Err(error.field(field).remedy(remedy))
    };
    let mut named = drives.iter().filter(|d| d.drive.serial == serial);
    let Some(known) = named.next() else {
        let message = format!("this node has no drive with serial number \"{serial}\"");
        return refuse(ErrorKind::NotFound, message, others(drives));
    };
    if named.next().is_some() {
        let message = format!("two drives of this node have the serial number \"{serial}\"");
        let remedy = "remove one of them: which one is meant cannot be told".to_owned();
        return refuse(ErrorKind::FailedPrecondition, message, remedy);
    }
    Ok(known)
}

/// The drive with a serial number, if it may become a member.
fn choose<'a>(
    serial: &str,
    drives: &'a [KnownDrive],
    offline: &[OfflinePool],
    overwrite: bool,
) -> Result<&'a Drive, ControlError> {
    let object = format!("drive/{serial}");
    let refuse = |kind, message: String, remedy: String| {
        Err(ControlError::new(kind, message).object(object.as_str()).field("drive_serials").remedy(remedy))
    };
    let known = named(serial, drives, "drive_serials", available)?;
    match &known.role {
        Role::Blank | Role::Leftover => {}
        Role::Member(uuid) => {
            let (pool, way) = match offline.iter().find(|pool| pool.uuid == *uuid) {
                // One that is not online cannot be deleted.
                Some(pool) => (
                    format!("\"{}\", which is not online: {}", pool.name_or_uuid(), pool.detail),
                    "give that pool up with all its data and wipe its drives (ironbay drive wipe)",
                ),
                None => (uuid.to_string(), "delete that pool first: its drives are blank then"),
            };
            let message = format!("drive {serial} is a member of pool {pool}");
            let remedy = format!("{}; or {way}", available(drives));
            return refuse(ErrorKind::FailedPrecondition, message, remedy);
        }
        Role::Failed(why) => {
            let message = format!("drive {serial} does not work: {why}");
            return refuse(ErrorKind::FailedPrecondition, message, available(drives));
        }
        Role::Foreign(_) | Role::Damaged(_) if overwrite => {}
        Role::Foreign(_) | Role::Damaged(_) => {
            let message = format!("drive {serial} carries data: {}", known.role.detail());
            let remedy = "choose another drive, or set overwrite_foreign_data (--overwrite-foreign-data) to lose that data".to_owned();
            return refuse(ErrorKind::FailedPrecondition, message, remedy);
        }
    }
    let geometry = &known.drive.geometry;
    if !geometry.is_block_atomic {
        let message = format!("drive {serial} may tear a 4 KiB block when the power fails");
        let remedy =
            "format it with 4096-byte blocks (nvme format --block-size=4096), or choose another drive";
        return refuse(ErrorKind::FailedPrecondition, message, remedy.to_owned());
    }
    if geometry.blocks < DRIVE_BLOCKS_MIN {
        let size = |blocks: Blocks| blocks.bytes().unwrap_or(Bytes(u64::MAX));
        let message = format!(
            "drive {serial} has {}, a member needs at least {}",
            size(geometry.blocks),
            size(DRIVE_BLOCKS_MIN)
        );
        return refuse(ErrorKind::FailedPrecondition, message, available(drives));
    }
    Ok(&known.drive)
}

/// A serial number in the form that the label stores.
fn stored_serial(serial: &str) -> Result<Serial, ControlError> {
    Serial::new(serial).map_err(|why| {
        ControlError::new(
            ErrorKind::FailedPrecondition,
            format!("serial number {serial:?} cannot be stored: {why}"),
        )
        .object(format!("drive/{serial}"))
        .field("drive_serials")
        .remedy("choose another drive")
    })
}

/// A remedy that names the drives which may be taken as they are.
fn available(drives: &[KnownDrive]) -> String {
    let blank: Vec<&str> = drives
        .iter()
        .filter(|d| matches!(d.role, Role::Blank | Role::Leftover) && d.drive.geometry.is_block_atomic)
        .filter(|d| d.drive.geometry.blocks >= DRIVE_BLOCKS_MIN)
        .map(|d| d.drive.serial.as_str())
        .filter(|serial| drives.iter().filter(|d| d.drive.serial == *serial).count() == 1)
        .collect();
    if blank.is_empty() {
        return "no blank drive is available: add one, or list the drives to see what they carry".to_owned();
    }
    format!("available blank drives: {}", blank.join(", "))
}
