//! The target of these tests and a host that speaks to it without transport.

use crate::{
    Action, Answer, Command, ConnectionId, Endpoints, Hosts, NamespaceConfig, Outcome, SubsystemConfig,
    Target, TargetConfig,
};
use block::{Blocks, Tick};
use core::time::Duration;
use nvme_spec::fabrics::{Connect, ConnectData, DISCOVERY_NQN, Nqns, Property};
use nvme_spec::identify::Cns;
use nvme_spec::log::LogPage;
use nvme_spec::register::{Cc, offset};
use nvme_spec::{AdminOpcode, Cqe, Sqe, Status};
use uuid::Uuid;
use zerocopy::IntoBytes;

pub(super) const NQN: &str = "nqn.2014-08.org.nvmexpress:uuid:6c2c6f0b-7a5b-4a0e-9a57-2a4cf4c1f2b1";
pub(super) const NODE_NQN: &str = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-00000000d15c";
pub(super) const HOST_NQN: &str = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555";
pub(super) const KEEP_ALIVE_MS: u32 = 5000;

/// Two namespaces, 1 of 256 blocks and 3 of 1024.
pub(super) fn target() -> Target {
    let mut target = Target::new(TargetConfig {
        discovery_nqn: NODE_NQN.into(),
        node: 0,
        io_port: 4420,
        firmware: "0.1.0".into(),
    });
    target.add_subsystem(subsystem(NQN)).expect("the first subsystem");
    for (nsid, blocks) in [(1, 256), (3, 1024)] {
        target.add_namespace(NQN, namespace(nsid, blocks)).expect("a new namespace");
    }
    target
}

pub(super) fn subsystem(nqn: &str) -> SubsystemConfig {
    SubsystemConfig {
        nqn: nqn.into(),
        serial: "6c2c6f0b7a5b4a0e9a57".into(),
        model: "Ironbay".into(),
        is_volatile: true,
        is_open: true,
    }
}

/// One that admits only hosts that may use a namespace.
pub(super) fn closed(nqn: &str) -> SubsystemConfig {
    SubsystemConfig { is_open: false, ..subsystem(nqn) }
}

/// The namespace, for these hosts only.
pub(super) fn for_hosts(mut namespace: NamespaceConfig, hosts: &[&str]) -> NamespaceConfig {
    namespace.hosts = Hosts::Listed(hosts.iter().map(|nqn| (*nqn).to_owned()).collect());
    namespace
}

pub(super) fn namespace(nsid: u32, blocks: u64) -> NamespaceConfig {
    let uuid = Uuid::from_u128(0x9f2b_0000_0000_4000_8000_0000_0000_0000 + u128::from(nsid));
    NamespaceConfig {
        nsid,
        uuid,
        blocks: Blocks(blocks),
        lba_shift: 12,
        volume: u64::from(nsid) * 100,
        hosts: Hosts::Any,
    }
}

/// A connect that differs from the good one in some point.
pub(super) struct Ask {
    pub(super) nqn: &'static str,
    pub(super) host_nqn: &'static str,
    pub(super) hostid: [u8; 16],
    pub(super) cntlid: u16,
    pub(super) connect: Connect,
}

impl Ask {
    pub(super) fn admin(nqn: &'static str) -> Self {
        Self {
            nqn,
            host_nqn: HOST_NQN,
            hostid: [7; 16],
            cntlid: 0xffff,
            connect: Connect { recfmt: 0, qid: 0, sqsize_z: 31, cattr: 0, kato_ms: KEEP_ALIVE_MS },
        }
    }

    pub(super) fn io(cntlid: u16, qid: u16) -> Self {
        let connect = Connect { recfmt: 0, qid, sqsize_z: 127, cattr: 0, kato_ms: 0 };
        Self { cntlid, connect, ..Self::admin(NQN) }
    }

    pub(super) fn data(&self) -> ConnectData {
        let nqns = Nqns { host: self.host_nqn, subsystem: self.nqn };
        ConnectData::new(self.hostid, self.cntlid, nqns).expect("names are short")
    }
}

pub(super) struct Host {
    pub(super) target: Target,
    pub(super) now: Tick,
    /// The admin queue.
    pub(super) admin: ConnectionId,
    pub(super) cntlid: u16,
    next_tag: u32,
}

impl Host {
    /// Connected to the subsystem and enabled.
    pub(super) fn ready() -> Self {
        Self::enabled(target(), NQN)
    }

    /// Connected to the discovery subsystem and enabled.
    pub(super) fn discovering() -> Self {
        Self::enabled(target(), DISCOVERY_NQN)
    }

    pub(super) fn enabled(target: Target, nqn: &'static str) -> Self {
        let mut host = Self::connected(target, nqn);
        host.enable();
        host
    }

    pub(super) fn connected(mut target: Target, nqn: &'static str) -> Self {
        let admin = accept(&mut target);
        let mut host = Self { target, now: Tick(0), admin, cntlid: 0, next_tag: 100 };
        host.cntlid = host.connect(admin, &Ask::admin(nqn)).expect("the admin queue connects");
        host
    }

    pub(super) fn enable(&mut self) {
        let cc = Cc::new().with_en(true).with_iosqes(6).with_iocqes(4);
        self.set_cc(cc);
        assert_eq!(self.property(offset::CSTS), Ok(1));
    }

    pub(super) fn set_cc(&mut self, cc: Cc) {
        let sqe = Property { offset: offset::CC, is_wide: false }.set(u64::from(cc.into_bits()));
        assert!(self.admin(sqe, 0).cqe.status().is_success());
    }

    pub(super) fn property(&mut self, offset: u32) -> Result<u64, Status> {
        let answer = self.admin(Property { offset, is_wide: offset == 0 }.get(), 0);
        if answer.cqe.status().is_success() { Ok(answer.cqe.result()) } else { Err(answer.cqe.status()) }
    }

    pub(super) fn accept(&mut self) -> ConnectionId {
        accept(&mut self.target)
    }

    /// Controller identifier, or status and dword 0.
    pub(super) fn connect(&mut self, connection: ConnectionId, ask: &Ask) -> Result<u16, (Status, u32)> {
        self.connect_with(connection, ask.connect.to_sqe(), ask.data().as_bytes())
    }

    pub(super) fn connect_with(
        &mut self,
        connection: ConnectionId,
        sqe: Sqe,
        data: &[u8],
    ) -> Result<u16, (Status, u32)> {
        let data_len = u32::try_from(data.len()).expect("short");
        let command = Command { tag: 0, sqe: &sqe, data_len };
        let answer = match self.target.on_command(connection, &command, self.now) {
            Outcome::NeedsData { len } => {
                assert_eq!(len, 1024);
                match self.target.on_data(connection, &command, data, self.now) {
                    Outcome::Connected { answer, .. } | Outcome::Done(answer) => answer,
                    other => panic!("{other:?}"),
                }
            }
            Outcome::Done(answer) => answer,
            other => panic!("{other:?}"),
        };
        let dw0 = answer.cqe.dw0.get();
        if answer.cqe.status().is_success() { Ok(dw0 as u16) } else { Err((answer.cqe.status(), dw0)) }
    }

    /// A connected I/O queue.
    pub(super) fn io_queue(&mut self, qid: u16) -> ConnectionId {
        let connection = self.accept();
        let ask = Ask::io(self.cntlid, qid);
        assert_eq!(self.connect(connection, &ask), Ok(self.cntlid));
        connection
    }

    pub(super) fn outcome(&mut self, connection: ConnectionId, sqe: Sqe, data_len: u32) -> Outcome {
        self.next_tag += 1;
        let command = Command { tag: self.next_tag, sqe: &sqe, data_len };
        match self.target.on_command(connection, &command, self.now) {
            Outcome::Page { len } => Outcome::Done(self.page(connection, &command, len)),
            outcome => outcome,
        }
    }

    /// There is room for the page of a command; it is as the host gets it.
    pub(super) fn page(&mut self, connection: ConnectionId, command: &Command<'_>, room: u32) -> Answer {
        assert!((1..=command.data_len).contains(&room));
        let mut answer = self.target.on_page(connection, command);
        assert!(answer.data.len() <= answer.len as usize && answer.len <= room);
        answer.data.resize(answer.len as usize, 0);
        answer
    }

    /// An admin command that is answered at once.
    pub(super) fn admin(&mut self, sqe: Sqe, data_len: u32) -> Answer {
        match self.outcome(self.admin, sqe, data_len) {
            Outcome::Done(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn identify(&mut self, cns: Cns, nsid: u32) -> Result<Vec<u8>, Status> {
        let mut sqe = Sqe::new(AdminOpcode::IDENTIFY.0, nsid);
        sqe.cdw10 = u32::from(cns.0).into();
        data(self.admin(sqe, 4096))
    }

    pub(super) fn log(&mut self, page: LogPage, from: u64, len: u32) -> Result<Vec<u8>, Status> {
        data(self.admin(get_log(page, from, len), len))
    }

    /// An Asynchronous Event Request.
    pub(super) fn request_event(&mut self, cid: u16) -> Outcome {
        let mut sqe = Sqe::new(AdminOpcode::ASYNC_EVENT_REQUEST.0, 0);
        sqe.cid = cid.into();
        self.outcome(self.admin, sqe, 0)
    }

    pub(super) fn set_feature(&mut self, feature: u8, value: u32) -> Cqe {
        let mut sqe = Sqe::new(AdminOpcode::SET_FEATURES.0, 0);
        sqe.cdw10 = u32::from(feature).into();
        sqe.cdw11 = value.into();
        self.admin(sqe, 0).cqe
    }

    pub(super) fn get_feature(&mut self, feature: u32) -> Result<u32, Status> {
        let mut sqe = Sqe::new(AdminOpcode::GET_FEATURES.0, 0);
        sqe.cdw10 = feature.into();
        let cqe = self.admin(sqe, 0).cqe;
        if cqe.status().is_success() { Ok(cqe.dw0.get()) } else { Err(cqe.status()) }
    }

    pub(super) fn wait(&mut self, ms: u64) {
        self.now = self.now.after(Duration::from_millis(ms));
        self.target.on_tick(self.now);
    }

    pub(super) fn actions(&mut self) -> Vec<Action> {
        core::iter::from_fn(|| self.target.poll_action()).collect()
    }

    /// Identifiers and event dwords of completed event requests.
    pub(super) fn events(&mut self) -> Vec<(u16, u32)> {
        let actions = self.actions();
        actions
            .into_iter()
            .map(|action| match action {
                Action::Complete { connection, cqe, .. } => {
                    assert!(connection == self.admin && cqe.status().is_success());
                    (cqe.cid.get(), cqe.dw0.get())
                }
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

pub(super) fn accept(target: &mut Target) -> ConnectionId {
    let local = "[::ffff:10.0.0.5]:8009".parse().expect("an address");
    let peer = "10.0.0.7:51234".parse().expect("an address");
    target.on_accept(Endpoints { local, peer, is_discovery_only: false }).expect("room for a connection")
}

pub(super) fn get_log(page: LogPage, from: u64, len: u32) -> Sqe {
    let mut sqe = Sqe::new(AdminOpcode::GET_LOG_PAGE.0, 0);
    let dwords_z = (len / 4).wrapping_sub(1);
    sqe.cdw10 = (u32::from(page.0) | dwords_z << 16).into();
    sqe.cdw11 = (dwords_z >> 16).into();
    sqe.cdw12 = (from as u32).into();
    sqe.cdw13 = ((from >> 32) as u32).into();
    sqe
}

pub(super) fn data(answer: Answer) -> Result<Vec<u8>, Status> {
    let status = answer.cqe.status();
    if status.is_success() {
        Ok(answer.data)
    } else {
        assert!(answer.data.is_empty(), "errors carry no data");
        Err(status)
    }
}
