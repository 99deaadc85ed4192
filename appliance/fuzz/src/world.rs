//! A small target and its owner: what `target` and the drives do, with an eye on everything that passes.

use crate::choices::Choices;
use block::{Blocks, MediaError, Tick};
use core::time::Duration;
use nvme_spec::entry::FLAGS_SGL;
use nvme_spec::fabrics::{Connect, ConnectData, DISCOVERY_NQN, Nqns, Property};
use nvme_spec::register::{Cc, offset};
use nvme_spec::{Cqe, NvmOpcode, Sqe, Status};
use nvme_subsystem::limits::{ADMIN_DATA_MAX, AER_MAX, HELD_CONNECTS_MAX, TRANSFER_MAX};
use nvme_subsystem::{
    Action, Answer, Command, ConnectionId, Endpoints, Hosts, Io, IoKind, NamespaceConfig, Outcome, Queue,
    Span, SubsystemConfig, Target, TargetConfig,
};
use std::collections::BTreeMap;
use uuid::Uuid;
use zerocopy::IntoBytes;

/// The subsystem that everybody may use.
pub(crate) const OPEN_NQN: &str = "nqn.2014-08.org.nvmexpress:uuid:6c2c6f0b-7a5b-4a0e-9a57-2a4cf4c1f2b1";
/// The one with a list of hosts, on which [`HOST_NQN`] stands.
pub(crate) const LISTED_NQN: &str = "nqn.2026-01.example:listed";
/// The node's discovery subsystem.
pub(crate) const NODE_NQN: &str = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-00000000d15c";
/// A host.
pub(crate) const HOST_NQN: &str = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555";
/// A host on no list.
pub(crate) const STRANGER_NQN: &str = "nqn.2026-01.example:stranger";

/// A host, as it names itself in Connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) nqn: &'static str,
    pub(crate) id: [u8; 16],
    /// Silent for longer, it is gone; 0: never.
    pub(crate) kato_ms: u32,
}

/// The host that good connections come from.
pub(crate) const HOST: Who = Who { nqn: HOST_NQN, id: [7; 16], kato_ms: 5000 };
/// Another one.
pub(crate) const OTHER: Who = Who { nqn: STRANGER_NQN, id: [8; 16], kato_ms: 5000 };

/// The half of a fused operation that a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    /// None: it stands for itself.
    No,
    /// The first; it ends with its second.
    First,
    /// The second of the first with this tag.
    Second(u32),
}

/// A command that the storage has.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) tag: u32,
    pub(crate) sqe: Sqe,
    pub(crate) io: Io,
    pub(crate) data: Vec<u8>,
    pub(crate) half: Half,
    /// It has reached the drives: it cannot be stopped any more.
    pub(crate) has_begun: bool,
    /// It ends so instead of beginning.
    pub(crate) failure: Option<Status>,
}

/// A command that is answered later, by the target itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    tag: u32,
    pub(crate) sqe: Sqe,
}

/// A namespace as the harness knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) blocks: u64,
    pub(crate) lba_shift: u8,
    pub(crate) volume: u64,
    /// Only [`HOST`] may use it.
    pub(crate) is_listed: bool,
}

impl Known {
    pub(crate) fn is_for(&self, who: Who) -> bool {
        !self.is_listed || who.nqn == HOST_NQN
    }
}

/// What became of a command at once.
#[derive(Debug)]
pub(crate) enum Taken {
    Answered(Answer),
    /// It is the storage's.
    Pending,
    /// It is answered later.
    Held,
    /// The owner is asked to abort a command of this identifier on that connection; it has been answered.
    Abort {
        connection: ConnectionId,
        cid: u16,
    },
}

/// Changes of reservations that wait on one queue: as many as there are namespaces and each lets wait.
const CHANGES_MAX: usize = 6 * (nvme_subsystem::limits::GUARD_WAITING_MAX + 1);

/// A connection and what is under way on it.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) id: ConnectionId,
    /// Once it is a queue.
    pub(crate) queue: Option<Queue>,
    pub(crate) who: Who,
    /// Of its controller.
    pub(crate) cntlid: u16,
    next_tag: u32,
    /// Event requests, and changes of reservations and features.
    pub(crate) held: Vec<Held>,
    /// With the storage.
    pub(crate) pending: Vec<Pending>,
    /// Tag of the first half of a fused operation whose second has not come.
    pub(crate) first: Option<u32>,
}

/// The target, its connections, and its namespaces as they are now.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) target: Target,
    pub(crate) now: Tick,
    pub(crate) open: Vec<Open>,
    pub(crate) namespaces: BTreeMap<u32, Known>,
    volumes: u64,
    /// What the target wants to be stored, and commands to be waited for, happens at once.
    pub(crate) is_prompt: bool,
    persisting: Vec<u64>,
    quiescing: Vec<u64>,
    /// Answers that came later: connection, identifier, status.
    pub(crate) answered: Vec<(ConnectionId, u16, Status)>,
}

impl World {
    /// Namespaces in the open subsystem: 1 and 3 of 4 KiB, 4 of 512 bytes, and 5 for [`HOST`] alone.
    pub(crate) fn new() -> Self {
        let config =
            TargetConfig { discovery_nqn: NODE_NQN.into(), node: 0, io_port: 4420, firmware: "0.1.0".into() };
        let mut target = Target::new(config);
        target.add_subsystem(subsystem(OPEN_NQN, true)).expect("a new subsystem");
        target.add_subsystem(subsystem(LISTED_NQN, false)).expect("a new subsystem");
        let hosts = Hosts::Listed(vec![HOST_NQN.into()]);
        let known = Known { blocks: 256, lba_shift: 12, volume: 7, is_listed: true };
        target.add_namespace(LISTED_NQN, namespace(1, known, hosts)).expect("a new namespace");
        let mut world = Self {
            target,
            now: Tick(0),
            open: Vec::new(),
            namespaces: BTreeMap::new(),
            volumes: 100,
            is_prompt: true,
            persisting: Vec::new(),
            quiescing: Vec::new(),
            answered: Vec::new(),
        };
        world.add_namespace(1, (256, 12, false));
        world.add_namespace(3, (65536, 12, false));
        world.add_namespace(4, (1024, 9, false));
        world.add_namespace(5, (64, 12, true));
        world
    }

    /// The same, with [`HOST`] and [`OTHER`] at the open subsystem, each with an admin queue and so many I/O queues.
    pub(crate) fn with_queues(io_queues: u16) -> Self {
        let mut world = Self::new();
        for who in [HOST, OTHER] {
            let cntlid = world.connect(who, OPEN_NQN, 0xffff, 0);
            for qid in 1..=io_queues {
                world.connect(who, OPEN_NQN, cntlid, qid);
            }
        }
        world
    }

    /// A queue of a host, while it is open.
    pub(crate) fn find(&self, who: Who, qid: u16) -> Option<usize> {
        self.open.iter().position(|open| open.who == who && open.queue.is_some_and(|q| q.qid == qid))
    }

    /// A namespace of so many blocks of 4 KiB, the size of its logical blocks, and whether it is for [`HOST`] alone.
    pub(crate) fn add_namespace(&mut self, nsid: u32, (blocks, lba_shift, is_listed): (u64, u8, bool)) {
        self.volumes += 1;
        let known = Known { blocks, lba_shift, volume: self.volumes, is_listed };
        let hosts = if is_listed { Hosts::Listed(vec![HOST_NQN.into()]) } else { Hosts::Any };
        let is_new = self.target.add_namespace(OPEN_NQN, namespace(nsid, known, hosts)).is_ok();
        assert_eq!(is_new, nsid > 0 && nsid <= 1024 && !self.namespaces.contains_key(&nsid));
        if is_new {
            self.namespaces.insert(nsid, known);
        }
        self.settle();
    }

    /// Adds, grows or removes a namespace.
    pub(crate) fn change_namespace(&mut self, choices: &mut Choices<'_>) {
        let nsid = u32::from(choices.u8() % 6);
        match choices.u8() % 3 {
            0 => {
                let (blocks, how) = (u64::from(choices.u16()), choices.u8());
                let lba_shift = if how & 1 == 0 { 12 } else { 9 };
                self.add_namespace(nsid, (blocks, lba_shift, how & 2 != 0));
            }
            1 => {
                let blocks =
                    self.namespaces.get(&nsid).map_or(0, |known| known.blocks) + u64::from(choices.u16());
                if self.target.resize_namespace(OPEN_NQN, nsid, Blocks(blocks)).is_ok() {
                    self.namespaces.get_mut(&nsid).expect("it is known").blocks = blocks;
                }
            }
            _ => {
                let is_removed = self.target.remove_namespace(OPEN_NQN, nsid).is_ok();
                assert_eq!(is_removed, self.namespaces.remove(&nsid).is_some());
            }
        }
        self.settle();
    }

    pub(crate) fn accept(&mut self) -> Option<usize> {
        let local = "[::ffff:10.0.0.5]:8009".parse().expect("an address");
        let peer = "10.0.0.7:51234".parse().expect("an address");
        let id = self.target.on_accept(Endpoints { local, peer, is_discovery_only: false })?;
        self.open.push(Open {
            id,
            queue: None,
            who: HOST,
            cntlid: 0,
            next_tag: 1,
            held: Vec::new(),
            pending: Vec::new(),
            first: None,
        });
        Some(self.open.len() - 1)
    }

    /// A queue of a good host: the admin queue, enabled, or an I/O queue of that controller.
    pub(crate) fn connect(&mut self, who: Who, nqn: &str, cntlid: u16, qid: u16) -> u16 {
        let index = self.accept().expect("room");
        self.open[index].who = who;
        let data = ConnectData::new(who.id, cntlid, Nqns { host: who.nqn, subsystem: nqn });
        let connect = Connect { recfmt: 0, qid, sqsize_z: 127, cattr: 0, kato_ms: who.kato_ms };
        let answer = self.command(index, connect.to_sqe(), 1024, data.expect("names are short").as_bytes());
        let cntlid = answer.expect("Connect is answered at once").cqe.dw0.get();
        assert!(self.open[index].queue.is_some(), "a good Connect succeeds");
        if qid == 0 {
            let cc = Cc::new().with_en(true).with_iosqes(6).with_iocqes(4);
            let enable = Property { offset: offset::CC, is_wide: false }.set(u64::from(cc.into_bits()));
            self.command(index, enable, 0, &[]);
        }
        let cntlid = u16::try_from(cntlid & 0xffff).expect("16 bits");
        self.open[index].cntlid = cntlid;
        cntlid
    }

    /// A command; `data` is what it brings if it is asked for (zeroes behind its end). Returns its answer, unless that
    /// comes later.
    pub(crate) fn command(&mut self, index: usize, sqe: Sqe, data_len: u32, data: &[u8]) -> Option<Answer> {
        match self.submit(index, sqe, data_len, data) {
            Taken::Answered(answer) => Some(answer),
            Taken::Abort { .. } => {
                Some(Answer { cqe: Cqe::new(sqe.cid.get(), Status::SUCCESS), data: Vec::new(), len: 0 })
            }
            Taken::Pending | Taken::Held => None,
        }
    }

    /// The same; says what became of it.
    pub(crate) fn submit(&mut self, index: usize, mut sqe: Sqe, data_len: u32, data: &[u8]) -> Taken {
        let open = &mut self.open[index];
        sqe.flags |= FLAGS_SGL;
        let tag = open.next_tag;
        open.next_tag += 1;
        let (id, command) = (open.id, Command { tag, sqe: &sqe, data_len });
        let mut outcome = self.target.on_command(id, &command, self.now);
        if let Some(status) = self.target.poll_abort() {
            let first = open.first.take().expect("only a first half that waits is aborted");
            let place = open.pending.iter().position(|pending| pending.tag == first);
            let aborted = open.pending.remove(place.expect("it waits"));
            assert!(aborted.half == Half::First && !aborted.has_begun);
            assert!(status.is(Status::ABORTED_MISSING_FUSED) || status.is(Status::ABORTED_FAILED_FUSED));
            self.answered.push((id, aborted.sqe.cid.get(), status));
        }
        if let Outcome::Page { len: room } = outcome {
            assert!((1..=data_len.min(TRANSFER_MAX)).contains(&room), "{room} bytes of {data_len}");
            let mut answer = self.target.on_page(id, &command);
            let len = answer.len as usize;
            assert!(answer.data.len() <= len && answer.len <= room, "it fits");
            answer.data.resize(len, 0);
            outcome = Outcome::Done(answer);
        }
        let mut all = data.to_vec();
        if let Outcome::NeedsData { len } = outcome {
            assert!(
                len <= ADMIN_DATA_MAX && len == data_len,
                "{len} bytes are asked for, {data_len} are there"
            );
            all.resize(len as usize, 0);
            outcome = self.target.on_data(id, &command, &all, self.now);
            assert!(!matches!(outcome, Outcome::NeedsData { .. }), "data comes once");
        }
        if let Outcome::Io(io) | Outcome::First(io) | Outcome::Second(io) = outcome {
            all.resize(io.kind.data_len() as usize, 0);
            self.check(io, &all);
        }
        let taken = self.on_outcome(index, &sqe, (tag, all), outcome);
        if let Taken::Answered(answer) = &taken {
            assert_eq!(answer.cqe.cid, sqe.cid, "an answer names its command");
            assert!(answer.data.len() <= data_len as usize, "no more data than there is room for");
            assert!(answer.cqe.status().is_success() || answer.data.is_empty(), "errors carry no data");
        }
        self.settle();
        taken
    }

    fn on_outcome(
        &mut self,
        index: usize,
        sqe: &Sqe,
        (tag, data): (u32, Vec<u8>),
        outcome: Outcome,
    ) -> Taken {
        let open = &mut self.open[index];
        let (io, half) = match outcome {
            Outcome::Done(answer) => return Taken::Answered(answer),
            Outcome::Connected { answer, queue } => {
                assert!(
                    open.queue.is_none() && answer.cqe.status().is_success(),
                    "a connection connects once"
                );
                assert!((2..=1024).contains(&queue.entries), "{queue:?}");
                open.queue = Some(queue);
                return Taken::Answered(answer);
            }
            Outcome::Held => {
                open.held.push(Held { tag, sqe: *sqe });
                return Taken::Held;
            }
            Outcome::Abort { connection, cid } => {
                assert!(self.open.iter().any(|open| open.id == connection), "a queue that is there");
                return Taken::Abort { connection, cid };
            }
            Outcome::First(io) => {
                assert!(open.first.replace(tag).is_none(), "a half that gets no partner is aborted");
                (io, Half::First)
            }
            Outcome::Second(io) => {
                let tag = open.first.take().expect("a second follows a first");
                let first = open.pending.iter().find(|pending| pending.tag == tag).expect("it waits").io;
                assert_eq!((first.volume, first.kind.span()), (io.volume, io.kind.span()), "the same blocks");
                (io, Half::Second(tag))
            }
            Outcome::Io(io) => (io, Half::No),
            Outcome::NeedsData { .. } | Outcome::Page { .. } => unreachable!("the caller has given it"),
        };
        assert!(open.queue.is_some_and(|queue| queue.qid > 0), "only I/O queues do IO");
        open.pending.push(Pending { tag, sqe: *sqe, io, data, half, has_begun: false, failure: None });
        Taken::Pending
    }

    /// What reaches the storage lies inside its namespace; the ranges that `data` lists too, or none of them.
    fn check(&self, io: Io, data: &[u8]) {
        let known = self.namespaces.values().find(|known| known.volume == io.volume);
        let blocks = known.expect("the namespace exists").blocks;
        let is_inside = |span: Span| assert!(span.end().0 <= blocks * 4096, "{io:?} beyond {blocks} blocks");
        assert!(io.kind.data_len() <= TRANSFER_MAX);
        if let Some(span) = io.kind.span() {
            is_inside(span);
            assert!(span.start() < span.end(), "there is something to do: {io:?}");
            let has_data = io.kind.data_len() > 0;
            assert!(!has_data || u64::from(io.kind.data_len()) == span.len().0, "{io:?}");
        }
        if let IoKind::Copy(copying) = io.kind
            && let Ok(ranges) = copying.ranges(data)
        {
            let sources = (0..).map_while(|index| ranges.get(index));
            let total: u64 = sources.clone().map(|span| span.len().0).sum();
            assert_eq!(total, ranges.to().len().0, "what is copied has a place");
            sources.chain([ranges.to()]).for_each(is_inside);
        }
        if let IoKind::Dataset(dataset) = io.kind
            && let Ok(ranges) = dataset.ranges(data)
        {
            assert!(ranges.len() <= 256);
            (0..ranges.len()).filter_map(|index| ranges.get(index)).for_each(is_inside);
        }
    }

    /// Takes a command out of a connection's: it is answered.
    pub(crate) fn take(&mut self, index: usize, tag: u32) -> Pending {
        let pending = &mut self.open[index].pending;
        let place = pending.iter().position(|pending| pending.tag == tag);
        pending.remove(place.expect("a command is answered once"))
    }

    /// The drives have ended a command: its completion.
    pub(crate) fn end_io(&mut self, index: usize, pending: &Pending, result: Result<(), MediaError>) -> Cqe {
        let cqe = self.target.on_io_done(self.open[index].id, &pending.sqe, &pending.io, result);
        assert_eq!((cqe.cid, cqe.status().is_success()), (pending.sqe.cid, result.is_ok()));
        self.settle();
        cqe
    }

    /// Nothing is waited for: a change of a reservation begins at once.
    pub(crate) fn is_settled(&self) -> bool {
        self.persisting.is_empty() && self.quiescing.is_empty()
    }

    /// What the target wants to be stored is stored, or cannot be; and what is waited for may have ended.
    pub(crate) fn settle_later(&mut self, choices: &mut Choices<'_>) {
        if !self.persisting.is_empty() {
            let volume = self.persisting.swap_remove(choices.below(self.persisting.len()));
            self.target.on_persisted(volume, choices.u8() != 1);
        }
        self.settle();
    }

    /// Some connection.
    pub(crate) fn pick(&self, choices: &mut Choices<'_>) -> Option<usize> {
        (!self.open.is_empty()).then(|| choices.below(self.open.len()))
    }

    pub(crate) fn close(&mut self, index: usize) {
        let open = self.open.remove(index);
        self.target.on_close(open.id);
        self.settle();
    }

    pub(crate) fn wait(&mut self, ms: u64) {
        self.now = self.now.after(Duration::from_millis(ms));
        self.target.on_tick(self.now);
        self.settle();
    }

    /// Does what the target wants.
    pub(crate) fn settle(&mut self) {
        while let Some(action) = self.target.poll_action() {
            match action {
                Action::Complete { connection, tag, cqe } => {
                    let open = self.open.iter_mut().find(|open| open.id == connection);
                    let held = &mut open.expect("an open connection").held;
                    let found = held.iter().position(|held| held.tag == tag);
                    let cid = held.remove(found.expect("a command is answered once")).sqe.cid.get();
                    assert_eq!(cqe.cid.get(), cid, "an answer names its command");
                    self.answered.push((connection, cid, cqe.status()));
                }
                Action::Connected { connection, tag, cqe, queue } => {
                    let open = self.open.iter_mut().find(|open| open.id == connection);
                    let open = open.expect("an open connection");
                    let found = open.held.iter().position(|held| held.tag == tag);
                    let held = open.held.remove(found.expect("a command is answered once"));
                    let cid = held.sqe.cid.get();
                    assert!(cqe.cid.get() == cid && cqe.status().is_success() && open.queue.is_none());
                    open.queue = Some(queue);
                }
                Action::Persist { volume } => {
                    let durable = self.target.to_persist(volume).expect("it is asked for once");
                    let registrants = durable.reservation.map_or(0, |kept| kept.registrants.len());
                    assert!(
                        registrants <= nvme_subsystem::limits::REGISTRANTS_MAX,
                        "registrants are bounded"
                    );
                    if self.is_prompt {
                        self.target.on_persisted(volume, true);
                    } else {
                        self.persisting.push(volume);
                    }
                }
                Action::Quiesce { volume } => self.quiesce(volume),
                Action::Close { connection } => {
                    let found = self.open.iter().position(|open| open.id == connection);
                    let open = self.open.remove(found.expect("a connection is closed once"));
                    self.target.on_close(open.id);
                }
            }
        }
        self.look_for_quiet();
        for open in &self.open {
            let max = if open.queue.is_some() { AER_MAX + CHANGES_MAX } else { HELD_CONNECTS_MAX };
            assert!(open.held.len() <= max, "what waits is bounded");
        }
        self.check_sessions();
    }

    /// Commands that may not begin any more are ended.
    fn quiesce(&mut self, volume: u64) {
        for open in &mut self.open {
            for pending in open.pending.iter_mut().filter(|p| p.io.volume == volume && !p.has_begun) {
                if let Err(status) = self.target.recheck(open.id, &judged(pending)) {
                    pending.failure.get_or_insert(status);
                }
            }
        }
        self.quiescing.push(volume);
    }

    /// Tells of volumes at which nothing is left that should not be there.
    fn look_for_quiet(&mut self) {
        let target = &self.target;
        let is_quiet = |volume: u64| {
            !self.open.iter().any(|open| {
                let mut begun = open.pending.iter().filter(|p| p.io.volume == volume && p.has_begun);
                begun.any(|pending| target.recheck(open.id, &judged(pending)).is_err())
            })
        };
        let (quiet, rest) = self.quiescing.iter().partition(|volume| is_quiet(**volume));
        self.quiescing = rest;
        let quiet: Vec<u64> = quiet;
        if !quiet.is_empty() {
            quiet.into_iter().for_each(|volume| self.target.on_quiet(volume));
            self.settle();
        }
    }

    /// Controllers are told apart, and there are no more of them than admin queues.
    fn check_sessions(&self) {
        let sessions = self.target.sessions();
        let admin = self.open.iter().filter(|open| open.queue.is_some_and(|queue| queue.qid == 0)).count();
        assert!(sessions.len() <= admin, "a controller has an admin queue");
        for (index, session) in sessions.iter().enumerate() {
            assert!((1..=0xffef).contains(&session.cntlid));
            let is_same = |other: &nvme_subsystem::Session| {
                (other.cntlid, &other.subsystem_nqn) == (session.cntlid, &session.subsystem_nqn)
            };
            assert!(!sessions[..index].iter().any(is_same), "controller identifiers are unique");
        }
    }
}

/// The entry that decides about a command: a Compare and Write writes.
fn judged(pending: &Pending) -> Sqe {
    let mut sqe = pending.sqe;
    if matches!(pending.io.kind, IoKind::CompareAndWrite { .. }) {
        sqe.opc = NvmOpcode::WRITE.0;
    }
    sqe
}

fn namespace(nsid: u32, known: Known, hosts: Hosts) -> NamespaceConfig {
    let uuid = Uuid::from_u128(0x9f2b_0000_0000_4000_8000_0000_0000_0000 + u128::from(nsid));
    let Known { blocks, lba_shift, volume, .. } = known;
    NamespaceConfig { nsid, uuid, blocks: Blocks(blocks), lba_shift, volume, hosts }
}

fn subsystem(nqn: &str, is_open: bool) -> SubsystemConfig {
    SubsystemConfig {
        nqn: nqn.into(),
        serial: "6c2c6f0b7a5b4a0e9a57".into(),
        model: "Ironbay".into(),
        is_volatile: true,
        is_open,
    }
}

/// Any command: an opcode, and the dwords that a mask byte names.
pub(crate) fn any_sqe(choices: &mut Choices<'_>, opcodes: &[u8]) -> Sqe {
    let how = choices.u8();
    let opcode = if how == 255 { choices.u8() } else { opcodes[usize::from(how) % opcodes.len()] };
    let nsid = choices.u8();
    let mut sqe = Sqe::new(opcode, if nsid == 255 { choices.u32() } else { u32::from(nsid % 6) });
    if opcode == 0x7f {
        sqe.nsid = u32::from(nsid).into();
    }
    sqe.cid = choices.u16().into();
    let mask = choices.u8();
    if mask & 0x80 != 0 {
        sqe.flags = choices.u8();
    }
    let dwords =
        [&mut sqe.cdw10, &mut sqe.cdw11, &mut sqe.cdw12, &mut sqe.cdw13, &mut sqe.cdw14, &mut sqe.cdw15];
    for (bit, dword) in dwords.into_iter().enumerate() {
        if mask & (1 << bit) != 0 {
            *dword = if mask & 0x40 != 0 { u32::from(choices.u8()).into() } else { choices.u32().into() };
        }
    }
    sqe
}

/// The discovery subsystem's well-known name, or one of ours.
pub(crate) const NQNS: [&str; 4] = [OPEN_NQN, LISTED_NQN, DISCOVERY_NQN, NODE_NQN];
