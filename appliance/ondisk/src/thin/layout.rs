//! Where things lie on the drives of a pool of the thin engine.
//!
//! Invariants
//! - The places on a drive follow from its capacity and the length of its journal alone, both of which stand in the superblock.
//! - An allocation unit (AU) is named by the drive and its place there, in units of 64 KiB, whatever lies there.
//! - Regions are counted through the drives in the order of the members. So a drive that is added changes no number.

use super::sums::DirtyNode;
use crate::limits::MEMBERS_MAX;
use block::{Blocks, Lba};
use core::fmt;

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

/// A drive of a pool, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member(pub u8);

impl Member {
    /// The drive with the journal.
    pub const FIRST: Self = Self(0);

    /// Whether a pool may have so many drives.
    pub(crate) fn is_possible(self) -> bool {
        usize::from(self.0) < MEMBERS_MAX
    }
}

/// A block of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The drive.
    pub member: Member,
    /// The block of it.
    pub lba: Lba,
}

impl Address {
    /// The block so many blocks behind it, on the same drive.
    #[must_use]
    pub fn after(self, blocks: u32) -> Self {
        Self { lba: Lba(self.lba.0.saturating_add(u64::from(blocks))), ..self }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {} of drive {}", self.lba.0, self.member.0)
    }
}

/// An allocation unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Au {
    /// The drive.
    pub member: Member,
    /// Its place there, counted from the start of the drive.
    pub index: u32,
}

impl fmt::Display for Au {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of drive {}", self.index, self.member.0)
    }
}

impl Au {
    /// Its first block.
    #[must_use]
    pub fn start(self) -> Address {
        self.block(0)
    }

    /// One of its blocks.
    #[must_use]
    pub fn block(self, block: u32) -> Address {
        let first = Lba(u64::from(self.index).saturating_mul(AU_BLOCKS));
        Address { member: self.member, lba: first }.after(block)
    }

    /// The unit in which a block lies; `None` past the last unit that has a number.
    #[must_use]
    pub fn of(at: Address) -> Option<Self> {
        let index = u32::try_from(at.lba.0 / AU_BLOCKS).ok()?;
        Some(Self { member: at.member, index })
    }
}

/// 63 units of a drive that lie together, whose checksums are one block. Counted over all drives of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(pub u32);

impl Region {
    /// The place of the checksum of a unit's first block in the page of its region.
    #[must_use]
    pub fn place_of(au: Au) -> usize {
        let unit = u64::from(au.index) % SEGMENT_AUS % REGION_AUS;
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

    /// The region in which the unit with this number lies, counted on this drive.
    fn region_of(index: u32) -> u32 {
        let (segment, within) = (u64::from(index) / SEGMENT_AUS, u64::from(index) % SEGMENT_AUS);
        let number = segment.saturating_mul(SEGMENT_REGIONS).saturating_add(within / REGION_AUS);
        // Fewer regions than units.
        u32::try_from(number).unwrap_or(u32::MAX)
    }

    /// Regions of the drive.
    #[must_use]
    pub fn regions(&self) -> u32 {
        Self::region_of(self.aus.saturating_sub(1)).saturating_add(1)
    }

    /// The place of the page with the checksums of a region, counted on this drive.
    fn sums_lba(region: u32) -> Lba {
        let (segment, page) = (u64::from(region) / SEGMENT_REGIONS, u64::from(region) % SEGMENT_REGIONS);
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
        home_of(Blocks(u64::from(self.aus).saturating_mul(AU_BLOCKS)), home)
    }

    /// How many units volumes and nodes of the map may use.
    #[must_use]
    pub fn usable_aus(&self) -> u32 {
        // Units below one that are kept at the start of segments.
        let kept = |au: u64| {
            let whole = (au / SEGMENT_AUS).saturating_mul(CHECKSUM_AUS);
            whole.saturating_add((au % SEGMENT_AUS).min(CHECKSUM_AUS))
        };
        let first = JOURNAL_AU.saturating_add(self.journal_blocks / AU_BLOCKS);
        let end = u64::from(self.aus).saturating_sub(TAIL_AUS);
        let all = end.saturating_sub(first);
        let usable = all.saturating_sub(kept(end).saturating_sub(kept(first)));
        u32::try_from(usable).unwrap_or(u32::MAX)
    }

    /// The place of a root.
    #[must_use]
    pub fn root_lba(&self, slot: HomeSlot) -> Lba {
        Lba(self.home_lba(slot.home).0.saturating_add(1).saturating_add(u64::from(slot.parity & 1)))
    }

    /// Whether volumes and nodes of the map may use the unit with this number.
    fn is_usable(&self, index: u32) -> bool {
        let at = u64::from(index);
        let first = JOURNAL_AU.saturating_add(self.journal_blocks / AU_BLOCKS);
        let end = u64::from(self.aus).saturating_sub(TAIL_AUS);
        (first..end).contains(&at) && (at < SEGMENT_AUS || at % SEGMENT_AUS >= CHECKSUM_AUS)
    }
}

/// The places on all drives of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolLayout {
    /// By member: its places, and the number of its first region.
    members: Vec<(ThinLayout, u32)>,
    regions: u32,
}

impl PoolLayout {
    /// `None` if there are no drives, or too many, or more regions than the bitmap of a root can name (about 271 TiB).
    #[must_use]
    pub fn new(drives: impl IntoIterator<Item = ThinLayout>) -> Option<Self> {
        let (mut members, mut regions) = (Vec::new(), 0_u32);
        for layout in drives {
            members.push((layout, regions));
            regions = regions.checked_add(layout.regions())?;
        }
        let is_possible =
            (1..=MEMBERS_MAX).contains(&members.len()) && u64::from(regions) <= DirtyNode::REGIONS_MAX;
        is_possible.then_some(Self { members, regions })
    }

    /// The drives, in their order.
    pub fn members(&self) -> impl Iterator<Item = (Member, &ThinLayout)> {
        (0..).map(Member).zip(self.members.iter().map(|(layout, _)| layout))
    }

    fn entry(&self, member: Member) -> Option<&(ThinLayout, u32)> {
        self.members.get(usize::from(member.0))
    }

    /// The places on one of them.
    #[must_use]
    pub fn member(&self, member: Member) -> Option<&ThinLayout> {
        self.entry(member).map(|(layout, _)| layout)
    }

    /// Regions of all drives: their numbers are below this.
    #[must_use]
    pub fn regions(&self) -> u32 {
        self.regions
    }

    /// The region in which a unit lies; `None` if there is no such unit.
    #[must_use]
    pub fn region_of(&self, au: Au) -> Option<Region> {
        let (_, first) = self.entry(au.member).filter(|(layout, _)| au.index < layout.aus())?;
        first.checked_add(ThinLayout::region_of(au.index)).map(Region)
    }

    /// The place of the page with the checksums of a region; `None` if there is no such region.
    #[must_use]
    pub fn sums_at(&self, region: Region) -> Option<Address> {
        let before = self.members.partition_point(|(_, first)| *first <= region.0);
        let at = before.checked_sub(1).filter(|_| region.0 < self.regions)?;
        let (_, first) = self.members.get(at)?;
        let member = Member(u8::try_from(at).ok()?);
        Some(Address { member, lba: ThinLayout::sums_lba(region.0.checked_sub(*first)?) })
    }

    /// Blocks of the journal ring.
    #[must_use]
    pub fn journal_blocks(&self) -> u64 {
        self.member(Member::FIRST).map_or(0, ThinLayout::journal_blocks)
    }

    /// The place of the journal block with this sequence number.
    #[must_use]
    pub fn journal_at(&self, sequence: u64) -> Address {
        let lba = self.member(Member::FIRST).map_or(Lba(0), |layout| layout.journal_lba(sequence));
        Address { member: Member::FIRST, lba }
    }

    /// Whether volumes and nodes of the map may use a unit.
    #[must_use]
    pub fn is_usable(&self, au: Au) -> bool {
        self.member(au.member).is_some_and(|layout| layout.is_usable(au.index))
    }

    /// Whether a block lies in such a unit.
    #[must_use]
    pub fn is_usable_at(&self, at: Address) -> bool {
        Au::of(at).is_some_and(|au| self.is_usable(au))
    }

    /// Those units.
    pub fn usable(&self) -> impl Iterator<Item = Au> + '_ {
        let of = |(member, layout): (Member, &ThinLayout)| {
            (0..layout.aus()).map(move |index| Au { member, index })
        };
        self.members().flat_map(of).filter(|au| self.is_usable(*au))
    }
}

/// First block of a home on a drive of this capacity.
#[must_use]
pub fn home_of(capacity: Blocks, home: u8) -> Lba {
    let au = match home {
        0 | 1 => u64::from(home),
        _ => (capacity.0 / AU_BLOCKS).saturating_sub(TAIL_AUS).saturating_add(u64::from(home & 1)),
    };
    Lba(au.saturating_mul(AU_BLOCKS))
}

/// Units that so many blocks of a volume take.
#[must_use]
pub fn units_of(blocks: Blocks) -> u64 {
    blocks.0.div_ceil(AU_BLOCKS)
}
