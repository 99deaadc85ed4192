//! Attributes of a volume: bytes for its owner, which this format keeps and does not understand.
//!
//! A chain of blocks: the volume table or a journal record names the first one, each block the next. So the checksum in the
//! first pointer covers all of them, and they are encoded from the last to the first.

use super::layout::{Address, Member};
use super::node::Pointer;
use super::wire::{self, ATTRIBUTES_MAGIC, ATTRIBUTES_ROOM, AttributesV1, ThinIdentity, rule};
use crate::error::{Inconsistency, LoadError};
use crate::limits::ATTRIBUTES_MAX;
use crate::stamp;

/// Blocks as they are stored, and where.
pub type PlacedBlocks = Vec<(Address, Box<[u8]>)>;

/// A block of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributesBlock {
    /// Whose they are.
    pub volume: u32,
    /// Bytes of the whole chain: 1 to [`ATTRIBUTES_MAX`].
    pub total: u32,
    /// Its place in the chain.
    pub index: u16,
    /// The next block; `None` in the last one.
    pub next: Option<Pointer>,
    /// What is in this block: as much as fits, in the last one what is left.
    pub bytes: Box<[u8]>,
}

impl AttributesBlock {
    /// Blocks of a chain of so many bytes.
    #[must_use]
    pub fn count(total: usize) -> usize {
        total.div_ceil(ATTRIBUTES_ROOM)
    }

    /// The blocks for these places, and the pointer to the first one; nothing, if there are no bytes.
    ///
    /// # Panics
    /// If there are more bytes than [`ATTRIBUTES_MAX`], or other than [`AttributesBlock::count`] places: that must not reach a
    /// disk.
    #[must_use]
    pub fn encode_chain(
        volume: u32,
        bytes: &[u8],
        places: &[Address],
        generation: u64,
        owner: impl Fn(Member) -> ThinIdentity,
    ) -> (PlacedBlocks, Option<Pointer>) {
        assert_eq!(places.len(), Self::count(bytes.len()), "each block has a place");
        let total = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let (mut blocks, mut next) = (Vec::with_capacity(places.len()), None);
        let indexes = 0..u16::try_from(places.len()).unwrap_or(u16::MAX);
        for ((piece, at), index) in bytes.chunks(ATTRIBUTES_ROOM).zip(places).zip(indexes).rev() {
            let block = Self { volume, total, index, next, bytes: piece.into() };
            let (block, pointer) = block.encode(generation, *at, owner(at.member));
            blocks.push((*at, block));
            next = Some(pointer);
        }
        (blocks, next)
    }

    /// Where its bytes begin in the whole, and how many there are; `None` if the chain has no such block.
    fn extent(total: u32, index: u16) -> Option<(usize, usize)> {
        let total = usize::try_from(total).ok().filter(|total| *total <= ATTRIBUTES_MAX)?;
        let start = usize::from(index).checked_mul(ATTRIBUTES_ROOM)?;
        let left = total.checked_sub(start).filter(|left| *left > 0)?;
        Some((start, left.min(ATTRIBUTES_ROOM)))
    }

    /// Whether it is the last block of its chain.
    #[must_use]
    pub fn is_last(&self) -> bool {
        Self::extent(self.total, self.index.saturating_add(1)).is_none()
    }

    fn is_valid(&self) -> bool {
        Self::extent(self.total, self.index).is_some_and(|(_, len)| len == self.bytes.len())
            && self.volume > 0
            && self.next.is_none() == self.is_last()
    }

    /// The bytes for a place, and the pointer to them.
    ///
    /// # Panics
    /// If it breaks a rule: that must not reach a disk.
    #[must_use]
    pub fn encode(&self, generation: u64, at: Address, owner: ThinIdentity) -> (Box<[u8]>, Pointer) {
        assert!(self.is_valid(), "attributes that break a rule are never stored");
        let mut bytes = [0; ATTRIBUTES_ROOM];
        for (to, from) in bytes.iter_mut().zip(&self.bytes) {
            *to = *from;
        }
        let block = wire::store(&AttributesV1 {
            stamp: wire::stamp_of(ATTRIBUTES_MAGIC, at.lba, owner),
            generation: generation.into(),
            volume: self.volume.into(),
            total: self.total.into(),
            index: self.index.into(),
            reserved0: [0; 6],
            next: Pointer::store(self.next),
            reserved1: [0; 16],
            bytes,
        });
        let pointer = Pointer::to(&block, at, generation);
        (block, pointer)
    }

    /// Reads the block that a pointer means, whose place in the chain is known.
    ///
    /// # Errors
    /// If it is damaged, or another one.
    pub fn decode(
        bytes: &[u8],
        pointer: &Pointer,
        (volume, index): (u32, u16),
        owner: ThinIdentity,
    ) -> Result<Self, LoadError> {
        wire::check_owned(bytes, ATTRIBUTES_MAGIC, pointer.at.lba, owner)?;
        let wire: &AttributesV1 = wire::view(bytes)?;
        let is_meant = wire::checksum_of(bytes) == pointer.checksum
            && wire.generation.get() == pointer.generation
            && (wire.volume.get(), wire.index.get()) == (volume, index);
        rule(is_meant, Inconsistency::OtherNode)?;
        stamp::zero(&wire.reserved0)?;
        stamp::zero(&wire.reserved1)?;
        let (_, len) = Self::extent(wire.total.get(), index).ok_or(Inconsistency::Attributes)?;
        let (used, unused) = wire.bytes.split_at_checked(len).ok_or(Inconsistency::Attributes)?;
        stamp::zero(unused)?;
        let (total, next) = (wire.total.get(), Pointer::load(&wire.next)?);
        let block = Self { volume, total, index, next, bytes: used.into() };
        rule(block.is_valid(), Inconsistency::Attributes)?;
        Ok(block)
    }
}
