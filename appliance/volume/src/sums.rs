//! Checksums of data in memory: pages of regions as far as they are known, and which regions are dirty. Without IO.
//!
//! | a region is | meaning |
//! |---|---|
//! | clean | its page on the drive agrees with all its data, and every import will believe it |
//! | dirty | its page may lag; a root or the journal says so, or will before data is overwritten in place |
//! | marked | dirty, and whatever happens an import will see it: data may be overwritten in place |
//! | unsure | dirty since before the import: a block that this life neither wrote nor verified is believed, not its checksum |
//!
//! Invariants
//! - A checksum changes before the data does, in one step with counting the write as under way. So a reader who finds
//!   another one than its data has asks again when no write is under way, and only then decides.
//! - A region leaves the dirty ones only in [`Sums::begin_checkpoint`], and only if it was not written since the checkpoint
//!   before, nothing is under way, and it is not unsure. From this step on a write marks it again.
//! - Pages with changes are not forgotten before they are written.
//!
//! Not here: reading and writing pages (`pages`), how a region gets sure (`scrub`).

use ondisk::thin::{AU_BLOCKS, Au, DirtyNode, PoolLayout, REGION_AUS, REGION_BLOCKS, Region};

/// Blocks of a unit: a mask has a bit for each.
pub(crate) const UNIT_BLOCKS: usize = u16::BITS as usize;
const _: () = assert!(UNIT_BLOCKS as u64 == AU_BLOCKS);

const REGION_UNITS: usize = REGION_BLOCKS / UNIT_BLOCKS;
const _: () = assert!(REGION_UNITS as u64 == REGION_AUS);

/// What was seen while data were compared with their checksums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SumCounts {
    /// Reads that found damage, each block counted.
    pub damaged: u64,
    /// Blocks whose checksum lagged after a power cut, and was made from the data.
    pub restamped: u64,
    /// Blocks whose checksum was lost, and was made from the data.
    pub unverified: u64,
    /// Pages that could not be read or were damaged.
    pub pages_lost: u64,
    /// Regions that a checkpoint made clean.
    pub cleaned: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct RegionState {
    page: Option<u32>,
    /// Writes of its data under way.
    in_flight: u8,
    is_dirty: bool,
    is_marked: bool,
    is_unsure: bool,
    /// Written since the last checkpoint began, or a write was under way then.
    is_touched: bool,
    /// The last bitmap that was written has it.
    is_stored: bool,
    /// A scrub that began when it was unsure has found no reason yet to leave it so.
    is_scrubbed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Page {
    region: Option<Region>,
    /// It has what the drive has, where it does not know better.
    is_loaded: bool,
    is_changed: bool,
    /// It is being read or written.
    is_busy: bool,
    was_used: bool,
}

/// See the module header.
#[derive(Debug)]
pub(crate) struct Sums {
    layout: PoolLayout,
    regions: Vec<RegionState>,
    pages: Vec<Page>,
    /// By page and block.
    sums: Vec<u32>,
    /// By page and unit: the blocks whose checksum must agree with their data.
    known: Vec<u16>,
    /// Where the search for a page goes on.
    hand: usize,
    /// Regions that the running checkpoint cleans: their pages must be on the drive before its root.
    cleaning: Vec<Region>,
    pub(crate) counts: SumCounts,
}

const _: () = assert!(crate::limits::TASKS_MAX < u8::MAX as usize, "writes under way are counted in a byte");

/// How to get a page for a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// It has one.
    Ready,
    /// The page of this region has to be written first.
    After(Region),
    /// All pages are busy.
    Wait,
}

/// What has to happen to a page before it is on the drive as it is in memory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// Nothing.
    Done,
    /// Wait for who is busy with it.
    Wait,
    /// Load it, or what it does not know would be lost.
    Load,
    /// Write this.
    Write(Box<[u32; REGION_BLOCKS]>),
}

/// What a comparison gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All agree.
    Good,
    /// The page has to be loaded first.
    Unknown,
    /// This block, counted from the first one compared, does not agree; or nobody knows whether it should.
    Differs(usize),
}

impl Sums {
    /// All regions clean; room for so many pages.
    pub(crate) fn new(layout: PoolLayout, pages_max: usize) -> Self {
        let regions = layout.regions() as usize;
        let pages = pages_max.min(regions);
        Self {
            layout,
            regions: vec![RegionState::default(); regions],
            pages: vec![Page::default(); pages],
            sums: vec![0; pages * REGION_BLOCKS],
            known: vec![0; pages * REGION_UNITS],
            hand: 0,
            cleaning: Vec::with_capacity(crate::limits::CLEAN_MAX),
            counts: SumCounts::default(),
        }
    }

    fn state(&self, region: Region) -> &RegionState {
        &self.regions[region.0 as usize]
    }

    fn state_mut(&mut self, region: Region) -> &mut RegionState {
        &mut self.regions[region.0 as usize]
    }

    fn region_of(&self, au: Au) -> Region {
        self.layout.region_of(au).expect("units are checked when they are loaded")
    }

    fn page_of(&self, region: Region) -> Option<usize> {
        self.state(region).page.map(|page| page as usize)
    }

    /// Where the checksums of a unit are, and its mask of known blocks.
    fn unit_of(&self, au: Au) -> Option<(usize, usize)> {
        let (page, place) = (self.page_of(self.region_of(au))?, Region::place_of(au));
        Some((page * REGION_BLOCKS + place, page * REGION_UNITS + place / UNIT_BLOCKS))
    }

    /// Whether the region's data may be overwritten in place.
    pub(crate) fn is_marked(&self, region: Region) -> bool {
        self.state(region).is_marked
    }

    /// Something begins that needs the region dirty: until [`Sums::end`] no checkpoint cleans it.
    pub(crate) fn begin(&mut self, region: Region) {
        let state = self.state_mut(region);
        (state.is_dirty, state.is_touched) = (true, true);
        state.in_flight += 1;
    }

    /// It has ended. With `is_marked` a record that says that the region is dirty is durable, with everything that an import
    /// reads before it.
    pub(crate) fn end(&mut self, region: Region, is_marked: bool) {
        let state = self.state_mut(region);
        state.in_flight -= 1;
        state.is_marked |= is_marked;
    }

    /// Found dirty at an import.
    pub(crate) fn import(&mut self, region: Region, is_stored: bool) {
        let state = self.state_mut(region);
        (state.is_dirty, state.is_unsure) = (true, true);
        state.is_stored |= is_stored;
    }

    /// A write begins whose blocks, from `first` on, will have these checksums. The region has a page.
    pub(crate) fn begin_write(&mut self, au: Au, first: u32, sums: &[u32]) {
        self.begin(self.region_of(au));
        for (block, sum) in (first..).zip(sums) {
            self.put(au, block, *sum);
        }
    }

    /// A write failed: nobody knows what its blocks hold.
    pub(crate) fn doubt(&mut self, au: Au) {
        let state = self.state_mut(self.region_of(au));
        (state.is_unsure, state.is_scrubbed) = (true, false);
        if let Some((_, mask)) = self.unit_of(au) {
            self.known[mask] = 0;
        }
    }

    fn put(&mut self, au: Au, block: u32, sum: u32) {
        let (at, mask) = self.unit_of(au).expect("there is a page");
        self.sums[at + block as usize] = sum;
        self.known[mask] |= 1 << block;
        let page = self.page_of(self.region_of(au)).expect("there is a page");
        (self.pages[page].is_changed, self.pages[page].was_used) = (true, true);
    }

    /// Finds a page for a region.
    pub(crate) fn make_room(&mut self, region: Region) -> Room {
        if self.page_of(region).is_some() {
            return Room::Ready;
        }
        let len = self.pages.len();
        let mut changed = None;
        // Twice round: what was used since the last round stays for one more.
        for _ in 0..2 * len {
            let at = self.hand;
            self.hand = (at + 1) % len;
            let page = &mut self.pages[at];
            if page.is_busy || core::mem::replace(&mut page.was_used, false) {
                continue;
            }
            match page.region {
                Some(other) if page.is_changed => changed = changed.or(Some(other)),
                old => {
                    if let Some(old) = old {
                        self.state_mut(old).page = None;
                    }
                    self.give(at, region);
                    return Room::Ready;
                }
            }
        }
        changed.map_or(Room::Wait, Room::After)
    }

    fn give(&mut self, at: usize, region: Region) {
        self.pages[at] = Page { region: Some(region), was_used: true, ..Page::default() };
        self.state_mut(region).page = u32::try_from(at).ok();
        self.sums[at * REGION_BLOCKS..(at + 1) * REGION_BLOCKS].fill(0);
        self.known[at * REGION_UNITS..(at + 1) * REGION_UNITS].fill(0);
    }

    /// Begins to load the page of a region that has room; `None` if somebody is busy with it, `false` if it is loaded.
    pub(crate) fn begin_load(&mut self, region: Region) -> Option<bool> {
        let page = self.page_of(region).map(|page| &mut self.pages[page])?;
        if page.is_loaded {
            return Some(false);
        }
        (!core::mem::replace(&mut page.is_busy, true)).then_some(true)
    }

    /// The page has been read: `None` if that failed for now. A checksum of 0 says nothing.
    pub(crate) fn end_load(&mut self, region: Region, found: Option<impl Iterator<Item = u32>>) {
        let at = self.page_of(region).expect("busy pages stay");
        let is_believed = !self.state(region).is_unsure;
        let page = &mut self.pages[at];
        page.is_busy = false;
        let Some(found) = found else { return };
        page.is_loaded = true;
        for (block, sum) in (0..REGION_BLOCKS).zip(found) {
            let known = &mut self.known[at * REGION_UNITS + block / UNIT_BLOCKS];
            let bit = 1 << (block % UNIT_BLOCKS);
            if *known & bit == 0 {
                self.sums[at * REGION_BLOCKS + block] = sum;
                *known |= if is_believed && sum != 0 { bit } else { 0 };
            }
        }
    }

    /// Begins to write the page of a region.
    pub(crate) fn begin_store(&mut self, region: Region) -> Store {
        let Some(at) = self.page_of(region) else { return Store::Done };
        let page = &mut self.pages[at];
        match (page.is_busy, page.is_changed, page.is_loaded) {
            (true, ..) => Store::Wait,
            (false, false, _) => Store::Done,
            (false, true, false) => Store::Load,
            (false, true, true) => {
                (page.is_busy, page.is_changed) = (true, false);
                let mut sums = Box::new([0; REGION_BLOCKS]);
                sums.copy_from_slice(&self.sums[at * REGION_BLOCKS..(at + 1) * REGION_BLOCKS]);
                Store::Write(sums)
            }
        }
    }

    /// The page has been written, or not.
    pub(crate) fn end_store(&mut self, region: Region, is_ok: bool) {
        let at = self.page_of(region).expect("busy pages stay");
        self.pages[at].is_busy = false;
        self.pages[at].is_changed |= !is_ok;
    }

    /// Whether blocks of a unit cannot be compared before the page is loaded.
    pub(crate) fn needs_page(&self, au: Au, first: u32, blocks: usize) -> bool {
        let wanted = (first..).take(blocks).fold(0_u16, |mask, block| mask | 1 << block);
        self.unit_of(au).is_none_or(|(at, mask)| {
            !self.pages[at / REGION_BLOCKS].is_loaded && wanted & !self.known[mask] != 0
        })
    }

    /// Compares data that was read, by its checksums, from block `first` of a unit on.
    pub(crate) fn compare(&mut self, au: Au, first: u32, found: &[u32]) -> Verdict {
        let Some((at, mask)) = self.unit_of(au) else { return Verdict::Unknown };
        if self.needs_page(au, first, found.len()) {
            return Verdict::Unknown;
        }
        self.pages[at / REGION_BLOCKS].was_used = true;
        for (n, (block, sum)) in (first..).zip(found).enumerate() {
            let bit = 1 << block;
            if self.sums[at + block as usize] != *sum {
                return Verdict::Differs(n);
            }
            self.known[mask] |= bit;
        }
        Verdict::Good
    }

    /// The same while no write of these blocks is under way. What nobody knows gets its checksum from the data; the first
    /// block that is damaged is given.
    pub(crate) fn decide(&mut self, au: Au, first: u32, found: &[u32]) -> Result<(), usize> {
        let (at, mask) = self.unit_of(au).expect("there is a page");
        let mut damaged = None;
        for (n, (block, sum)) in (first..).zip(found).enumerate() {
            if self.sums[at + block as usize] == *sum {
                self.known[mask] |= 1 << block;
            } else if self.known[mask] >> block & 1 == 1 {
                self.counts.damaged += 1;
                damaged = damaged.or(Some(n));
            } else if self.state(self.region_of(au)).is_unsure {
                self.counts.restamped += 1;
                self.put(au, block, *sum);
            } else {
                self.counts.unverified += 1;
                self.put(au, block, *sum);
            }
        }
        damaged.map_or(Ok(()), Err)
    }

    /// A checkpoint begins: regions that have been quiet are clean from this step on.
    pub(crate) fn begin_checkpoint(&mut self) {
        self.cleaning.clear();
        for (region, state) in (0..).map(Region).zip(&mut self.regions) {
            let is_quiet = !state.is_touched && !state.is_unsure;
            if state.is_dirty && is_quiet && self.cleaning.len() < crate::limits::CLEAN_MAX {
                (state.is_dirty, state.is_marked) = (false, false);
                self.cleaning.push(region);
                self.counts.cleaned += 1;
            }
            state.is_touched = state.in_flight > 0;
        }
    }

    /// The regions whose pages the checkpoint has to write, by number.
    pub(crate) fn cleaning(&self, n: usize) -> Option<Region> {
        self.cleaning.get(n).copied()
    }

    /// The block of the bitmap that begins with this region, if it changed since the last one that was written; `None` within
    /// if all is clean.
    pub(crate) fn bits(&mut self, first: Region) -> Option<Option<DirtyNode>> {
        let first = first.0 as usize;
        let end = self.regions.len().min(first + DirtyNode::REGIONS as usize);
        let states = &mut self.regions[first..end];
        if states.iter().all(|state| state.is_dirty == state.is_stored) {
            return None;
        }
        let mut bits = Box::new([0_u8; DirtyNode::REGIONS as usize / 8]);
        for (n, state) in states.iter_mut().enumerate() {
            state.is_stored = state.is_dirty;
            bits[n / 8] |= u8::from(state.is_dirty) << (n % 8);
        }
        Some(bits.iter().any(|byte| *byte != 0).then_some(DirtyNode::Bits(bits)))
    }

    /// The root of the checkpoint is durable.
    pub(crate) fn end_checkpoint(&mut self) {
        self.regions.iter_mut().for_each(|state| state.is_marked |= state.is_dirty && state.is_stored);
    }

    /// A scrub begins.
    pub(crate) fn begin_scrub(&mut self) {
        self.regions.iter_mut().for_each(|state| state.is_scrubbed = state.is_unsure);
    }

    /// A block of the region could not be read: it stays as unsure as it is.
    pub(crate) fn give_up(&mut self, region: Region) {
        self.state_mut(region).is_scrubbed = false;
    }

    /// Everything that is mapped has been read since the scrub began.
    pub(crate) fn end_scrub(&mut self) {
        for state in &mut self.regions {
            if !core::mem::replace(&mut state.is_scrubbed, false) {
                continue;
            }
            state.is_unsure = false;
            // What was loaded while it was unsure is believed from now on, as if it were loaded now.
            let Some(at) = state.page.map(|page| page as usize).filter(|at| self.pages[*at].is_loaded) else {
                continue;
            };
            for block in (0..REGION_BLOCKS).filter(|block| self.sums[at * REGION_BLOCKS + block] != 0) {
                self.known[at * REGION_UNITS + block / UNIT_BLOCKS] |= 1 << (block % UNIT_BLOCKS);
            }
        }
    }
}

#[cfg(test)]
impl Sums {
    /// Keeps no more than so many pages. Nothing is in memory yet.
    pub(crate) fn limit(&mut self, pages: usize) {
        self.pages.truncate(pages);
    }

    pub(crate) fn dirty(&self) -> impl Iterator<Item = bool> {
        self.regions.iter().map(|state| state.is_dirty)
    }

    pub(crate) fn is_clean(&self, region: Region) -> bool {
        !self.state(region).is_dirty
    }
}

#[cfg(test)]
#[path = "tests/sums.rs"]
mod tests;
