//! Checksums of data at rest: one page for each region, and the bitmap that says which pages may lag.
//!
//! ```text
//!  unit ─▶ region ─▶ page: 63 units of 16 blocks, CRC32C each
//!                └─▶ bit: the page may lag behind the data                root ─▶ index ─▶ bits of 30720 regions
//! ```
//!
//! A page is overwritten in place; it says of each block what it last knew. Whether that must agree with the data says the
//! bitmap together with the journal: a page of a clean region agrees with every block that a map reaches.

use super::layout::{Address, NODE_POINTERS, REGION_BLOCKS, Region};
use super::node::Pointer;
use super::wire::{
    self, DIRTY_BYTES, DIRTY_INDEXES, DIRTY_MAGIC, DirtyBitsV1, DirtyHeadV1, DirtyIndexV1, SUMS_MAGIC,
    SumsV1, ThinIdentity, rule,
};
use crate::error::{Inconsistency, LoadError};
use crate::stamp;
use block::Lba;

/// The page of a region: CRC32C of each block, 0 where it is not known (so a block whose checksum is 0 is never verified).
#[derive(Clone, Copy, Debug)]
pub struct SumPage;

impl SumPage {
    /// The bytes for a place.
    #[must_use]
    pub fn encode(sums: &[u32; REGION_BLOCKS], lba: Lba, owner: ThinIdentity) -> Box<[u8]> {
        let stamp = wire::stamp_of(SUMS_MAGIC, lba, owner);
        wire::store(&SumsV1 { stamp, sums: sums.map(Into::into) })
    }

    /// The checksums in the page that was read at a place.
    ///
    /// # Errors
    /// If there is none, or it is damaged.
    pub fn decode(
        bytes: &[u8],
        lba: Lba,
        owner: ThinIdentity,
    ) -> Result<impl Iterator<Item = u32> + '_, LoadError> {
        wire::check_owned(bytes, SUMS_MAGIC, lba, owner)?;
        let wire: &SumsV1 = wire::view(bytes)?;
        Ok(wire.sums.iter().map(|sum| sum.get()))
    }
}

/// A block of the bitmap of dirty regions. Where all regions are clean there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirtyNode {
    /// Level 0: bit *n* of byte *m* stands for region 8 *m* + *n*, counted from the first one that the block covers.
    Bits(Box<[u8; DIRTY_BYTES]>),
    /// Level 1: where blocks of level 0 lie.
    Index(Box<[Option<Pointer>; NODE_POINTERS]>),
}

impl DirtyNode {
    /// Regions that a block of level 0 covers.
    pub const REGIONS: u32 = 30_720;

    /// Blocks of level 0 that one of level 1 covers.
    pub const FAN_OUT: usize = NODE_POINTERS;

    /// Blocks of level 1 that a root names.
    pub const INDEXES: usize = DIRTY_INDEXES;

    /// Regions of a pool.
    pub const REGIONS_MAX: u64 = Self::REGIONS as u64 * (Self::FAN_OUT * Self::INDEXES) as u64;

    fn level(&self) -> u8 {
        match self {
            Self::Bits(_) => 0,
            Self::Index(_) => 1,
        }
    }

    /// The bytes for a place, and the pointer to them.
    #[must_use]
    pub fn encode(
        &self,
        first: Region,
        generation: u64,
        at: Address,
        owner: ThinIdentity,
    ) -> (Box<[u8]>, Pointer) {
        let head = DirtyHeadV1 {
            stamp: wire::stamp_of(DIRTY_MAGIC, at.lba, owner),
            generation: generation.into(),
            first_region: first.0.into(),
            level: self.level(),
            reserved: [0; 179],
        };
        let bytes = match self {
            Self::Bits(bits) => wire::store(&DirtyBitsV1 { head, bits: **bits }),
            Self::Index(pointers) => {
                let pointers = pointers.each_ref().map(|pointer| Pointer::store(*pointer));
                wire::store(&DirtyIndexV1 { head, pointers, reserved: [0; 768] })
            }
        };
        let pointer = Pointer::to(&bytes, at, generation);
        (bytes, pointer)
    }

    /// Reads the block that a pointer means, whose level and first region are known.
    ///
    /// # Errors
    /// If it is damaged, or another one.
    pub fn decode(
        bytes: &[u8],
        pointer: &Pointer,
        place: (u8, Region),
        owner: ThinIdentity,
    ) -> Result<Self, LoadError> {
        wire::check_owned(bytes, DIRTY_MAGIC, pointer.at.lba, owner)?;
        let wire: &DirtyBitsV1 = wire::view(bytes)?;
        let head = &wire.head;
        stamp::zero(&head.reserved)?;
        let is_meant = wire::checksum_of(bytes) == pointer.checksum
            && head.generation.get() == pointer.generation
            && (head.level, Region(head.first_region.get())) == place;
        rule(is_meant, Inconsistency::OtherNode)?;
        if head.level == 0 {
            return Ok(Self::Bits(Box::new(wire.bits)));
        }
        let wire: &DirtyIndexV1 = wire::view(bytes)?;
        rule(head.level == 1, Inconsistency::OtherNode)?;
        stamp::zero(&wire.reserved)?;
        let mut pointers = Box::new([None; NODE_POINTERS]);
        for (pointer, stored) in pointers.iter_mut().zip(&wire.pointers) {
            *pointer = Pointer::load(stored)?;
        }
        Ok(Self::Index(pointers))
    }
}

const _: () = {
    assert!(DirtyNode::REGIONS as usize == DIRTY_BYTES * 8);
    // The regions of 2^32 units, which is 256 TiB.
    assert!(DirtyNode::REGIONS_MAX > 261 * (1 << 18));
};
