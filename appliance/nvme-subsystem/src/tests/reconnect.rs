//! Connects that come before the end of what they replace, and by another way than the rest.

use super::host::{Ask, Host, NODE_NQN, NQN, namespace, subsystem};
use crate::limits::{HELD_CONNECTS_MAX, NODES_MAX};
use crate::{Action, Command, ConfigError, ConnectionId, Endpoints, Outcome, Referral, Target, TargetConfig};
use nvme_spec::fabrics::DISCOVERY_NQN;
use nvme_spec::log::{DiscoveryEntry, LogPage};
use nvme_spec::{Status, ascii_text, nqn_text};
use zerocopy::{FromBytes, IntoBytes};

const TAG: u32 = 77;

/// A Connect for an I/O queue that is in use: it waits.
fn held(host: &mut Host, qid: u16) -> ConnectionId {
    let connection = host.accept();
    let ask = Ask::io(host.cntlid, qid);
    let (sqe, data) = (ask.connect.to_sqe(), ask.data());
    let command = Command { tag: TAG, sqe: &sqe, data_len: 1024 };
    assert!(matches!(host.target.on_command(connection, &command, host.now), Outcome::NeedsData { .. }));
    let outcome = host.target.on_data(connection, &command, data.as_bytes(), host.now);
    assert!(matches!(outcome, Outcome::Held), "{outcome:?}");
    connection
}

fn at(host: &mut Host, local: &str, is_discovery_only: bool) -> ConnectionId {
    let local = local.parse().expect("an address");
    let peer = "10.0.0.7:51235".parse().expect("an address");
    host.target.on_accept(Endpoints { local, peer, is_discovery_only }).expect("room")
}

/// Goal: a host that reconnects a queue before we saw the end of the old connection gets it as soon as we do.
#[test]
fn a_queue_in_use_is_given_when_it_is_free() {
    let mut host = Host::ready();
    let old = host.io_queue(1);
    let new = held(&mut host, 1);
    assert_eq!(host.actions(), []);
    host.target.on_close(old);
    let [Action::Connected { connection, tag, cqe, queue }] = host.actions()[..] else {
        panic!("it connects")
    };
    assert_eq!(
        (connection, tag, cqe.status(), cqe.dw0.get()),
        (new, TAG, Status::SUCCESS, u32::from(host.cntlid))
    );
    assert_eq!((queue.qid, queue.entries), (1, 128));
    host.wait(5);
    assert_eq!(host.actions(), [], "answered once");
    assert_eq!(host.target.sessions()[0].io_queues, 1);
}

/// Goal: one that stays in use is refused after a millisecond, not before, and the host may try again.
#[test]
fn a_queue_that_stays_in_use_is_refused() {
    let mut host = Host::ready();
    host.io_queue(1);
    let new = held(&mut host, 1);
    assert_eq!(host.target.next_deadline(), Some(host.now.after(core::time::Duration::from_millis(1))));
    host.target.on_tick(host.now);
    assert_eq!(host.actions(), []);
    host.wait(1);
    let [Action::Complete { connection, tag, cqe }] = host.actions()[..] else { panic!("it is refused") };
    assert_eq!((connection, tag, cqe.status()), (new, TAG, Status::INVALID_QUEUE_ID));
    // The connection is as good as before.
    assert_eq!(host.connect(new, &Ask::io(host.cntlid, 2)), Ok(host.cntlid));
}

/// Goal: while the storage works for the old connection the new one waits too, and is told to come later.
#[test]
fn a_queue_that_drains_is_not_given() {
    let mut host = Host::ready();
    let old = host.io_queue(1);
    held(&mut host, 1);
    host.target.on_draining(old);
    host.target.on_close(old);
    assert_eq!(host.actions(), []);
    host.wait(1);
    let [Action::Complete { cqe, .. }] = host.actions()[..] else { panic!("it is refused") };
    assert_eq!(cqe.status(), Status::CONNECT_CONTROLLER_BUSY);
}

/// Goal: a held Connect ends with its connection, and with its controller.
#[test]
fn held_connects_leave_nothing_behind() {
    let mut host = Host::ready();
    let old = host.io_queue(1);
    let gone = held(&mut host, 1);
    host.target.on_close(gone);
    host.target.on_close(old);
    assert_eq!(host.actions(), []);
    let old = host.io_queue(1);
    let orphan = held(&mut host, 1);
    host.target.on_close(host.admin);
    assert_eq!(host.actions(), [Action::Close { connection: old }]);
    host.target.on_close(old);
    host.wait(1);
    let [Action::Complete { connection, cqe, .. }] = host.actions()[..] else { panic!("it is refused") };
    // The controller is gone: there is no such identifier.
    assert_eq!((connection, cqe.status().sc(), cqe.dw0.get()), (orphan, 0x82, 1 << 16 | 16));
}

/// Goal: what hosts can make us keep is bounded: one Connect too many is refused at once.
#[test]
fn held_connects_are_bounded() {
    let mut host = Host::ready();
    host.io_queue(1);
    for _ in 0..HELD_CONNECTS_MAX {
        held(&mut host, 1);
    }
    let connection = host.accept();
    let ask = Ask::io(host.cntlid, 1);
    assert_eq!(host.connect(connection, &ask), Err((Status::INVALID_QUEUE_ID, 0)));
    host.wait(1);
    assert_eq!(host.actions().len(), HELD_CONNECTS_MAX);
}

/// Goal: the queues of a controller come by one portal, in whichever form its address is written.
#[test]
fn queues_come_by_the_same_portal() {
    let mut host = Host::ready();
    let ask = Ask::io(host.cntlid, 1);
    for elsewhere in ["10.0.0.6:8009", "10.0.0.5:4420"] {
        let connection = at(&mut host, elsewhere, false);
        let refused = Err((Status::CONNECT_INVALID_PARAMETERS.dnr(), 1 << 16 | 16));
        assert_eq!(host.connect(connection, &ask), refused, "{elsewhere}");
    }
    let connection = at(&mut host, "10.0.0.5:8009", false);
    assert_eq!(host.connect(connection, &ask), Ok(host.cntlid));
}

/// Goal: at an address for discovery only the discovery subsystem is served.
#[test]
fn discovery_addresses_serve_no_subsystem() {
    let mut host = Host::ready();
    let connection = at(&mut host, "10.0.0.5:8009", true);
    let refused = Err((Status::CONNECT_INVALID_HOST.dnr(), 0));
    assert_eq!(host.connect(connection, &Ask::admin(NQN)), refused);
    for nqn in [DISCOVERY_NQN, NODE_NQN] {
        let connection = at(&mut host, "10.0.0.5:8009", true);
        assert!(host.connect(connection, &Ask::admin(nqn)).is_ok());
    }
}

/// Goal: nodes give controller identifiers that no other node gives, and stay within them when they begin again.
#[test]
fn nodes_have_controller_identifiers_of_their_own() {
    for (node, first) in [(1, 2049), (NODES_MAX - 1, 30 * 2048 + 1)] {
        let mut target = Target::new(TargetConfig {
            discovery_nqn: NODE_NQN.into(),
            node,
            io_port: 4420,
            firmware: "0.1.0".into(),
        });
        target.add_subsystem(subsystem(NQN)).expect("new");
        target.add_namespace(NQN, namespace(1, 8)).expect("new");
        let mut host = Host::connected(target, NQN);
        assert_eq!(host.cntlid, first);
        for after in 1..2050u16 {
            let connection = host.accept();
            let cntlid = host.connect(connection, &Ask::admin(NQN)).expect("it connects");
            // Behind the last one, 2047, they begin again; the first is still in use.
            let expected = if after < 2047 { first + after } else { first + after - 2046 };
            assert_eq!(cntlid, expected);
            host.target.on_close(connection);
        }
    }
}

/// Goal: other discovery subsystems are named in the log, changes are told, and wrong ones refused.
#[test]
fn referrals_are_in_the_log() {
    let mut host = Host::discovering();
    assert!(host.set_feature(0x0b, 1 << 31).status().is_success());
    assert!(matches!(host.request_event(1), Outcome::Held));
    let address = "[fd00::9]:8009".parse().expect("an address");
    let referral = Referral { nqn: "nqn.2014-08.org:next".into(), address };
    host.target.set_referrals(vec![referral.clone()]).expect("a good one");
    host.target.set_referrals(vec![referral.clone()]).expect("the same");
    assert_eq!(host.events(), [(1, 2 | 0xf0 << 8 | 0x70 << 16)]);
    let page = host.log(LogPage::DISCOVERY, 3072, 1024).expect("the third entry");
    let entry = DiscoveryEntry::read_from_bytes(&page).expect("an entry");
    let text = (nqn_text(&entry.subnqn), ascii_text(&entry.traddr), ascii_text(&entry.trsvcid));
    assert_eq!((entry.subtype, entry.adrfam), (1, 2));
    assert_eq!(text, (Some("nqn.2014-08.org:next"), "fd00::9".into(), "8009".into()));
    let bad = Referral { nqn: String::new(), address };
    assert_eq!(host.target.set_referrals(vec![bad]), Err(ConfigError::ReferralRefused));
    assert_eq!(host.target.set_referrals(vec![referral; 65]), Err(ConfigError::ReferralRefused));
}
