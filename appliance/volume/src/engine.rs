//! The engine of one drive: what all requests share, and the rules of admission.
//!
//! | claim | who | why |
//! |---|---|---|
//! | door, shared | reads nothing; writes, trims | a checkpoint or snapshot sees no change half done |
//! | door, exclusive | snapshot, create, delete, grow, checkpoint | |
//! | blocks of a volume, exclusive | a write | writes to the same blocks happen in the order in which they came |
//! | whole units, exclusive | a first write, a trim | the entry of the map changes |
//!
//! They are taken in this order, and a first write gives its blocks back before it claims the units.

use crate::import::ImportError;
use crate::journal::{Journal, JournalFailed};
use crate::limits::{JOURNAL_RESERVE, NODE_RESERVE, TASKS_MAX};
use crate::map::{Map, NodeId};
use crate::space::Space;
use block::{BlockDevice, Blocks, Lba, MediaError, Op};
use core::cell::RefCell;
use ondisk::Name;
use ondisk::thin::{Au, Lsn, ThinIdentity, ThinLayout, VolumeKind};
use std::collections::BTreeMap;
use std::rc::Rc;
use task::{Claims, Core, Devices, Guard, Mode};
use thiserror::Error;
use uuid::Uuid;

/// The one drive.
pub(crate) const DRIVE: usize = 0;

/// Gives buffers that the drive can reach.
pub type Memory<B> = dyn Fn(usize) -> B;

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EngineError {
    /// There is no such volume, or it is a snapshot and cannot be written.
    #[error("there is no such volume")]
    NoSuchVolume,
    /// Past the end of the volume, or not within one unit.
    #[error("the range is not within the volume")]
    OutOfRange,
    /// No unit is free; what is written already can be overwritten, trimmed and deleted.
    #[error("the pool is full")]
    Full,
    /// The number, name or UUID is taken, or there are too many volumes.
    #[error("there is one already")]
    Exists,
    /// A loss of power may leave a block half old and half new on this drive.
    #[error("the drive may tear blocks when it loses power")]
    TearsBlocks,
    /// The drive failed.
    #[error("{0}")]
    Media(MediaError),
    /// A write to the drive failed before, or the import found damage: reads are served, changes wait for the next import.
    #[error("the pool is frozen since the drive failed a write, or was found damaged")]
    Frozen,
}

impl From<JournalFailed> for EngineError {
    fn from(JournalFailed: JournalFailed) -> Self {
        Self::Frozen
    }
}

/// A volume or snapshot in memory.
#[derive(Clone, Debug)]
pub(crate) struct Volume {
    pub(crate) uuid: Uuid,
    pub(crate) origin: Option<Uuid>,
    pub(crate) kind: VolumeKind,
    pub(crate) blocks: Blocks,
    pub(crate) name: Name,
    pub(crate) root: Option<NodeId>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) map: Map,
    pub(crate) space: Space,
    pub(crate) volumes: BTreeMap<u32, Volume>,
    pub(crate) next_volume: u32,
    pub(crate) generation: u64,
    /// Places of the volume table that the last root names.
    pub(crate) tables: Vec<Lba>,
    /// By unit: blocks that were written for the first time by a record that an import would still compare.
    pub(crate) unsettled: BTreeMap<Au, (u16, Lsn)>,
    pub(crate) is_frozen: bool,
    /// What the import could not load.
    pub(crate) damage: Vec<ImportError>,
}

/// The thin engine of one drive. Its methods are called by the tasks of one executor.
pub struct Engine<D: BlockDevice> {
    pub(crate) devices: Rc<Devices<D>>,
    pub(crate) memory: Rc<Memory<D::Buf>>,
    pub(crate) identity: ThinIdentity,
    pub(crate) layout: ThinLayout,
    pub(crate) is_volatile: bool,
    pub(crate) door: Claims,
    pub(crate) claims: Claims,
    pub(crate) journal: Journal,
    pub(crate) state: RefCell<State>,
}

impl<D: BlockDevice> core::fmt::Debug for Engine<D> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Engine").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl<D: BlockDevice> Engine<D> {
    pub(crate) fn empty(
        core: &Rc<Core>,
        devices: Rc<Devices<D>>,
        memory: Rc<Memory<D::Buf>>,
        identity: ThinIdentity,
        layout: ThinLayout,
    ) -> Self {
        let is_volatile = devices.with(DRIVE, |d| d.geometry().is_volatile);
        let state = State {
            map: Map::default(),
            space: Space::new(&layout),
            volumes: BTreeMap::new(),
            next_volume: 1,
            generation: 0,
            tables: Vec::new(),
            unsettled: BTreeMap::new(),
            is_frozen: false,
            damage: Vec::new(),
        };
        Self {
            devices,
            memory,
            identity,
            layout,
            is_volatile,
            door: Claims::new(core, TASKS_MAX),
            claims: Claims::new(core, TASKS_MAX),
            journal: Journal::new(core, TASKS_MAX, layout.journal_blocks(), is_volatile),
            state: RefCell::new(state),
        }
    }

    /// What the import could not load of the pool. If there is anything, the pool is frozen: reads of what it concerns fail, a
    /// volume may be missing from [`Engine::volumes`], and all else is read as ever.
    #[must_use]
    pub fn damage(&self) -> Vec<ImportError> {
        self.state.borrow().damage.clone()
    }

    /// Free space for data and metadata together.
    #[must_use]
    pub fn free(&self) -> Blocks {
        self.state.borrow().space.free()
    }

    /// Number, UUID, name, kind and length of each volume and snapshot.
    #[must_use]
    pub fn volumes(&self) -> Vec<(u32, Uuid, String, VolumeKind, Blocks)> {
        let state = self.state.borrow();
        let row = |(number, v): (&u32, &Volume)| (*number, v.uuid, v.name.to_string(), v.kind, v.blocks);
        state.volumes.iter().map(row).collect()
    }

    /// The task that writes the journal: one for each engine, started with it.
    pub async fn write_journal(self: Rc<Self>) {
        let mut buf = (self.memory)(block::BLOCK_SIZE);
        loop {
            let place = |sequence| self.layout.journal_lba(sequence);
            let (lba, fua, settled) = self.journal.next_block(self.identity, place, buf.as_mut()).await;
            let completion = self.devices.run(DRIVE, Op::Write { lba, buf, fua }).await;
            self.journal.written(completion.result.is_ok(), fua, settled);
            if completion.result.is_err() {
                // A block behind the one that is missing would be taken for damage at the next import.
                self.state.borrow_mut().is_frozen = true;
                return;
            }
            buf = completion.buf.unwrap_or_else(|| (self.memory)(block::BLOCK_SIZE));
        }
    }

    /// Waits until there is room for what a change needs, by a checkpoint if need be; then nothing closes the door until
    /// the guard is dropped.
    pub(crate) async fn admit(&self, mode: Mode) -> Result<Guard<'_>, EngineError> {
        if self.is_crowded() {
            let guard = self.door.claim(0, 0..1, Mode::Exclusive).await;
            // Whoever waited at the door before may have done it.
            if self.is_crowded() {
                self.checkpoint_inside().await?;
            }
            drop(guard);
        }
        let guard = self.door.claim(0, 0..1, mode).await;
        if self.state.borrow().is_frozen { Err(EngineError::Frozen) } else { Ok(guard) }
    }

    fn is_crowded(&self) -> bool {
        let state = self.state.borrow();
        let limit = self.layout.journal_blocks() / 2 - JOURNAL_RESERVE;
        self.journal.used() >= limit || state.space.node_room() < state.nodes_needed()
    }

    /// Makes durable what has completed.
    ///
    /// # Errors
    /// If the drive fails; then it is unknown what is durable.
    pub async fn flush(&self) -> Result<(), EngineError> {
        if !self.is_volatile {
            return Ok(());
        }
        let applied = self.state.borrow().space.now();
        let covered = self.journal.begin_flush();
        self.run(Op::Flush).await?;
        self.journal.flushed(covered);
        self.state.borrow_mut().space.set_durable(applied);
        Ok(())
    }

    /// Waits until no import would compare the data of this record any more.
    pub(crate) async fn settle(&self, lsn: Lsn) -> Result<(), EngineError> {
        self.journal.wait_applied(lsn).await?;
        while self.journal.mark() < lsn {
            self.flush().await?;
            self.journal.write_mark().await?;
        }
        let mark = self.journal.mark();
        self.state.borrow_mut().unsettled.retain(|_, (_, until)| *until > mark);
        Ok(())
    }

    /// A command whose buffer is of no interest afterwards. If it was a write and failed, nothing is changed any more.
    pub(crate) async fn run(&self, op: Op<D::Buf>) -> Result<(), EngineError> {
        let is_read = matches!(op, Op::Read { .. });
        let result = self.devices.run(DRIVE, op).await.result;
        if result.is_err() && !is_read {
            self.state.borrow_mut().is_frozen = true;
        }
        result.map_err(EngineError::Media)
    }

    /// Reads into a new buffer.
    pub(crate) async fn fetch(&self, lba: Lba, blocks: u64) -> Result<D::Buf, EngineError> {
        let len = Blocks(blocks).buffer_len().ok_or(EngineError::OutOfRange)?;
        let completion = self.devices.run(DRIVE, Op::Read { lba, buf: (self.memory)(len) }).await;
        completion.result.map_err(EngineError::Media)?;
        completion.buf.ok_or(EngineError::Media(MediaError::Unreadable))
    }

    /// A change has been written: its effect in memory is one step.
    pub(crate) fn apply(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.borrow_mut();
        change(&mut state);
        let now = state.space.tick();
        if !self.is_volatile {
            state.space.set_durable(now);
        }
    }
}

impl State {
    /// Nodes and blocks of the table that the next checkpoint writes, and what requests under way may add.
    pub(crate) fn nodes_needed(&self) -> usize {
        self.map.dirty + self.volumes.len().div_ceil(ondisk::thin::TABLE_ENTRIES) + 1 + NODE_RESERVE
    }

    /// The volume with this number.
    pub(crate) fn volume(&self, number: u32) -> Result<&Volume, EngineError> {
        self.volumes.get(&number).ok_or(EngineError::NoSuchVolume)
    }
}
