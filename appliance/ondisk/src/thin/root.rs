//! A checkpoint: everything that is reachable, and where the journal goes on.

use super::layout::HomeSlot;
use super::node::Pointer;
use super::table::TABLE_ENTRIES;
use super::wire::{self, DIRTY_INDEXES, ROOT_MAGIC, RootV1, TABLE_BLOCKS_MAX, ThinIdentity, rule};
use crate::error::{Inconsistency, LoadError};
use crate::stamp;
use block::Lba;

/// The root of a generation, the same in all homes but for its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// One more with each checkpoint.
    pub generation: u64,
    /// One more with each import: journal blocks of another epoch do not belong to this root.
    pub epoch: u64,
    /// The first journal block that is needed: the one that was being filled when the checkpoint began.
    pub journal_sequence: u64,
    /// The number of the next volume.
    pub next_volume: u32,
    /// Volumes and snapshots.
    pub volume_count: u32,
    /// The blocks of the volume table.
    pub tables: Vec<Pointer>,
    /// The bitmap of dirty regions: [`DirtyNode`](super::DirtyNode)s of level 1, each at its place; `None` where all
    /// regions are clean.
    pub dirty: [Option<Pointer>; DIRTY_INDEXES],
}

impl Root {
    /// Volumes and snapshots of one pool.
    pub const VOLUMES_MAX: usize = TABLE_BLOCKS_MAX * TABLE_ENTRIES;

    /// Which of the two places in a home a generation goes to.
    #[must_use]
    pub fn slot(generation: u64, home: u8) -> HomeSlot {
        HomeSlot { home, parity: u8::from(!generation.is_multiple_of(2)) }
    }

    fn is_valid(&self) -> bool {
        let volumes = usize::try_from(self.volume_count).unwrap_or(usize::MAX);
        self.generation > 0
            && self.epoch > 0
            && self.next_volume > self.volume_count
            && self.tables.len() <= TABLE_BLOCKS_MAX
            && self.tables.len() == volumes.div_ceil(TABLE_ENTRIES)
    }

    /// The bytes for a place.
    ///
    /// # Panics
    /// If it breaks a rule: that must not reach a disk.
    #[must_use]
    pub fn encode(&self, lba: Lba, owner: ThinIdentity) -> Box<[u8]> {
        assert!(self.is_valid(), "a root that breaks a rule is never stored: {self:?}");
        wire::store(&RootV1 {
            stamp: wire::stamp_of(ROOT_MAGIC, lba, owner),
            generation: self.generation.into(),
            epoch: self.epoch.into(),
            journal_sequence: self.journal_sequence.into(),
            next_volume: self.next_volume.into(),
            volume_count: self.volume_count.into(),
            table_count: u16::try_from(self.tables.len()).unwrap_or(u16::MAX).into(),
            lane: 0.into(),
            reserved0: [0; 28],
            tables: core::array::from_fn(|n| Pointer::store(self.tables.get(n).copied())),
            dirty: self.dirty.map(Pointer::store),
            reserved1: [0; 464],
        })
    }

    /// Reads a root, found at the place of `slot`.
    ///
    /// # Errors
    /// If there is none, or it is damaged.
    pub fn decode(bytes: &[u8], slot: HomeSlot, lba: Lba, owner: ThinIdentity) -> Result<Self, LoadError> {
        wire::check_owned(bytes, ROOT_MAGIC, lba, owner)?;
        let wire: &RootV1 = wire::view(bytes)?;
        stamp::zero(&wire.reserved0)?;
        stamp::zero(&wire.reserved1)?;
        let tables: Vec<Option<Pointer>> = wire.tables.iter().map(Pointer::load).collect::<Result<_, _>>()?;
        let mut dirty = [None; DIRTY_INDEXES];
        for (pointer, stored) in dirty.iter_mut().zip(&wire.dirty) {
            *pointer = Pointer::load(stored)?;
        }
        let count = usize::from(wire.table_count.get());
        rule(tables.iter().skip(count).all(Option::is_none), Inconsistency::Pointer)?;
        let root = Self {
            generation: wire.generation.get(),
            epoch: wire.epoch.get(),
            journal_sequence: wire.journal_sequence.get(),
            next_volume: wire.next_volume.get(),
            volume_count: wire.volume_count.get(),
            tables: tables.into_iter().flatten().collect(),
            dirty,
        };
        rule(Self::slot(root.generation, slot.home) == slot, Inconsistency::Generation(root.generation))?;
        rule(root.is_valid() && root.tables.len() == count && wire.lane.get() == 0, Inconsistency::Pointer)?;
        Ok(root)
    }
}
