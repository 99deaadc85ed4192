//! Reads, writes and trims of volumes.
//!
//! | case | commands |
//! |---|---|
//! | overwrite of own blocks | 1 write |
//! | first write, also after a snapshot | 1 write and 1 journal block, together; no read |
//! | first write over two layers that are shared | the 64 KiB unit is read, and written with what is new; few at a time |
//! | read | 1 read for each piece that lies together, and beside it the page of its checksums if that is not in memory |
//! | overwrite in a region that was clean | 1 journal block more, once |
//! | trim | 1 journal block for each leaf of the map (16 MiB) |
//!
//! A read of pieces that lie apart cuts its buffer, so it needs no other memory.

use crate::engine::{Engine, EngineError, State};
use crate::limits::{MERGES_MAX, NODE_WORK};
use crate::map::normal;
use crate::pages::{Care, Fault, MERGE};
use block::{BLOCK_SIZE, BlockDevice, Blocks, IoBuf, MediaError};
use core::future::ready;
use core::ops::Range;
use ondisk::thin::{
    AU_BLOCKS, Au, JournalRecord, LEAF_UNITS, Lsn, MapEntry, MapNode, MapRecord, Piece, UNIT_MASK_FULL,
    VolumeKind, data_checksum, units_of,
};
use task::Mode;

/// A request within one unit.
#[derive(Clone, Copy, Debug)]
struct Place {
    volume: u32,
    unit: u64,
    /// First block in the unit.
    first: u32,
    blocks: u32,
}

/// How a write is done.
#[derive(Clone, Copy, Debug)]
enum Plan {
    /// In place, once records up to this one need no comparison any more.
    Overwrite { au: Au, settle: Option<Lsn> },
    /// Blocks of the own unit that it did not have yet.
    Extend { au: Au, new: u16, settle: Option<Lsn> },
    /// A unit of its own, over this base.
    Fresh { base: Option<Piece> },
    /// A unit of its own, with everything of this entry in it.
    Merge { entry: MapEntry },
}

impl Place {
    fn mask(self) -> u16 {
        let ones = UNIT_MASK_FULL.checked_shr(16 - self.blocks).unwrap_or(0);
        ones << self.first
    }

    fn blocks(self) -> Range<u64> {
        let first = self.unit * AU_BLOCKS + u64::from(self.first);
        first..first + u64::from(self.blocks)
    }

    fn error<B>(self, fault: &Fault<B>) -> EngineError {
        match fault {
            Fault::Failed(error) => *error,
            Fault::Differs { block, .. } => {
                EngineError::Damaged { volume: self.volume, block: self.blocks().start + *block as u64 }
            }
        }
    }
}

/// The checksums of the blocks of `mask`, lowest first; `buf` holds the blocks from `first` on.
fn sums(mask: u16, first: u32, buf: &[u8]) -> [u32; 16] {
    let mut sums = [0; 16];
    let blocks = buf.chunks(BLOCK_SIZE).zip(first..).filter(|(_, block)| mask >> block & 1 == 1);
    for (sum, (block, _)) in sums.iter_mut().zip(blocks) {
        *sum = data_checksum(block);
    }
    sums
}

/// Makes a map record current.
pub(crate) fn apply_map(state: &mut State, record: &MapRecord) {
    let State { map, space, volumes, .. } = state;
    let Some(volume) = volumes.get_mut(&record.volume) else { return };
    let level = MapNode::level_for(units_of(volume.blocks));
    let (old, _) = map.lookup(volume.root, record.unit);
    let entry = match old {
        _ if record.is_fresh => MapEntry { own: record.own, base: record.base },
        Some(entry) if entry.own.au == record.own.au => {
            let own = Piece { mask: entry.own.mask | record.own.mask, ..entry.own };
            MapEntry { own, ..entry }
        }
        // What this one adds to was dropped.
        Some(_) | None => return,
    };
    volume.root = Some(map.replace(volume.root, level, record.unit, normal(entry), space));
}

/// Makes a trim current; says of which units it took the own one away.
pub(crate) fn apply_trim(
    state: &mut State,
    number: u32,
    (first, blocks): (u64, Blocks),
    mut taken: impl FnMut(u64, Au),
) {
    let State { map, space, volumes, .. } = state;
    let Some(volume) = volumes.get_mut(&number) else { return };
    let level = MapNode::level_for(units_of(volume.blocks));
    let end = first + blocks.0;
    for unit in first / AU_BLOCKS..end.div_ceil(AU_BLOCKS) {
        let (Some(entry), _) = map.lookup(volume.root, unit) else { continue };
        let start = unit * AU_BLOCKS;
        let from = u32::try_from(first.saturating_sub(start)).unwrap_or(0);
        let to = u32::try_from((end - start).min(AU_BLOCKS)).unwrap_or(0);
        let gone = (from..to).fold(0_u16, |mask, block| mask | 1 << block);
        let without = |piece: Piece| Piece { mask: piece.mask & !gone, ..piece };
        let left = normal(MapEntry { own: without(entry.own), base: entry.base.map(without) });
        if left.is_none_or(|left| left.own.au != entry.own.au) {
            taken(unit, entry.own.au);
        }
        if left != Some(entry) {
            volume.root = Some(map.replace(volume.root, level, unit, left, space));
        }
    }
}

impl<D: BlockDevice> Engine<D> {
    fn place(&self, volume: u32, first: u64, len: usize) -> Result<Place, EngineError> {
        let blocks = Blocks::of_buffer(len).filter(|b| b.0 > 0).ok_or(EngineError::OutOfRange)?;
        let end = first.checked_add(blocks.0).ok_or(EngineError::OutOfRange)?;
        let is_inside =
            end <= self.state.borrow().volume(volume)?.blocks.0 && first / AU_BLOCKS == (end - 1) / AU_BLOCKS;
        let within = u32::try_from(first % AU_BLOCKS).ok();
        match (within, u32::try_from(blocks.0).ok()) {
            (Some(first_in), Some(blocks)) if is_inside => {
                Ok(Place { volume, unit: first / AU_BLOCKS, first: first_in, blocks })
            }
            _ => Err(EngineError::OutOfRange),
        }
    }

    fn is_writable(&self, volume: u32) -> Result<(), EngineError> {
        let kind = self.state.borrow().volume(volume)?.kind;
        if kind == VolumeKind::Volume { Ok(()) } else { Err(EngineError::NoSuchVolume) }
    }

    /// Reads blocks of a volume that lie within one unit.
    ///
    /// # Errors
    /// If there are no such blocks, or the drive fails.
    pub async fn read(&self, volume: u32, first: u64, buf: D::Buf) -> Result<D::Buf, EngineError> {
        let place = self.place(volume, first, buf.as_ref().len())?;
        let begun = self.state.borrow_mut().space.begin();
        let result = self.read_checked(place, buf).await;
        self.state.borrow_mut().space.end(begun);
        self.leave();
        result
    }

    async fn read_checked(&self, place: Place, buf: D::Buf) -> Result<D::Buf, EngineError> {
        let buf = match self.read_at(place, buf, Care::Quick).await {
            Ok(buf) => return Ok(buf),
            Err(Fault::Failed(error)) => return Err(error),
            Err(Fault::Differs { buf, .. }) => buf,
        };
        // A write of the same blocks may have been under way: they are read again while there is none.
        let _blocks = self.claims.claim(u64::from(place.volume), place.blocks(), Mode::Shared).await;
        self.read_at(place, buf, Care::Firm).await.map_err(|fault| place.error(&fault))
    }

    async fn read_at(&self, place: Place, buf: D::Buf, care: Care) -> Result<D::Buf, Fault<D::Buf>> {
        let entry = {
            let state = self.state.borrow();
            let root = state.volume(place.volume)?.root;
            if state.map.is_lost(root, place.unit) {
                return Err(EngineError::Media(MediaError::Unreadable).into());
            }
            state.map.lookup(root, place.unit).0
        };
        let lba_of = |block: u32| entry.and_then(|entry| entry.block(block));
        let (mut at, mut rest, mut done) = (0, Some(buf), None::<D::Buf>);
        // The first block that is not what it should be; what follows is not read any more.
        let mut differs = None;
        while let Some(mut piece) = rest.take() {
            let start = lba_of(place.first + at);
            let follows = |n: u32| match (start, lba_of(place.first + at + n)) {
                (None, None) => true,
                (Some(start), Some(next)) => next == start.after(n),
                _ => false,
            };
            let run = (1..place.blocks - at).find(|n| !follows(*n)).unwrap_or(place.blocks - at);
            if at + run < place.blocks {
                rest = Some(piece.split_off(run as usize * BLOCK_SIZE));
            }
            match start.and_then(Au::of).map(|au| (au, place.first + at)) {
                _ if differs.is_some() => {}
                None => piece.as_mut().fill(0),
                Some(unit) => match self.read_unit(unit, piece, care).await {
                    Ok(read) => piece = read,
                    Err(Fault::Differs { buf, block }) => {
                        piece = buf;
                        differs = Some(at as usize + block);
                    }
                    Err(Fault::Failed(error)) => return Err(Fault::Failed(error)),
                },
            }
            done = Some(match done.take() {
                None => piece,
                Some(mut done) => {
                    done.rejoin(piece);
                    done
                }
            });
            at += run;
        }
        let buf = done.expect("a request has blocks");
        match differs {
            None => Ok(buf),
            Some(block) => Err(Fault::Differs { buf, block }),
        }
    }

    /// Writes blocks of a volume that lie within one unit. When it is done it survives a power cut if the drive has no
    /// volatile cache; otherwise a flush that begins later makes it so. The buffer comes back.
    ///
    /// # Errors
    /// If there are no such blocks, no space, or the drive fails.
    pub async fn write(&self, volume: u32, first: u64, buf: D::Buf) -> Result<D::Buf, EngineError> {
        let _door = self.admit().await?;
        self.is_writable(volume)?;
        let place = self.place(volume, first, buf.as_ref().len())?;
        let begun = self.state.borrow_mut().space.begin();
        let result = self.write_at(place, buf).await;
        self.state.borrow_mut().space.end(begun);
        result
    }

    async fn write_at(&self, place: Place, buf: D::Buf) -> Result<D::Buf, EngineError> {
        let owner = u64::from(place.volume);
        {
            let _blocks = self.claims.claim(owner, place.blocks(), Mode::Exclusive).await;
            if let Plan::Overwrite { au, settle } = self.plan(place)? {
                return self.overwrite(place, au, settle, buf).await;
            }
        }
        let unit = place.unit * AU_BLOCKS..(place.unit + 1) * AU_BLOCKS;
        let _unit = self.claims.claim(owner, unit, Mode::Exclusive).await;
        match self.plan(place)? {
            Plan::Overwrite { au, settle } => self.overwrite(place, au, settle, buf).await,
            Plan::Extend { au, new, settle } => {
                if let Some(lsn) = settle {
                    self.settle(lsn).await?;
                }
                self.map_write(place, Piece { au, mask: new }, None, false, buf).await
            }
            Plan::Fresh { base } => {
                let au = self.allocate().await?;
                self.map_write(place, Piece { au, mask: place.mask() }, base, true, buf).await
            }
            Plan::Merge { entry } => self.merge(place, entry, buf).await,
        }
    }

    fn plan(&self, place: Place) -> Result<Plan, EngineError> {
        let state = self.state.borrow();
        let root = state.volume(place.volume)?.root;
        let (entry, is_shared) = state.map.lookup(root, place.unit);
        let Some(entry) = entry else { return Ok(Plan::Fresh { base: None }) };
        if is_shared || state.space.refs(entry.own.au) > 1 {
            let is_left = |piece: &Piece| piece.mask & !place.mask() != 0;
            let (own, base) = (Some(entry.own).filter(is_left), entry.base.filter(is_left));
            return Ok(match (own, base) {
                (Some(_), Some(_)) => Plan::Merge { entry },
                (own, base) => Plan::Fresh { base: own.or(base) },
            });
        }
        let au = entry.own.au;
        let unsettled = state.unsettled.get(&au).filter(|(mask, _)| mask & place.mask() != 0);
        let settle = unsettled.map(|(_, lsn)| *lsn).filter(|lsn| *lsn > self.journal.mark());
        let new = place.mask() & !entry.own.mask;
        Ok(if new == 0 { Plan::Overwrite { au, settle } } else { Plan::Extend { au, new, settle } })
    }

    async fn overwrite(
        &self,
        place: Place,
        au: Au,
        settle: Option<Lsn>,
        buf: D::Buf,
    ) -> Result<D::Buf, EngineError> {
        if let Some(lsn) = settle {
            self.settle(lsn).await?;
        }
        self.write_unit((au, place.first), buf, false, ready(Ok::<_, EngineError>(()))).await.0
    }

    /// A unit for data. If none is free, the end of a checkpoint or a flush may free what waits for it.
    async fn allocate(&self) -> Result<Au, EngineError> {
        let take = || {
            let mut state = self.state.borrow_mut();
            let reserve = state.nodes_needed() + NODE_WORK;
            state.space.allocate(reserve)
        };
        if let Some(au) = take() {
            return Ok(au);
        }
        let is_waiting = || self.state.borrow().space.is_waiting();
        if is_waiting() && self.checkpoints.is_running.get() {
            self.checkpoints.ended.wait().await;
        }
        if is_waiting() && self.is_volatile {
            self.flush().await?;
        }
        take().ok_or(EngineError::Full)
    }

    /// Data and record together; when both are written, the map knows.
    async fn map_write(
        &self,
        place: Place,
        own: Piece,
        base: Option<Piece>,
        is_fresh: bool,
        buf: D::Buf,
    ) -> Result<D::Buf, EngineError> {
        let sums = sums(own.mask, place.first, buf.as_ref());
        let record = MapRecord { volume: place.volume, unit: place.unit, own, base, is_fresh, sums };
        let stored = JournalRecord::Map(record);
        let note = |lsn| {
            let mut state = self.state.borrow_mut();
            let (mask, until) = state.unsettled.entry(own.au).or_insert((0, lsn));
            (*mask, *until) = (*mask | own.mask, lsn);
        };
        let append = self.journal.append(&stored, note);
        let (data, lsn) = self.write_unit((own.au, place.first), buf, is_fresh, append).await;
        let Some(lsn) = lsn else { return data };
        if data.is_err() {
            self.journal.give_up();
        }
        let buf = data?;
        let lsn = lsn?;
        self.finish(lsn, |state| apply_map(state, &record));
        Ok(buf)
    }

    /// A third layer would be needed: everything goes into one new unit instead.
    async fn merge(&self, place: Place, entry: MapEntry, buf: D::Buf) -> Result<D::Buf, EngineError> {
        let whole = Place { first: 0, blocks: 16, ..place };
        // There is memory for so many.
        let lane = place.unit % MERGES_MAX;
        let _lane = self.sum_turns.claim(MERGE, lane..lane + 1, Mode::Exclusive).await;
        let unit = (self.memory)(16 * BLOCK_SIZE);
        // All of it is shared, so nobody writes it in place.
        let merged = self.read_at(whole, unit, Care::Firm).await;
        let mut merged = merged.map_err(|fault| whole.error(&fault))?;
        let start = place.first as usize * BLOCK_SIZE;
        merged.as_mut()[start..start + buf.as_ref().len()].copy_from_slice(buf.as_ref());
        let au = self.allocate().await?;
        let base = entry.base.map_or(0, |base| base.mask);
        // Blocks that nobody wrote stay so: they go to the drive with the others, and the map does not know them.
        let own = Piece { au, mask: entry.own.mask | base | place.mask() };
        self.map_write(whole, own, None, true, merged).await.map(|_| buf)
    }

    /// Blocks of a volume read as zeroes from now on, and units without any block are free. Leaf by leaf: so a trim of
    /// whatever length changes no more nodes at once than a write.
    ///
    /// # Errors
    /// If there are no such blocks, the drive fails, or the pool is too full for the map of what is shared with a snapshot to
    /// be copied; then some blocks may have been trimmed.
    pub async fn trim(&self, volume: u32, first: u64, blocks: Blocks) -> Result<(), EngineError> {
        self.is_writable(volume)?;
        let end = first.checked_add(blocks.0).ok_or(EngineError::OutOfRange)?;
        if blocks.0 == 0 || end > self.state.borrow().volume(volume)?.blocks.0 {
            return Err(EngineError::OutOfRange);
        }
        let leaf_blocks = LEAF_UNITS as u64 * AU_BLOCKS;
        let mut at = first;
        while at < end {
            let until = end.min((at / leaf_blocks + 1) * leaf_blocks);
            self.trim_in_leaf(volume, at, Blocks(until - at)).await?;
            at = until;
        }
        Ok(())
    }

    async fn trim_in_leaf(&self, volume: u32, first: u64, blocks: Blocks) -> Result<(), EngineError> {
        let _door = self.admit().await?;
        let units = first / AU_BLOCKS * AU_BLOCKS..(first + blocks.0).next_multiple_of(AU_BLOCKS);
        let _units = self.claims.claim(u64::from(volume), units, Mode::Exclusive).await;
        let root = self.state.borrow().volume(volume)?.root;
        if self.state.borrow().map.lookup(root, first / AU_BLOCKS).1 {
            self.check_node_room()?;
        }
        let lsn = self.journal.append(&JournalRecord::Trim { volume, first, blocks }, |_| {}).await?;
        self.finish(lsn, |state| apply_trim(state, volume, (first, blocks), |_, _| {}));
        Ok(())
    }
}
