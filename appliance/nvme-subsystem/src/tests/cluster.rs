//! Several hosts of one target, each with an admin and an I/O queue, and an owner that keeps what is to be durable.

use super::host::{Ask, HOST_NQN, Host, NQN, get_log, target};
use crate::{Action, Answer, Command, ConnectionId, Durable, Outcome};
use nvme_spec::fabrics::Property;
use nvme_spec::log::LogPage;
use nvme_spec::register::{Cc, offset};
use nvme_spec::reservation::ReservationCdw10;
use nvme_spec::{AdminOpcode, Cqe, NvmOpcode, Sqe, Status};

/// The namespace of these tests.
pub(super) const NSID: u32 = 1;
/// Its name in the tests' target.
pub(super) const VOLUME: u64 = 100;

/// A host: its index is the first byte of its identifier, less one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) admin: ConnectionId,
    pub(super) io: ConnectionId,
}

pub(super) struct Cluster {
    pub(super) host: Host,
    pub(super) nodes: Vec<Node>,
    /// What was made durable, newest last.
    pub(super) kept: Vec<Durable>,
    /// Whether the owner succeeds at once; `None` if it takes its time.
    pub(super) persists: Option<bool>,
    /// Whether nothing is at the drives.
    pub(super) is_quiet: bool,
    /// Tag and completion of commands that were held.
    pub(super) completed: Vec<(u32, Cqe)>,
    pub(super) tag: u32,
}

/// A reservation command: opcode, action, type, and two keys.
pub(super) fn reserve(opcode: NvmOpcode, action: u8, rtype: u8, keys: (u64, u64)) -> (Sqe, Vec<u8>) {
    let mut sqe = Sqe::new(opcode.0, NSID);
    sqe.cdw10 = ReservationCdw10::new().with_action(action).with_rtype(rtype).into_bits().into();
    let mut data = [keys.0.to_le_bytes(), keys.1.to_le_bytes()].concat();
    if opcode == NvmOpcode::RESERVATION_RELEASE {
        data.truncate(8);
    }
    (sqe, data)
}

impl Cluster {
    pub(super) fn new(count: u8) -> Self {
        let mut cluster = Self {
            host: Host::enabled(target(), NQN),
            nodes: Vec::new(),
            kept: Vec::new(),
            persists: Some(true),
            is_quiet: true,
            completed: Vec::new(),
            tag: 0,
        };
        for number in 1..=count {
            cluster.join(number);
        }
        cluster
    }

    /// A host connects; its identifier is made of this byte.
    pub(super) fn join(&mut self, number: u8) {
        self.join_as(number, HOST_NQN);
    }

    /// The same, with a name of its own.
    pub(super) fn join_as(&mut self, number: u8, host_nqn: &'static str) {
        let host = &mut self.host;
        let admin = host.accept();
        let ask = Ask { hostid: [number; 16], host_nqn, ..Ask::admin(NQN) };
        let cntlid = host.connect(admin, &ask).expect("the admin queue connects");
        let cc = Cc::new().with_en(true).with_iosqes(6).with_iocqes(4);
        let enable = Property { offset: offset::CC, is_wide: false }.set(u64::from(cc.into_bits()));
        assert!(matches!(host.outcome(admin, enable, 0), Outcome::Done(_)));
        let io = host.accept();
        let ask = Ask { hostid: [number; 16], host_nqn, ..Ask::io(cntlid, 1) };
        assert_eq!(host.connect(io, &ask), Ok(cntlid));
        self.nodes.push(Node { admin, io });
    }

    /// A host is gone.
    pub(super) fn leave(&mut self, node: usize) {
        for connection in [self.nodes[node].io, self.nodes[node].admin] {
            self.host.target.on_close(connection);
        }
    }

    /// A command with its data; `None` if it is held, with `self.tag` as its tag.
    pub(super) fn send(&mut self, connection: ConnectionId, sqe: &Sqe, data: &[u8]) -> Option<Answer> {
        self.tag += 1;
        let command = Command { tag: self.tag, sqe, data_len: data.len() as u32 };
        let mut outcome = self.host.target.on_command(connection, &command, self.host.now);
        if let Outcome::NeedsData { len } = outcome {
            assert_eq!(len as usize, data.len());
            outcome = self.host.target.on_data(connection, &command, data, self.host.now);
        }
        match outcome {
            Outcome::Done(answer) => Some(answer),
            Outcome::Page { len } => Some(self.host.page(connection, &command, len)),
            Outcome::Held => None,
            other => panic!("{other:?}"),
        }
    }

    /// Does what the target wants of its owner.
    pub(super) fn pump(&mut self) {
        let mut later = Vec::new();
        while let Some(action) = self.host.target.poll_action() {
            match action {
                Action::Complete { tag, cqe, .. } => self.completed.push((tag, cqe)),
                Action::Persist { volume } => match self.persists {
                    Some(is_durable) => {
                        let durable = self.host.target.to_persist(volume).expect("it was asked for");
                        if is_durable {
                            self.kept.push(durable);
                        }
                        self.host.target.on_persisted(volume, is_durable);
                    }
                    None => later.push(action),
                },
                Action::Quiesce { volume } if self.is_quiet => self.host.target.on_quiet(volume),
                Action::Quiesce { .. } => {}
                Action::Close { .. } | Action::Connected { .. } => panic!("nobody comes or goes"),
            }
        }
    }

    /// How a command ends.
    pub(super) fn run(&mut self, connection: ConnectionId, sqe: &Sqe, data: &[u8]) -> Status {
        if let Some(answer) = self.send(connection, sqe, data) {
            return answer.cqe.status();
        }
        let tag = self.tag;
        self.pump();
        self.ended(tag).expect("it ends")
    }

    pub(super) fn ended(&mut self, tag: u32) -> Option<Status> {
        let index = self.completed.iter().position(|(done, _)| *done == tag)?;
        Some(self.completed.remove(index).1.status())
    }

    /// How a reservation command of a host ends.
    pub(super) fn reserve(
        &mut self,
        node: usize,
        opcode: NvmOpcode,
        action: u8,
        rtype: u8,
        keys: (u64, u64),
    ) -> Status {
        let (sqe, data) = reserve(opcode, action, rtype, keys);
        self.run(self.nodes[node].io, &sqe, &data)
    }

    /// Registers a host; its key is ten times its number.
    pub(super) fn register(&mut self, node: usize) {
        let key = (node as u64 + 1) * 10;
        assert_eq!(self.reserve(node, NvmOpcode::RESERVATION_REGISTER, 0, 0, (0, key)), Status::SUCCESS);
    }

    pub(super) fn acquire(&mut self, node: usize, rtype: u8) -> Status {
        self.reserve(node, NvmOpcode::RESERVATION_ACQUIRE, 0, rtype, ((node as u64 + 1) * 10, 0))
    }

    /// Whether a host may send a command now.
    pub(super) fn may(&mut self, node: usize, opcode: NvmOpcode) -> Result<(), Status> {
        let mut sqe = Sqe::new(opcode.0, NSID);
        let mut data_len = if matches!(opcode, NvmOpcode::FLUSH | NvmOpcode::WRITE_ZEROES | NvmOpcode::VERIFY)
        {
            0
        } else {
            4096
        };
        if opcode == NvmOpcode::DATASET_MANAGEMENT {
            data_len = 16;
            sqe.cdw11 = 4.into();
        }
        match self.host.outcome(self.nodes[node].io, sqe, data_len) {
            Outcome::Io(_) => Ok(()),
            Outcome::Done(answer) if answer.cqe.status().is_success() => Ok(()),
            Outcome::Done(answer) => Err(answer.cqe.status()),
            other => panic!("{other:?}"),
        }
    }

    /// The report as text: generation, type, persistence; then first byte of the host, key, and a star for holders.
    pub(super) fn report(&mut self, node: usize) -> String {
        let mut sqe = Sqe::new(NvmOpcode::RESERVATION_REPORT.0, NSID);
        sqe.cdw10 = (4096 / 4 - 1).into();
        sqe.cdw11 = 1.into();
        let page = match self.host.outcome(self.nodes[node].io, sqe, 4096) {
            Outcome::Done(answer) => answer.data,
            other => panic!("{other:?}"),
        };
        let count = usize::from(u16::from_le_bytes([page[5], page[6]]));
        let mut text = format!("gen {} type {} ptpl {}:", page[0], page[4], page[9]);
        for entry in page[64..].chunks(64).take(count) {
            assert_eq!(&entry[..2], [0xff, 0xff], "dynamic controllers have no number");
            let star = if entry[2] & 1 == 1 { "*" } else { "" };
            text += &format!(" {}={}{star}", entry[16], entry[8]);
        }
        assert!(page[64 + count * 64..].iter().all(|byte| *byte == 0));
        text
    }

    /// Log page 80h as count, event, pages behind it, namespace.
    pub(super) fn notification(&mut self, node: usize) -> (u8, u8, u8, u8) {
        let sqe = get_log(LogPage::RESERVATION, 0, 64);
        match self.host.outcome(self.nodes[node].admin, sqe, 64) {
            Outcome::Done(Answer { data, .. }) => (data[0], data[8], data[9], data[12]),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn feature(
        &mut self,
        node: usize,
        feature: u8,
        nsid: u32,
        value: Option<u32>,
    ) -> Result<u32, Status> {
        let opcode = if value.is_some() { AdminOpcode::SET_FEATURES } else { AdminOpcode::GET_FEATURES };
        let mut sqe = Sqe::new(opcode.0, nsid);
        sqe.cdw10 = u32::from(feature).into();
        sqe.cdw11 = value.unwrap_or(0).into();
        let admin = self.nodes[node].admin;
        let Some(answer) = self.send(admin, &sqe, &[]) else {
            let tag = self.tag;
            self.pump();
            let status = self.ended(tag).expect("it ends");
            return if status.is_success() { Ok(0) } else { Err(status) };
        };
        let status = answer.cqe.status();
        if status.is_success() { Ok(answer.cqe.dw0.get()) } else { Err(status) }
    }
}
