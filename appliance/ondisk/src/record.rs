//! All metadata of a pool in one record, written whole to every member.
//!
//! Writing it whole is what makes a change atomic: there is no second place that could disagree. Two slots and a
//! generation number make it safe: the newest valid record wins, and a torn one fails its checksum.

use crate::error::{Inconsistency, LoadError};
use crate::layout::Slot;
use crate::text::{self, Name, Serial};
use crate::wire::{MemberV1, RECORD_MAGIC, RecordHeaderV1, RunV1, VolumeV1};
use crate::{limits, stamp};
use block::BLOCK_SIZE;
use uuid::Uuid;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

mod rules;

/// The metadata of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolRecord {
    /// Identity.
    pub pool: Uuid,
    /// Name.
    pub name: Name,
    /// 1 when the pool is created (and has no volumes), one more with each change.
    pub generation: u64,
    /// The drives; a drive's place is its member number.
    pub members: Vec<MemberRecord>,
    /// The volumes, in the order of their namespace identifiers.
    pub volumes: Vec<VolumeRecord>,
}

/// A drive of the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRecord {
    /// Identity.
    pub drive: Uuid,
    /// Serial number when it joined.
    pub serial: Serial,
    /// Extents that it gives to the pool.
    pub extents: u32,
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeRecord {
    /// Identity.
    pub uuid: Uuid,
    /// Name.
    pub name: Name,
    /// Namespace identifier, 1 or more; stable for the life of the volume.
    pub nsid: u32,
    /// Length.
    pub extents: u32,
    /// The pool's generation that changed it last.
    pub revision: u64,
    /// Where its extents lie: ordered by position, without gap or overlap.
    pub runs: Vec<Run>,
}

/// Extents of a volume that lie one after the other on one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Member number.
    pub member: u16,
    /// First extent on the member.
    pub first: u32,
    /// Extents.
    pub count: u32,
    /// Extents of the volume before this run.
    pub position: u32,
}

/// The copy of a record: which member holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Identity of the drive.
    pub drive: Uuid,
    /// Its member number.
    pub member: u16,
}

impl PoolRecord {
    /// Length of the stored record: a multiple of the block size, at most [`limits::RECORD_BYTES_MAX`].
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let runs = self.volumes.iter().fold(0_usize, |sum, v| sum.saturating_add(v.runs.len()));
        table_len(self.members.len(), self.volumes.len(), runs).next_multiple_of(BLOCK_SIZE)
    }

    /// The slot in which it is stored.
    #[must_use]
    pub fn slot(&self) -> Slot {
        Slot::of_generation(self.generation)
    }

    /// The copy of the record for one member, to be stored at [`PoolRecord::slot`].
    ///
    /// # Panics
    /// If the record breaks a rule of [`PoolRecord::check`], or has no such member: a fault of the caller, which must
    /// not reach a disk.
    #[must_use]
    pub fn encode(&self, member: u16) -> Vec<u8> {
        let checked = self.check();
        assert!(checked.is_ok(), "a record that breaks a rule is never stored: {checked:?}");
        let holder = self.members.get(usize::from(member));
        assert!(holder.is_some(), "a record is stored on members only");
        let drive = holder.map_or(Uuid::nil(), |m| m.drive);

        let mut bytes = Vec::with_capacity(self.encoded_len());
        bytes.extend_from_slice(self.header(drive, member).as_bytes());
        for member in &self.members {
            bytes.extend_from_slice(store_member(member).as_bytes());
        }
        for volume in &self.volumes {
            bytes.extend_from_slice(store_volume(volume).as_bytes());
        }
        for (index, volume) in self.volumes.iter().enumerate() {
            for run in &volume.runs {
                bytes.extend_from_slice(store_run(index, run).as_bytes());
            }
        }
        bytes.resize(self.encoded_len(), 0);
        stamp::seal(&mut bytes);
        bytes
    }

    fn header(&self, drive: Uuid, member: u16) -> RecordHeaderV1 {
        let runs = self.volumes.iter().fold(0_usize, |sum, v| sum.saturating_add(v.runs.len()));
        // The limits are checked before, and keep these conversions exact.
        let count = |n: usize| u16::try_from(n).unwrap_or(u16::MAX).into();
        RecordHeaderV1 {
            stamp: stamp::stamp(RECORD_MAGIC, self.slot().lba(), drive, self.pool),
            generation: self.generation.into(),
            record_bytes: u32::try_from(self.encoded_len()).unwrap_or(u32::MAX).into(),
            member: member.into(),
            member_count: count(self.members.len()),
            volume_count: count(self.volumes.len()),
            run_count: count(runs),
            reserved0: [0; 4],
            name: text::store(self.name.as_str()),
            reserved1: [0; 104],
        }
    }

    /// Reads a record from the bytes of a slot; bytes behind the record are ignored.
    ///
    /// # Errors
    /// [`LoadError::Blank`] and [`LoadError::NotOurs`] if there is no record; otherwise it is torn, damaged,
    /// misdirected, or breaks a rule.
    pub fn decode(bytes: &[u8], slot: Slot) -> Result<(Self, Place), LoadError> {
        let len = claimed_len(bytes)?;
        let bytes = bytes.get(..len).ok_or(LoadError::Truncated { len: bytes.len() })?;
        let head = stamp::check(bytes, RECORD_MAGIC, slot.lba())?;
        let (header, tables) =
            RecordHeaderV1::ref_from_prefix(bytes).map_err(|_| LoadError::Truncated { len: bytes.len() })?;
        stamp::zero(&header.reserved0)?;
        stamp::zero(&header.reserved1)?;

        let record = Self {
            pool: stamp::identity(head.pool)?,
            name: load_name(&header.name)?,
            generation: header.generation.get(),
            ..load_tables(header, tables)?
        };
        record.check()?;
        let place = Place { drive: stamp::identity(head.drive)?, member: header.member.get() };
        let holder = record.members.get(usize::from(place.member)).ok_or(Inconsistency::NotAMember)?;
        if holder.drive != place.drive {
            return Err(Inconsistency::NotAMember.into());
        }
        if record.slot() != slot {
            return Err(Inconsistency::Generation(record.generation).into());
        }
        Ok((record, place))
    }
}

/// The length that the record in these bytes claims to have, from its first block: how much to read before decoding.
/// Only the magic and the bounds of the length are checked.
///
/// # Errors
/// [`LoadError::Blank`] or [`LoadError::NotOurs`] if no record starts here, an inconsistency if its length is absurd.
pub fn claimed_len(bytes: &[u8]) -> Result<usize, LoadError> {
    stamp::magic_of(bytes, RECORD_MAGIC)?;
    let (header, _) =
        RecordHeaderV1::ref_from_prefix(bytes).map_err(|_| LoadError::Truncated { len: bytes.len() })?;
    let len = usize::try_from(header.record_bytes.get()).unwrap_or(usize::MAX);
    if len == 0 || len > limits::RECORD_BYTES_MAX || !len.is_multiple_of(BLOCK_SIZE) {
        return Err(Inconsistency::Length { needed: size_of::<RecordHeaderV1>(), len }.into());
    }
    Ok(len)
}

/// Bytes of the header and the tables.
fn table_len(members: usize, volumes: usize, runs: usize) -> usize {
    size_of::<RecordHeaderV1>()
        .saturating_add(members.saturating_mul(size_of::<MemberV1>()))
        .saturating_add(volumes.saturating_mul(size_of::<VolumeV1>()))
        .saturating_add(runs.saturating_mul(size_of::<RunV1>()))
}

/// A record with its tables; its other fields are placeholders for the caller.
fn load_tables(header: &RecordHeaderV1, bytes: &[u8]) -> Result<PoolRecord, LoadError> {
    let members = usize::from(header.member_count.get());
    let volumes = usize::from(header.volume_count.get());
    let runs = usize::from(header.run_count.get());
    let have = bytes.len().saturating_add(size_of::<RecordHeaderV1>());
    let needed = table_len(members, volumes, runs);
    if needed.next_multiple_of(BLOCK_SIZE) != have {
        return Err(Inconsistency::Length { needed, len: have }.into());
    }
    let short = || LoadError::from(Inconsistency::Length { needed, len: have });
    let (members, rest) = table::<MemberV1>(bytes, members).ok_or_else(short)?;
    let (volumes, rest) = table::<VolumeV1>(rest, volumes).ok_or_else(short)?;
    let (runs, padding) = table::<RunV1>(rest, runs).ok_or_else(short)?;
    stamp::zero(padding)?;

    let members = members.iter().map(load_member).collect::<Result<_, _>>()?;
    let mut volumes = volumes.iter().map(load_volume).collect::<Result<Vec<_>, _>>()?;
    let mut last = 0;
    for run in runs {
        let index = run.volume.get();
        let volume = volumes.get_mut(usize::from(index)).ok_or(Inconsistency::VolumeOrder)?;
        // Ordered by volume: one stored form for one set of volumes.
        if index < last {
            return Err(Inconsistency::VolumeOrder.into());
        }
        last = index;
        volume.runs.push(Run {
            member: run.member.get(),
            first: run.first.get(),
            count: run.count.get(),
            position: run.position.get(),
        });
    }
    Ok(PoolRecord {
        pool: Uuid::nil(),
        name: load_name(&header.name)?,
        generation: header.generation.get(),
        members,
        volumes,
    })
}

fn table<T>(bytes: &[u8], count: usize) -> Option<(&[T], &[u8])>
where
    T: FromBytes + Immutable + KnownLayout + Unaligned,
{
    <[T]>::ref_from_prefix_with_elems(bytes, count).ok()
}

fn load_name(field: &[u8]) -> Result<Name, Inconsistency> {
    Ok(text::load(field).and_then(Name::new)?)
}

fn load_member(wire: &MemberV1) -> Result<MemberRecord, Inconsistency> {
    stamp::zero(&wire.reserved)?;
    Ok(MemberRecord {
        drive: stamp::identity(wire.drive)?,
        serial: text::load(&wire.serial).and_then(Serial::new)?,
        extents: wire.extents.get(),
    })
}

fn load_volume(wire: &VolumeV1) -> Result<VolumeRecord, Inconsistency> {
    stamp::zero(&wire.reserved)?;
    Ok(VolumeRecord {
        uuid: stamp::identity(wire.uuid)?,
        name: load_name(&wire.name)?,
        nsid: wire.nsid.get(),
        extents: wire.extents.get(),
        revision: wire.revision.get(),
        runs: Vec::new(),
    })
}

fn store_member(member: &MemberRecord) -> MemberV1 {
    MemberV1 {
        drive: member.drive.into_bytes(),
        serial: text::store(member.serial.as_str()),
        extents: member.extents.into(),
        reserved: [0; 24],
    }
}

fn store_volume(volume: &VolumeRecord) -> VolumeV1 {
    VolumeV1 {
        uuid: volume.uuid.into_bytes(),
        name: text::store(volume.name.as_str()),
        nsid: volume.nsid.into(),
        extents: volume.extents.into(),
        revision: volume.revision.into(),
        reserved: [0; 32],
    }
}

fn store_run(volume: usize, run: &Run) -> RunV1 {
    RunV1 {
        volume: u16::try_from(volume).unwrap_or(u16::MAX).into(),
        member: run.member.into(),
        first: run.first.into(),
        count: run.count.into(),
        position: run.position.into(),
    }
}
