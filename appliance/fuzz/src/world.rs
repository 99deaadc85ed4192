//! A small target and its owner: what `target` and the drives do, with an eye on everything that passes.

use crate::choices::Choices;
use block::{Blocks, MediaError, Tick};
use core::time::Duration;
use nvme_spec::entry::FLAGS_SGL;
use nvme_spec::fabrics::{Connect, ConnectData, DISCOVERY_NQN, Nqns, Property};
use nvme_spec::register::{Cc, offset};
use nvme_spec::{Cqe, Sqe, Status};
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

/// A connection and what is under way on it.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) id: ConnectionId,
    /// Once it is a queue.
    pub(crate) queue: Option<Queue>,
    next_tag: u32,
    /// Event requests: tag and identifier.
    held: Vec<(u32, u16)>,
    /// With the storage.
    pending: Vec<(Sqe, Io)>,
    /// The first half of a fused operation whose second has not come.
    first: Option<Io>,
}

/// The target, its connections, and its namespaces as they are now.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) target: Target,
    pub(crate) now: Tick,
    pub(crate) open: Vec<Open>,
    namespaces: BTreeMap<u32, u64>,
}

impl World {
    /// Namespaces 1 of 256 blocks and 3 of 65536 blocks in the open subsystem.
    pub(crate) fn new() -> Self {
        let config =
            TargetConfig { discovery_nqn: NODE_NQN.into(), node: 0, io_port: 4420, firmware: "0.1.0".into() };
        let mut target = Target::new(config);
        target.add_subsystem(subsystem(OPEN_NQN, true)).expect("a new subsystem");
        target.add_subsystem(subsystem(LISTED_NQN, false)).expect("a new subsystem");
        let hosts = Hosts::Listed(vec![HOST_NQN.into()]);
        target.add_namespace(LISTED_NQN, namespace(1, 256, hosts)).expect("a new namespace");
        let mut world = Self { target, now: Tick(0), open: Vec::new(), namespaces: BTreeMap::new() };
        world.add_namespace(1, 256);
        world.add_namespace(3, 65536);
        world
    }

    /// The same, with a host at the open subsystem that has an admin queue and an I/O queue.
    pub(crate) fn with_queues() -> Self {
        let mut world = Self::new();
        let cntlid = world.connect(OPEN_NQN, 0xffff, 0);
        world.connect(OPEN_NQN, cntlid, 1);
        world
    }

    pub(crate) fn add_namespace(&mut self, nsid: u32, blocks: u64) {
        let is_new = self.target.add_namespace(OPEN_NQN, namespace(nsid, blocks, Hosts::Any)).is_ok();
        assert_eq!(is_new, nsid > 0 && nsid <= 1024 && !self.namespaces.contains_key(&nsid));
        if is_new {
            self.namespaces.insert(nsid, blocks);
        }
        self.settle();
    }

    /// Adds, grows or removes a namespace.
    pub(crate) fn change_namespace(&mut self, choices: &mut Choices<'_>) {
        let nsid = u32::from(choices.u8() % 6);
        match choices.u8() % 3 {
            0 => self.add_namespace(nsid, u64::from(choices.u16())),
            1 => {
                let blocks = self.namespaces.get(&nsid).copied().unwrap_or(0) + u64::from(choices.u16());
                if self.target.resize_namespace(OPEN_NQN, nsid, Blocks(blocks)).is_ok() {
                    self.namespaces.insert(nsid, blocks);
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
            next_tag: 1,
            held: Vec::new(),
            pending: Vec::new(),
            first: None,
        });
        Some(self.open.len() - 1)
    }

    /// A queue of a good host: the admin queue, enabled, or an I/O queue of that controller.
    pub(crate) fn connect(&mut self, nqn: &str, cntlid: u16, qid: u16) -> u16 {
        let index = self.accept().expect("room");
        let nqns = Nqns { host: HOST_NQN, subsystem: nqn };
        let data = ConnectData::new([7; 16], cntlid, nqns).expect("names are short");
        let connect = Connect { recfmt: 0, qid, sqsize_z: 127, cattr: 0, kato_ms: 5000 };
        let answer = self.command(index, connect.to_sqe(), 1024, data.as_bytes());
        let cntlid = answer.expect("Connect is answered at once").cqe.dw0.get();
        assert!(self.open[index].queue.is_some(), "a good Connect succeeds");
        if qid == 0 {
            let cc = Cc::new().with_en(true).with_iosqes(6).with_iocqes(4);
            let enable = Property { offset: offset::CC, is_wide: false }.set(u64::from(cc.into_bits()));
            self.command(index, enable, 0, &[]);
        }
        u16::try_from(cntlid & 0xffff).expect("16 bits")
    }

    /// A command; `data` is what it brings if it is asked for (zeroes behind its end). Returns its answer, unless that
    /// comes later.
    pub(crate) fn command(
        &mut self,
        index: usize,
        mut sqe: Sqe,
        data_len: u32,
        data: &[u8],
    ) -> Option<Answer> {
        let open = &mut self.open[index];
        sqe.flags |= FLAGS_SGL;
        let tag = open.next_tag;
        open.next_tag += 1;
        let (id, command) = (open.id, Command { tag, sqe: &sqe, data_len });
        let mut outcome = self.target.on_command(id, &command, self.now);
        if self.target.poll_abort().is_some() {
            assert!(open.first.take().is_some(), "only a first half that waits is aborted");
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
        let answer = self.on_outcome(index, &sqe, tag, outcome);
        if let Some(answer) = &answer {
            assert_eq!(answer.cqe.cid, sqe.cid, "an answer names its command");
            assert!(answer.data.len() <= data_len as usize, "no more data than there is room for");
            assert!(answer.cqe.status().is_success() || answer.data.is_empty(), "errors carry no data");
        }
        self.settle();
        answer
    }

    fn on_outcome(&mut self, index: usize, sqe: &Sqe, tag: u32, outcome: Outcome) -> Option<Answer> {
        let open = &mut self.open[index];
        match outcome {
            Outcome::Done(answer) => Some(answer),
            Outcome::Connected { answer, queue } => {
                assert!(
                    open.queue.is_none() && answer.cqe.status().is_success(),
                    "a connection connects once"
                );
                assert!((2..=1024).contains(&queue.entries), "{queue:?}");
                open.queue = Some(queue);
                Some(answer)
            }
            Outcome::First(io) => {
                assert!(open.first.replace(io).is_none(), "a half that gets no partner is aborted");
                open.pending.push((*sqe, io));
                None
            }
            Outcome::Second(io) => {
                let first = open.first.take().expect("a second follows a first");
                assert_eq!((first.volume, first.kind.span()), (io.volume, io.kind.span()), "the same blocks");
                open.pending.push((*sqe, io));
                None
            }
            Outcome::Io(io) => {
                assert!(open.queue.is_some_and(|queue| queue.qid > 0), "only I/O queues do IO");
                open.pending.push((*sqe, io));
                None
            }
            Outcome::Held => {
                open.held.push((tag, sqe.cid.get()));
                None
            }
            Outcome::Abort { connection, .. } => {
                assert!(self.open.iter().any(|open| open.id == connection), "a queue that is there");
                Some(Answer { cqe: Cqe::new(sqe.cid.get(), Status::SUCCESS), data: Vec::new() })
            }
            Outcome::NeedsData { .. } => unreachable!("the caller has given it"),
        }
    }

    /// What reaches the storage lies inside its namespace; the ranges that `data` lists too, or none of them.
    fn check(&self, io: Io, data: &[u8]) {
        let nsid = u32::try_from(io.volume / 100).expect("a volume of ours");
        let blocks = self.namespaces.get(&nsid).expect("the namespace exists");
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

    /// The storage ends one of a connection's commands.
    pub(crate) fn end_io(&mut self, choices: &mut Choices<'_>) {
        let Some(index) = self.pick(choices) else { return };
        let open = &mut self.open[index];
        if open.pending.is_empty() {
            return;
        }
        let (sqe, io) = open.pending.remove(choices.below(open.pending.len()));
        let result = match choices.u8() % 4 {
            0 => Err(MediaError::Unreadable),
            1 => Err(MediaError::TimedOut),
            _ => Ok(()),
        };
        let cqe: Cqe = self.target.on_io_done(open.id, &sqe, &io, result);
        assert_eq!((cqe.cid, cqe.status().is_success()), (sqe.cid, result.is_ok()));
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
    fn settle(&mut self) {
        while let Some(action) = self.target.poll_action() {
            match action {
                Action::Complete { connection, tag, cqe } => {
                    let open = self.open.iter_mut().find(|open| open.id == connection);
                    let held = &mut open.expect("an open connection").held;
                    let found = held.iter().position(|(held, _)| *held == tag);
                    let (_, cid) = held.remove(found.expect("a command is answered once"));
                    assert_eq!(cqe.cid.get(), cid, "an answer names its command");
                }
                Action::Connected { connection, tag, cqe, queue } => {
                    let open = self.open.iter_mut().find(|open| open.id == connection);
                    let open = open.expect("an open connection");
                    let found = open.held.iter().position(|(held, _)| *held == tag);
                    let (_, cid) = open.held.remove(found.expect("a command is answered once"));
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
                    self.target.on_persisted(volume, true);
                }
                Action::Quiesce { volume } => self.target.on_quiet(volume),
                Action::Close { connection } => {
                    let found = self.open.iter().position(|open| open.id == connection);
                    let open = self.open.remove(found.expect("a connection is closed once"));
                    self.target.on_close(open.id);
                }
            }
        }
        for open in &self.open {
            let max = if open.queue.is_some() { AER_MAX } else { HELD_CONNECTS_MAX };
            assert!(open.held.len() <= max, "what waits is bounded");
        }
        self.check_sessions();
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

fn namespace(nsid: u32, blocks: u64, hosts: Hosts) -> NamespaceConfig {
    let uuid = Uuid::from_u128(0x9f2b_0000_0000_4000_8000_0000_0000_0000 + u128::from(nsid));
    NamespaceConfig {
        nsid,
        uuid,
        blocks: Blocks(blocks),
        lba_shift: 12,
        volume: u64::from(nsid) * 100,
        hosts,
    }
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
