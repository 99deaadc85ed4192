//! From drives to an engine: formatting a blank drive, and finding everything again after whatever happened.
//!
//! ```text
//!  superblock ─▶ newest root ─▶ volume table ─▶ maps ─▶ journal ─▶ attributes ─▶ checkpoint with a new epoch ─▶ served
//! ```
//!
//! The journal is read twice: first to its end, for the last settle mark, then to replay it. A map record above the mark
//! counts only if the data agree with its checksums: it was written together with them, and either may be missing.
//!
//! The journal ends where its ring is blank, or has a block of an earlier lap or life. All places of the ring are looked at: if
//! a block behind that place says that more was durable, the journal lost a block and this is not its end. A damaged block at
//! that place may have been the last one that was confirmed. Either way going on would lose what was promised, and show one
//! volume's data to another that gave up the space in a record that is missing: the pool is not served.
//!
//! A damaged block of a map, of the volume table or of attributes costs what it names and, since nobody knows any more which units are free, all
//! changes: the pool is frozen, and everything else is read as ever.
//!
//! The maps may be newer than the first records: they have some of the changes that were made while their checkpoint was
//! written. Replaying these again gives what they gave, but for one case: a trim, now followed by fewer blocks than then, takes
//! the last one of a unit, and the record that added to this unit later would find it gone. So what a trim took away here is
//! kept in mind, and such a record brings it back.
//!
//! Nothing is written before everything has been understood. First the homes that lack the root get it: the checkpoint
//! overwrites what the root before it needs, so the one that was found must not be lost with a single home. What may still be
//! in the cache of a drive that kept running is flushed. The new epoch of the checkpoint at the end makes the blocks of the
//! old journal void: otherwise those that lie behind a gap would be taken for the continuation of the new one.

use crate::attributes::Attributes;
use crate::change::{apply_create, apply_delete, apply_grow};
use crate::drives::{Drive, Drives};
use crate::engine::{Engine, EngineError, Memory, State, Volume};
use crate::io::{apply_map, apply_trim};
use crate::limits::{COMPARE_READS_MAX, JOURNAL_BLOCKS_MIN, ZERO_BLOCKS_MAX};
use crate::rules;
use block::{BLOCK_SIZE, BlockDevice, Blocks, Geometry, Lba, MediaError, Op};
use core::ops::Range;
use ondisk::thin::{
    Address, Au, HOMES, HomeSlot, JournalBlock, JournalHead, JournalRecord, Lsn, MapRecord, Member,
    PoolLayout, Root, Superblock, ThinIdentity, data_checksum,
};
use ondisk::{Inconsistency, LoadError, Name};
use std::collections::BTreeMap;
use std::rc::Rc;
use task::{Core, Devices};
use thiserror::Error;

/// Why a drive cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImportError {
    /// No home has a good superblock.
    #[error("no superblock: {0}")]
    NoSuperblock(LoadError),
    /// The drive is smaller than it was.
    #[error("the drive shrank")]
    Shrank,
    /// No home has a good root.
    #[error("no root")]
    NoRoot,
    /// The newest root that is left may not be the last one: every copy of the other slot is damaged.
    #[error("generation {generation} is followed by damage in every home")]
    RootLost {
        /// The newest one that is left.
        generation: u64,
    },
    /// A block that the root needs, or the next one of the journal, cannot be read.
    #[error("{at} cannot be read")]
    Unreadable {
        /// Where.
        at: Address,
    },
    /// A block that the root needs, or the next one of the journal, is damaged.
    #[error("{at}: {error}")]
    Damaged {
        /// Where.
        at: Address,
        /// How.
        error: LoadError,
    },
    /// Something else lies where a block was durable before the root that needs it was written.
    #[error("{at} was durable, and now {error}: the drive does not keep what it confirms")]
    NotKept {
        /// Where.
        at: Address,
        /// What is there.
        error: LoadError,
    },
    /// A journal block was durable, and is not there.
    #[error(
        "journal block {sequence} is missing, and a later one says that it was durable: the drive does not keep what it confirms"
    )]
    JournalGap {
        /// Its sequence number.
        sequence: u64,
    },
    /// A good block says what cannot be, beside what is known already.
    #[error("{0} contradicts what the others say")]
    Impossible(Address),
    /// More drives belong to the pool than one.
    #[error("the pool has {0} drives, and only one can be served")]
    Members(u16),
    /// The drive failed.
    #[error("{0}")]
    Engine(#[from] EngineError),
}

impl ImportError {
    /// Why a block that a root reaches is not the one that it means. A root is written when everything below it is durable, so
    /// something else that is whole in its place is not damage: a write was lost, or a flush was a lie.
    pub(crate) fn of_node(at: Address, error: LoadError) -> Self {
        match error {
            LoadError::Blank | LoadError::NotOurs | LoadError::Inconsistent(Inconsistency::OtherNode) => {
                Self::NotKept { at, error }
            }
            LoadError::Truncated { .. }
            | LoadError::Version { .. }
            | LoadError::Checksum { .. }
            | LoadError::Misplaced { .. }
            | LoadError::Inconsistent(_) => Self::Damaged { at, error },
        }
    }
}

/// What lies at the place of a journal block.
enum Found {
    Block(JournalHead, Vec<JournalRecord>),
    /// Nothing, or a block of an earlier lap or life.
    Other,
    Damaged(ImportError),
}

/// By volume and unit: the own unit that a trim took away since the replay began.
type Taken = BTreeMap<(u32, u64), Au>;

/// What a new pool is to be.
#[derive(Clone, Debug)]
pub struct NewPool {
    /// Of the pool and its drive.
    pub identity: ThinIdentity,
    /// For people.
    pub name: Name,
    /// Length of the journal: a multiple of a unit, and [`JOURNAL_BLOCKS_MIN`] at least.
    pub journal_blocks: u64,
}

/// Makes an empty pool of one drive. What made the drive a pool before goes first, and what makes it one now comes last: a drive
/// that was cut off is as it was, or blank. The journal gets blank: later anything else than a journal block in it is damage.
///
/// # Errors
/// If the drive is too small, may tear blocks when it loses power, or fails.
pub async fn format<D: BlockDevice>(
    core: &Rc<Core>,
    devices: Rc<Devices<D>>,
    memory: Rc<Memory<D::Buf>>,
    new: NewPool,
) -> Result<Engine<D>, EngineError> {
    let blocks = geometry(&devices)?.blocks;
    let NewPool { identity, name, journal_blocks } = new;
    let superblock = Superblock {
        identity,
        name,
        generation: 1,
        member: 0,
        member_count: 1,
        lanes: 1,
        blocks,
        journal_blocks,
    };
    let layout = superblock.layout().filter(|_| journal_blocks >= JOURNAL_BLOCKS_MIN);
    let layout = layout.ok_or(EngineError::OutOfRange)?;
    let layout = PoolLayout::new([layout]).ok_or(EngineError::OutOfRange)?;
    let drives = Drives { all: vec![Drive::new(&devices, 0, identity)], layout };
    let engine = Engine::empty(core, devices, memory, drives);
    let drives = engine.drives();
    for (member, home) in drives.homes() {
        engine.zero(drives.home_at(member, home), 1).await?;
    }
    engine.flush().await?;
    for (member, home) in drives.homes() {
        for parity in 0..2 {
            engine.zero(drives.root_at(member, HomeSlot { home, parity }), 1).await?;
        }
    }
    engine.zero(drives.layout.journal_at(0), journal_blocks).await?;
    engine.checkpoint_inside().await?;
    for (member, home) in drives.homes() {
        let at = drives.home_at(member, home);
        engine.put(at, &superblock.encode(home, at.lba)).await?;
    }
    engine.flush().await?;
    Ok(engine)
}

/// Opens the pool of one drive. Nothing may use the engine before this has ended. If a block of the maps, of the volume table or
/// of attributes is damaged, nothing is written and the pool is frozen: see [`Engine::damage`].
///
/// # Errors
/// If the drive holds no pool, or one that cannot be served; then nothing was written.
pub async fn import<D: BlockDevice>(
    core: &Rc<Core>,
    devices: Rc<Devices<D>>,
    memory: Rc<Memory<D::Buf>>,
) -> Result<Engine<D>, ImportError> {
    let capacity = geometry(&devices)?.blocks;
    let superblock = find_superblock(&devices, memory.as_ref()).await?;
    let layout = superblock.layout().filter(|_| superblock.blocks <= capacity).ok_or(ImportError::Shrank)?;
    rules::check_superblock(&superblock)?;
    let layout = PoolLayout::new([layout]).ok_or(ImportError::Shrank)?;
    let drives = Drives { all: vec![Drive::new(&devices, 0, superblock.identity)], layout };
    let engine = Engine::empty(core, devices, memory, drives);
    let root = engine.find_root().await?;
    rules::check_root(&root, &engine.drives())?;
    engine.load(&root).await?;
    engine.load_bitmap(&root).await?;
    let next = engine.replay(&root).await?;
    engine.load_attributes().await?;
    if !engine.damage().is_empty() {
        engine.freeze();
        return Ok(engine);
    }
    rules::check_room(&engine.state.borrow())?;
    engine.state.borrow_mut().generation = root.generation;
    engine.journal.restart(next, root.epoch + 1);
    engine.apply(|_| {});
    engine.repair_homes(&superblock, &root).await?;
    engine.checkpoint_inside().await?;
    Ok(engine)
}

/// Of a drive that can be used: a block is old or new after a loss of power, never half of each. Overwrites in place, homes
/// and the end of the journal rely on that.
fn geometry<D: BlockDevice>(devices: &Devices<D>) -> Result<Geometry, EngineError> {
    let geometry = devices.with(0, |d| d.geometry());
    if geometry.is_block_atomic { Ok(geometry) } else { Err(EngineError::TearsBlocks) }
}

async fn find_superblock<D: BlockDevice>(
    devices: &Devices<D>,
    memory: &Memory<D::Buf>,
) -> Result<Superblock, ImportError> {
    let aus = devices.with(0, |d| d.geometry().blocks.0) / ondisk::thin::AU_BLOCKS;
    let mut last = LoadError::Blank;
    for home in 0..HOMES {
        // The layout is not known yet; the homes at the end are found from the capacity.
        let au = if home < 2 { u64::from(home) } else { aus.saturating_sub(4 - u64::from(home)) };
        let lba = Lba(au * ondisk::thin::AU_BLOCKS);
        let completion = devices.run(0, Op::Read { lba, buf: memory(BLOCK_SIZE) }).await;
        let Some(buf) = completion.buf.filter(|_| completion.result.is_ok()) else { continue };
        match Superblock::decode(buf.as_ref(), home, lba) {
            Ok(found) => return Ok(found),
            Err(error) => last = error,
        }
    }
    Err(ImportError::NoSuperblock(last))
}

impl<D: BlockDevice> Engine<D> {
    /// Makes blocks blank.
    async fn zero(&self, first: Address, blocks: u64) -> Result<(), EngineError> {
        let mut done = 0;
        while done < blocks {
            let (lba, piece) = (Lba(first.lba.0 + done), Blocks((blocks - done).min(ZERO_BLOCKS_MAX)));
            self.run(first.member, Op::WriteZeroes { lba, blocks: piece, fua: false }).await?;
            done += piece.0;
        }
        Ok(())
    }

    /// The root with the highest generation. That it is the last one is certain if some copy of the other slot is good or
    /// was never written.
    async fn find_root(&self) -> Result<Root, ImportError> {
        let mut newest: Option<Root> = None;
        let mut is_known = [false; 2];
        let drives = self.drives();
        for (member, home) in drives.homes() {
            for parity in 0..2 {
                let slot = HomeSlot { home, parity };
                let at = drives.root_at(member, slot);
                let Ok(buf) = self.fetch(at, 1).await else { continue };
                match Root::decode(buf.as_ref(), slot, at.lba, drives.owner(member)) {
                    Ok(root) => {
                        is_known[usize::from(parity)] = true;
                        if newest.as_ref().is_none_or(|n| n.generation < root.generation) {
                            newest = Some(root);
                        }
                    }
                    Err(LoadError::Blank) => is_known[usize::from(parity)] = true,
                    Err(_) => {}
                }
            }
        }
        let root = newest.ok_or(ImportError::NoRoot)?;
        let other = usize::from(1 - Root::slot(root.generation, 0).parity);
        if is_known[other] { Ok(root) } else { Err(ImportError::RootLost { generation: root.generation }) }
    }

    /// Replays the journal; gives the sequence number with which it goes on.
    async fn replay(&self, root: &Root) -> Result<u64, ImportError> {
        let (next, settled) = self.find_end(root).await?;
        let (mut at, mut taken) = (root.journal_sequence, Taken::new());
        let drives = self.drives();
        while at < next {
            let by = |at| drives.layout.journal_at(at);
            for found in self.fetch_journal(root.epoch, at..next).await? {
                let Found::Block(_, records) = found else {
                    return Err(ImportError::JournalGap { sequence: at });
                };
                for (record, index) in records.into_iter().zip(0..) {
                    self.import_record(&record, by(at))?;
                    if rules::is_of_lost(&self.state.borrow(), &record) {
                        if let JournalRecord::Create { volume, .. } = record {
                            self.state.borrow_mut().next_volume = volume.saturating_add(1);
                        }
                        continue;
                    }
                    let is_possible = rules::is_possible(&self.state.borrow(), &drives.layout, &record);
                    if !is_possible {
                        return Err(ImportError::Impossible(by(at)));
                    }
                    self.replay_record(record, Lsn::new(at, index) <= settled, &mut taken).await?;
                }
                at += 1;
            }
        }
        Ok(next)
    }

    /// Where the journal ends, and its last settle mark.
    async fn find_end(&self, root: &Root) -> Result<(u64, Lsn), ImportError> {
        let window = root.journal_sequence..root.journal_sequence + self.journal.blocks();
        let (mut at, mut settled, mut end) = (window.start, Lsn(0), None);
        while at < window.end {
            for found in self.fetch_journal(root.epoch, at..window.end).await? {
                match (found, end) {
                    (Found::Block(head, _), None) => settled = settled.max(head.settled),
                    (Found::Other, None) => end = Some(at),
                    (Found::Damaged(error), None) => return Err(error),
                    (Found::Block(head, _), Some(end)) if head.durable > end => {
                        return Err(ImportError::JournalGap { sequence: end });
                    }
                    // Never confirmed, or not needed any more.
                    (Found::Block(..) | Found::Other | Found::Damaged(_), Some(_)) => {}
                }
                at += 1;
            }
        }
        Ok((end.unwrap_or(window.end), settled))
    }

    /// What lies at the places of journal blocks: of the first of `sequences`, and as many more as the drive reads at once.
    async fn fetch_journal(&self, epoch: u64, sequences: Range<u64>) -> Result<Vec<Found>, ImportError> {
        let drives = self.drives();
        let transfer_max = self.devices.with(drives.device(Member::FIRST), |d| d.geometry().transfer_max.0);
        let to_end_of_ring = self.journal.blocks() - sequences.start % self.journal.blocks();
        let count = (sequences.end - sequences.start).min(transfer_max).min(to_end_of_ring);
        let sequences = sequences.start..sequences.start + count;
        let found = |sequence, bytes: &[u8]| {
            let at = drives.layout.journal_at(sequence);
            match JournalBlock::decode(bytes, at.lba, drives.owner(at.member)) {
                Ok((head, records)) if (head.sequence, head.epoch) == (sequence, epoch) => {
                    Found::Block(head, records)
                }
                Ok(_) | Err(LoadError::Blank) => Found::Other,
                Err(error) => Found::Damaged(ImportError::Damaged { at, error }),
            }
        };
        match self.fetch_metadata(drives.layout.journal_at(sequences.start), count).await {
            Ok(bytes) => {
                let blocks = bytes.as_ref().chunks(BLOCK_SIZE);
                return Ok(sequences.zip(blocks).map(|(sequence, bytes)| found(sequence, bytes)).collect());
            }
            Err(ImportError::Unreadable { .. }) => {}
            Err(error) => return Err(error),
        }
        let mut each = Vec::new();
        for sequence in sequences {
            each.push(match self.fetch_metadata(drives.layout.journal_at(sequence), 1).await {
                Ok(bytes) => found(sequence, bytes.as_ref()),
                Err(error @ ImportError::Unreadable { .. }) => Found::Damaged(error),
                Err(error) => return Err(error),
            });
        }
        Ok(each)
    }

    /// Reads blocks of metadata.
    pub(crate) async fn fetch_metadata(&self, at: Address, blocks: u64) -> Result<D::Buf, ImportError> {
        self.fetch(at, blocks).await.map_err(|error| {
            let is_unreadable = error == EngineError::Media(MediaError::Unreadable);
            if is_unreadable { ImportError::Unreadable { at } } else { error.into() }
        })
    }

    /// Damage was found: which units are free is not known any more, so nothing is written from now on.
    fn freeze(&self) {
        self.state.borrow_mut().is_frozen = true;
        self.journal.give_up();
    }

    /// Writes superblock and root into the homes that lack them, and makes durable whatever is in the cache.
    async fn repair_homes(&self, superblock: &Superblock, root: &Root) -> Result<(), EngineError> {
        let drives = self.drives();
        for (member, home) in drives.homes() {
            let (at, root_at) =
                (drives.home_at(member, home), drives.root_at(member, Root::slot(root.generation, home)));
            let root = root.encode(root_at.lba, drives.owner(member));
            for (at, bytes) in [(at, superblock.encode(home, at.lba)), (root_at, root)] {
                let is_there = self.fetch(at, 1).await.is_ok_and(|found| found.as_ref() == &*bytes);
                if !is_there {
                    self.put(at, &bytes).await?;
                }
            }
        }
        self.flush().await
    }

    async fn replay_record(
        &self,
        mut record: JournalRecord,
        is_settled: bool,
        taken: &mut Taken,
    ) -> Result<(), ImportError> {
        if let JournalRecord::Map(map) = &record
            && !is_settled
            && !self.has_arrived(map).await?
        {
            taken.remove(&(map.volume, map.unit));
            return Ok(());
        }
        if let JournalRecord::Map(map) = &mut record {
            bring_back(&self.state.borrow(), map, taken);
        }
        self.apply(|state| apply(state, record, taken));
        // Records that were read are durable.
        let now = self.state.borrow().space.now();
        self.state.borrow_mut().space.set_durable(now);
        Ok(())
    }

    /// Reads a block of data, several times if need be: one that was taken for unreadable, and can be read later, would show
    /// what the former owner of the unit has written.
    async fn fetch_patiently(&self, at: Address) -> Result<D::Buf, EngineError> {
        for _ in 1..COMPARE_READS_MAX {
            match self.fetch(at, 1).await {
                Err(EngineError::Media(MediaError::Unreadable)) => {}
                other => return other,
            }
        }
        self.fetch(at, 1).await
    }

    /// Whether the data of a map record are on the drive. What cannot be read is taken for written: then the host gets an
    /// error, and not silently what was there before.
    async fn has_arrived(&self, map: &MapRecord) -> Result<bool, ImportError> {
        let blocks = (0..16).filter(|block| map.own.mask >> block & 1 == 1);
        for (block, sum) in blocks.zip(map.sums) {
            match self.fetch_patiently(map.own.au.block(block)).await {
                Ok(bytes) if data_checksum(bytes.as_ref()) != sum => return Ok(false),
                Ok(_) | Err(EngineError::Media(MediaError::Unreadable)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

/// A record that adds to a unit which a trim took away brings it back, over what is there now.
fn bring_back(state: &State, map: &mut MapRecord, taken: &mut Taken) {
    let Some(volume) = state.volumes.get(&map.volume) else { return };
    let is_taken = taken.remove(&(map.volume, map.unit)) == Some(map.own.au);
    if is_taken && !map.is_fresh && state.space.refs(map.own.au) == 0 {
        let (entry, _) = state.map.lookup(volume.root, map.unit);
        (map.is_fresh, map.base) = (true, entry.map(|entry| entry.own));
    }
}

fn apply(state: &mut State, record: JournalRecord, taken: &mut Taken) {
    match record {
        JournalRecord::Map(map) => apply_map(state, &map),
        JournalRecord::Trim { volume, first, blocks } => {
            apply_trim(state, volume, (first, blocks), |unit, au| {
                taken.insert((volume, unit), au);
            });
        }
        JournalRecord::Create { volume, origin, kind, blocks, uuid, name, attributes } => {
            let attributes = Attributes::named(attributes);
            let new = Volume { uuid, origin: None, kind, blocks, name, root: None, attributes };
            apply_create(state, volume, origin, new);
        }
        JournalRecord::Delete { volume } => apply_delete(state, volume),
        JournalRecord::Grow { volume, blocks } => apply_grow(state, volume, blocks),
        JournalRecord::Attributes { volume, attributes } => {
            state.replace_attributes(volume, Attributes::named(attributes));
        }
        JournalRecord::Dirty { .. } => {}
    }
}
