//! Allow-lists: a host meets only what it may use, and changes reach those whom they concern.

use super::cluster::{Cluster, NSID};
use super::host::{Ask, HOST_NQN, Host, KEEP_ALIVE_MS, NQN, closed, data, for_hosts, get_log, namespace};
use crate::{Action, ConfigError, Hosts, Outcome, Target, TargetConfig};
use block::{Blocks, Tick};
use nvme_spec::fabrics::DISCOVERY_NQN;
use nvme_spec::identify::Cns;
use nvme_spec::log::{AnaGroup, DiscoveryHeader, LogPage};
use nvme_spec::{NvmOpcode, Sqe, Status};
use zerocopy::FromBytes;

const OTHER: &str = "nqn.2014-08.org:other";

fn listed(hosts: &[&str]) -> Hosts {
    Hosts::Listed(hosts.iter().map(|nqn| (*nqn).to_owned()).collect())
}

/// A closed subsystem: namespace 1 for the test's host, 2 for the other host, 65 (the same ANA group as 1) for both.
fn shared() -> Target {
    let mut target = Target::new(TargetConfig {
        discovery_nqn: super::host::NODE_NQN.into(),
        node: 0,
        io_port: 4420,
        firmware: "0.1.0".into(),
    });
    target.add_subsystem(closed(NQN)).expect("new");
    for (nsid, hosts) in [(1, [HOST_NQN].as_slice()), (2, &[OTHER]), (65, &[HOST_NQN, OTHER])] {
        target.add_namespace(NQN, for_hosts(namespace(nsid, 256), hosts)).expect("new");
    }
    target
}

fn numbers(page: &[u8]) -> Vec<u32> {
    page.chunks_exact(4)
        .map(|c| u32::from_le_bytes(c.try_into().expect("four")))
        .take_while(|n| *n != 0)
        .collect()
}

fn read(host: &mut Host, queue: crate::ConnectionId, nsid: u32) -> Option<Status> {
    match host.outcome(queue, Sqe::new(NvmOpcode::READ.0, nsid), 4096) {
        Outcome::Io(_) => None,
        Outcome::Done(answer) => Some(answer.cqe.status()),
        other => panic!("{other:?}"),
    }
}

/// Goal: a namespace of other hosts is absent everywhere: lists, pages, descriptors, ANA log, commands.
#[test]
fn what_a_host_may_not_use_does_not_exist_for_it() {
    let mut host = Host::enabled(shared(), NQN);
    let queue = host.io_queue(1);
    for cns in [Cns::ACTIVE_NAMESPACES, Cns::IO_ACTIVE_NAMESPACES] {
        assert_eq!(host.identify(cns, 0).map(|page| numbers(&page)), Ok(vec![1, 65]));
    }
    for cns in [Cns::NAMESPACE, Cns::INDEPENDENT_NAMESPACE] {
        assert_eq!(host.identify(cns, 2), Ok(vec![0; 4096]));
        assert_ne!(host.identify(cns, 65), Ok(vec![0; 4096]));
    }
    assert_eq!(host.identify(Cns::NAMESPACE_DESCRIPTORS, 2), Err(Status::INVALID_NAMESPACE.dnr()));
    let ana = host.log(LogPage::ANA, 16, 32 + 8 + 32).expect("it exists");
    let (first, rest) = AnaGroup::read_from_prefix(&ana).expect("a group");
    assert_eq!((first.nnsids.get(), numbers(&rest[..8])), (2, vec![1, 65]));
    let second = AnaGroup::read_from_bytes(&rest[8..]).expect("a group");
    assert_eq!((second.grpid.get(), second.nnsids.get()), (2, 0));
    assert_eq!(
        [1, 2, 3, 65].map(|nsid| read(&mut host, queue, nsid)),
        [None, Some(Status::INVALID_NAMESPACE.dnr()), Some(Status::INVALID_NAMESPACE.dnr()), None]
    );
}

/// Goal: changes of a namespace that a host may not use are not told to it, neither by event nor by log.
#[test]
fn changes_of_others_are_not_told() {
    let mut host = Host::enabled(shared(), NQN);
    assert!(host.set_feature(0x0b, 0x900).status().is_success());
    assert!(matches!(host.request_event(1), Outcome::Held));
    host.target.resize_namespace(NQN, 2, Blocks(512)).expect("there");
    host.target.remove_namespace(NQN, 2).expect("there");
    host.target.add_namespace(NQN, for_hosts(namespace(4, 8), &[OTHER])).expect("new");
    host.target.set_namespace_hosts(NQN, 4, listed(&[])).expect("there");
    // The host keeps what it had: nothing to tell either.
    host.target.set_namespace_hosts(NQN, 65, listed(&[HOST_NQN])).expect("there");
    assert_eq!(host.actions(), []);
    assert_eq!(host.log(LogPage::CHANGED_NAMESPACES, 0, 8), Ok(vec![0; 8]));
    host.target.resize_namespace(NQN, 1, Blocks(512)).expect("there");
    assert_eq!(host.events(), [(1, 2 | 4 << 16)]);
}

/// Goal: a host hears of a namespace that it gains or loses, and its commands follow at once.
#[test]
fn gains_and_losses_are_told() {
    let mut host = Host::enabled(shared(), NQN);
    let queue = host.io_queue(1);
    assert!(host.set_feature(0x0b, 0x100).status().is_success());
    for cid in [1, 2] {
        assert!(matches!(host.request_event(cid), Outcome::Held));
    }
    host.target.set_namespace_hosts(NQN, 2, listed(&[HOST_NQN])).expect("there");
    assert_eq!(host.events(), [(1, 2 | 4 << 16)]);
    assert_eq!(read(&mut host, queue, 2), None);
    assert_eq!(host.log(LogPage::CHANGED_NAMESPACES, 0, 8).map(|page| numbers(&page)), Ok(vec![2]));
    assert!(host.target.may_use(queue, 1));
    host.target.set_namespace_hosts(NQN, 1, listed(&[OTHER])).expect("there");
    assert_eq!(host.events(), [(2, 2 | 4 << 16)]);
    assert_eq!(read(&mut host, queue, 1), Some(Status::INVALID_NAMESPACE.dnr()));
    assert!(!host.target.may_use(queue, 1) && host.target.may_use(queue, 65));
    assert_eq!(host.target.set_namespace_hosts(NQN, 9, Hosts::Any), Err(ConfigError::NamespaceNotFound));
}

/// Goal: who loses the last namespace is disconnected, nobody else is; it cannot come back, and no longer discovers.
#[test]
fn the_last_loss_disconnects() {
    let mut host = Host::enabled(shared(), NQN);
    let queue = host.io_queue(1);
    let other = host.accept();
    let ask = Ask { host_nqn: OTHER, ..Ask::admin(NQN) };
    host.connect(other, &ask).expect("it is on a list");
    host.target.set_namespace_hosts(NQN, 65, listed(&[OTHER])).expect("there");
    assert_eq!(host.actions(), []);
    host.target.remove_namespace(NQN, 1).expect("there");
    assert_eq!(host.actions(), [queue, host.admin].map(|connection| Action::Close { connection }));
    assert_eq!(host.target.sessions().len(), 1);
    let again = host.accept();
    let refused = host.connect(again, &Ask::admin(NQN));
    assert_eq!(refused, Err((Status::CONNECT_INVALID_HOST.dnr(), 0)));
}

/// Goal: on an open subsystem a list still masks, but nobody is disconnected or refused for it.
#[test]
fn open_subsystems_mask_too() {
    let mut host = Host::ready();
    let queue = host.io_queue(1);
    host.target.set_namespace_hosts(NQN, 1, listed(&[OTHER])).expect("there");
    host.target.set_namespace_hosts(NQN, 3, listed(&[])).expect("there");
    assert_eq!(host.actions(), []);
    assert_eq!(read(&mut host, queue, 1), Some(Status::INVALID_NAMESPACE.dnr()));
    assert_eq!(host.identify(Cns::ACTIVE_NAMESPACES, 0), Ok(vec![0; 4096]));
    let again = host.accept();
    assert!(host.connect(again, &Ask::admin(NQN)).is_ok());
}

/// Goal: the discovery log follows the lists: its generation changes, and those whose entries change are told, once.
#[test]
fn discovery_follows_the_lists() {
    let mut host = Host::enabled(shared(), DISCOVERY_NQN);
    let stranger = host.accept();
    let ask = Ask { host_nqn: "nqn.2014-08.org:stranger", ..Ask::admin(DISCOVERY_NQN) };
    host.connect(stranger, &ask).expect("everybody may ask");
    let header = |host: &mut Host| {
        let page = host.log(LogPage::DISCOVERY, 0, 1024).expect("it exists");
        let header = DiscoveryHeader::read_from_bytes(&page).expect("a header");
        (header.genctr.get(), header.numrec.get())
    };
    let (first, records) = header(&mut host);
    assert_eq!(records, 2);
    assert!(host.set_feature(0x0b, 1 << 31).status().is_success());
    assert!(matches!(host.request_event(9), Outcome::Held));
    // It may still use 65, so its entry stays.
    host.target.remove_namespace(NQN, 1).expect("there");
    assert_eq!(host.actions(), []);
    host.target.set_namespace_hosts(NQN, 65, listed(&[])).expect("there");
    assert_eq!(host.events(), [(9, 2 | 0xf0 << 8 | 0x70 << 16)]);
    let (second, records) = header(&mut host);
    assert_eq!((second > first, records), (true, 1));
}

/// Goal: a host that was disconnected leaves no timer and no controller behind.
#[test]
fn nothing_is_left_of_a_host_that_lost_all() {
    let mut host = Host::enabled(shared(), NQN);
    for nsid in [1, 65] {
        host.target.remove_namespace(NQN, nsid).expect("there");
    }
    for action in host.actions() {
        let Action::Close { connection } = action else { panic!("it is told nothing") };
        host.target.on_close(connection);
    }
    host.now = Tick(0).after(core::time::Duration::from_millis(u64::from(KEEP_ALIVE_MS) * 3));
    host.target.on_tick(host.now);
    assert_eq!((host.actions(), host.target.sessions(), host.target.next_deadline()), (vec![], vec![], None));
}

/// Goal: the host's own request cannot widen what it sees: the ANA log of groups only counts nothing that is hidden.
#[test]
fn groups_only_tells_no_numbers() {
    let mut host = Host::enabled(shared(), NQN);
    let mut sqe = get_log(LogPage::ANA, 0, 16 + 64 * 32);
    sqe.cdw10 = (sqe.cdw10.get() | 1 << 8).into();
    let page = data(host.admin(sqe, 16 + 64 * 32)).expect("it exists");
    assert!(page[16..].chunks_exact(32).all(|group| group[4..8] == [0; 4]));
}

/// Goal: a host that registered with a namespace and was shut out of it hears nothing more of it: neither that its reservation
/// is cleared, nor that it is write protected.
#[test]
fn who_is_shut_out_hears_no_more() {
    let mut cluster = Cluster::new(1);
    cluster.join_as(2, OTHER);
    (0..2).for_each(|node| cluster.register(node));
    assert_eq!(cluster.acquire(0, 3), Status::SUCCESS);
    cluster.host.target.set_namespace_hosts(NQN, NSID, listed(&[HOST_NQN])).expect("it exists");
    cluster.pump();
    let changed = |cluster: &mut Cluster| {
        let page = get_log(LogPage::CHANGED_NAMESPACES, 0, 4096);
        let Outcome::Done(answer) = cluster.host.outcome(cluster.nodes[1].admin, page, 4096) else {
            panic!("a page")
        };
        answer.data[..4].to_vec()
    };
    assert_eq!(changed(&mut cluster), [1, 0, 0, 0], "that it is gone");
    assert_eq!(cluster.feature(0, 0x84, NSID, Some(1)), Ok(0));
    let clear = cluster.reserve(0, NvmOpcode::RESERVATION_RELEASE, 1, 0, (10, 0));
    assert_eq!(clear, Status::SUCCESS);
    assert_eq!(changed(&mut cluster), [0; 4]);
    assert_eq!(cluster.notification(1), (0, 0, 0, 0));
}
