//! Namespace write protection, feature 84h.

use super::cluster::{Cluster, NSID};
use nvme_spec::identify::Cns;
use nvme_spec::reservation::WriteProtection;
use nvme_spec::{AdminOpcode, NvmOpcode, Sqe, Status};

const PROTECTED: Status = Status::WRITE_PROTECTED.dnr();

/// Bit 0 of NSATTR in Identify Namespace.
fn attribute(cluster: &mut Cluster) -> u8 {
    cluster.host.identify(Cns::NAMESPACE, NSID).expect("a page")[99]
}

/// Goal: a protected namespace is read and flushed and its reservations go on, for all hosts; what changes data is refused;
/// without protection all is as before.
#[test]
fn writes_to_a_protected_namespace_are_refused() {
    let mut cluster = Cluster::new(2);
    assert_eq!(cluster.feature(0, 0x84, NSID, Some(1)), Ok(0));
    assert_eq!(cluster.feature(1, 0x84, NSID, None), Ok(1));
    assert_eq!(attribute(&mut cluster), 1);
    for node in 0..2 {
        for opcode in [NvmOpcode::READ, NvmOpcode::COMPARE, NvmOpcode::VERIFY, NvmOpcode::FLUSH] {
            assert_eq!(cluster.may(node, opcode), Ok(()), "{opcode:?}");
        }
        for opcode in [NvmOpcode::WRITE, NvmOpcode::WRITE_ZEROES, NvmOpcode::DATASET_MANAGEMENT] {
            assert_eq!(cluster.may(node, opcode), Err(PROTECTED), "{opcode:?}");
        }
        cluster.register(node);
    }
    assert_eq!(cluster.feature(0, 0x84, NSID, Some(0)), Ok(0));
    assert_eq!(cluster.may(1, NvmOpcode::WRITE), Ok(()));
    assert_eq!(attribute(&mut cluster), 0);
}

/// Goal: the states that only a power cycle ends, or nothing, are not left; all but "until power cycle" are kept.
#[test]
fn final_states_are_not_left() {
    for (state, kept) in [(2, vec![]), (3, vec![WriteProtection::PERMANENT])] {
        let mut cluster = Cluster::new(1);
        assert_eq!(cluster.feature(0, 0x84, NSID, Some(state)), Ok(0));
        for other in (0..4).filter(|other| *other != state) {
            let refused = Err(Status::FEATURE_NOT_CHANGEABLE.dnr());
            assert_eq!(cluster.feature(0, 0x84, NSID, Some(other)), refused, "{state} to {other}");
        }
        assert_eq!(cluster.feature(0, 0x84, NSID, Some(state)), Ok(0), "it is so already");
        assert_eq!(cluster.kept.iter().map(|durable| durable.protection).collect::<Vec<_>>(), kept);
        assert_eq!(cluster.may(0, NvmOpcode::WRITE), Err(PROTECTED));
    }
    let mut cluster = Cluster::new(1);
    assert_eq!(cluster.feature(0, 0x84, NSID, Some(4)), Err(Status::INVALID_FIELD.dnr()));
    assert_eq!(cluster.feature(0, 0x84, 2, Some(1)), Err(Status::INVALID_NAMESPACE.dnr()));
    assert_eq!(cluster.feature(0, 0x84, 0xffff_ffff, Some(1)), Err(Status::INVALID_NAMESPACE.dnr()));
}

/// Goal: hosts that listen learn that a namespace became read-only.
#[test]
fn other_hosts_are_told() {
    let mut cluster = Cluster::new(2);
    assert_eq!(cluster.feature(1, 0x0b, 0, Some(1 << 8)), Ok(0));
    let event = Sqe::new(AdminOpcode::ASYNC_EVENT_REQUEST.0, 0);
    assert!(cluster.send(cluster.nodes[1].admin, &event, &[]).is_none());
    let tag = cluster.tag;
    assert_eq!(cluster.feature(0, 0x84, NSID, Some(1)), Ok(0));
    assert_eq!(cluster.ended(tag), Some(Status::SUCCESS));
}
