//! Where things lie on a drive.
//!
//! Invariants
//! - These numbers never change for a version of the format: they are how a drive is found again.
//! - The slots lie behind the first 128 KiB, so what a foreign system writes to the start of a drive to take it over
//!   destroys the label, and a drive without a label is never taken for ours.

use block::{BLOCK_SIZE, Blocks, Lba};

/// The drive label.
pub const LABEL_LBA: Lba = Lba(0);

/// First block of extent 0: 8 MiB.
pub const DATA_LBA: Lba = Lba(2048);

/// Blocks at the end of a drive that hold nothing: 1 MiB, kept for a second copy of labels, and zeroed so that no
/// backup partition table or RAID superblock of a former life is found there.
pub const TAIL_BLOCKS: Blocks = Blocks(256);

/// The unit in which space is given to volumes.
pub const EXTENT_BLOCKS: Blocks = Blocks(256);

/// The same in bytes: 1 MiB.
pub const EXTENT_BYTES: u64 = 1 << 20;

const _: () = assert!(EXTENT_BLOCKS.0 * BLOCK_SIZE as u64 == EXTENT_BYTES);
const _: () = assert!(DATA_LBA.0.is_multiple_of(EXTENT_BLOCKS.0), "extents are aligned to their size");

/// One of the two places of a record. A generation always goes to the same one, so the older record stays intact
/// while the newer one is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Even generations.
    A,
    /// Odd generations.
    B,
}

impl Slot {
    /// Both.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// The slot in which a generation is stored.
    #[must_use]
    pub const fn of_generation(generation: u64) -> Self {
        if generation.is_multiple_of(2) { Self::A } else { Self::B }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Its first block.
    #[must_use]
    pub const fn lba(self) -> Lba {
        match self {
            Self::A => Lba(256),
            Self::B => Lba(512),
        }
    }
}

/// How many extents a drive of this capacity has.
#[must_use]
pub fn extents_on(capacity: Blocks) -> u32 {
    let overhead = DATA_LBA.0.saturating_add(TAIL_BLOCKS.0);
    let extents = capacity.0.saturating_sub(overhead).checked_div(EXTENT_BLOCKS.0).unwrap_or(0);
    u32::try_from(extents).unwrap_or(u32::MAX)
}

/// Whether a drive of this capacity has room for so many extents.
#[must_use]
pub fn has_extents(capacity: Blocks, extents: u32) -> bool {
    extents <= extents_on(capacity)
}

/// First block of an extent.
#[must_use]
pub fn extent_lba(extent: u32) -> Lba {
    // At most 2^32 extents of 2^8 blocks: far from the end of the range.
    Lba(DATA_LBA.0.saturating_add(u64::from(extent).saturating_mul(EXTENT_BLOCKS.0)))
}
