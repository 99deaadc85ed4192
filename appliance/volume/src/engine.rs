//! The engine of one pool: what all requests share, and the rules of admission.
//!
//! | claim | who | why |
//! |---|---|---|
//! | turn, exclusive | checkpoint; snapshot, create, delete, grow | a checkpoint names volumes as they all are at one time |
//! | door, shared | writes, trims, new attributes; reads nothing | a snapshot sees no change half done |
//! | door, exclusive | snapshot, create, delete, grow | |
//! | attributes of a volume, exclusive | who replaces them | the record that comes last is of those that come last |
//! | blocks of a volume, exclusive | a write | writes to the same blocks happen in the order in which they came |
//! | blocks of a volume, shared | a read that found damage | it looks again while nobody writes |
//! | whole units, exclusive | a first write, a trim | the entry of the map changes |
//! | a lane, exclusive | a first write that merges two layers | memory is kept for few of them |
//! | a region, exclusive | who marks it | a dirty record is written once |
//!
//! They are taken in this order, and a first write gives its blocks back before it claims the units. A checkpoint never waits
//! for the door, and who is inside never waits for a turn: writes go on beside a checkpoint, and a change of the volumes
//! waits for the one that runs, without closing the door meanwhile. (It could instead make the checkpoint begin again; then
//! snapshots in a row would keep it from ever ending.)

use crate::attributes::Attributes;
use crate::drives::Drives;
use crate::import::ImportError;
use crate::journal::{Journal, JournalFailed};
use crate::limits::{JOURNAL_RESERVE, NODE_RESERVE, NODE_WORK, PAGES_MAX, TASKS_MAX};
use crate::map::{Map, NodeId};
use crate::pages::Bitmap;
use crate::space::Space;
use crate::sums::Sums;
use block::{BlockDevice, Blocks, MediaError, Op};
use core::cell::{Cell, RefCell};
use core::pin::Pin;
use ondisk::Name;
use ondisk::thin::{Address, Au, Lsn, Member, ThinIdentity, VolumeKind};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use task::{Claims, Core, Devices, Guard, Mode, WaitQueue};
use thiserror::Error;
use uuid::Uuid;

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
    /// Attributes have [`ondisk::limits::ATTRIBUTES_MAX`] bytes at the most.
    #[error("the attributes are too long")]
    TooLong,
    /// A loss of power may leave a block half old and half new on this drive.
    #[error("the drive may tear blocks when it loses power")]
    TearsBlocks,
    /// The drive failed.
    #[error("{0}")]
    Media(MediaError),
    /// A block is not what was written: it cannot be read until it is written again. What is around it can.
    #[error("block {block} of volume {volume} is damaged")]
    Damaged {
        /// The number of the volume.
        volume: u32,
        /// Which block of it.
        block: u64,
    },
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
    pub(crate) attributes: Attributes,
}

/// What is known of a volume or snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeInfo {
    /// Names it here; never used again in this pool.
    pub number: u32,
    /// Identity.
    pub uuid: Uuid,
    /// For people; unique in the pool.
    pub name: String,
    /// Volume or snapshot.
    pub kind: VolumeKind,
    /// Length.
    pub blocks: Blocks,
    /// Of what it was made, if it was not made empty; that one may be gone.
    pub origin: Option<Uuid>,
    /// What it carries for its owner; `None` if that is damaged ([`Engine::damage`]): nobody knows then what it was.
    pub attributes: Option<Box<[u8]>>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) map: Map,
    pub(crate) space: Space,
    pub(crate) volumes: BTreeMap<u32, Volume>,
    pub(crate) next_volume: u32,
    pub(crate) generation: u64,
    /// Places of the volume table that the last root names.
    pub(crate) tables: Vec<Address>,
    pub(crate) bitmap: Bitmap,
    /// By unit: blocks that were written for the first time by a record that an import would still compare.
    pub(crate) unsettled: BTreeMap<Au, (u16, Lsn)>,
    /// Maps of volumes that were deleted while commands were under way, and when: their nodes are shared until these have ended.
    pub(crate) leaving: VecDeque<(u64, NodeId)>,
    pub(crate) is_frozen: bool,
    /// What the import could not load.
    pub(crate) damage: Vec<ImportError>,
}

/// The thin engine of one pool. Its methods are called by the tasks of one executor.
pub struct Engine<D: BlockDevice> {
    pub(crate) devices: Rc<Devices<D>>,
    pub(crate) memory: Rc<Memory<D::Buf>>,
    drives: RefCell<Rc<Drives>>,
    /// Whether anything that was written may need a flush to be durable.
    pub(crate) is_volatile: bool,
    turn: Claims,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) door: Claims,
    pub(crate) attribute_turns: Claims,
    pub(crate) claims: Claims,
    pub(crate) journal: Journal,
    pub(crate) state: RefCell<State>,
    pub(crate) sums: RefCell<Sums>,
    /// Who waits for a page of checksums.
    pub(crate) pages: WaitQueue,
    pub(crate) sum_turns: Claims,
}

/// Who waits for whom around checkpoints.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    pub(crate) is_running: Cell<bool>,
    is_wanted: Cell<bool>,
    /// The task that writes them.
    work: WaitQueue,
    /// Who waits until one has ended.
    pub(crate) ended: WaitQueue,
}

/// What is left of the journal and of the places for nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Enough,
    /// It is time for a checkpoint.
    Little,
    /// Nothing may begin before a checkpoint has ended.
    Nothing,
}

/// A task that an engine needs as long as it is used.
pub type Background = Pin<Box<dyn Future<Output = ()>>>;

impl<D: BlockDevice> core::fmt::Debug for Engine<D> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Engine").field("drives", &self.drives).finish_non_exhaustive()
    }
}

impl<D: BlockDevice> Engine<D> {
    pub(crate) fn empty(
        core: &Rc<Core>,
        devices: Rc<Devices<D>>,
        memory: Rc<Memory<D::Buf>>,
        drives: Drives,
    ) -> Self {
        let (is_volatile, layout) = (drives.is_volatile(), &drives.layout);
        let state = State {
            map: Map::default(),
            space: Space::new(layout),
            volumes: BTreeMap::new(),
            next_volume: 1,
            generation: 0,
            tables: Vec::new(),
            bitmap: Bitmap::new(layout),
            unsettled: BTreeMap::new(),
            leaving: VecDeque::new(),
            is_frozen: false,
            damage: Vec::new(),
        };
        Self {
            devices,
            memory,
            is_volatile,
            turn: Claims::new(core, TASKS_MAX),
            checkpoints: Checkpoints {
                is_running: Cell::new(false),
                is_wanted: Cell::new(false),
                work: WaitQueue::new(core, 1),
                ended: WaitQueue::new(core, TASKS_MAX),
            },
            door: Claims::new(core, TASKS_MAX),
            attribute_turns: Claims::new(core, TASKS_MAX),
            claims: Claims::new(core, TASKS_MAX),
            journal: Journal::new(core, TASKS_MAX, layout.journal_blocks(), is_volatile),
            state: RefCell::new(state),
            sums: RefCell::new(Sums::new(layout.clone(), PAGES_MAX)),
            pages: WaitQueue::new(core, TASKS_MAX),
            sum_turns: Claims::new(core, TASKS_MAX),
            drives: RefCell::new(Rc::new(drives)),
        }
    }

    /// The drives of the pool, as they are now.
    pub(crate) fn drives(&self) -> Rc<Drives> {
        self.drives.borrow().clone()
    }

    /// Whose blocks lie on a drive.
    pub(crate) fn owner(&self, member: Member) -> ThinIdentity {
        self.drives.borrow().owner(member)
    }

    fn device(&self, member: Member) -> usize {
        self.drives.borrow().device(member)
    }

    /// What the import could not load of the pool. If there is anything, the pool is frozen: reads of what it concerns fail, a
    /// volume may be missing from [`Engine::volumes`], and all else is read as ever.
    #[must_use]
    pub fn damage(&self) -> Vec<ImportError> {
        self.state.borrow().damage.clone()
    }

    /// Nothing is written any more until the next import; what is stored is read.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.state.borrow().is_frozen
    }

    /// Free space for data and metadata together.
    #[must_use]
    pub fn free(&self) -> Blocks {
        self.state.borrow().space.free()
    }

    /// All volumes and snapshots, in the order of their numbers.
    #[must_use]
    pub fn volumes(&self) -> Vec<VolumeInfo> {
        let info = |(number, v): (&u32, &Volume)| VolumeInfo {
            number: *number,
            uuid: v.uuid,
            name: v.name.to_string(),
            kind: v.kind,
            blocks: v.blocks,
            origin: v.origin,
            attributes: v.attributes.bytes.clone(),
        };
        self.state.borrow().volumes.iter().map(info).collect()
    }

    /// What has to run beside the requests: one task each, started with the engine.
    #[must_use]
    pub fn background(self: &Rc<Self>) -> [Background; 2]
    where
        D: 'static,
    {
        [Box::pin(self.clone().write_journal()), Box::pin(self.clone().write_checkpoints())]
    }

    async fn write_journal(self: Rc<Self>) {
        let mut buf = (self.memory)(block::BLOCK_SIZE);
        loop {
            let drives = self.drives();
            let place = |sequence| drives.layout.journal_at(sequence).lba;
            let owner = drives.owner(Member::FIRST);
            let (lba, fua, settled) = self.journal.next_block(owner, place, buf.as_mut()).await;
            let completion =
                self.devices.run(drives.device(Member::FIRST), Op::Write { lba, buf, fua }).await;
            self.journal.written(completion.result.is_ok(), fua, settled);
            if completion.result.is_err() {
                // A block behind the one that is missing would be taken for damage at the next import.
                self.state.borrow_mut().is_frozen = true;
                return;
            }
            buf = completion.buf.unwrap_or_else(|| (self.memory)(block::BLOCK_SIZE));
        }
    }

    async fn write_checkpoints(self: Rc<Self>) {
        loop {
            while !self.checkpoints.is_wanted.replace(false) {
                self.checkpoints.work.wait().await;
            }
            let turn = self.take_turn().await;
            // Whoever had the turn before may have done it.
            if self.room() != Room::Enough {
                // If it fails the engine is frozen, and says so to everybody.
                let _ = self.checkpoint_inside().await;
            }
            drop(turn);
            self.checkpoints.ended.wake_all();
        }
    }

    /// No checkpoint runs and no volume comes, goes or grows until the guard is dropped.
    pub(crate) async fn take_turn(&self) -> Guard<'_> {
        self.turn.claim(0, 0..1, Mode::Exclusive).await
    }

    /// Waits until there is room for what a write or trim needs; then no snapshot is made until the guard is dropped.
    pub(crate) async fn admit(&self) -> Result<Guard<'_>, EngineError> {
        self.make_room().await?;
        let door = self.door.claim(0, 0..1, Mode::Shared).await;
        self.check_frozen().map(|()| door)
    }

    /// The same for a change of the volumes, which has the engine for itself, but for reads.
    pub(crate) async fn admit_alone(&self) -> Result<[Guard<'_>; 2], EngineError> {
        self.make_room().await?;
        let turn = self.take_turn().await;
        let door = self.door.claim(0, 0..1, Mode::Exclusive).await;
        self.check_frozen().map(|()| [turn, door])
    }

    /// A checkpoint that is due is asked for; one that is overdue is waited for.
    async fn make_room(&self) -> Result<(), EngineError> {
        loop {
            self.check_frozen()?;
            let room = self.room();
            if room != Room::Enough {
                self.checkpoints.is_wanted.set(true);
                self.checkpoints.work.wake_one();
            }
            if room != Room::Nothing {
                return Ok(());
            }
            self.checkpoints.ended.wait().await;
        }
    }

    pub(crate) fn check_frozen(&self) -> Result<(), EngineError> {
        if self.state.borrow().is_frozen { Err(EngineError::Frozen) } else { Ok(()) }
    }

    fn room(&self) -> Room {
        let state = self.state.borrow();
        let (used, blocks) = (self.journal.used() + JOURNAL_RESERVE, self.journal.blocks());
        let (room, needed) = (state.space.node_room(), state.nodes_needed());
        // In a full pool a checkpoint is of use only if it gives places back.
        let gain = state.nodes_gained();
        if used >= blocks || room < needed && gain > 0 {
            Room::Nothing
        } else if used >= blocks / 2 || room < needed + NODE_WORK && gain >= NODE_WORK / 2 {
            Room::Little
        } else {
            Room::Enough
        }
    }

    /// Whether nodes may be added that stay: copies of shared ones, blocks of the volume table, higher roots.
    pub(crate) fn check_node_room(&self) -> Result<(), EngineError> {
        let state = self.state.borrow();
        if state.space.node_room() < state.nodes_needed() { Err(EngineError::Full) } else { Ok(()) }
    }

    /// Makes durable what has completed.
    ///
    /// # Errors
    /// If a drive fails, or the pool is frozen because one did: then it is unknown what is durable.
    pub async fn flush(&self) -> Result<(), EngineError> {
        if !self.is_volatile {
            return Ok(());
        }
        let applied = self.state.borrow().space.now();
        let covered = self.journal.begin_flush();
        self.flush_drives().await?;
        // A flush that failed may have lost what an earlier write left in the cache: no later one makes up for it.
        self.check_frozen()?;
        self.journal.flushed(covered);
        self.state.borrow_mut().space.set_durable(applied);
        Ok(())
    }

    /// Every drive makes durable what it has.
    async fn flush_drives(&self) -> Result<(), EngineError> {
        let drives = self.drives();
        for (member, _) in drives.layout.members() {
            self.run(member, Op::Flush).await?;
        }
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
    pub(crate) async fn run(&self, member: Member, op: Op<D::Buf>) -> Result<(), EngineError> {
        self.run_any(member, op).await.map(drop)
    }

    /// A command whose buffer comes back.
    pub(crate) async fn run_with(&self, member: Member, op: Op<D::Buf>) -> Result<D::Buf, EngineError> {
        self.run_any(member, op).await.map(|buf| buf.expect("a buffer comes back from its drive"))
    }

    async fn run_any(&self, member: Member, op: Op<D::Buf>) -> Result<Option<D::Buf>, EngineError> {
        let is_read = matches!(op, Op::Read { .. });
        let completion = self.devices.run(self.device(member), op).await;
        if completion.result.is_err() && !is_read {
            self.state.borrow_mut().is_frozen = true;
        }
        completion.result.map(|()| completion.buf).map_err(EngineError::Media)
    }

    /// Reads into a new buffer.
    pub(crate) async fn fetch(&self, at: Address, blocks: u64) -> Result<D::Buf, EngineError> {
        let len = Blocks(blocks).buffer_len().ok_or(EngineError::OutOfRange)?;
        self.fetch_into(at, (self.memory)(len)).await
    }

    /// Reads as much as a buffer holds.
    pub(crate) async fn fetch_into(&self, at: Address, buf: D::Buf) -> Result<D::Buf, EngineError> {
        let completion = self.devices.run(self.device(at.member), Op::Read { lba: at.lba, buf }).await;
        completion.result.map_err(EngineError::Media)?;
        completion.buf.ok_or(EngineError::Media(MediaError::Unreadable))
    }

    /// A record and all that belongs to it have been written: the maps follow, in one step.
    pub(crate) fn finish(&self, lsn: Lsn, change: impl FnOnce(&mut State)) {
        self.apply(change);
        self.journal.applied(lsn);
    }

    /// Gives up maps of deleted volumes that nobody reads any more. Not beside a checkpoint: its root may name nodes that were
    /// shared when they were written, and that a write has replaced by copies since.
    pub(crate) fn leave(&self) {
        if !self.checkpoints.is_running.get() && !self.state.borrow().leaving.is_empty() {
            self.apply(State::leave);
        }
    }

    /// The effect of a change that has been written.
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
    /// Gives up the maps of deleted volumes of which nobody reads any more.
    pub(crate) fn leave(&mut self) {
        let Self { leaving, map, space, .. } = self;
        while let Some((_, root)) = leaving.pop_front_if(|(since, _)| space.is_past(*since)) {
            map.release(root, space);
        }
    }

    /// Places that must be left for nodes: what the next checkpoint writes, and what requests under way may add to it.
    pub(crate) fn nodes_needed(&self) -> usize {
        let tables = self.volumes.len().div_ceil(ondisk::thin::TABLE_ENTRIES) + 1;
        // What is new takes a place now, and may need another one while it has this.
        let new = self.map.unplaced_inner + tables.saturating_sub(self.tables.len());
        self.map.dirty + tables + new + self.bitmap.places_needed() + NODE_RESERVE
    }

    /// Places that a checkpoint may give back, at the most.
    pub(crate) fn nodes_gained(&self) -> usize {
        self.map.dirty + self.map.stale.len()
    }

    /// The volume with this number.
    pub(crate) fn volume(&self, number: u32) -> Result<&Volume, EngineError> {
        self.volumes.get(&number).ok_or(EngineError::NoSuchVolume)
    }
}
