//! Asymmetric namespace access: states of groups, what commands are told, and that hosts hear of it in the right order.

use super::host::{Host, NQN, namespace};
use crate::{ConfigError, ConnectionId, Outcome};
use nvme_spec::identify::{Cns, IdentifyNamespace};
use nvme_spec::log::{AnaGroup, AnaHeader, AnaState, LogPage};
use nvme_spec::{NvmOpcode, Sqe, Status};
use zerocopy::FromBytes;

const ANA_CHANGED: u32 = 2 | 3 << 8 | 0x0c << 16;

/// Change counts and state of the log and of a group without namespaces before it.
fn group(host: &mut Host, number: u32) -> (u64, u64, u8) {
    let mut sqe = super::host::get_log(LogPage::ANA, 0, 16 + 64 * 32);
    sqe.cdw10 = (sqe.cdw10.get() | 1 << 8).into();
    let page = super::host::data(host.admin(sqe, 16 + 64 * 32)).expect("it exists");
    let (header, groups) = AnaHeader::read_from_prefix(&page).expect("a header");
    let at = (number as usize - 1) * 32;
    let group = AnaGroup::read_from_bytes(&groups[at..at + 32]).expect("a group");
    assert_eq!(group.grpid.get(), number);
    (header.chgcnt.get(), group.chgcnt.get(), group.state)
}

fn status(host: &mut Host, queue: ConnectionId, opcode: NvmOpcode, nsid: u32) -> Option<Status> {
    let len = if opcode == NvmOpcode::FLUSH || opcode == NvmOpcode::WRITE_ZEROES { 0 } else { 4096 };
    match host.outcome(queue, Sqe::new(opcode.0, nsid), len) {
        Outcome::Io(_) => None,
        Outcome::Done(answer) => Some(answer.cqe.status()),
        other => panic!("{other:?}"),
    }
}

/// Goal: each state refuses or serves the commands to its group, with the path error that Linux fails over on, and without
/// "do not retry"; other groups are as before.
#[test]
fn states_decide_about_commands() {
    let mut host = Host::ready();
    let queue = host.io_queue(1);
    for (state, expected) in [
        (AnaState::INACCESSIBLE, Some(Status::ANA_INACCESSIBLE)),
        (AnaState::CHANGE, Some(Status::ANA_TRANSITION)),
        (AnaState::PERSISTENT_LOSS, Some(Status::ANA_PERSISTENT_LOSS)),
        (AnaState::NON_OPTIMIZED, None),
        (AnaState::OPTIMIZED, None),
    ] {
        host.target.set_ana_state(NQN, 3, state).expect("a group and a state");
        for opcode in [NvmOpcode::READ, NvmOpcode::WRITE, NvmOpcode::FLUSH, NvmOpcode::WRITE_ZEROES] {
            assert_eq!(status(&mut host, queue, opcode, 3), expected, "{state:?} {opcode:?}");
            assert_eq!(status(&mut host, queue, opcode, 1), None, "{state:?} {opcode:?}");
        }
        assert_eq!(group(&mut host, 3).2, state.0);
    }
}

/// Goal: when the event arrives the log has the new state already; several changes before the log is read are one event.
#[test]
fn changes_are_told_after_the_log() {
    let mut host = Host::ready();
    assert!(host.set_feature(0x0b, 0x800).status().is_success());
    for cid in [1, 2] {
        assert!(matches!(host.request_event(cid), Outcome::Held));
    }
    let (count, group_count, _) = group(&mut host, 64);
    host.target.set_ana_state(NQN, 64, AnaState::CHANGE).expect("there");
    host.target.set_ana_state(NQN, 64, AnaState::INACCESSIBLE).expect("there");
    // Nothing changes: nothing is told or counted.
    host.target.set_ana_state(NQN, 64, AnaState::INACCESSIBLE).expect("there");
    assert_eq!(host.events(), [(1, ANA_CHANGED)]);
    let (now, group_now, state) = group(&mut host, 64);
    assert_eq!((now, group_now > group_count, state), (count + 2, true, 3));
    assert_eq!(group_now, now);
    // The second change came before the log was read: it is told, too, once.
    assert_eq!(host.events(), [(2, ANA_CHANGED)]);
    let (_, untouched, _) = group(&mut host, 63);
    assert!(untouched < group_now);
}

/// Goal: a namespace keeps its group, and Identify hides what cannot be known of it on a path that does not serve.
#[test]
fn identify_on_a_path_that_does_not_serve() {
    let mut host = Host::ready();
    let page = |host: &mut Host| {
        let page = host.identify(Cns::NAMESPACE, 3).expect("it exists");
        let id = IdentifyNamespace::read_from_bytes(&page).expect("a page");
        (id.anagrpid.get(), id.nsze.get(), id.nuse.get(), u128::from_le_bytes(id.nvmcap))
    };
    assert_eq!(page(&mut host), (3, 1024, 1024, 1024 * 4096));
    host.target.set_ana_state(NQN, 3, AnaState::INACCESSIBLE).expect("there");
    assert_eq!(page(&mut host), (3, 1024, 0, 0));
    host.target.set_ana_state(NQN, 3, AnaState::NON_OPTIMIZED).expect("there");
    assert_eq!(page(&mut host), (3, 1024, 1024, 1024 * 4096));
    // 67 shares the group of 3.
    host.target.add_namespace(NQN, namespace(67, 8)).expect("new");
    let queue = host.io_queue(1);
    host.target.set_ana_state(NQN, 3, AnaState::INACCESSIBLE).expect("there");
    assert_eq!(status(&mut host, queue, NvmOpcode::READ, 67), Some(Status::ANA_INACCESSIBLE));
}

/// Goal: nvme-cli computes the longest log from Identify and reads it in parts of 4 KiB: each part is there, also those
/// behind what is used; only what is beyond the longest log is refused.
#[test]
fn the_log_has_the_length_that_hosts_compute() {
    let mut host = Host::ready();
    let len = 16 + 32 * 64 + 4 * 1024u64;
    let first = host.log(LogPage::ANA, 0, 4096).expect("the first part");
    assert!(first[16 + 64 * 32 + 2 * 4..].iter().all(|byte| *byte == 0));
    assert_eq!(host.log(LogPage::ANA, 4096, 2064), Ok(vec![0; 2064]));
    assert_eq!(host.log(LogPage::ANA, len - 4, 4), Ok(vec![0; 4]));
    assert_eq!(host.log(LogPage::ANA, len + 4, 4), Err(Status::INVALID_FIELD.dnr()));
}

/// Goal: groups and states that do not exist are the owner's mistake.
#[test]
fn unknown_groups_and_states_are_refused() {
    let mut host = Host::ready();
    for (group, state) in [(0, AnaState::OPTIMIZED), (65, AnaState::OPTIMIZED), (1, AnaState(5))] {
        assert_eq!(host.target.set_ana_state(NQN, group, state), Err(ConfigError::AnaRefused));
    }
    let unknown = host.target.set_ana_state("nqn.x", 1, AnaState::OPTIMIZED);
    assert_eq!(unknown, Err(ConfigError::SubsystemNotFound));
}
