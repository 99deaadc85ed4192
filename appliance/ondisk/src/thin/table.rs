//! The volume table of a checkpoint: which volumes and snapshots there are, and where the map of each begins.

use super::layout::{Address, units_of};
use super::node::{MapNode, Pointer};
use super::wire::{self, TABLE_MAGIC, ThinIdentity, VolumeEntryV1, VolumeTableV1, rule};
use crate::error::{Inconsistency, LoadError};
use crate::stamp;
use crate::text::{self, Name};
use block::Blocks;
use uuid::Uuid;

/// Entries of one block of the table.
pub const TABLE_ENTRIES: usize = 24;

/// What an entry of the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumeKind {
    /// It can be written.
    Volume,
    /// It stays as it is.
    Snapshot,
}

impl VolumeKind {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Volume => 1,
            Self::Snapshot => 2,
        }
    }

    pub(crate) fn of(number: u8) -> Result<Self, LoadError> {
        match number {
            1 => Ok(Self::Volume),
            2 => Ok(Self::Snapshot),
            _ => Err(Inconsistency::VolumeEntry.into()),
        }
    }
}

/// A volume or snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeEntry {
    /// Names it in the journal; never used again in this pool.
    pub number: u32,
    /// Identity.
    pub uuid: Uuid,
    /// Of what it was made, if it was not made empty; that one may be gone.
    pub origin: Option<Uuid>,
    /// Volume or snapshot.
    pub kind: VolumeKind,
    /// Length.
    pub blocks: Blocks,
    /// For people; unique in the pool.
    pub name: Name,
    /// Its map; `None` while nothing is mapped.
    pub root: Option<Pointer>,
    /// The first block of what it carries for its owner; `None` if that is nothing.
    pub attributes: Option<Pointer>,
}

impl VolumeEntry {
    /// The level of the root of its map.
    #[must_use]
    pub fn level(&self) -> u8 {
        MapNode::level_for(units_of(self.blocks))
    }

    fn is_valid(&self) -> bool {
        let span = MapNode::span(self.level()).unwrap_or(0);
        let is_origin = self.origin.is_none_or(|origin| !origin.is_nil() && origin != self.uuid);
        self.number > 0
            && !self.uuid.is_nil()
            && is_origin
            && self.blocks.0 > 0
            && units_of(self.blocks) <= span
    }

    fn store(entry: Option<&Self>) -> VolumeEntryV1 {
        VolumeEntryV1 {
            uuid: entry.map_or([0; 16], |e| e.uuid.into_bytes()),
            origin: entry.and_then(|e| e.origin).map_or([0; 16], Uuid::into_bytes),
            number: entry.map_or(0, |e| e.number).into(),
            kind: entry.map_or(0, |e| e.kind.number()),
            levels: entry.map_or(0, Self::level),
            reserved0: [0; 2],
            blocks: entry.map_or(0, |e| e.blocks.0).into(),
            root: Pointer::store(entry.and_then(|e| e.root)),
            name: text::store(entry.map_or("", |e| e.name.as_str())),
            attributes: Pointer::store(entry.and_then(|e| e.attributes)),
        }
    }

    fn load(wire: &VolumeEntryV1) -> Result<Self, LoadError> {
        stamp::zero(&wire.reserved0)?;
        let origin = Uuid::from_bytes(wire.origin);
        let entry = Self {
            number: wire.number.get(),
            uuid: stamp::identity(wire.uuid)?,
            origin: (!origin.is_nil()).then_some(origin),
            kind: VolumeKind::of(wire.kind)?,
            blocks: Blocks(wire.blocks.get()),
            name: text::load(&wire.name).and_then(Name::new).map_err(Inconsistency::from)?,
            root: Pointer::load(&wire.root)?,
            attributes: Pointer::load(&wire.attributes)?,
        };
        rule(entry.is_valid() && wire.levels == entry.level(), Inconsistency::VolumeEntry)?;
        Ok(entry)
    }
}

/// One block of the table; its entries are in ascending order of their numbers, also from block to block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeTable {
    /// Its place in the table.
    pub index: u16,
    /// The volumes in it: at least one.
    pub entries: Vec<VolumeEntry>,
}

impl VolumeTable {
    fn is_valid(&self) -> bool {
        (1..=TABLE_ENTRIES).contains(&self.entries.len())
            && self.entries.iter().all(VolumeEntry::is_valid)
            && self.entries.is_sorted_by(|a, b| a.number < b.number)
    }

    /// The bytes for a place, and the pointer to them.
    ///
    /// # Panics
    /// If it breaks a rule: that must not reach a disk.
    #[must_use]
    pub fn encode(&self, generation: u64, at: Address, owner: ThinIdentity) -> (Box<[u8]>, Pointer) {
        assert!(self.is_valid(), "a table that breaks a rule is never stored");
        let bytes = wire::store(&VolumeTableV1 {
            stamp: wire::stamp_of(TABLE_MAGIC, at.lba, owner),
            generation: generation.into(),
            index: self.index.into(),
            count: u16::try_from(self.entries.len()).unwrap_or(u16::MAX).into(),
            reserved: [0; 180],
            entries: core::array::from_fn(|n| VolumeEntry::store(self.entries.get(n))),
        });
        let pointer = Pointer::to(&bytes, at, generation);
        (bytes, pointer)
    }

    /// Reads the block of the table that a pointer means.
    ///
    /// # Errors
    /// If it is damaged, or another one.
    pub fn decode(
        bytes: &[u8],
        pointer: &Pointer,
        index: u16,
        owner: ThinIdentity,
    ) -> Result<Self, LoadError> {
        wire::check_owned(bytes, TABLE_MAGIC, pointer.at.lba, owner)?;
        let wire: &VolumeTableV1 = wire::view(bytes)?;
        let is_meant = wire::checksum_of(bytes) == pointer.checksum
            && wire.generation.get() == pointer.generation
            && wire.index.get() == index;
        rule(is_meant, Inconsistency::OtherNode)?;
        stamp::zero(&wire.reserved)?;
        let count = usize::from(wire.count.get());
        let (used, unused) = wire.entries.split_at_checked(count).ok_or(Inconsistency::VolumeEntry)?;
        for entry in unused {
            stamp::zero(zerocopy::IntoBytes::as_bytes(entry))?;
        }
        let entries = used.iter().map(VolumeEntry::load).collect::<Result<_, _>>()?;
        let table = Self { index, entries };
        rule(table.is_valid(), Inconsistency::VolumeEntry)?;
        Ok(table)
    }
}
