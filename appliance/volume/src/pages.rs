//! Checksums beside data: pages are read with what they describe, marked before data changes in place, written when a
//! checkpoint cleans a region or another region needs the room.
//!
//! ```text
//!  read ──┬─ data ──────────┬─▶ compare ─▶ good
//!         └─ page, if none ─┘      └─▶ again, with no write of these blocks under way ─▶ good, corrected, or damaged
//!
//!  write in place ─▶ marked? ─▶ checksums in memory ─▶ data
//!                      └ no: dirty record ─▶ flush
//! ```
//!
//! | order | what it prevents |
//! |---|---|
//! | dirty record, flush, data | after a power cut the page is believed, and the new data taken for damage |
//! | flush, although the record could be written with FUA | the record is durable behind a gap of the journal, where no import reads |
//! | page, flush, root without the region | as the first |

use crate::ImportError;
use crate::engine::{Engine, EngineError};
use crate::sums::{Room, Store, SumCounts, UNIT_BLOCKS, Verdict};
use block::{BLOCK_SIZE, BlockDevice, MediaError, Op};
use ondisk::LoadError;
use ondisk::thin::{
    Address, Au, DirtyNode, JournalRecord, NODE_POINTERS, Pointer, PoolLayout, REGION_BLOCKS, Region, Root,
    SumPage, data_checksum,
};
use task::{Mode, join};

/// How sure a read is that nobody writes the same blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    /// Somebody may.
    Quick,
    /// Nobody does: the blocks are claimed, or shared and therefore never written in place.
    Firm,
}

/// Why a read failed.
#[derive(Debug)]
pub(crate) enum Fault<B> {
    /// This block, counted from the first one, does not agree with its checksum. The buffer comes back.
    Differs {
        buf: B,
        block: usize,
    },
    Failed(EngineError),
}

impl<B> From<EngineError> for Fault<B> {
    fn from(error: EngineError) -> Self {
        Self::Failed(error)
    }
}

/// Whose turn it is: to mark a region.
const MARK: u64 = 0;

/// To scrub.
pub(crate) const SCRUB: u64 = 1;

/// To merge two layers.
pub(crate) const MERGE: u64 = 2;

/// Where the bitmap of dirty regions lies.
#[derive(Debug)]
pub(crate) struct Bitmap {
    bits: Vec<Option<Pointer>>,
    pub(crate) indexes: [Option<Pointer>; DirtyNode::INDEXES],
}

impl Bitmap {
    pub(crate) fn new(layout: &PoolLayout) -> Self {
        let blocks = layout.regions().div_ceil(DirtyNode::REGIONS) as usize;
        Self { bits: vec![None; blocks], indexes: [None; DirtyNode::INDEXES] }
    }

    /// Its blocks on the drive.
    pub(crate) fn places(&self) -> impl Iterator<Item = Address> {
        self.bits.iter().chain(&self.indexes).flatten().map(|pointer| pointer.at)
    }

    /// Blocks of it, at the most.
    pub(crate) fn blocks(&self) -> usize {
        self.bits.len() + self.bits.len().div_ceil(NODE_POINTERS)
    }

    /// Places for nodes that the next checkpoint may take for it, while the old ones are still needed: and again when it
    /// is complete, for the one after.
    pub(crate) fn places_needed(&self) -> usize {
        2 * self.blocks() - self.places().count()
    }
}

fn sums_of(data: &[u8]) -> ([u32; UNIT_BLOCKS], usize) {
    let mut sums = [0; UNIT_BLOCKS];
    let blocks = data.chunks(BLOCK_SIZE);
    let count = blocks.len();
    for (sum, block) in sums.iter_mut().zip(blocks) {
        *sum = data_checksum(block);
    }
    (sums, count)
}

impl<D: BlockDevice> Engine<D> {
    /// What was seen while data were compared with their checksums, since the engine was started.
    #[must_use]
    pub fn sum_counts(&self) -> SumCounts {
        self.sums.borrow().counts
    }

    /// Reads blocks of a unit, from `first` on, and compares them with their checksums.
    pub(crate) async fn read_unit(
        &self,
        (au, first): (Au, u32),
        buf: D::Buf,
        care: Care,
    ) -> Result<D::Buf, Fault<D::Buf>> {
        let region = self.drives().region_of(au);
        let needs_page = self.sums.borrow().needs_page(au, first, buf.as_ref().len() / BLOCK_SIZE);
        let data = self.fetch_into(au.block(first), buf);
        let buf = if needs_page {
            let (read, _) = join(data, self.load_page(region)).await;
            read?
        } else {
            data.await?
        };
        let (found, count) = sums_of(buf.as_ref());
        let verdict = self.sums.borrow_mut().compare(au, first, &found[..count]);
        match (verdict, care) {
            (Verdict::Good, _) => Ok(buf),
            (Verdict::Differs(block), Care::Quick) => Err(Fault::Differs { buf, block }),
            (Verdict::Unknown, Care::Quick) => Err(Fault::Differs { buf, block: 0 }),
            (Verdict::Differs(_) | Verdict::Unknown, Care::Firm) => {
                match self.load_page(region).await {
                    Ok(()) => {}
                    // Nothing may be written, so there may be no room for the page; reads go on.
                    Err(EngineError::Frozen) => {
                        let mut sums = self.sums.borrow_mut();
                        sums.counts.unverified += count as u64;
                        sums.give_up(region);
                        return Ok(buf);
                    }
                    Err(error) => return Err(error.into()),
                }
                let decided = self.sums.borrow_mut().decide(au, first, &found[..count]);
                match decided {
                    Ok(()) => Ok(buf),
                    Err(block) => Err(Fault::Differs { buf, block }),
                }
            }
        }
    }

    /// Writes blocks of a unit, from `first` on, in place; with `beside`, which says what else must be written at the same
    /// time. Blocks that a map may reach after a power cut must be marked first.
    pub(crate) async fn write_unit<T, E>(
        &self,
        (au, first): (Au, u32),
        buf: D::Buf,
        is_new: bool,
        beside: impl Future<Output = Result<T, E>>,
    ) -> (Result<D::Buf, EngineError>, Option<Result<T, E>>) {
        let region = self.drives().region_of(au);
        let (sums, count) = sums_of(buf.as_ref());
        loop {
            // A checkpoint may clean the region while this waits for a page.
            let ready = async {
                if !is_new {
                    self.mark(region).await?;
                }
                self.hold_page(region).await
            };
            if let Err(error) = ready.await {
                return (Err(error), None);
            }
            let mut state = self.sums.borrow_mut();
            if (is_new || state.is_marked(region)) && state.make_room(region) == Room::Ready {
                state.begin_write(au, first, &sums[..count]);
                break;
            }
        }
        let at = au.block(first);
        let write = Op::Write { lba: at.lba, buf, fua: false };
        let (data, beside) = join(self.run_with(at.member, write), beside).await;
        let mut state = self.sums.borrow_mut();
        if data.is_err() {
            state.doubt(au);
        }
        // A map record makes the region dirty; without a cache it is durable when it is written.
        state.end(region, is_new && beside.is_ok() && !self.is_volatile);
        (data, Some(beside))
    }

    /// Makes sure that an import will see that the region is dirty.
    async fn mark(&self, region: Region) -> Result<(), EngineError> {
        if self.sums.borrow().is_marked(region) {
            return Ok(());
        }
        let number = u64::from(region.0);
        let _turn = self.sum_turns.claim(MARK, number..number + 1, Mode::Exclusive).await;
        if self.sums.borrow().is_marked(region) {
            return Ok(());
        }
        self.sums.borrow_mut().begin(region);
        let written = self.write_dirty(region).await;
        self.sums.borrow_mut().end(region, written.is_ok());
        written
    }

    async fn write_dirty(&self, region: Region) -> Result<(), EngineError> {
        let lsn = self.journal.append(&JournalRecord::Dirty { first: region, regions: 1 }, |_| {}).await?;
        self.journal.applied(lsn);
        self.flush().await
    }

    /// Makes sure that the region has a page in memory, whatever it knows.
    async fn hold_page(&self, region: Region) -> Result<(), EngineError> {
        loop {
            let room = self.sums.borrow_mut().make_room(region);
            match room {
                Room::Ready => return Ok(()),
                Room::After(other) => self.store_page(other).await?,
                Room::Wait => self.pages.wait().await,
            }
        }
    }

    /// Makes sure that the page of the region is in memory with what the drive has.
    async fn load_page(&self, region: Region) -> Result<(), EngineError> {
        loop {
            self.hold_page(region).await?;
            let begun = self.sums.borrow_mut().begin_load(region);
            match begun {
                Some(false) => return Ok(()),
                Some(true) => self.fetch_page(region).await?,
                None => self.pages.wait().await,
            }
        }
    }

    async fn fetch_page(&self, region: Region) -> Result<(), EngineError> {
        let at = self.drives().sums_at(region);
        let read = self.fetch(at, 1).await;
        let mut sums = self.sums.borrow_mut();
        let owner = self.owner(at.member);
        let found = read.as_ref().map(|bytes| SumPage::decode(bytes.as_ref(), at.lba, owner));
        let nothing = || core::iter::repeat_n(0, REGION_BLOCKS);
        let result = match found {
            Ok(Ok(found)) => {
                sums.end_load(region, Some(found));
                Ok(())
            }
            // It was never written.
            Ok(Err(LoadError::Blank | LoadError::NotOurs)) => {
                sums.end_load(region, Some(nothing()));
                Ok(())
            }
            Ok(Err(_)) | Err(EngineError::Media(MediaError::Unreadable)) => {
                sums.counts.pages_lost += 1;
                sums.end_load(region, Some(nothing()));
                Ok(())
            }
            Err(error) => {
                sums.end_load(region, None::<core::iter::Empty<u32>>);
                Err(*error)
            }
        };
        self.pages.wake_all();
        result
    }

    /// Makes sure that the page of the region is on the drive as it is in memory now.
    async fn store_page(&self, region: Region) -> Result<(), EngineError> {
        loop {
            if self.state.borrow().is_frozen {
                return Err(EngineError::Frozen);
            }
            let store = self.sums.borrow_mut().begin_store(region);
            match store {
                Store::Done => return Ok(()),
                Store::Wait => self.pages.wait().await,
                Store::Load => {
                    let begun = self.sums.borrow_mut().begin_load(region);
                    assert_eq!(begun, Some(true), "nobody is busy with it");
                    self.fetch_page(region).await?;
                }
                Store::Write(sums) => {
                    let at = self.drives().sums_at(region);
                    let bytes = SumPage::encode(&sums, at.lba, self.owner(at.member));
                    let written = self.put(at, &bytes).await;
                    self.sums.borrow_mut().end_store(region, written.is_ok());
                    self.pages.wake_all();
                    return written;
                }
            }
        }
    }

    /// For a checkpoint: writes the pages of the regions that it cleans.
    pub(crate) async fn write_sums(&self) -> Result<(), EngineError> {
        for n in 0.. {
            let next = self.sums.borrow().cleaning(n);
            let Some(region) = next else { break };
            self.store_page(region).await?;
        }
        Ok(())
    }

    /// For a checkpoint: writes what changed of the bitmap; gives the places that the root before needs and this one does not.
    pub(crate) async fn write_bitmap(&self, generation: u64) -> Result<Vec<Address>, EngineError> {
        let mut stale = Vec::new();
        let blocks = self.state.borrow().bitmap.bits.len();
        for index in 0..blocks.div_ceil(NODE_POINTERS) {
            let mut has_changed = false;
            for block in index * NODE_POINTERS..blocks.min((index + 1) * NODE_POINTERS) {
                let bits = self.sums.borrow_mut().bits(Self::first_of(block));
                let Some(bits) = bits else { continue };
                let pointer = self.put_bitmap(bits, Self::first_of(block), generation).await?;
                let mut state = self.state.borrow_mut();
                stale.extend(core::mem::replace(&mut state.bitmap.bits[block], pointer));
                has_changed = true;
            }
            if !has_changed {
                continue;
            }
            let node = self.state.borrow().bitmap.index(index);
            let first = Self::first_of(index * NODE_POINTERS);
            let pointer = self.put_bitmap(node, first, generation).await?;
            let mut state = self.state.borrow_mut();
            stale.extend(core::mem::replace(&mut state.bitmap.indexes[index], pointer));
        }
        Ok(stale.into_iter().map(|pointer| pointer.at).collect())
    }

    async fn put_bitmap(
        &self,
        node: Option<DirtyNode>,
        first: Region,
        generation: u64,
    ) -> Result<Option<Pointer>, EngineError> {
        let Some(node) = node else { return Ok(None) };
        let at = self.allocate_node(&mut self.state.borrow_mut())?;
        let (bytes, pointer) = node.encode(first, generation, at, self.owner(at.member));
        self.put(at, &bytes).await?;
        Ok(Some(pointer))
    }

    /// For an import: the regions that the root calls dirty; where that cannot be read, all regions are taken for dirty.
    pub(crate) async fn load_bitmap(&self, root: &Root) -> Result<(), ImportError> {
        let (blocks, regions) = (self.state.borrow().bitmap.bits.len(), self.drives().layout.regions());
        for (pointer, index) in root.dirty.iter().zip(0..) {
            let Some(pointer) = pointer else { continue };
            let range = index * NODE_POINTERS..(index + 1) * NODE_POINTERS;
            if range.start >= blocks {
                return Err(ImportError::Impossible(pointer.at));
            }
            self.state.borrow_mut().bitmap.indexes[index] = Some(*pointer);
            let Some(DirtyNode::Index(children)) = self.load_dirty(pointer, 1, range.start).await? else {
                self.import_all(range.start, range.end.min(blocks));
                continue;
            };
            for (child, block) in children.iter().zip(range) {
                let Some(child) = child else { continue };
                if block >= blocks {
                    return Err(ImportError::Impossible(child.at));
                }
                self.state.borrow_mut().bitmap.bits[block] = Some(*child);
                let Some(DirtyNode::Bits(bits)) = self.load_dirty(child, 0, block).await? else {
                    self.import_all(block, block + 1);
                    continue;
                };
                for n in (0..DirtyNode::REGIONS).filter(|n| bits[*n as usize / 8] >> (n % 8) & 1 == 1) {
                    let region = Region(Self::first_of(block).0 + n);
                    if region.0 >= regions {
                        return Err(ImportError::Impossible(child.at));
                    }
                    self.sums.borrow_mut().import(region, true);
                }
            }
        }
        Ok(())
    }

    /// The first region of a block of the bitmap.
    fn first_of(block: usize) -> Region {
        Region(u32::try_from(block).unwrap_or(u32::MAX).saturating_mul(DirtyNode::REGIONS))
    }

    /// Reads a block of the bitmap, the first or only one of whose level 0 is `block`; `None` if it is damaged.
    async fn load_dirty(
        &self,
        pointer: &Pointer,
        level: u8,
        block: usize,
    ) -> Result<Option<DirtyNode>, ImportError> {
        let is_node = self.state.borrow().space.is_node(pointer.at);
        if !self.drives().layout.is_usable_at(pointer.at) || is_node {
            return Err(ImportError::Impossible(pointer.at));
        }
        self.place_node(pointer.at)?;
        match self.fetch_metadata(pointer.at, 1).await {
            Ok(bytes) => {
                let place = (level, Self::first_of(block));
                Ok(DirtyNode::decode(bytes.as_ref(), pointer, place, self.owner(pointer.at.member)).ok())
            }
            Err(ImportError::Unreadable { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn import_all(&self, block: usize, end: usize) {
        let regions = Self::first_of(block).0..Self::first_of(end).0.min(self.drives().layout.regions());
        let mut sums = self.sums.borrow_mut();
        regions.for_each(|region| sums.import(Region(region), false));
    }

    /// For an import: the regions that a record makes dirty, whatever else becomes of it.
    pub(crate) fn import_record(&self, record: &JournalRecord, by: Address) -> Result<(), ImportError> {
        let drives = self.drives();
        let (first, regions) = match record {
            JournalRecord::Map(map) => {
                (drives.layout.region_of(map.own.au).ok_or(ImportError::Impossible(by))?.0, 1)
            }
            JournalRecord::Dirty { first, regions } => (first.0, *regions),
            JournalRecord::Trim { .. }
            | JournalRecord::Create { .. }
            | JournalRecord::Delete { .. }
            | JournalRecord::Attributes { .. }
            | JournalRecord::Grow { .. } => return Ok(()),
        };
        let end = first.checked_add(regions).filter(|end| *end <= drives.layout.regions());
        let regions = first..end.ok_or(ImportError::Impossible(by))?;
        let mut sums = self.sums.borrow_mut();
        regions.for_each(|region| sums.import(Region(region), false));
        Ok(())
    }
}

impl Bitmap {
    /// The index of some blocks, if any of them is there.
    fn index(&self, index: usize) -> Option<DirtyNode> {
        let mut pointers = Box::new([None; NODE_POINTERS]);
        for (to, from) in pointers.iter_mut().zip(self.bits.iter().skip(index * NODE_POINTERS)) {
            *to = *from;
        }
        pointers.iter().any(Option::is_some).then_some(DirtyNode::Index(pointers))
    }
}
