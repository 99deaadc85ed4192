//! All metadata of a pool in one record, written whole to every member.
//!
//! Writing it whole is what makes a change atomic: there is no second place that could disagree. Two slots and a
//! generation number make it safe: the newest valid record wins, and a torn one fails its checksum.
//!
//! Records of version 1 are read (`legacy`) and give the same value as one of version 2 would; only version 2 is written.

use crate::error::{Inconsistency, LoadError};
use crate::layout::Slot;
use crate::settings::Settings;
use crate::text::{HostNqn, Name, Serial};
use crate::wire::{RECORD_MAGIC, RECORD_VERSION, RecordHeaderV2};
use crate::{limits, stamp};
use block::BLOCK_SIZE;
use uuid::Uuid;
use zerocopy::FromBytes;

mod legacy;
mod load;
mod rules;
mod store;

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
    /// The pool's generation in which an operator changed it last.
    pub revision: u64,
    /// Everything else about it.
    pub settings: Settings,
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
        load::table_len(&self.counts()).next_multiple_of(BLOCK_SIZE)
    }

    /// The slot in which it is stored.
    #[must_use]
    pub fn slot(&self) -> Slot {
        Slot::of_generation(self.generation)
    }

    /// The hosts that volumes name, each once, in ascending order.
    fn hosts(&self) -> Vec<&HostNqn> {
        let mut hosts: Vec<&HostNqn> = self.volumes.iter().flat_map(|v| v.settings.hosts()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    fn registrant_count(&self) -> usize {
        self.volumes.iter().fold(0, |sum: usize, v| sum.saturating_add(v.settings.registrant_count()))
    }

    fn counts(&self) -> Counts {
        Counts {
            members: self.members.len(),
            volumes: self.volumes.len(),
            runs: self.volumes.iter().fold(0, |sum: usize, v| sum.saturating_add(v.runs.len())),
            hosts: self.hosts().len(),
            registrants: self.registrant_count(),
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
        let head = stamp::check(bytes, RECORD_MAGIC, RECORD_VERSION, slot.lba())?;
        let (record, member) =
            if head.version.get() == 1 { legacy::load_v1(bytes)? } else { load::load(bytes)? };
        let record = Self { pool: stamp::identity(head.pool)?, ..record };
        record.check()?;
        let place = Place { drive: stamp::identity(head.drive)?, member };
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

/// Entries of each table.
struct Counts {
    members: usize,
    volumes: usize,
    runs: usize,
    hosts: usize,
    registrants: usize,
}

/// The length that the record in these bytes claims to have, from its first block: how much to read before decoding.
/// Only the magic and the bounds of the length are checked.
///
/// # Errors
/// [`LoadError::Blank`] or [`LoadError::NotOurs`] if no record starts here, an inconsistency if its length is absurd.
pub fn claimed_len(bytes: &[u8]) -> Result<usize, LoadError> {
    stamp::magic_of(bytes, RECORD_MAGIC)?;
    let (header, _) =
        RecordHeaderV2::ref_from_prefix(bytes).map_err(|_| LoadError::Truncated { len: bytes.len() })?;
    let len = usize::try_from(header.record_bytes.get()).unwrap_or(usize::MAX);
    if len == 0 || len > limits::RECORD_BYTES_MAX || !len.is_multiple_of(BLOCK_SIZE) {
        return Err(Inconsistency::Length { needed: size_of::<RecordHeaderV2>(), len }.into());
    }
    Ok(len)
}
