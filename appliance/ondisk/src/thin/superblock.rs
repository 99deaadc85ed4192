//! Who a drive is and how it is laid out: four copies, written when it joins a pool, so that no single bad place hides it.

use super::layout::{HOMES, ThinLayout};
use super::wire::{self, SUPERBLOCK_MAGIC, SuperblockV1, ThinIdentity, rule};
use crate::error::{Inconsistency, LoadError};
use crate::{Name, limits, stamp, text};
use block::{Blocks, Lba};

/// A copy of the superblock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Whose it is.
    pub identity: ThinIdentity,
    /// Name of the pool.
    pub name: Name,
    /// Grows with each change of the pool's members.
    pub generation: u64,
    /// The drive's number in the pool.
    pub member: u16,
    /// Drives of the pool.
    pub member_count: u16,
    /// Journals of the drive.
    pub lanes: u16,
    /// Capacity when it joined.
    pub blocks: Blocks,
    /// Blocks of a journal.
    pub journal_blocks: u64,
}

impl Superblock {
    /// The places on the drive; `None` if there can be none with these numbers.
    #[must_use]
    pub fn layout(&self) -> Option<ThinLayout> {
        ThinLayout::new(self.blocks, self.journal_blocks)
    }

    fn is_valid(&self) -> bool {
        let members = usize::from(self.member_count);
        self.layout().is_some()
            && self.generation > 0
            && self.lanes == 1
            && members <= limits::MEMBERS_MAX
            && self.member < self.member_count
    }

    /// The bytes of the copy for a home, which starts at `lba`.
    ///
    /// # Panics
    /// If it breaks a rule: that must not reach a disk.
    #[must_use]
    pub fn encode(&self, home: u8, lba: Lba) -> Box<[u8]> {
        assert!(self.is_valid() && home < HOMES, "a superblock that breaks a rule is never stored: {self:?}");
        wire::store(&SuperblockV1 {
            stamp: wire::stamp_of(SUPERBLOCK_MAGIC, lba, self.identity),
            generation: self.generation.into(),
            blocks: self.blocks.0.into(),
            journal_blocks: self.journal_blocks.into(),
            member: self.member.into(),
            member_count: self.member_count.into(),
            lanes: self.lanes.into(),
            home,
            reserved0: 0,
            name: text::store(self.name.as_str()),
            reserved1: [0; 3936],
        })
    }

    /// Reads the copy of a home, found at `lba`.
    ///
    /// # Errors
    /// If there is none, or it is damaged.
    pub fn decode(bytes: &[u8], home: u8, lba: Lba) -> Result<Self, LoadError> {
        let identity = wire::check(bytes, SUPERBLOCK_MAGIC, lba)?;
        let wire: &SuperblockV1 = wire::view(bytes)?;
        stamp::zero(&[wire.reserved0])?;
        stamp::zero(&wire.reserved1)?;
        let found = Self {
            identity,
            name: text::load(&wire.name).and_then(Name::new).map_err(Inconsistency::from)?,
            generation: wire.generation.get(),
            member: wire.member.get(),
            member_count: wire.member_count.get(),
            lanes: wire.lanes.get(),
            blocks: Blocks(wire.blocks.get()),
            journal_blocks: wire.journal_blocks.get(),
        };
        rule(found.is_valid() && wire.home == home, Inconsistency::Layout)?;
        Ok(found)
    }
}
