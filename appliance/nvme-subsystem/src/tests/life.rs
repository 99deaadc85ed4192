//! The life of a controller: properties, enabling, shutdown, keep alive, and how connections end.

use super::host::{Ask, Host, KEEP_ALIVE_MS, NQN, target};
use crate::limits::IDLE_ASSOCIATION;
use crate::{Action, Outcome};
use nvme_spec::fabrics::{DISCOVERY_NQN, Property, disconnect};
use nvme_spec::register::{Cap, Cc, offset};
use nvme_spec::{AdminOpcode, NvmOpcode, Sqe, Status};

/// Goal: what Linux reads first is what it needs.
#[test]
fn properties_read_back() {
    let mut host = Host::connected(target(), NQN);
    let cap = Cap::from_bits(host.property(offset::CAP).expect("it exists"));
    assert_eq!((cap.mqes_z(), cap.cqr(), cap.to(), cap.css(), cap.dstrd()), (1023, true, 15, 1, 0));
    assert_eq!(
        (cap.mpsmin(), cap.mpsmax(), cap.crwms(), cap.crims(), cap.nssrs()),
        (0, 0, true, false, false)
    );
    assert_eq!(host.property(offset::VS), Ok(0x0002_0000));
    assert_eq!(host.property(offset::CRTO), Ok(15));
    assert_eq!(host.property(offset::NSSR), Ok(0));
    // Either half of CAP with four bytes; nothing else is cut or widened.
    let half = |offset| Property { offset, is_wide: false }.get();
    assert_eq!(host.admin(half(0), 0).cqe.result(), cap.into_bits() & 0xffff_ffff);
    assert_eq!(host.admin(half(4), 0).cqe.result(), cap.into_bits() >> 32);
    let wide = |offset| Property { offset, is_wide: true }.get();
    for sqe in [wide(4), wide(offset::VS), wide(offset::CSTS), half(0x26), half(0xffff_ffff)] {
        assert_eq!(host.admin(sqe, 0).cqe.status(), Status::CONNECT_INVALID_PARAMETERS.dnr());
    }
    let wide = Property { offset: offset::CC, is_wide: true }.set(1);
    assert_eq!(host.admin(wide, 0).cqe.status(), Status::CONNECT_INVALID_PARAMETERS.dnr());
    let read_only = Property { offset: offset::CSTS, is_wide: false }.set(1);
    assert_eq!(host.admin(read_only, 0).cqe.status(), Status::CONNECT_INVALID_PARAMETERS.dnr());
}

/// Goal: commands need an enabled controller; disabling closes the I/O queues and forgets what the host had set.
#[test]
fn enable_and_disable() {
    let mut host = Host::connected(target(), NQN);
    let identify = Sqe::new(AdminOpcode::IDENTIFY.0, 0);
    assert_eq!(host.admin(identify, 4096).cqe.status(), Status::COMMAND_SEQUENCE_ERROR.dnr());
    host.enable();
    let queue = host.io_queue(1);
    host.set_feature(0x0b, 0x100);
    assert!(matches!(host.request_event(31), Outcome::Held));
    host.set_cc(Cc::new());
    let actions = host.actions();
    assert_eq!(actions[0], Action::Close { connection: queue });
    let Action::Complete { cqe, .. } = actions[1] else { panic!("the event request ends") };
    assert_eq!((cqe.cid.get(), cqe.status()), (31, Status::ABORTED_SQ_DELETION));
    assert_eq!(host.property(offset::CSTS), Ok(0));
    host.target.on_close(queue);
    host.enable();
    assert_eq!(host.get_feature(0x0b), Ok(0));
    host.io_queue(1);
}

/// Goal: what CAP excludes is refused, and changes nothing.
#[test]
fn impossible_configuration_is_refused() {
    let mut host = Host::connected(target(), NQN);
    let good = Cc::new().with_en(true).with_iosqes(6).with_iocqes(4);
    for cc in [good.with_css(6), good.with_mps(1), good.with_ams(1), good.with_shn(3), good.with_crime(true)]
    {
        let sqe = Property { offset: offset::CC, is_wide: false }.set(u64::from(cc.into_bits()));
        assert_eq!(host.admin(sqe, 0).cqe.status(), Status::CONNECT_INVALID_PARAMETERS.dnr(), "{cc:?}");
        assert_eq!((host.property(offset::CC), host.property(offset::CSTS)), (Ok(0), Ok(0)), "{cc:?}");
    }
    host.enable();
}

/// Goal: the addresses of queues, which mean nothing here, are read back as written, also by halves.
#[test]
fn queue_addresses_read_back() {
    let mut host = Host::connected(target(), NQN);
    let set = |host: &mut Host, offset, is_wide, value| {
        let status = host.admin(Property { offset, is_wide }.set(value), 0).cqe.status();
        status.is_success().then_some(()).ok_or(status)
    };
    let get =
        |host: &mut Host, offset, is_wide| host.admin(Property { offset, is_wide }.get(), 0).cqe.result();
    assert_eq!(set(&mut host, offset::AQA, false, 0x001f_001f), Ok(()));
    assert_eq!(get(&mut host, offset::AQA, false), 0x001f_001f);
    for address in [offset::ASQ, offset::ACQ] {
        assert_eq!(set(&mut host, address, true, 0x1122_3344_5566_7000), Ok(()));
        assert_eq!(set(&mut host, address, false, 0x7788_8000), Ok(()));
        assert_eq!(get(&mut host, address, true), 0x1122_3344_7788_8000);
        assert_eq!(set(&mut host, address + 4, false, 0x99aa_bbcc), Ok(()));
        assert_eq!(get(&mut host, address, true), 0x99aa_bbcc_7788_8000);
        assert_eq!(get(&mut host, address + 4, false), 0x99aa_bbcc);
    }
    let refused = Err(Status::CONNECT_INVALID_PARAMETERS.dnr());
    assert_eq!(set(&mut host, offset::AQA, true, 1), refused);
    assert_eq!(set(&mut host, offset::ASQ + 4, true, 1), refused);
    assert_eq!(set(&mut host, offset::CAP, false, 1), refused);
}

/// Goal: shutdown is reported complete, stops commands and the keep alive timer, and the association is dropped two minutes
/// later.
#[test]
fn shutdown() {
    let mut host = Host::ready();
    host.set_cc(Cc::new().with_en(true).with_iosqes(6).with_iocqes(4).with_shn(1));
    assert_eq!(host.property(offset::CSTS), Ok(1 | 2 << 2));
    assert_eq!(host.set_feature(0x0b, 0).status(), Status::COMMAND_SEQUENCE_ERROR.dnr());
    host.wait(u64::from(KEEP_ALIVE_MS) * 4);
    assert_eq!(host.actions(), []);
    host.wait(IDLE_ASSOCIATION.as_millis() as u64);
    assert_eq!(host.actions(), [Action::Close { connection: host.admin }]);
}

/// Goal: any command keeps the association alive; silence longer than timeout and granularity ends it with fatal status.
#[test]
fn keep_alive() {
    let mut host = Host::ready();
    let queue = host.io_queue(1);
    assert!(host.target.next_deadline().is_some());
    for _ in 0..5 {
        host.wait(u64::from(KEEP_ALIVE_MS) - 1);
        assert!(host.admin(Sqe::new(AdminOpcode::KEEP_ALIVE.0, 0), 0).cqe.status().is_success());
        host.wait(u64::from(KEEP_ALIVE_MS) - 1);
        // Traffic on an I/O queue counts as well.
        let mut sqe = Sqe::new(NvmOpcode::READ.0, 1);
        sqe.set_slba(0);
        assert!(matches!(host.outcome(queue, sqe, 4096), Outcome::Io(_)));
    }
    assert_eq!(host.actions(), []);
    host.wait(u64::from(KEEP_ALIVE_MS) + 999);
    assert_eq!(host.actions(), []);
    host.wait(1);
    let closes = [queue, host.admin].map(|connection| Action::Close { connection });
    assert_eq!(host.actions(), closes);
    assert_eq!(host.property(offset::CSTS).map(|csts| csts & 2), Ok(2));
    assert_eq!(host.target.sessions(), []);
    // A command that was on its way, and a queue that comes late.
    assert!(matches!(host.outcome(queue, Sqe::new(NvmOpcode::READ.0, 1), 4096), Outcome::Done(_)));
    let late = host.accept();
    let ask = Ask::io(host.cntlid, 2);
    assert_eq!(host.connect(late, &ask), Err((Status::CONNECT_CONTROLLER_BUSY, 0)));
    for connection in [queue, host.admin, late] {
        host.target.on_close(connection);
    }
    assert_eq!(host.target.next_deadline().is_some(), host.target.sessions().len() > 1);
}

/// Goal: the timeout is rounded up to the granularity; without one there is no timer, except for discovery.
#[test]
fn keep_alive_values() {
    let mut host = Host::ready();
    assert!(host.set_feature(0x0f, 1500).status().is_success());
    assert_eq!(host.get_feature(0x0f), Ok(2000));
    assert!(host.set_feature(0x0f, 0).status().is_success());
    host.wait(10_000_000);
    assert_eq!(host.actions(), []);
    assert_eq!(host.set_feature(0x0f, u32::MAX).status(), Status::INVALID_FIELD.dnr());

    let mut host = Host::discovering();
    assert!(host.set_feature(0x0f, 0).status().is_success());
    host.wait(120_000);
    assert_eq!(host.actions(), []);
    host.wait(10_000);
    assert_eq!(host.actions(), [Action::Close { connection: host.admin }]);
}

/// Goal: the association ends with its admin queue; the controller is gone when its last connection is.
#[test]
fn admin_queue_takes_the_others_along() {
    let mut host = Host::ready();
    let queues = [host.io_queue(1), host.io_queue(2)];
    host.target.on_close(host.admin);
    assert_eq!(host.actions(), queues.map(|connection| Action::Close { connection }));
    let Outcome::Done(answer) = host.outcome(queues[0], Sqe::new(NvmOpcode::READ.0, 1), 4096) else {
        panic!("nothing is executed any more");
    };
    assert_eq!(answer.cqe.status(), Status::COMMAND_SEQUENCE_ERROR.dnr());
    for queue in queues {
        host.target.on_close(queue);
        host.target.on_close(queue); // twice does no harm
    }
    assert_eq!(host.actions(), []);
}

/// Goal: Disconnect closes an I/O queue and refuses the admin queue.
#[test]
fn disconnect_closes_one_queue() {
    let mut host = Host::ready();
    let queue = host.io_queue(1);
    assert_eq!(host.admin(disconnect(), 0).cqe.status(), Status::INVALID_QUEUE_TYPE.dnr());
    assert!(matches!(host.outcome(queue, disconnect(), 0), Outcome::Done(_)));
    assert_eq!(host.actions(), [Action::Close { connection: queue }]);
}

/// Goal: a removed subsystem closes what is connected to it, and nothing else.
#[test]
fn removed_subsystem_closes_its_connections() {
    let mut host = Host::ready();
    let queue = host.io_queue(1);
    let other = host.accept();
    host.connect(other, &Ask::admin(DISCOVERY_NQN)).expect("discovery connects");
    host.target.remove_subsystem(NQN).expect("it exists");
    assert_eq!(host.actions(), [queue, host.admin].map(|connection| Action::Close { connection }));
    assert_eq!(host.admin(Sqe::new(AdminOpcode::IDENTIFY.0, 0), 4096).cqe.status().sc(), 0x0c);
}
