//! Connect (Base 2.1 §6.3): who may become which queue of which controller.
//!
//! "Do not retry" is set where the same request can never succeed. It is not set for an unknown subsystem: a node that has
//! just been restarted may not have imported its pool yet, and Linux stops reconnecting for good when it sees DNR.

use crate::config::TargetConfig;
use crate::controller::{Association, Controller, Kind};
use crate::limits::MQES_Z;
use crate::outcome::{Answer, ConnectionId, Outcome, Queue, Refusal};
use crate::slab::Key;
use crate::target::{QueueOf, Target};
use crate::view::NsidSet;
use block::Tick;
use nvme_spec::fabrics::{CNTLID_DYNAMIC, Connect, ConnectData, DISCOVERY_NQN, InvalidParameter};
use nvme_spec::{FabricsType, Sqe, Status, nqn_text};
use zerocopy::FromBytes;

const OFFSET_QID: InvalidParameter = InvalidParameter::Command(42);
const OFFSET_SQSIZE: InvalidParameter = InvalidParameter::Command(44);
const OFFSET_HOSTID: InvalidParameter = InvalidParameter::Data(0);
const OFFSET_CNTLID: InvalidParameter = InvalidParameter::Data(16);
const OFFSET_SUBNQN: InvalidParameter = InvalidParameter::Data(256);
const OFFSET_HOSTNQN: InvalidParameter = InvalidParameter::Data(512);

/// Highest controller identifier of the dynamic model (Base 2.1 §3.1.2: FFF0h and above are reserved).
const CNTLID_MAX: u16 = 0xffef;

fn invalid(at: InvalidParameter) -> Refusal {
    Refusal { status: Status::CONNECT_INVALID_PARAMETERS.dnr(), dw0: at.dw0() }
}

pub(crate) fn is_discovery_nqn(config: &TargetConfig, nqn: &str) -> bool {
    nqn == DISCOVERY_NQN || nqn == config.discovery_nqn
}

/// What a Connect asks for, with its texts checked.
struct Request<'a> {
    command: Connect,
    data: &'a ConnectData,
    host_nqn: &'a str,
    kind: Kind,
}

pub(crate) fn connect(
    target: &mut Target,
    id: ConnectionId,
    sqe: &Sqe,
    data: &[u8],
    now: Tick,
) -> Result<Outcome, Refusal> {
    let connection = target.connections.get(id.0);
    if sqe.fctype() != FabricsType::CONNECT || connection.is_none_or(|c| c.queue.is_some()) {
        return Err(Status::COMMAND_SEQUENCE_ERROR.dnr().into());
    }
    let data = ConnectData::ref_from_bytes(data).map_err(|_| Status::INVALID_SGL_LENGTH.dnr())?;
    let request = check(target, Connect::from(sqe), data)?;
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
    Ok(Outcome::Connected {
        answer: Answer::with_result(sqe, u32::from(cntlid)),
        queue: Queue {
            qid: queue.qid,
            entries: request.command.sqsize_z.saturating_add(1),
            is_flow_control_disabled: request.command.cattr & Connect::CATTR_DISSQFC != 0,
        },
    })
}

/// Everything that does not depend on the kind of queue.
fn check<'a>(target: &Target, command: Connect, data: &'a ConnectData) -> Result<Request<'a>, Refusal> {
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
    if let Kind::Io(key) = kind
        && target.subsystems.get(key).is_none_or(|subsystem| !subsystem.admits(host_nqn))
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

/// The next identifier that is free: the same one does not come back at once, so that a late command of the old
/// association cannot meet a new controller.
fn next_cntlid(target: &mut Target, kind: Kind) -> Option<u16> {
    let used = |cntlid: u16| target.controllers.iter().any(|(_, c)| c.kind == kind && c.cntlid == cntlid);
    let last = match kind {
        Kind::Io(key) => target.subsystems.get(key)?.last_cntlid,
        Kind::Discovery => target.last_discovery_cntlid,
    };
    let after = (last..CNTLID_MAX).map(|cntlid| cntlid.saturating_add(1));
    let found = after.chain(1..=last).find(|cntlid| !used(*cntlid))?;
    match kind {
        Kind::Io(key) => target.subsystems.get_mut(key)?.last_cntlid = found,
        Kind::Discovery => target.last_discovery_cntlid = found,
    }
    Some(found)
}

fn io_queue(target: &mut Target, id: ConnectionId, request: &Request<'_>, now: Tick) -> Result<Key, Refusal> {
    let cntlid = request.data.cntlid.get();
    let found = target.controllers.iter_mut().find(|(_, c)| c.kind == request.kind && c.cntlid == cntlid);
    let (key, controller) = found.ok_or_else(|| invalid(OFFSET_CNTLID))?;
    if controller.host_nqn != request.host_nqn {
        return Err(invalid(OFFSET_HOSTNQN));
    }
    if controller.host_id != request.data.hostid {
        return Err(invalid(OFFSET_HOSTID));
    }
    if controller.is_dead {
        return Err(Status::CONNECT_CONTROLLER_BUSY.into());
    }
    let qid = request.command.qid;
    if controller.is_discovery() {
        return Err(invalid(OFFSET_QID));
    }
    let cc = controller.cc;
    if !controller.is_ready() || cc.iosqes() != 6 || cc.iocqes() != 4 {
        return Err(invalid(OFFSET_QID));
    }
    if qid > controller.queues_granted || controller.io_queues.contains_key(&qid) {
        // In use: perhaps the old connection is still being torn down, so the host may try again.
        return Err(Status::INVALID_QUEUE_ID.into());
    }
    controller.io_queues.insert(qid, id);
    controller.last_seen = now;
    Ok(key)
}
