//! From drives to an engine: formatting a blank drive, and finding everything again after whatever happened.
//!
//! ```text
//!  superblock ─▶ newest root ─▶ volume table ─▶ maps ─▶ journal ─▶ checkpoint with a new epoch ─▶ served
//! ```
//!
//! The journal is read twice: first to its end, for the last settle mark, then to replay it. A map record above the mark
//! counts only if the data agree with its checksums: it was written together with them, and either may be missing.
//!
//! Nothing is written before everything has been understood. The checkpoint at the end flushes what may still be in the
//! cache of a drive that kept running, and its new epoch makes the blocks of the old journal void: otherwise those that
//! lie behind a gap would be taken for the continuation of the new one.

use crate::change::{NewVolume, apply_create, apply_delete, apply_grow};
use crate::engine::{DRIVE, Engine, EngineError, Memory, State, Volume};
use crate::io::{apply_map, apply_trim};
use crate::limits::JOURNAL_BLOCKS_MIN;
use crate::map::{Body, NodeId};
use block::{BLOCK_SIZE, BlockDevice, Lba, MediaError, Op};
use ondisk::LoadError;
use ondisk::thin::{
    HOMES, HomeSlot, JournalBlock, JournalHead, JournalRecord, LEAF_UNITS, Lsn, MapNode, MapRecord,
    NODE_POINTERS, Pointer, Root, Superblock, ThinIdentity, VolumeTable, data_checksum,
};
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
    /// A block that the root needs is damaged.
    #[error("block {lba}: {error}")]
    Damaged {
        /// Where.
        lba: u64,
        /// How.
        error: LoadError,
    },
    /// A journal block is damaged, and a later one is there.
    #[error("journal block {sequence} is missing, and the next one is there")]
    JournalGap {
        /// Its sequence number.
        sequence: u64,
    },
    /// Two maps contradict each other, or a place lies outside.
    #[error("block {0} is named in a way that cannot be")]
    Impossible(u64),
    /// The drive failed.
    #[error("{0}")]
    Engine(#[from] EngineError),
}

/// What a root is to be loaded into.
struct Loading {
    nodes: BTreeMap<Lba, (NodeId, u8, u64)>,
}

/// Makes an empty pool of one blank drive. The roots come last: a drive that was cut off before has none.
///
/// # Errors
/// If the drive is too small or fails.
pub async fn format<D: BlockDevice>(
    core: &Rc<Core>,
    devices: Rc<Devices<D>>,
    memory: Rc<Memory<D::Buf>>,
    identity: ThinIdentity,
    journal_blocks: u64,
) -> Result<Engine<D>, EngineError> {
    let blocks = devices.with(DRIVE, |d| d.geometry().blocks);
    let superblock =
        Superblock { identity, generation: 1, member: 0, member_count: 1, lanes: 1, blocks, journal_blocks };
    let layout = superblock.layout().filter(|_| journal_blocks >= JOURNAL_BLOCKS_MIN);
    let layout = layout.ok_or(EngineError::OutOfRange)?;
    let engine = Engine::empty(core, devices, memory, identity, layout);
    for home in 0..HOMES {
        let lba = layout.home_lba(home);
        engine.put(lba, &superblock.encode(home, lba)).await?;
        for parity in 0..2 {
            engine.put(layout.root_lba(HomeSlot { home, parity }), &[0; BLOCK_SIZE]).await?;
        }
    }
    engine.flush().await?;
    engine.checkpoint_inside().await?;
    Ok(engine)
}

/// Opens the pool of one drive. Nothing may use the engine before this has ended.
///
/// # Errors
/// If the drive holds no pool, or one that cannot be served; then nothing was written.
pub async fn import<D: BlockDevice>(
    core: &Rc<Core>,
    devices: Rc<Devices<D>>,
    memory: Rc<Memory<D::Buf>>,
) -> Result<Engine<D>, ImportError> {
    let capacity = devices.with(DRIVE, |d| d.geometry().blocks);
    let superblock = find_superblock(&devices, memory.as_ref()).await?;
    let layout = superblock.layout().filter(|_| superblock.blocks <= capacity).ok_or(ImportError::Shrank)?;
    let engine = Engine::empty(core, devices, memory, superblock.identity, layout);
    let root = engine.find_root().await?;
    engine.load(&root).await?;
    let next = engine.replay(&root).await?;
    engine.state.borrow_mut().generation = root.generation;
    engine.journal.restart(next, root.epoch + 1);
    engine.apply(|_| {});
    engine.flush().await?;
    engine.checkpoint_inside().await?;
    Ok(engine)
}

async fn find_superblock<D: BlockDevice>(
    devices: &Devices<D>,
    memory: &Memory<D::Buf>,
) -> Result<Superblock, ImportError> {
    let aus = devices.with(DRIVE, |d| d.geometry().blocks.0) / ondisk::thin::AU_BLOCKS;
    let mut last = LoadError::Blank;
    for home in 0..HOMES {
        // The layout is not known yet; the homes at the end are found from the capacity.
        let au = if home < 2 { u64::from(home) } else { aus.saturating_sub(4 - u64::from(home)) };
        let lba = Lba(au * ondisk::thin::AU_BLOCKS);
        let completion = devices.run(DRIVE, Op::Read { lba, buf: memory(BLOCK_SIZE) }).await;
        let Some(buf) = completion.buf.filter(|_| completion.result.is_ok()) else { continue };
        match Superblock::decode(buf.as_ref(), home, lba) {
            Ok(found) => return Ok(found),
            Err(error) => last = error,
        }
    }
    Err(ImportError::NoSuperblock(last))
}

impl<D: BlockDevice> Engine<D> {
    /// The root with the highest generation. That it is the last one is certain if some copy of the other slot is good or
    /// was never written.
    async fn find_root(&self) -> Result<Root, ImportError> {
        let mut newest: Option<Root> = None;
        let mut is_known = [false; 2];
        for home in 0..HOMES {
            for parity in 0..2 {
                let slot = HomeSlot { home, parity };
                let lba = self.layout.root_lba(slot);
                let Ok(buf) = self.fetch(lba, 1).await else { continue };
                match Root::decode(buf.as_ref(), slot, lba, self.identity) {
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

    async fn load(&self, root: &Root) -> Result<(), ImportError> {
        let mut loading = Loading { nodes: BTreeMap::new() };
        self.state.borrow_mut().next_volume = root.next_volume;
        for (pointer, index) in root.tables.iter().zip(0..) {
            let bytes = self.fetch_node(pointer).await?;
            let table = VolumeTable::decode(bytes.as_ref(), pointer, index, self.identity)
                .map_err(|error| ImportError::Damaged { lba: pointer.lba.0, error })?;
            {
                let mut state = self.state.borrow_mut();
                state.tables.push(pointer.lba);
                state.space.retain_node(pointer.lba);
            }
            for entry in table.entries {
                let root = match &entry.root {
                    Some(pointer) => Some(self.load_node(pointer, entry.level(), 0, &mut loading).await?),
                    None => None,
                };
                let volume = Volume {
                    uuid: entry.uuid,
                    origin: entry.origin,
                    kind: entry.kind,
                    blocks: entry.blocks,
                    name: entry.name,
                    root,
                };
                self.state.borrow_mut().volumes.insert(entry.number, volume);
            }
        }
        Ok(())
    }

    async fn fetch_node(&self, pointer: &Pointer) -> Result<D::Buf, ImportError> {
        if !self.layout.is_usable_lba(pointer.lba) {
            return Err(ImportError::Impossible(pointer.lba.0));
        }
        Ok(self.fetch(pointer.lba, 1).await?)
    }

    /// Loads a node with everything below it, or adds a reference if it is there already. As deep as a map has levels.
    fn load_node<'a>(
        &'a self,
        pointer: &'a Pointer,
        level: u8,
        first_unit: u64,
        loading: &'a mut Loading,
    ) -> core::pin::Pin<Box<dyn Future<Output = Result<NodeId, ImportError>> + 'a>> {
        Box::pin(async move {
            if let Some((id, at_level, at_unit)) = loading.nodes.get(&pointer.lba).copied() {
                if (at_level, at_unit) != (level, first_unit) {
                    return Err(ImportError::Impossible(pointer.lba.0));
                }
                self.state.borrow_mut().map.retain(id);
                return Ok(id);
            }
            let bytes = self.fetch_node(pointer).await?;
            let node = MapNode::decode(bytes.as_ref(), pointer, (level, first_unit), self.identity)
                .map_err(|error| ImportError::Damaged { lba: pointer.lba.0, error })?;
            let body = match node {
                MapNode::Leaf(entries) => {
                    let mut state = self.state.borrow_mut();
                    for piece in entries.iter().flatten().flat_map(|e| core::iter::once(e.own).chain(e.base))
                    {
                        if !self.layout.is_usable(piece.au) {
                            return Err(ImportError::Impossible(piece.au.lba().0));
                        }
                        state.space.retain(piece.au);
                    }
                    Body::Leaf(entries)
                }
                MapNode::Inner { children: stored, .. } => {
                    let span = MapNode::span(level - 1).unwrap_or(LEAF_UNITS as u64);
                    let mut children = Box::new([None; NODE_POINTERS]);
                    for ((child, stored), at) in children.iter_mut().zip(stored.iter()).zip(0..) {
                        if let Some(pointer) = stored {
                            let unit = first_unit + at * span;
                            *child = Some(self.load_node(pointer, level - 1, unit, loading).await?);
                        }
                    }
                    Body::Inner { level, children }
                }
            };
            let mut state = self.state.borrow_mut();
            state.space.retain_node(pointer.lba);
            let id = state.map.add(body, Some(*pointer));
            loading.nodes.insert(pointer.lba, (id, level, first_unit));
            Ok(id)
        })
    }

    /// Replays the journal; gives the sequence number with which it goes on.
    async fn replay(&self, root: &Root) -> Result<u64, ImportError> {
        let mut settled = Lsn(0);
        let mut next = root.journal_sequence;
        while let Some((head, _)) = self.fetch_journal(root, next).await? {
            settled = settled.max(head.settled);
            next += 1;
        }
        // Blocks are written one after the other: where no cache loses them, one behind a gap proves that the gap is damage.
        if !self.is_volatile && self.fetch_journal(root, next + 1).await?.is_some() {
            return Err(ImportError::JournalGap { sequence: next });
        }
        for sequence in root.journal_sequence..next {
            let Some((_, records)) = self.fetch_journal(root, sequence).await? else {
                return Err(ImportError::Impossible(self.layout.journal_lba(sequence).0));
            };
            for (record, index) in records.into_iter().zip(0..) {
                self.replay_record(record, Lsn::new(sequence, index) <= settled).await?;
            }
        }
        Ok(next)
    }

    /// The block with this number, if the journal has one.
    async fn fetch_journal(
        &self,
        root: &Root,
        sequence: u64,
    ) -> Result<Option<(JournalHead, Vec<JournalRecord>)>, ImportError> {
        // A block that cannot be read may have been confirmed: going on without it would lose what was promised.
        if sequence - root.journal_sequence >= self.layout.journal_blocks() {
            return Ok(None);
        }
        let lba = self.layout.journal_lba(sequence);
        let bytes = self.fetch(lba, 1).await?;
        let found = JournalBlock::decode(bytes.as_ref(), lba, self.identity).ok();
        Ok(found.filter(|(head, _)| (head.sequence, head.epoch) == (sequence, root.epoch)))
    }

    async fn replay_record(&self, record: JournalRecord, is_settled: bool) -> Result<(), ImportError> {
        if let JournalRecord::Map(map) = &record {
            let base = map.base.map(|base| base.au);
            if !core::iter::once(map.own.au).chain(base).all(|au| self.layout.is_usable(au)) {
                return Err(ImportError::Impossible(map.own.au.lba().0));
            }
            if !is_settled && !self.has_arrived(map).await? {
                return Ok(());
            }
        }
        self.apply(|state| apply(state, record));
        // Records that were read are durable.
        let now = self.state.borrow().space.now();
        self.state.borrow_mut().space.set_durable(now);
        Ok(())
    }

    /// Whether the data of a map record are on the drive. What cannot be read is taken for written: then the host gets an
    /// error, and not silently what was there before.
    async fn has_arrived(&self, map: &MapRecord) -> Result<bool, ImportError> {
        let blocks = (0..16).filter(|block| map.own.mask >> block & 1 == 1);
        for (block, sum) in blocks.zip(map.sums) {
            match self.fetch(Lba(map.own.au.lba().0 + block), 1).await {
                Ok(bytes) if data_checksum(bytes.as_ref()) != sum => return Ok(false),
                Ok(_) | Err(EngineError::Media(MediaError::Unreadable)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

fn apply(state: &mut State, record: JournalRecord) {
    match record {
        JournalRecord::Map(map) => apply_map(state, &map),
        JournalRecord::Trim { volume, first, blocks } => apply_trim(state, volume, first, blocks),
        JournalRecord::Create { volume, origin, kind, blocks, uuid, name } => {
            apply_create(state, volume, origin, blocks, NewVolume { uuid, name, kind });
        }
        JournalRecord::Delete { volume } => apply_delete(state, volume),
        JournalRecord::Grow { volume, blocks } => apply_grow(state, volume, blocks),
        // Nothing is verified yet.
        JournalRecord::Dirty { .. } => {}
    }
}
