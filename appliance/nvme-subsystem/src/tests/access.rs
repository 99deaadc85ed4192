//! Connect: every check and its code.

use super::host::{Ask, HOST_NQN, Host, NQN, closed, for_hosts, namespace, subsystem, target};
use crate::ConfigError;
use nvme_spec::fabrics::{DISCOVERY_NQN, Property};
use nvme_spec::register::{Cc, offset};
use nvme_spec::{AdminOpcode, NvmOpcode, Sqe, Status};
use zerocopy::IntoBytes;

const DATA: u32 = 1 << 16;

fn refused(change: impl FnOnce(&mut Ask)) -> Option<(Status, u32)> {
    let mut host = Host::ready();
    let connection = host.accept();
    let mut ask = Ask::admin(NQN);
    change(&mut ask);
    host.connect(connection, &ask).err()
}

/// Goal: each thing that can be wrong with an admin queue's Connect is told with its code and place.
#[test]
fn admin_queue_checks() {
    let invalid = Status::CONNECT_INVALID_PARAMETERS;
    assert_eq!(refused(|_| {}), None);
    let format = Some((Status::CONNECT_INCOMPATIBLE_FORMAT.dnr(), 0));
    assert_eq!(refused(|ask| ask.connect.recfmt = 1), format);
    // Not "do not retry": the pool may not be imported yet.
    assert_eq!(refused(|ask| ask.nqn = "nqn.2014-08.org:other"), Some((invalid, DATA | 256)));
    assert_eq!(refused(|ask| ask.nqn = ""), Some((invalid.dnr(), DATA | 256)));
    assert_eq!(refused(|ask| ask.host_nqn = ""), Some((invalid.dnr(), DATA | 512)));
    assert_eq!(refused(|ask| ask.cntlid = 1), Some((invalid.dnr(), DATA | 16)));
    assert_eq!(refused(|ask| ask.connect.sqsize_z = 0), Some((invalid.dnr(), 44)));
    assert_eq!(refused(|ask| ask.connect.sqsize_z = 1024), Some((invalid.dnr(), 44)));
    assert_eq!(refused(|ask| ask.connect.sqsize_z = 1023), None);
}

/// Goal: names without their NUL, and data of the wrong length, are refused and not read beyond.
#[test]
fn connect_data_is_checked() {
    let mut host = Host::ready();
    let connection = host.accept();
    let mut data = Ask::admin(NQN).data();
    data.hostnqn = [b'a'; 256];
    let sqe = Ask::admin(NQN).connect.to_sqe();
    let expected = Err((Status::CONNECT_INVALID_PARAMETERS.dnr(), DATA | 512));
    assert_eq!(host.connect_with(connection, sqe, data.as_bytes()), expected);
    let expected = Err((Status::INVALID_SGL_LENGTH.dnr(), 0));
    assert_eq!(host.connect_with(connection, sqe, &data.as_bytes()[..1020]), expected);
    // After refusals the connection is as good as before.
    assert!(host.connect(connection, &Ask::admin(NQN)).is_ok());
    // But it connects once.
    let twice = host.connect(connection, &Ask::admin(NQN));
    assert_eq!(twice, Err((Status::COMMAND_SEQUENCE_ERROR.dnr(), 0)));
}

/// Goal: an I/O queue belongs to the host of its admin queue, to a running controller, and to the queues granted.
#[test]
fn io_queue_checks() {
    let mut host = Host::ready();
    let invalid = |at| Some((Status::CONNECT_INVALID_PARAMETERS.dnr(), at));
    let mut refused = |change: fn(&mut Ask)| {
        let connection = host.accept();
        let mut ask = Ask::io(host.cntlid, 1);
        change(&mut ask);
        host.connect(connection, &ask).err()
    };
    assert_eq!(refused(|ask| ask.cntlid = 77), invalid(DATA | 16));
    assert_eq!(refused(|ask| ask.host_nqn = "nqn.2014-08.org:thief"), invalid(DATA | 512));
    assert_eq!(refused(|ask| ask.hostid = [8; 16]), invalid(DATA));
    assert_eq!(refused(|ask| ask.connect.sqsize_z = 1024), invalid(44));
    assert_eq!(refused(|ask| ask.connect.qid = 65), Some((Status::INVALID_QUEUE_ID.dnr(), 0)));
    assert_eq!(refused(|_| {}), None);

    host.set_cc(Cc::new());
    let connection = host.accept();
    let ask = Ask::io(host.cntlid, 2);
    assert_eq!(host.connect(connection, &ask).err(), invalid(42));
    host.set_cc(Cc::new().with_en(true).with_iosqes(5).with_iocqes(4));
    assert_eq!(host.connect(connection, &ask).err(), invalid(42));
}

/// Goal: the discovery controller has no I/O queues.
#[test]
fn discovery_has_one_queue() {
    let mut host = Host::discovering();
    let connection = host.accept();
    let ask = Ask { nqn: DISCOVERY_NQN, ..Ask::io(host.cntlid, 1) };
    let expected = Err((Status::CONNECT_INVALID_PARAMETERS.dnr(), 42));
    assert_eq!(host.connect(connection, &ask), expected);
}

/// Goal: hosts that are not listed do not get in.
#[test]
fn listed_hosts_only() {
    let nqn = "nqn.2014-08.org.nvmexpress:uuid:closed";
    let mut target = target();
    target.add_subsystem(closed(nqn)).expect("a new subsystem");
    target.add_namespace(nqn, for_hosts(namespace(1, 8), &["nqn.2014-08.org:friend"])).expect("new");
    let mut host = Host::connected(target, NQN);
    let connection = host.accept();
    let expected = Err((Status::CONNECT_INVALID_HOST.dnr(), 0));
    assert_eq!(host.connect(connection, &Ask::admin(nqn)), expected);
    let friend = Ask { host_nqn: "nqn.2014-08.org:friend", ..Ask::admin(nqn) };
    assert!(host.connect(connection, &friend).is_ok());
}

/// Goal: before Connect nothing else is understood.
#[test]
fn connect_comes_first() {
    let mut host = Host::ready();
    let connection = host.accept();
    let property = Property { offset: offset::VS, is_wide: false }.get();
    for sqe in [property, Sqe::new(AdminOpcode::IDENTIFY.0, 0), Sqe::new(NvmOpcode::READ.0, 1)] {
        let crate::Outcome::Done(answer) = host.outcome(connection, sqe, 0) else { panic!("it is refused") };
        assert_eq!(answer.cqe.status(), Status::COMMAND_SEQUENCE_ERROR.dnr());
    }
}

/// Goal: controller identifiers are unique within a subsystem and do not come back at once.
#[test]
fn controller_identifiers() {
    let mut host = Host::ready();
    let mut seen = vec![host.cntlid];
    for _ in 0..3 {
        let connection = host.accept();
        seen.push(host.connect(connection, &Ask::admin(NQN)).expect("it connects"));
        host.target.on_close(connection);
    }
    assert_eq!(seen, [1, 2, 3, 4]);
}

/// Goal: sessions tell who is connected, and forget who left.
#[test]
fn sessions() {
    let mut host = Host::ready();
    let first = host.io_queue(1);
    host.io_queue(2);
    let sessions = host.target.sessions();
    assert_eq!(sessions.len(), 1);
    assert_eq!((sessions[0].host_nqn.as_str(), sessions[0].subsystem_nqn.as_str()), (HOST_NQN, NQN));
    assert_eq!((sessions[0].io_queues, sessions[0].cntlid, sessions[0].is_discovery), (2, 1, false));
    assert_eq!(sessions[0].peer.to_string(), "10.0.0.7:51234");
    host.target.on_close(first);
    assert_eq!(host.target.sessions()[0].io_queues, 1);
    host.target.on_close(host.admin);
    assert_eq!(host.target.sessions(), []);
}

/// Goal: the owner's contradictions are refused, and change nothing.
#[test]
fn configuration_is_checked() {
    let mut target = target();
    assert_eq!(target.add_subsystem(subsystem(NQN)), Err(ConfigError::SubsystemRefused));
    assert_eq!(target.add_subsystem(subsystem(DISCOVERY_NQN)), Err(ConfigError::SubsystemRefused));
    assert_eq!(target.add_subsystem(subsystem(&"x".repeat(224))), Err(ConfigError::SubsystemRefused));
    assert_eq!(target.add_namespace(NQN, namespace(1, 5)), Err(ConfigError::NamespaceRefused));
    assert_eq!(target.add_namespace(NQN, namespace(0, 5)), Err(ConfigError::NamespaceRefused));
    assert_eq!(target.add_namespace("nqn.x", namespace(2, 5)), Err(ConfigError::SubsystemNotFound));
    assert_eq!(target.resize_namespace(NQN, 2, block::Blocks(9)), Err(ConfigError::NamespaceNotFound));
    assert_eq!(target.remove_namespace(NQN, 2), Err(ConfigError::NamespaceNotFound));
    assert_eq!(target.remove_subsystem("nqn.x"), Err(ConfigError::SubsystemNotFound));
}
