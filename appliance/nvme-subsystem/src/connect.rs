//! Connect (Base 2.1 §6.3): who may become which queue of which controller.
//!
//! ```text
//!  Connect ─▶ checks ─▶ queue ─────────────────────────▶ answered
//!               │ its queue identifier is in use
//!               ▼
//!             held ── the old connection closes, or 1 ms has passed: the checks again, once ──▶ answered
//! ```
//! A host that reconnects fast is often faster than the end of its old connection; it would take the refusal for final.
//!
//! "Do not retry" is set where the same request can never succeed. It is not set for an unknown subsystem: a node that has
//! just been restarted may not have imported its pool yet, and Linux stops reconnecting for good when it sees DNR.

use crate::config::TargetConfig;
use crate::controller::{Association, Controller, Kind};
use crate::limits::{CNTLIDS_PER_NODE, CONNECT_HOLD, HELD_CONNECTS_MAX, MQES_Z};
use crate::outcome::{Action, Answer, Command, ConnectionId, Outcome, Queue, Refusal};
use crate::slab::Key;
use crate::target::{QueueOf, Target};
use crate::view::NsidSet;
use block::Tick;
use core::net::SocketAddr;
use nvme_spec::fabrics::{CNTLID_DYNAMIC, Connect, ConnectData, DISCOVERY_NQN, InvalidParameter};
use nvme_spec::{Cqe, FabricsType, Sqe, Status, nqn_text};
use zerocopy::FromBytes;

const OFFSET_QID: InvalidParameter = InvalidParameter::Command(42);
const OFFSET_SQSIZE: InvalidParameter = InvalidParameter::Command(44);
const OFFSET_HOSTID: InvalidParameter = InvalidParameter::Data(0);
const OFFSET_CNTLID: InvalidParameter = InvalidParameter::Data(16);
const OFFSET_SUBNQN: InvalidParameter = InvalidParameter::Data(256);
const OFFSET_HOSTNQN: InvalidParameter = InvalidParameter::Data(512);

fn invalid(at: InvalidParameter) -> Refusal {
    Refusal { status: Status::CONNECT_INVALID_PARAMETERS.dnr(), dw0: at.dw0() }
}

pub(crate) fn is_discovery_nqn(config: &TargetConfig, nqn: &str) -> bool {
    nqn == DISCOVERY_NQN || nqn == config.discovery_nqn
}

/// Perhaps the old connection is still being torn down: the host may try again.
const QUEUE_IN_USE: Refusal = Refusal { status: Status::INVALID_QUEUE_ID, dw0: 0 };

/// What a Connect asks for, with its texts checked.
struct Request<'a> {
    command: Connect,
    data: &'a ConnectData,
    host_nqn: &'a str,
    kind: Kind,
}

/// A Connect whose queue identifier was in use.
#[derive(Clone, Debug)]
pub(crate) struct HeldConnect {
    connection: ConnectionId,
    tag: u32,
    sqe: Sqe,
    data: ConnectData,
    arrived: Tick,
}

impl HeldConnect {
    pub(crate) fn due(&self) -> Tick {
        self.arrived.after(CONNECT_HOLD)
    }
}

pub(crate) fn connect(
    target: &mut Target,
    id: ConnectionId,
    command: &Command<'_>,
    data: &[u8],
    now: Tick,
) -> Result<Outcome, Refusal> {
    let sqe = command.sqe;
    let data = ConnectData::ref_from_bytes(data).map_err(|_| Status::INVALID_SGL_LENGTH.dnr())?;
    match attempt(target, id, sqe, data, now) {
        Ok((answer, queue)) => Ok(Outcome::Connected { answer, queue }),
        Err(refusal) if refusal == QUEUE_IN_USE && target.held_connects.len() < HELD_CONNECTS_MAX => {
            let (sqe, data) = (*sqe, *data);
            let held = HeldConnect { connection: id, tag: command.tag, sqe, data, arrived: now };
            target.held_connects.push(held);
            target.update_deadline();
            Ok(Outcome::Held)
        }
        Err(refusal) => Err(refusal),
    }
}

/// The end of a connection may have freed what a held Connect waits for.
pub(crate) fn on_queue_closed(target: &mut Target, id: ConnectionId) {
    target.held_connects.retain(|held| held.connection != id);
    for held in core::mem::take(&mut target.held_connects) {
        match attempt(target, held.connection, &held.sqe, &held.data, held.arrived) {
            Ok((answer, queue)) => finish(target, &held, answer.cqe, Some(queue)),
            Err(_still) => target.held_connects.push(held),
        }
    }
}

/// The time of some held Connects may be over: they are tried for the last time.
pub(crate) fn on_tick(target: &mut Target, now: Tick) {
    for held in core::mem::take(&mut target.held_connects) {
        if now < held.due() {
            target.held_connects.push(held);
            continue;
        }
        match attempt(target, held.connection, &held.sqe, &held.data, now) {
            Ok((answer, queue)) => finish(target, &held, answer.cqe, Some(queue)),
            Err(refusal) => finish(target, &held, refusal.answer(&held.sqe).cqe, None),
        }
    }
}

fn finish(target: &mut Target, held: &HeldConnect, cqe: Cqe, queue: Option<Queue>) {
    let (connection, tag) = (held.connection, held.tag);
    target.actions.push_back(match queue {
        Some(queue) => Action::Connected { connection, tag, cqe, queue },
        None => Action::Complete { connection, tag, cqe },
    });
}

fn attempt(
    target: &mut Target,
    id: ConnectionId,
    sqe: &Sqe,
    data: &ConnectData,
    now: Tick,
) -> Result<(Answer, Queue), Refusal> {
    let connection = target.connections.get(id.0);
    let Some(connection) = connection.filter(|c| c.queue.is_none() && sqe.fctype() == FabricsType::CONNECT)
    else {
        return Err(Status::COMMAND_SEQUENCE_ERROR.dnr().into());
    };
    let is_discovery_only = connection.endpoints.is_discovery_only;
    let request = check(target, Connect::from(sqe), data, is_discovery_only)?;
    if target.is_draining(request.kind, request.host_nqn) {
        // Hosts try again after a while.
        return Err(Status::CONNECT_CONTROLLER_BUSY.into());
    }
    let queue = if request.command.qid == 0 {
        admin_queue(target, id, &request, now)?
    } else {
        QueueOf { controller: io_queue(target, id, &request, now)?, qid: request.command.qid }
    };
    if let Some(connection) = target.connections.get_mut(id.0) {
        connection.queue = Some(queue);
    }
    target.update_deadline();
    let cntlid = target.controllers.get(queue.controller).map_or(0, |controller| controller.cntlid);
    let queue = Queue {
        qid: queue.qid,
        entries: request.command.sqsize_z.saturating_add(1),
        is_flow_control_disabled: request.command.cattr & Connect::CATTR_DISSQFC != 0,
        is_discovery: request.kind == Kind::Discovery,
    };
    // Authentication will be asked for here: ATR and ASCR in bits 17 and 18 (Base 2.1 figure 549).
    Ok((Answer::with_result(sqe, u32::from(cntlid)), queue))
}

/// Everything that does not depend on the kind of queue.
fn check<'a>(
    target: &Target,
    command: Connect,
    data: &'a ConnectData,
    is_discovery_only: bool,
) -> Result<Request<'a>, Refusal> {
    if command.recfmt != 0 {
        return Err(Status::CONNECT_INCOMPATIBLE_FORMAT.dnr().into());
    }
    let nqn = nqn_text(&data.subnqn).ok_or_else(|| invalid(OFFSET_SUBNQN))?;
    let host_nqn = nqn_text(&data.hostnqn).ok_or_else(|| invalid(OFFSET_HOSTNQN))?;
    let kind = if is_discovery_nqn(&target.config, nqn) {
        Kind::Discovery
    } else {
        let key = target
            .find(nqn)
            .ok_or(Refusal { status: Status::CONNECT_INVALID_PARAMETERS, dw0: OFFSET_SUBNQN.dw0() })?;
        Kind::Io(key)
    };
    // Subsystems are served at the addresses that the discovery log names, and nowhere else.
    if let Kind::Io(key) = kind
        && (is_discovery_only
            || target.subsystems.get(key).is_none_or(|subsystem| !subsystem.admits(host_nqn)))
    {
        return Err(Status::CONNECT_INVALID_HOST.dnr().into());
    }
    if command.sqsize_z == 0 || command.sqsize_z > MQES_Z {
        return Err(invalid(OFFSET_SQSIZE));
    }
    Ok(Request { command, data, host_nqn, kind })
}

fn admin_queue(
    target: &mut Target,
    id: ConnectionId,
    request: &Request<'_>,
    now: Tick,
) -> Result<QueueOf, Refusal> {
    if request.data.cntlid.get() != CNTLID_DYNAMIC {
        return Err(invalid(OFFSET_CNTLID));
    }
    let cntlid = next_cntlid(target, request.kind).ok_or(Status::CONNECT_CONTROLLER_BUSY)?;
    let visible = match request.kind {
        Kind::Io(key) => target.subsystems.get(key).map(|subsystem| subsystem.visible_to(request.host_nqn)),
        Kind::Discovery => None,
    };
    let visible = visible.unwrap_or(NsidSet::EMPTY);
    let controller = Controller::new(
        Association {
            kind: request.kind,
            cntlid,
            host_id: request.data.hostid,
            host_nqn: request.host_nqn.to_owned(),
            admin: id,
            keep_alive_ms: request.command.kato_ms,
            visible,
        },
        now,
    );
    let controller = target.controllers.insert(controller).ok_or(Status::CONNECT_CONTROLLER_BUSY)?;
    Ok(QueueOf { controller, qid: 0 })
}

/// The identifiers of a node, first and end: hosts refuse one that they met on another path to the same subsystem.
fn cntlids(node: u16) -> (u16, u16) {
    let base = node.saturating_mul(CNTLIDS_PER_NODE);
    (base.saturating_add(1), base.saturating_add(CNTLIDS_PER_NODE))
}

/// The next identifier that is free: the same one does not come back at once, so that a late command of the old
/// association cannot meet a new controller.
fn next_cntlid(target: &mut Target, kind: Kind) -> Option<u16> {
    let used = |cntlid: u16| target.controllers.iter().any(|(_, c)| c.kind == kind && c.cntlid == cntlid);
    let last = match kind {
        Kind::Io(key) => target.subsystems.get(key)?.last_cntlid,
        Kind::Discovery => target.last_discovery_cntlid,
    };
    let (first, end) = cntlids(target.config.node);
    let last = last.max(first.saturating_sub(1));
    let found = (last.saturating_add(1)..end).chain(first..=last).find(|cntlid| !used(*cntlid))?;
    match kind {
        Kind::Io(key) => target.subsystems.get_mut(key)?.last_cntlid = found,
        Kind::Discovery => target.last_discovery_cntlid = found,
    }
    Some(found)
}

fn io_queue(target: &mut Target, id: ConnectionId, request: &Request<'_>, now: Tick) -> Result<Key, Refusal> {
    let cntlid = request.data.cntlid.get();
    let found = target.controllers.iter().find(|(_, c)| c.kind == request.kind && c.cntlid == cntlid);
    let (key, admin) = found.map(|(key, c)| (key, c.admin)).ok_or_else(|| invalid(OFFSET_CNTLID))?;
    let portal_of = |id: ConnectionId| target.connections.get(id.0).map(|c| portal(c.endpoints.local));
    let is_elsewhere = portal_of(id) != portal_of(admin);
    let controller = target.controllers.get_mut(key).ok_or_else(|| invalid(OFFSET_CNTLID))?;
    if controller.host_nqn != request.host_nqn {
        return Err(invalid(OFFSET_HOSTNQN));
    }
    if controller.host_id != request.data.hostid {
        return Err(invalid(OFFSET_HOSTID));
    }
    if controller.is_dead {
        return Err(Status::CONNECT_CONTROLLER_BUSY.into());
    }
    // All queues of a controller come by the same path: its ANA states are those of one portal.
    if is_elsewhere {
        return Err(invalid(OFFSET_CNTLID));
    }
    let qid = request.command.qid;
    if controller.is_discovery() {
        return Err(invalid(OFFSET_QID));
    }
    let cc = controller.cc;
    if !controller.is_ready() || cc.iosqes() != 6 || cc.iocqes() != 4 {
        return Err(invalid(OFFSET_QID));
    }
    if qid > controller.queues_granted {
        return Err(Status::INVALID_QUEUE_ID.dnr().into());
    }
    if controller.io_queues.contains_key(&qid) {
        return Err(QUEUE_IN_USE);
    }
    controller.io_queues.insert(qid, id);
    controller.last_seen = controller.last_seen.max(now);
    Ok(key)
}

/// An address as hosts mean it: a socket that serves both families shows IPv4 addresses as mapped ones.
fn portal(local: SocketAddr) -> SocketAddr {
    SocketAddr::new(local.ip().to_canonical(), local.port())
}
