//! Where things lie on a drive of the thin engine.
//!
//! Invariants
//! - The places follow from the capacity and the length of the journal alone, both of which stand in the superblock.
//! - An allocation unit (AU) is named by its place on the drive, in units of 64 KiB, whatever lies there.

use block::{Blocks, Lba};

/// Blocks of one allocation unit: 64 KiB.
pub const AU_BLOCKS: u64 = 16;

/// All blocks of a unit.
pub const UNIT_MASK_FULL: u16 = u16::MAX;

/// Units that a leaf of the map covers: 16 MiB.
pub const LEAF_UNITS: usize = 256;

/// Pointers of an inner node.
pub const NODE_POINTERS: usize = 128;

/// Homes of a drive: two at its start, two at its end.
pub const HOMES: u8 = 4;

/// Units of a segment (1 GiB), whose first ones are kept for checksums.
const SEGMENT_AUS: u64 = 16384;

/// Units of a region: those whose checksums fit one block.
pub const REGION_AUS: u64 = 63;

/// Blocks of a region.
pub const REGION_BLOCKS: usize = 1008;
const _: () = assert!(REGION_BLOCKS as u64 == REGION_AUS * AU_BLOCKS);

/// Regions of a segment; the last one is shorter.
const SEGMENT_REGIONS: u64 = SEGMENT_AUS.div_ceil(REGION_AUS);

/// Units at the start of a segment that are kept for its pages of checksums: 1.1 MiB.
const CHECKSUM_AUS: u64 = SEGMENT_REGIONS.div_ceil(AU_BLOCKS);
const _: () = assert!(SEGMENT_REGIONS == 261 && CHECKSUM_AUS == 17);

/// Units before the checksums of the first segment.
const HEAD_AUS: u64 = 2;

/// Units at the end of a drive that are homes.
const TAIL_AUS: u64 = 2;

/// Where the journal begins.
const JOURNAL_AU: u64 = HEAD_AUS + CHECKSUM_AUS;

/// An allocation unit of a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Au(pub u32);

impl Au {
    /// Its first block.
    #[must_use]
    pub fn lba(self) -> Lba {
        Lba(u64::from(self.0).saturating_mul(AU_BLOCKS))
    }

    /// The unit in which a block lies; `None` past the last unit that has a number.
    #[must_use]
    pub fn of(lba: Lba) -> Option<Self> {
        u32::try_from(lba.0 / AU_BLOCKS).ok().map(Self)
    }
}

/// 63 units of a drive that lie together, whose checksums are one block. Counted from the start of the drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(pub u32);

impl Region {
    /// The region in which a unit lies.
    #[must_use]
    pub fn of(au: Au) -> Self {
        let (segment, within) = (u64::from(au.0) / SEGMENT_AUS, u64::from(au.0) % SEGMENT_AUS);
        let number = segment.saturating_mul(SEGMENT_REGIONS).saturating_add(within / REGION_AUS);
        // Fewer regions than units.
        Self(u32::try_from(number).unwrap_or(u32::MAX))
    }

    /// The place of the checksum of a unit's first block in the page of its region.
    #[must_use]
    pub fn place_of(au: Au) -> usize {
        let unit = u64::from(au.0) % SEGMENT_AUS % REGION_AUS;
        usize::try_from(unit.saturating_mul(AU_BLOCKS)).unwrap_or(0)
    }
}

/// One of the two places of a root in a home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HomeSlot {
    /// Which home, below [`HOMES`].
    pub home: u8,
    /// 0 for even generations, 1 for odd ones.
    pub parity: u8,
}

/// The places on one drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThinLayout {
    aus: u32,
    journal_blocks: u64,
}

impl ThinLayout {
    /// `None` if a drive of `capacity` has no room for a journal of this length and one unit of data, or is larger than
    /// units can be counted (256 TiB), or the journal is not a whole number of units.
    #[must_use]
    pub fn new(capacity: Blocks, journal_blocks: u64) -> Option<Self> {
        let aus = u32::try_from(capacity.0 / AU_BLOCKS).ok()?;
        let least =
            JOURNAL_AU.checked_add(journal_blocks / AU_BLOCKS)?.checked_add(TAIL_AUS)?.checked_add(1)?;
        let is_possible =
            journal_blocks > 0 && journal_blocks.is_multiple_of(AU_BLOCKS) && u64::from(aus) >= least;
        is_possible.then_some(Self { aus, journal_blocks })
    }

    /// Units of the drive, whatever they hold: the numbers of units are below this.
    #[must_use]
    pub fn aus(&self) -> u32 {
        self.aus
    }

    /// Regions of the drive: their numbers are below this.
    #[must_use]
    pub fn regions(&self) -> u32 {
        Region::of(Au(self.aus.saturating_sub(1))).0.saturating_add(1)
    }

    /// The place of the page with the checksums of a region.
    #[must_use]
    pub fn sums_lba(&self, region: Region) -> Lba {
        let (segment, page) = (u64::from(region.0) / SEGMENT_REGIONS, u64::from(region.0) % SEGMENT_REGIONS);
        let first = if segment == 0 { HEAD_AUS } else { segment.saturating_mul(SEGMENT_AUS) };
        Lba(first.saturating_mul(AU_BLOCKS).saturating_add(page))
    }

    /// Blocks of the journal ring.
    #[must_use]
    pub fn journal_blocks(&self) -> u64 {
        self.journal_blocks
    }

    /// The place of the journal block with this sequence number.
    #[must_use]
    pub fn journal_lba(&self, sequence: u64) -> Lba {
        let within = sequence.checked_rem(self.journal_blocks).unwrap_or(0);
        Lba((JOURNAL_AU * AU_BLOCKS).saturating_add(within))
    }

    /// First block of a home.
    #[must_use]
    pub fn home_lba(&self, home: u8) -> Lba {
        let au = match home {
            0 | 1 => u64::from(home),
            _ => u64::from(self.aus).saturating_sub(TAIL_AUS).saturating_add(u64::from(home & 1)),
        };
        Lba(au.saturating_mul(AU_BLOCKS))
    }

    /// The place of a root.
    #[must_use]
    pub fn root_lba(&self, slot: HomeSlot) -> Lba {
        Lba(self.home_lba(slot.home).0.saturating_add(1).saturating_add(u64::from(slot.parity & 1)))
    }

    /// Whether volumes and nodes of the map may use a unit.
    #[must_use]
    pub fn is_usable(&self, au: Au) -> bool {
        let at = u64::from(au.0);
        let first = JOURNAL_AU.saturating_add(self.journal_blocks / AU_BLOCKS);
        let end = u64::from(self.aus).saturating_sub(TAIL_AUS);
        (first..end).contains(&at) && (at < SEGMENT_AUS || at % SEGMENT_AUS >= CHECKSUM_AUS)
    }

    /// Whether all of these blocks lie in usable units.
    #[must_use]
    pub fn is_usable_lba(&self, lba: Lba) -> bool {
        Au::of(lba).is_some_and(|au| self.is_usable(au))
    }
}

/// Units that so many blocks of a volume take.
#[must_use]
pub fn units_of(blocks: Blocks) -> u64 {
    blocks.0.div_ceil(AU_BLOCKS)
}
