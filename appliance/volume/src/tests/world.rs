//! An engine on a simulated drive with tasks that serve requests, and an oracle that knows what may be read.

use super::audit::audit;
use super::judge;
use crate::{
    Engine, EngineError, ImportError, Memory, NewPool, NewVolume, Pace, ScrubReport, format, import,
};
use block::{BLOCK_SIZE, Blocks, Lba, Op};
use core::cell::{Cell, RefCell};
use ondisk::Name;
use ondisk::thin::{Address, Member, ThinIdentity, ThinLayout, VolumeKind};
pub(super) use sim::PowerCut;
use sim::{Drive, History, Random, SimDrive, Steps};
use std::collections::BTreeMap;
use std::rc::Rc;
use task::{Core, Devices, Executor, Mailbox, Timers};
use uuid::Uuid;

/// Tasks that serve requests.
const TASKS: usize = 8;
pub(super) const JOURNAL_BLOCKS: u64 = crate::limits::JOURNAL_BLOCKS_MIN;

#[derive(Clone, Debug)]
pub(super) enum Request {
    Read { volume: u32, first: u64, blocks: u64, mark: u64 },
    Write { volume: u32, first: u64, versions: Vec<u64> },
    Trim { volume: u32, first: u64, blocks: u64 },
    Flush { mark: u64 },
    Checkpoint,
    Scrub,
    Create { blocks: u64, new: NewVolume },
    Snapshot { origin: u32, new: NewVolume, mark: u64 },
    Grow { volume: u32, blocks: u64 },
    Delete { volume: u32 },
    SetAttributes { volume: u32, attributes: Box<[u8]> },
}

#[derive(Debug)]
pub(super) enum Answer {
    Done,
    Data(Vec<u8>),
    Number(u32),
    Scrubbed(ScrubReport),
}

/// What scrubs of these tests wait between two blocks.
pub(super) const PACE: Pace = Pace { block_ns: 1000 };

type Reply = (Request, Result<Answer, EngineError>);

/// A pool that is served.
pub(super) struct Served {
    executor: Executor,
    pub(super) devices: Rc<Devices<SimDrive>>,
    pub(super) engine: Rc<Engine<SimDrive>>,
    requests: Rc<Mailbox<Request>>,
    replies: Rc<Mailbox<Reply>>,
    pub(super) under_way: usize,
    /// Writes, trims and reads that began and ended while one checkpoint was being written.
    pub(super) beside: Rc<Cell<[u64; 3]>>,
    pub(super) timers: Rc<Timers>,
}

/// Commands for which a drive takes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slow {
    Nothing,
    Reads,
    Flushes,
    /// A checkpoint stands still while anything else is under way.
    Leaves,
}

impl Slow {
    fn is(self, op: &Op<Vec<u8>>) -> bool {
        match self {
            Self::Nothing => false,
            Self::Reads => matches!(op, Op::Read { .. }),
            Self::Flushes => matches!(op, Op::Flush),
            Self::Leaves => matches!(op, Op::Write { buf, .. } if buf.starts_with(b"IRONBAY LEAF")),
        }
    }
}

/// What a volume should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) kind: VolumeKind,
    pub(super) blocks: u64,
    pub(super) attributes: Box<[u8]>,
}

/// What should be there, by number.
pub(super) type Volumes = BTreeMap<u32, Expected>;

pub(super) struct World {
    /// Between two lives of the engine.
    pub(super) drive: Option<Drive>,
    pub(super) served: Option<Served>,
    pub(super) random: Random,
    pub(super) steps: Steps,
    pub(super) history: History,
    pub(super) volumes: Volumes,
    /// The number of the next volume.
    next: u32,
    /// Of which volume a volume is a copy.
    origins: BTreeMap<u32, u32>,
    /// A change that was asked for and not answered.
    pub(super) pending: Option<Request>,
    pub(super) version: u64,
    pub(super) names: u64,
    /// What ends only when nothing else is under way.
    pub(super) slow: Slow,
    /// The drive does what it is told: requests fail only for reasons of their own.
    pub(super) is_healthy: bool,
    /// The error of the last request that had one; a test takes it.
    pub(super) failed: Option<EngineError>,
    /// Writes for which there was no unit.
    pub(super) refused: u64,
    /// A test damaged the drive: what `check` finds on it is that test's affair.
    pub(super) is_rotten: bool,
    /// What the last scrub found.
    pub(super) scrubbed: Option<ScrubReport>,
    /// Pages of checksums that the engine keeps in memory from its next start on; all if there is none.
    pub(super) pages: Option<usize>,
}

fn new_pool() -> NewPool {
    let name = Name::new("tank").expect("a name");
    NewPool { identity: identity(), name, journal_blocks: JOURNAL_BLOCKS }
}

pub(super) fn identity() -> ThinIdentity {
    ThinIdentity { pool: Uuid::from_u128(1), drive: Uuid::from_u128(2) }
}

/// A block of the first drive.
pub(super) fn on_first(lba: u64) -> Address {
    Address { member: Member::FIRST, lba: Lba(lba) }
}

/// A block that says which version it is, where it belongs, and which volume wrote it.
fn content(version: u64, lba: u64, writer: u32) -> Vec<u8> {
    let mut block = vec![0; BLOCK_SIZE];
    if version > 0 {
        block[..8].copy_from_slice(&version.to_le_bytes());
        block[8..16].copy_from_slice(&lba.to_le_bytes());
        block[16..20].copy_from_slice(&writer.to_le_bytes());
        block[BLOCK_SIZE - 8..].copy_from_slice(&version.to_le_bytes());
    }
    block
}

/// Version and writer, if somebody wrote this block here.
fn origin_of(block: &[u8], lba: u64) -> Option<(u64, u32)> {
    let version = u64::from_le_bytes(block[..8].try_into().expect("eight bytes"));
    let writer = u32::from_le_bytes(block[16..20].try_into().expect("four bytes"));
    (block == content(version, lba, writer)).then_some((version, writer))
}

pub(super) fn version_of(block: &[u8], lba: u64) -> u64 {
    let Some((version, _)) = origin_of(block, lba) else {
        panic!("block {lba} shows what was never written there")
    };
    version
}

async fn serve(engine: &Engine<SimDrive>, timers: &Timers, request: &Request) -> Result<Answer, EngineError> {
    match request.clone() {
        Request::Read { volume, first, blocks, .. } => {
            let len = Blocks(blocks).buffer_len().expect("small");
            engine.read(volume, first, vec![0xaa; len]).await.map(Answer::Data)
        }
        Request::Write { volume, first, versions } => {
            let data: Vec<Vec<u8>> =
                (first..).zip(&versions).map(|(lba, v)| content(*v, lba, volume)).collect();
            engine.write(volume, first, data.concat()).await.map(|_| Answer::Done)
        }
        Request::Trim { volume, first, blocks } => {
            engine.trim(volume, first, Blocks(blocks)).await.map(|()| Answer::Done)
        }
        Request::Flush { .. } => engine.flush().await.map(|()| Answer::Done),
        Request::Checkpoint => engine.checkpoint().await.map(|()| Answer::Done),
        Request::Scrub => Ok(Answer::Scrubbed(engine.scrub(timers, PACE).await)),
        Request::Create { blocks, new } => engine.create(Blocks(blocks), new).await.map(Answer::Number),
        Request::Snapshot { origin, new, .. } => engine.snapshot(origin, new).await.map(Answer::Number),
        Request::Grow { volume, blocks } => engine.grow(volume, Blocks(blocks)).await.map(|()| Answer::Done),
        Request::Delete { volume } => engine.delete(volume).await.map(|()| Answer::Done),
        Request::SetAttributes { volume, attributes } => {
            engine.set_attributes(volume, &attributes).await.map(|()| Answer::Done)
        }
    }
}

impl World {
    /// A formatted drive, served.
    pub(super) fn new(seed: u64, drive: Drive) -> Self {
        let mut world = Self {
            drive: Some(drive),
            served: None,
            random: Random(seed),
            steps: Steps::default(),
            history: History::default(),
            volumes: Volumes::new(),
            next: 1,
            origins: BTreeMap::new(),
            pending: None,
            version: 0,
            names: 0,
            slow: Slow::Nothing,
            is_healthy: true,
            failed: None,
            refused: 0,
            is_rotten: false,
            scrubbed: None,
            pages: None,
        };
        world.start(true).expect("no cut").expect("a blank drive");
        world
    }

    /// The same drive and the same oracle, for another life.
    pub(super) fn copy(&self) -> Self {
        let of_served = |served: &Served| served.devices.with(0, |d| d.drive.clone());
        Self {
            drive: self.drive.clone().or_else(|| self.served.as_ref().map(of_served)),
            served: None,
            random: self.random.clone(),
            steps: Steps::default(),
            history: self.history.clone(),
            volumes: self.volumes.clone(),
            next: self.next,
            origins: self.origins.clone(),
            pending: self.pending.clone(),
            version: self.version,
            names: self.names,
            slow: Slow::Nothing,
            is_healthy: true,
            failed: None,
            refused: 0,
            is_rotten: self.is_rotten,
            scrubbed: None,
            pages: self.pages,
        }
    }

    /// Tries every outcome of a power cut at this moment, in which nothing is under way, in copies of this world; gives how many
    /// there are.
    pub(super) fn try_every_cut(&mut self) -> u64 {
        assert_eq!(self.served().under_way, 0);
        let pending = self.served().devices.with(0, |d| d.pending());
        assert!(pending <= 12, "{pending} changes are too many to try every subset of");
        for subset in 0..1_u64 << pending {
            self.cut_to(subset).recover(false).expect("no cut is planned");
        }
        1 << pending
    }

    /// A copy of this world after a power cut, of whose pending changes exactly those survive whose bit is set.
    pub(super) fn cut_to(&self, subset: u64) -> Self {
        let mut world = self.copy();
        let mut drive = SimDrive::new(world.drive.take().expect("it is copied"));
        drive.power_cut_to(subset);
        world.drive = Some(drive.drive);
        world
    }

    pub(super) fn served(&mut self) -> &mut Served {
        self.served.as_mut().expect("the pool is served")
    }

    /// The places on the first drive.
    pub(super) fn layout(&mut self) -> ThinLayout {
        *self.served().engine.drives().layout.member(Member::FIRST).expect("there is one")
    }

    fn note(&mut self, event: impl core::hash::Hash) -> Result<(), PowerCut> {
        self.steps.note(event)
    }

    /// Formats or imports the drive, and begins to serve it.
    pub(super) fn start(&mut self, is_new: bool) -> Result<Result<(), ImportError>, PowerCut> {
        let core = Core::new();
        let drive = SimDrive::new(self.drive.take().expect("the drive is there"));
        let devices = Rc::new(Devices::new(&core, vec![drive]));
        let mut executor = Executor::new(&core);
        let found = Rc::new(RefCell::new(None));
        let (of_task, result, of_core) = (devices.clone(), found.clone(), core.clone());
        executor.spawn(async move {
            let memory: Rc<Memory<Vec<u8>>> = Rc::new(|len| vec![0xaa; len]);
            let opened = if is_new {
                format(&of_core, of_task, memory, new_pool()).await.map_err(ImportError::from)
            } else {
                import(&of_core, of_task, memory).await
            };
            *result.borrow_mut() = Some(opened);
        });
        loop {
            executor.run();
            if let Some(opened) = found.borrow_mut().take() {
                match opened {
                    Ok(engine) => {
                        self.pages.iter().for_each(|pages| engine.sums.borrow_mut().limit(*pages));
                        self.served = Some(Served::new(&core, executor, devices, Rc::new(engine)));
                        return Ok(Ok(()));
                    }
                    Err(error) => {
                        self.drive = Some(devices.with(0, |d| d.drive.clone()));
                        return Ok(Err(error));
                    }
                }
            }
            devices.with(0, |d| d.step(&mut self.random));
            devices.poll();
            if self.note("import").is_err() {
                devices.with(0, |d| d.power_cut(&mut self.random));
                self.drive = Some(devices.with(0, |d| d.drive.clone()));
                return Err(PowerCut);
            }
        }
    }

    /// Sends a request; the oracle learns what may be from now on.
    pub(super) fn send(&mut self, request: Request) {
        match &request {
            Request::Write { volume, first, versions } => {
                for (lba, version) in (*first..).zip(versions) {
                    self.history.begin(u64::from(*volume), lba, *version);
                }
            }
            Request::Trim { volume, first, blocks } => {
                for lba in *first..first + blocks {
                    self.history.begin(u64::from(*volume), lba, 0);
                }
            }
            Request::Create { .. }
            | Request::Snapshot { .. }
            | Request::Grow { .. }
            | Request::Delete { .. }
            | Request::SetAttributes { .. } => {
                self.pending = Some(request.clone());
            }
            Request::Read { .. } | Request::Flush { .. } | Request::Checkpoint | Request::Scrub => {}
        }
        let served = self.served();
        served.requests.put(request).expect("room");
        served.under_way += 1;
    }

    /// One command of the drive ends, if there is one; gives the answers that follow.
    pub(super) fn step(&mut self) -> Result<Vec<Reply>, PowerCut> {
        let (random, slow) = (&mut self.random, self.slow);
        let served = self.served.as_mut().expect("the pool is served");
        served.executor.run();
        let is_busy = served.devices.with(0, |d| {
            let is_busy = !d.is_idle();
            if is_busy {
                d.step_others_first(random, |op| slow.is(op));
            }
            is_busy
        });
        served.devices.poll();
        served.executor.run();
        // Time goes on when nothing else does.
        let deadline = served.timers.deadline().filter(|_| !is_busy);
        if let Some(deadline) = deadline {
            served.timers.advance(deadline);
            served.executor.run();
        }
        let mut replies = Vec::new();
        while let Some(reply) = served.replies.try_take() {
            served.under_way -= 1;
            replies.push(reply);
        }
        assert!(
            is_busy || deadline.is_some() || !replies.is_empty() || served.under_way == 0,
            "requests wait for nothing"
        );
        self.note((is_busy, replies.len()))?;
        for reply in &replies {
            self.steps.trace.note(format!("{:?} {:?}", reply.0, reply.1.as_ref().map(drop)));
        }
        Ok(replies)
    }

    /// Goes on until everything is answered; the oracle judges the answers.
    pub(super) fn settle(&mut self) -> Result<(), PowerCut> {
        while self.served().under_way > 0 {
            self.go()?;
        }
        Ok(())
    }

    pub(super) fn go(&mut self) -> Result<(), PowerCut> {
        for (request, result) in self.step()? {
            self.judge(&request, result);
        }
        Ok(())
    }

    /// Whether a request may fail like this where the drive does what it is told.
    fn is_excused(&self, request: &Request, error: EngineError) -> bool {
        match (request, error) {
            // Everything else works on a full pool.
            (Request::Write { .. }, EngineError::Full) => true,
            // These need places for the new ones beside the old ones, and nothing is given up for them.
            (Request::SetAttributes { .. }, EngineError::Full) => true,
            (
                Request::Read { volume, .. } | Request::Write { volume, .. } | Request::Trim { volume, .. },
                EngineError::NoSuchVolume,
            ) => !self.volumes.contains_key(volume),
            _ => false,
        }
    }

    fn judge(&mut self, request: &Request, result: Result<Answer, EngineError>) {
        let is_volatile = self.served().engine.is_volatile;
        let is_gone = |volume: &u32| !self.volumes.contains_key(volume);
        if let Err(error) = result {
            self.failed = Some(error);
            self.refused += u64::from(error == EngineError::Full);
            assert!(!self.is_healthy || self.is_excused(request, error), "{request:?}: {error}");
        }
        match (request, result) {
            (Request::Read { volume, first, mark, .. }, Ok(Answer::Data(data))) => {
                for (lba, block) in (*first..).zip(data.chunks(BLOCK_SIZE)) {
                    self.check(*volume, lba, *mark, version_of(block, lba));
                }
            }
            // It was deleted while this was under way.
            (Request::Write { volume, .. } | Request::Trim { volume, .. }, _) if is_gone(volume) => {}
            (Request::Write { volume, first, versions }, result) => {
                for (lba, version) in (*first..).zip(versions) {
                    match result {
                        Ok(_) => self.history.end(u64::from(*volume), lba, *version),
                        Err(_) => self.history.fail(u64::from(*volume), lba, *version),
                    }
                }
            }
            (Request::Trim { volume, first, blocks }, result) => {
                for lba in *first..first + blocks {
                    match result {
                        Ok(_) => self.history.end(u64::from(*volume), lba, 0),
                        Err(_) => self.history.fail(u64::from(*volume), lba, 0),
                    }
                }
            }
            (Request::Flush { mark }, Ok(_)) => self.history.flushed(*mark),
            (Request::Scrub, Ok(Answer::Scrubbed(report))) => {
                assert!(!self.is_healthy || report.is_complete && report.found == 0, "{report:?}");
                self.scrubbed = Some(report);
            }
            (change, Ok(answer)) => self.changed(change, &answer),
            (Request::Read { .. } | Request::Flush { .. } | Request::Checkpoint | Request::Scrub, Err(_)) => {
            }
            // Its record may be on the drive all the same: the next import shows it.
            (_, Err(EngineError::Media(_) | EngineError::Frozen)) => {}
            (_, Err(_)) => self.pending = None,
        }
        if !is_volatile {
            self.history.all_durable();
        }
    }

    fn check(&mut self, volume: u32, lba: u64, mark: u64, version: u64) {
        let owner = u64::from(volume);
        let verdict = match self.volumes.get(&volume) {
            Some(Expected { kind: VolumeKind::Snapshot, .. }) => {
                self.history.check_snapshot(owner, lba, version)
            }
            Some(Expected { kind: VolumeKind::Volume, .. }) => {
                self.history.check_read(owner, lba, mark, version)
            }
            // It was deleted while it was read.
            None => return,
        };
        assert_eq!(verdict, Ok(()));
    }

    /// A change was confirmed.
    fn changed(&mut self, change: &Request, answer: &Answer) {
        if let Answer::Number(number) = answer {
            assert_eq!(*number, self.next, "numbers grow");
        }
        if let Request::Snapshot { origin, mark, .. } = change {
            self.history.fork(u64::from(*origin), u64::from(self.next), *mark);
        }
        if !matches!(change, Request::Checkpoint) {
            self.pending = None;
        }
        self.become_after(change);
    }

    /// The volumes are as they are after a change.
    fn become_after(&mut self, change: &Request) {
        self.volumes = applied(&self.volumes, self.next, change);
        if let Request::Snapshot { origin, .. } = change {
            self.origins.insert(self.next, *origin);
        }
        self.next += u32::from(matches!(change, Request::Create { .. } | Request::Snapshot { .. }));
        if let Request::Delete { volume } = change {
            self.history.forget(u64::from(*volume));
        }
    }

    /// The power fails, or (with `is_crash`) only the engine ends while the drive keeps running.
    pub(super) fn end(&mut self, is_crash: bool) {
        self.steps.cut_in = None;
        let Some(served) = self.served.take() else { return };
        let random = &mut self.random;
        served.devices.with(0, |d| if is_crash { d.restart(random) } else { d.power_cut(random) });
        self.drive = Some(served.devices.with(0, |d| d.drive.clone()));
    }

    /// Imports and compares with what should be there. `is_crash`: nothing was lost but what was under way.
    pub(super) fn recover(&mut self, is_crash: bool) -> Result<(), PowerCut> {
        let is_sound = |drive: &Drive| drive.faults.unreadable.is_empty();
        if let Some(drive) = self.drive.as_ref().filter(|drive| !self.is_rotten && is_sound(drive)) {
            judge::after_cut(drive);
        }
        self.start(false)?.expect("the drive has no fault");
        if !self.is_rotten {
            self.served().devices.with(0, |d| {
                if is_sound(&d.drive) {
                    judge::after_import(&d.drive);
                }
            });
        }
        if is_crash {
            self.history.all_durable();
        }
        audit(&self.served().engine);
        let found: Volumes = self
            .served()
            .engine
            .volumes()
            .into_iter()
            .map(|v| {
                let attributes = v.attributes.expect("no block of them is damaged");
                (v.number, Expected { kind: v.kind, blocks: v.blocks.0, attributes })
            })
            .collect();
        if found != self.volumes {
            let pending = self.pending.take().expect("what is there was confirmed or asked for");
            assert_eq!(found, applied(&self.volumes, self.next, &pending));
            if let Request::Snapshot { origin, .. } = pending {
                self.history.fork_after_cut(u64::from(origin), u64::from(self.next));
            }
            self.become_after(&pending);
        }
        self.pending = None;
        self.read_back()
    }

    /// Reads every block that has a history, and some others; snapshots first, since they tell what their origins were.
    fn read_back(&mut self) -> Result<(), PowerCut> {
        for (volume, kind, lba) in self.known() {
            let data = self.fetch(volume, lba)?.unwrap_or_else(|error| panic!("{volume} {lba}: {error}"));
            let (owner, version) = (u64::from(volume), version_of(&data, lba));
            let verdict = match kind {
                VolumeKind::Snapshot => self.history.check_snapshot(owner, lba, version),
                VolumeKind::Volume => self.history.check_after_cut(owner, lba, version),
            };
            assert_eq!(verdict, Ok(()));
        }
        Ok(())
    }

    /// The blocks that have a history, and some others, by volume; snapshots first.
    pub(super) fn known(&self) -> Vec<(u32, VolumeKind, u64)> {
        let mut order: Vec<(u32, VolumeKind)> =
            self.volumes.iter().map(|(n, expected)| (*n, expected.kind)).collect();
        order.sort_by_key(|(number, kind)| (*kind == VolumeKind::Volume, *number));
        let blocks = |volume| self.history.known(u64::from(volume)).chain([0]);
        order
            .into_iter()
            .flat_map(|(volume, kind)| blocks(volume).map(move |lba| (volume, kind, lba)))
            .collect()
    }

    /// Reads one block, without a judgement.
    pub(super) fn fetch(&mut self, volume: u32, lba: u64) -> Result<Result<Vec<u8>, EngineError>, PowerCut> {
        let mark = self.history.mark();
        self.send(Request::Read { volume, first: lba, blocks: 1, mark });
        loop {
            match self.step()?.pop() {
                Some((_, Ok(Answer::Data(data)))) => return Ok(Ok(data)),
                Some((_, Err(error))) => return Ok(Err(error)),
                Some((request, Ok(answer))) => panic!("{request:?} was answered with {answer:?}"),
                None => {}
            }
        }
    }

    /// Whether a block of a volume shows something that neither this volume nor one of those of which it is a copy ever wrote there.
    pub(super) fn is_foreign(&self, volume: u32, lba: u64, data: &[u8]) -> bool {
        let mut line = core::iter::successors(Some(volume), |at| self.origins.get(at).copied());
        origin_of(data, lba).is_none_or(|(version, writer)| version > 0 && !line.any(|at| at == writer))
    }

    pub(super) fn fresh_name(&mut self, kind: VolumeKind) -> NewVolume {
        self.names += 1;
        let name = Name::new(&format!("v{}", self.names)).expect("a good name");
        let uuid = Uuid::from_u128(u128::from(self.names) + 100);
        NewVolume { uuid, name, kind, attributes: Box::default() }
    }

    /// Attributes of so many bytes, which nobody had before.
    pub(super) fn fresh_attributes(&mut self, len: usize) -> Box<[u8]> {
        let version = self.versions(1)[0];
        version.to_le_bytes().into_iter().cycle().take(len).collect()
    }

    /// New versions for so many blocks.
    pub(super) fn versions(&mut self, count: u64) -> Vec<u64> {
        self.version += count;
        (self.version - count + 1..=self.version).collect()
    }
}

/// The volumes after a change; a new one gets the number `next`.
fn applied(volumes: &Volumes, next: u32, change: &Request) -> Volumes {
    let mut volumes = volumes.clone();
    match change {
        Request::Create { blocks, new } => {
            let NewVolume { kind, attributes, .. } = new.clone();
            volumes.insert(next, Expected { kind, blocks: *blocks, attributes });
        }
        Request::Snapshot { origin, new, .. } => {
            let NewVolume { kind, attributes, .. } = new.clone();
            volumes.insert(next, Expected { kind, blocks: volumes[origin].blocks, attributes });
        }
        Request::Grow { volume, blocks } => {
            volumes.entry(*volume).and_modify(|expected| expected.blocks = *blocks);
        }
        Request::Delete { volume } => {
            volumes.remove(volume);
        }
        Request::SetAttributes { volume, attributes } => {
            volumes.entry(*volume).and_modify(|expected| expected.attributes = attributes.clone());
        }
        Request::Read { .. } | Request::Write { .. } | Request::Trim { .. } => {}
        Request::Flush { .. } | Request::Checkpoint | Request::Scrub => {}
    }
    volumes
}

impl Served {
    fn new(
        core: &Rc<Core>,
        mut executor: Executor,
        devices: Rc<Devices<SimDrive>>,
        engine: Rc<Engine<SimDrive>>,
    ) -> Self {
        let requests: Rc<Mailbox<Request>> = Rc::new(Mailbox::new(core, TASKS));
        let beside = Rc::new(Cell::new([0; 3]));
        let replies = Rc::new(Mailbox::new(core, TASKS));
        let timers = Rc::new(Timers::new(core, 1));
        for task in engine.background() {
            executor.spawn(task);
        }
        for _ in 0..TASKS {
            let (requests, replies, engine) = (requests.clone(), replies.clone(), engine.clone());
            let (beside, timers) = (beside.clone(), timers.clone());
            executor.spawn(async move {
                loop {
                    let request = requests.take().await;
                    let running = || {
                        let is_running = engine.checkpoints.is_running.get();
                        is_running.then(|| engine.state.borrow().generation)
                    };
                    let before = running();
                    let result = serve(&engine, &timers, &request).await;
                    if before.is_some() && before == running() && result.is_ok() {
                        let mut counts = beside.get();
                        match request {
                            Request::Write { .. } => counts[0] += 1,
                            Request::Trim { .. } => counts[1] += 1,
                            Request::Read { .. } => counts[2] += 1,
                            Request::Flush { .. }
                            | Request::Checkpoint
                            | Request::Scrub
                            | Request::Create { .. }
                            | Request::Snapshot { .. }
                            | Request::Grow { .. }
                            | Request::Delete { .. }
                            | Request::SetAttributes { .. } => {}
                        }
                        beside.set(counts);
                    }
                    replies.put((request, result)).expect("as many replies as requests");
                }
            });
        }
        Self { executor, devices, engine, requests, replies, under_way: 0, beside, timers }
    }

    /// Requests that may still be sent.
    pub(super) fn room(&self) -> usize {
        TASKS - self.under_way
    }
}
