//! Asynchronous events: told once, then silent until the log was read.

use super::host::{Host, NQN, get_log, namespace, subsystem};
use crate::{Action, Outcome};
use block::Blocks;
use nvme_spec::log::LogPage;
use nvme_spec::{AdminOpcode, Sqe, Status};

const NAMESPACES: u32 = 2 | 4 << 16;
const DISCOVERY: u32 = 2 | 0xf0 << 8 | 0x70 << 16;

fn changed(host: &mut Host) -> Vec<u8> {
    host.log(LogPage::CHANGED_NAMESPACES, 0, 16).expect("it exists")
}

/// Goal: a change is told with one event however many follow, and the log names them all; reading it re-arms the event.
#[test]
fn namespace_changes_are_told_once() {
    let mut host = Host::ready();
    assert!(host.set_feature(0x0b, 0x100).status().is_success());
    for cid in [30, 31] {
        assert!(matches!(host.request_event(cid), Outcome::Held));
    }
    host.target.add_namespace(NQN, namespace(2, 8)).expect("new");
    assert_eq!(host.events(), [(30, NAMESPACES)]);
    host.target.resize_namespace(NQN, 1, Blocks(512)).expect("there");
    host.target.remove_namespace(NQN, 3).expect("there");
    assert_eq!(host.events(), []);
    // Kept with RAE, and the event stays masked.
    let mut keep = get_log(LogPage::CHANGED_NAMESPACES, 0, 16);
    keep.cdw10 = (keep.cdw10.get() | 1 << 15).into();
    assert!(host.admin(keep, 16).cqe.status().is_success());
    assert_eq!(host.events(), []);
    // Read: the changes that came after the first event are told by a second one, with an empty log or not.
    assert_eq!(changed(&mut host), [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(host.events(), [(31, NAMESPACES)]);
    assert_eq!(changed(&mut host), [0; 16]);
    host.target.remove_namespace(NQN, 2).expect("there");
    assert_eq!(host.events(), []);
    assert!(matches!(host.request_event(5), Outcome::Held));
    assert_eq!(host.events(), [(5, NAMESPACES)]);
}

/// Goal: nobody is told what he did not ask for.
#[test]
fn events_are_off_by_default() {
    let mut host = Host::ready();
    assert!(matches!(host.request_event(1), Outcome::Held));
    host.target.add_namespace(NQN, namespace(2, 8)).expect("new");
    assert_eq!(host.actions(), []);
}

/// Goal: four requests are held, the fifth is refused; Abort ends one of them, and asks the owner about other commands of
/// queues that exist.
#[test]
fn limits_and_abort() {
    let mut host = Host::ready();
    for cid in 1..=4 {
        assert!(matches!(host.request_event(cid), Outcome::Held));
    }
    let Outcome::Done(answer) = host.request_event(5) else { panic!("one too many") };
    assert_eq!(answer.cqe.status(), Status::AER_LIMIT_EXCEEDED.dnr());
    let mut abort = Sqe::new(AdminOpcode::ABORT.0, 0);
    abort.cdw10 = (2 << 16).into();
    assert_eq!(host.admin(abort, 0).cqe.dw0.get(), 0);
    let [Action::Complete { cqe, .. }] = host.actions()[..] else { panic!("one ends") };
    assert_eq!((cqe.cid.get(), cqe.status()), (2, Status::ABORT_REQUESTED));
    let asked = |outcome: Outcome| match outcome {
        Outcome::Abort { connection, cid } => (connection, cid),
        other => panic!("{other:?}"),
    };
    assert_eq!(asked(host.outcome(host.admin, abort, 0)), (host.admin, 2));
    abort.cdw10 = (9 << 16 | 1).into(); // on an I/O queue that is not there
    assert_eq!(host.admin(abort, 0).cqe.dw0.get(), 1);
    let queue = host.io_queue(1);
    assert_eq!(asked(host.outcome(host.admin, abort, 0)), (queue, 9));
    assert!(matches!(host.request_event(5), Outcome::Held));
}

/// Goal: a persistent discovery controller hears of new subsystems; one without keep alive does not.
#[test]
fn discovery_changes() {
    let mut host = Host::discovering();
    assert!(host.set_feature(0x0b, 1 << 31).status().is_success());
    assert!(matches!(host.request_event(9), Outcome::Held));
    host.target.add_subsystem(subsystem("nqn.2014-08.org:second")).expect("new");
    assert_eq!(host.events(), [(9, DISCOVERY)]);
    host.log(LogPage::DISCOVERY, 0, 1024).expect("it exists");
    assert!(host.set_feature(0x0f, 0).status().is_success());
    assert!(matches!(host.request_event(10), Outcome::Held));
    host.target.remove_subsystem("nqn.2014-08.org:second").expect("there");
    assert_eq!(host.actions(), []);
}
