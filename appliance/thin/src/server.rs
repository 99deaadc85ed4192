//! A pool from its drives to the operations of its volumes.
//!
//! ```text
//!  format, import ─▶ opening ─ run, poll_op, on_completion ─▶ opened ─▶ submit, begin …
//! ```

use crate::erase::erase;
use crate::limits::{JOURNAL_BLOCKS_MAX, JOURNAL_PART, METADATA_PART, METADATA_UNITS_MIN, SERVING_TASKS};
use crate::line::{Line, LineDevice};
use crate::pieces::Operations;
use crate::tasks::{Change, Changed, Changing, PoolEngine, change, serve};
use block::{Blocks, Completion, Geometry, IoBuf, Op, Tag};
use core::cell::{Cell, RefCell};
use ondisk::Name;
use ondisk::thin::{AU_BLOCKS, ThinIdentity, ThinLayout};
use std::rc::Rc;
use task::{Core, Devices, Executor, Mailbox};
use volume::limits::JOURNAL_BLOCKS_MIN;
use volume::{EngineError, ImportError, Memory, NewPool};

type Drives<B> = Rc<Devices<LineDevice<B>>>;

type Opening<B> = Rc<RefCell<Option<Result<PoolEngine<B>, ImportError>>>>;

/// A pool that is served, or is about to be.
pub struct Server<B: IoBuf> {
    core: Rc<Core>,
    executor: Executor,
    devices: Drives<B>,
    memory: Rc<Memory<B>>,
    /// By drive.
    lines: Vec<Rc<Line<B>>>,
    /// The drive whose line is looked at next.
    turn: usize,
    operations: Operations<B>,
    opening: Opening<B>,
    engine: Option<Rc<PoolEngine<B>>>,
    begun: Rc<Mailbox<Change>>,
    changed: Rc<Cell<Option<Changed>>>,
    is_changing: bool,
    /// Operations that drives have.
    at_drives: usize,
    /// Something came in since the tasks ran.
    has_news: bool,
}

impl<B: IoBuf> core::fmt::Debug for Server<B> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Server").field("engine", &self.engine).finish_non_exhaustive()
    }
}

/// The length of the journal on a drive.
pub(crate) fn journal_blocks(capacity: Blocks) -> u64 {
    let part = (capacity.0 / JOURNAL_PART).next_multiple_of(AU_BLOCKS);
    part.clamp(JOURNAL_BLOCKS_MIN, JOURNAL_BLOCKS_MAX)
}

/// How much of a drive is for volumes, in extents of the first pool (1 MiB): so much may be promised to them, and every one of
/// them can be full then.
#[must_use]
pub fn volume_extents(layout: &ThinLayout) -> u32 {
    let usable = layout.usable_aus();
    let left = usable.saturating_sub(METADATA_UNITS_MIN).saturating_sub(usable / METADATA_PART);
    left / EXTENT_AUS
}

/// The same for a pool that is to be made of a drive.
#[must_use]
pub fn volume_extents_on(capacity: Blocks) -> u32 {
    ThinLayout::new(capacity, journal_blocks(capacity)).map_or(0, |layout| volume_extents(&layout))
}

/// Units of an extent.
const EXTENT_AUS: u32 = 16;
const _: () = assert!(EXTENT_AUS as u64 * AU_BLOCKS == ondisk::EXTENT_BLOCKS.0);

impl<B: IoBuf> Server<B> {
    fn new(drive: Geometry, memory: impl Fn(usize) -> B + 'static) -> Self {
        let core = Core::new();
        let lines = vec![Line::new()];
        let devices = lines.iter().map(|line| LineDevice::new(Rc::clone(line), drive)).collect();
        Self {
            executor: Executor::new(&core),
            devices: Rc::new(Devices::new(&core, devices)),
            memory: Rc::new(memory),
            lines,
            turn: 0,
            operations: Operations::new(&core),
            opening: Opening::default(),
            engine: None,
            begun: Rc::new(Mailbox::new(&core, 1)),
            changed: Rc::default(),
            is_changing: false,
            at_drives: 0,
            has_news: true,
            core,
        }
    }

    /// Begins to make a pool of a drive. Whatever is on the drive is lost. `memory` gives the buffers that the pool takes for
    /// itself: as many as [`crate::limits::SLOTS`] says.
    #[must_use]
    pub fn format(
        identity: ThinIdentity,
        name: Name,
        drive: Geometry,
        memory: impl Fn(usize) -> B + 'static,
    ) -> Self {
        let mut server = Self::new(drive, memory);
        let (core, devices, memory) = server.parts();
        let opening = Rc::clone(&server.opening);
        let new = NewPool { identity, name, journal_blocks: journal_blocks(drive.blocks) };
        server.executor.spawn(async move {
            let erased = erase(&devices, memory.as_ref()).await;
            let opened = match erased {
                Ok(()) => volume::format(&core, devices, memory, new).await.map_err(ImportError::from),
                Err(error) => Err(EngineError::Media(error).into()),
            };
            *opening.borrow_mut() = Some(opened);
        });
        server
    }

    /// Begins to open the pool of a drive; `memory` as for [`Server::format`].
    #[must_use]
    pub fn import(drive: Geometry, memory: impl Fn(usize) -> B + 'static) -> Self {
        let mut server = Self::new(drive, memory);
        let (core, devices, memory) = server.parts();
        let opening = Rc::clone(&server.opening);
        server.executor.spawn(async move {
            let opened = volume::import(&core, devices, memory).await;
            *opening.borrow_mut() = Some(opened);
        });
        server
    }

    fn parts(&self) -> (Rc<Core>, Drives<B>, Rc<Memory<B>>) {
        (Rc::clone(&self.core), Rc::clone(&self.devices), Rc::clone(&self.memory))
    }

    /// How opening ended, once it has; told once. After `Ok` the pool can be used.
    pub fn opened(&mut self) -> Option<Result<(), ImportError>> {
        let opened = self.opening.borrow_mut().take()?;
        Some(opened.map(|engine| self.start(Rc::new(engine))))
    }

    fn start(&mut self, engine: Rc<PoolEngine<B>>) {
        for task in engine.background() {
            self.executor.spawn(task);
        }
        for _ in 0..SERVING_TASKS {
            let (pieces, ended) = (Rc::clone(&self.operations.pieces), Rc::clone(&self.operations.ended));
            self.executor.spawn(serve(Rc::clone(&engine), pieces, ended));
        }
        let changing = Changing {
            engine: Rc::clone(&engine),
            devices: Rc::clone(&self.devices),
            memory: Rc::clone(&self.memory),
            begun: Rc::clone(&self.begun),
            ended: Rc::clone(&self.changed),
        };
        self.executor.spawn(change(changing));
        self.engine = Some(engine);
        self.has_news = true;
    }

    /// What knows the volumes and the space.
    ///
    /// # Panics
    /// If the pool is not opened.
    #[must_use]
    pub fn engine(&self) -> &PoolEngine<B> {
        self.engine.as_deref().expect("the pool is opened")
    }

    /// Accepts an operation for a volume; block addresses are those of the volume. [`Server::run`] makes it begin.
    ///
    /// # Errors
    /// The operation itself, if there is no place for it now.
    ///
    /// # Panics
    /// If a buffer does not hold whole blocks, or more than [`crate::limits::TRANSFER_BLOCKS_MAX`].
    pub fn submit(&mut self, tag: Tag, volume: u32, op: Op<B>) -> Result<(), Op<B>> {
        self.has_news = true;
        self.operations.submit(tag, volume, op)
    }

    /// The next operation of a volume that has ended.
    pub fn poll(&mut self) -> Option<Completion<B>> {
        self.operations.poll()
    }

    /// Lets the tasks work, if there is something new for them; says whether there was.
    pub fn run(&mut self) -> bool {
        if !core::mem::take(&mut self.has_news) {
            return false;
        }
        self.devices.poll();
        self.executor.run();
        self.operations.collect();
        true
    }

    /// The next operation for a drive of the pool, by its number there.
    pub fn poll_op(&mut self) -> Option<(usize, Tag, Op<B>)> {
        for step in 0..self.lines.len() {
            let drive = (self.turn + step) % self.lines.len();
            if let Some((tag, op)) = self.lines[drive].take() {
                self.turn = drive + 1;
                self.at_drives += 1;
                return Some((drive, tag, op));
            }
        }
        None
    }

    /// A drive is done with an operation that [`Server::poll_op`] gave. [`Server::run`] acts on it.
    pub fn on_completion(&mut self, drive: usize, completion: Completion<B>) {
        self.at_drives = self.at_drives.checked_sub(1).expect("each operation completes once");
        self.has_news = true;
        self.lines[drive].give_back(completion);
    }

    /// Begins a change: one at a time. [`Server::run`] makes it go on.
    ///
    /// # Panics
    /// If another one is under way.
    pub fn begin(&mut self, change: Change) {
        assert!(!core::mem::replace(&mut self.is_changing, true), "one change at a time");
        assert!(self.begun.put(change).is_ok(), "there is room for one change");
        self.has_news = true;
    }

    /// How the change ended, once it has; told once.
    pub fn poll_change(&mut self) -> Option<Changed> {
        let changed = self.changed.take()?;
        self.is_changing = false;
        Some(changed)
    }

    /// Nothing is under way, neither for volumes nor at the drives.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.operations.is_empty() && self.at_drives == 0 && !self.has_news
    }
}
