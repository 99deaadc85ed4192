//! Connections that anybody can open: how many there are, what they cost, and whom they keep out.

use super::host::{Host, Queue, Which, enable, pattern};
use super::known_bugs::ic_req;
use super::spread::with_cores;
use super::{Bench, NO_DIGESTS};
use crate::command::Command;
use crate::connection::Connection;
use crate::limits::{STRANGER_TURNS_PER_ROUND_MAX, STRANGERS_MAX, STRANGERS_PER_SOURCE_MAX};
use block::Tick;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt,
};
use nvme_spec::fabrics::DISCOVERY_NQN;
use nvme_spec::log::LogPage;
use nvme_spec::{AdminOpcode, Sqe, Status};
use nvme_subsystem::limits::AER_MAX;
use nvme_tcp::host::Data;
use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use zerocopy::IntoBytes;

/// Until then an ICReq is awaited, of all that come at the beginning.
const IC_REQ: Tick = Tick(10_000_000_000);

/// A connection from 127.0.0.`last`.
fn from(last: u8, to: SocketAddr) -> TcpStream {
    let SocketAddr::V4(to) = to else { panic!("portals of tests are IPv4") };
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    setsockopt(&fd, sockopt::ReuseAddr, &true).expect("an option");
    let own = SockaddrIn::from(SocketAddrV4::new([127, 0, 0, last].into(), 0));
    bind(fd.as_raw_fd(), &own).expect("all of 127/8 is ours");
    connect(fd.as_raw_fd(), &SockaddrIn::from(to)).expect("connected");
    fd.into()
}

/// Whether the other end has closed, without waiting for it.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).expect("an option");
    let result = stream.read(&mut [0; 1]);
    stream.set_nonblocking(false).expect("an option");
    !result.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

/// Opens connections until the target has seen as many as that, in all.
fn open(bench: &mut Bench, list: &mut Vec<TcpStream>, last: u8, count: usize) {
    for _ in 0..count {
        let before = bench.target.counters().connections;
        list.push(from(last, bench.address));
        bench.until(|bench| bench.target.counters().connections > before);
    }
}

fn ended(bench: &Bench) -> usize {
    usize::try_from(bench.target.counters().strangers_ended).expect("few")
}

/// Goal: one source has its share and no more; beyond it, its own oldest connection ends, and nobody else's.
#[test]
fn a_source_competes_with_itself() {
    let mut bench = Bench::new();
    let (mut other, mut flood) = (Vec::new(), Vec::new());
    open(&mut bench, &mut other, 9, 1);
    open(&mut bench, &mut flood, 2, STRANGERS_PER_SOURCE_MAX);
    assert_eq!(ended(&bench), 0);
    open(&mut bench, &mut flood, 2, 3);
    assert_eq!(ended(&bench), 3);
    bench.until(|bench| bench.net.sockets() == STRANGERS_PER_SOURCE_MAX + 1);
    let closed: Vec<bool> = flood.iter_mut().map(is_closed).collect();
    assert!(closed[..3].iter().all(|closed| *closed) && !closed[3..].contains(&true), "the oldest ended");
    assert!(!is_closed(&mut other[0]));
}

/// Goal: many sources together have their share, too; then the oldest of the one with most ends. A host that comes in the
/// middle of it connects, and one that is connected does not notice.
#[test]
fn hosts_get_in_and_stay() {
    let mut bench = Bench::new();
    let host = bench.host(|host| host);
    let mut first: Host = bench.join(host);
    let mut flood = Vec::new();
    for last in 10..=(10 + STRANGERS_MAX / 32) {
        open(&mut bench, &mut flood, u8::try_from(last).expect("few"), 32);
    }
    bench.until(|bench| bench.net.sockets() == STRANGERS_MAX + 2);
    assert_eq!(ended(&bench), 32);
    let second = bench.host(|mut host| host.write(1, 0, pattern(8192, 1)).expect("answered"));
    assert_eq!(bench.join(second), Status::SUCCESS);
    let writer = thread::spawn(move || first.write(1, 0, pattern(8192, 2)).expect("answered"));
    assert_eq!(bench.join(writer), Status::SUCCESS);
    bench.until(|bench| bench.net.sockets() <= STRANGERS_MAX);
}

/// Goal: a connection to the discovery subsystem is a stranger's: it makes room, too. A connection that ends by itself is
/// not counted any more.
#[test]
fn discovery_is_open_to_strangers() {
    let mut bench = Bench::new();
    let address = bench.address;
    let discovering = thread::spawn(move || {
        let which = Which { subsystem: DISCOVERY_NQN, host: "nqn.test:a", qid: 0, cntlid: 0xffff };
        Queue::connect(address, which, NO_DIGESTS).expect("connected").0
    });
    let queue = bench.join(discovering);
    let mut flood = Vec::new();
    open(&mut bench, &mut flood, 1, STRANGERS_PER_SOURCE_MAX - 1);
    assert_eq!(ended(&bench), 0);
    let left = flood.pop();
    drop(left);
    bench.until(|bench| bench.net.sockets() == STRANGERS_PER_SOURCE_MAX - 1);
    open(&mut bench, &mut flood, 1, 1);
    assert_eq!(ended(&bench), 0, "the place of the one that left was free");
    open(&mut bench, &mut flood, 1, 1);
    assert_eq!(ended(&bench), 1);
    bench.until(|bench| bench.net.sockets() == STRANGERS_PER_SOURCE_MAX);
    assert!(is_closed(&mut queue.stream()), "it was the oldest");
}

/// Goal: the discovery subsystem answers all that is asked, although it looks at a few commands at a time: event requests, more
/// pages than its queue has slots, at once, and what comes behind them. With sockets here and on another core.
#[test]
fn a_full_discovery_queue_is_answered() {
    for cores in [0, 1] {
        let mut bench = Bench::new();
        if cores > 0 {
            with_cores(&mut bench, cores);
        }
        let address = bench.address;
        let discovering = thread::spawn(move || {
            let which = Which { subsystem: DISCOVERY_NQN, host: "nqn.test:a", qid: 0, cntlid: 0xffff };
            let (mut queue, _) = Queue::connect(address, which, NO_DIGESTS).expect("connected");
            enable(&mut queue).expect("enabled");
            let event = Sqe::new(AdminOpcode::ASYNC_EVENT_REQUEST.0, 0);
            for _ in 0..AER_MAX {
                queue.submit(event, Data::None, Vec::new());
            }
            let mut page = Sqe::new(AdminOpcode::GET_LOG_PAGE.0, 0);
            page.cdw10 = (u32::from(LogPage::DISCOVERY.0) | 0x3ff << 16).into();
            let pages: Vec<_> = (0..28).map(|_| queue.submit(page, Data::Read(4096), Vec::new())).collect();
            let answered =
                pages.into_iter().map(|slot| queue.finish(slot).expect("answered").status().is_success());
            assert_eq!(answered.filter(|is_success| *is_success).count(), 28);
            queue.command(Sqe::new(AdminOpcode::KEEP_ALIVE.0, 0)).expect("answered").status()
        });
        assert_eq!(bench.join(discovering), Status::SUCCESS);
    }
}

/// Goal: strangers share the core's time: however many have sent something, a few of them have a turn in each round, and all of
/// them get one.
#[test]
fn strangers_take_turns() {
    const COUNT: usize = 3 * STRANGER_TURNS_PER_ROUND_MAX;
    let mut bench = Bench::new();
    let mut list = Vec::new();
    open(&mut bench, &mut list, 4, COUNT);
    for stream in &mut list {
        stream.write_all(ic_req().as_bytes()).expect("sent");
    }
    let answered = |bench: &Bench| {
        let all = bench.target.connections.iter().flatten();
        all.filter(|connection| connection.tcp.poll_deadline().is_some_and(|at| at > IC_REQ)).count()
    };
    let mut before = 0;
    while before < COUNT {
        bench.turn();
        let now = answered(&bench);
        assert!(now - before <= STRANGER_TURNS_PER_ROUND_MAX, "{} in a round", now - before);
        before = now;
    }
}

/// Goal: a stranger costs a few KiB beside its socket, whatever it sends: half a PDU, an ICReq, a Connect without its data.
#[test]
fn a_stranger_costs_little() {
    let mut bench = Bench::new();
    let mut list = Vec::new();
    open(&mut bench, &mut list, 3, STRANGERS_PER_SOURCE_MAX);
    let before = bench.target.arena().usage();
    for stream in &mut list {
        let mut hello = [0u8; 128];
        (hello[2], hello[4]) = (128, 128);
        stream.write_all(&hello).expect("sent");
        stream.write_all(&[4, 0, 72, 72]).expect("sent");
    }
    for _ in 0..100 {
        bench.turn();
    }
    let connections: Vec<&Connection> =
        bench.target.connections.iter().flatten().map(AsRef::as_ref).collect();
    assert_eq!(connections.len(), STRANGERS_PER_SOURCE_MAX);
    let slots = connections[0].commands.capacity();
    let bytes = size_of::<Connection>() + slots * size_of::<Command>();
    assert!(bytes <= 4096 && slots <= 4, "{bytes} bytes and {slots} slots");
    assert_eq!(bench.target.arena().usage(), before, "no memory for drives");
}
