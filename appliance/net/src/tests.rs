//! Sockets of a `Net` against plain blocking sockets over loopback.
#![expect(clippy::wildcard_enum_match_arm, reason = "a test waits for one kind of event")]

use crate::limits::{PROBE_AFTER_S, UNCONFIRMED_MS_MAX};
use crate::{Event, Landing, Net, Outgoing, SocketId, Waker};
use core::time::Duration;
use dma::{Arena, ArenaConfig};
use nix::sys::socket::{getsockopt, sockopt};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Rounds of waiting before a test gives up; each ends as soon as something happens.
const ROUNDS_MAX: usize = 2000;

struct Bench {
    net: Net,
    stream: TcpStream,
    socket: SocketId,
}

fn wait_for<T>(net: &mut Net, mut pick: impl FnMut(Event) -> Option<T>) -> T {
    for _ in 0..ROUNDS_MAX {
        while let Some(event) = net.poll() {
            if let Some(found) = pick(event) {
                return found;
            }
        }
        net.wait(Duration::from_millis(10));
    }
    panic!("the awaited event did not come");
}

fn connected() -> Bench {
    let mut net = Net::new(Waker::new().expect("an eventfd")).expect("an io_uring");
    let (_, address) = net.listen("127.0.0.1:0".parse().expect("an address")).expect("a port");
    net.flush();
    let stream = TcpStream::connect(address).expect("somebody listens");
    let local = stream.local_addr().expect("an address");
    let socket = wait_for(&mut net, |event| match event {
        Event::Accepted { socket, peer, local: ours, .. } => {
            assert_eq!((peer, ours), (local, address));
            Some(socket)
        }
        _ => None,
    });
    Bench { net, stream, socket }
}

fn arena() -> Arena {
    Arena::new(ArenaConfig { bytes: 16 << 20, hugepages: false }).expect("16 MiB")
}

/// Goal: a peer that vanishes without a word is noticed, whether or not something was on the way to it.
#[test]
fn vanished_peers_are_noticed() {
    let bench = connected();
    let fd = bench.net.descriptor(bench.socket).expect("an open socket");
    assert_eq!(getsockopt(&fd, sockopt::KeepAlive), Ok(true));
    assert_eq!(getsockopt(&fd, sockopt::TcpKeepIdle), Ok(PROBE_AFTER_S));
    assert_eq!(getsockopt(&fd, sockopt::TcpUserTimeout), Ok(UNCONFIRMED_MS_MAX));
}

/// Goal: bytes land in the middle of the given memory, and nowhere else.
#[test]
fn receive_lands_in_the_range() {
    let mut bench = connected();
    bench.net.recv(bench.socket, Landing::Staging(vec![7; 16].into()), 4..8, false);
    bench.net.flush();
    bench.stream.write_all(b"abcd").expect("sent");
    let (landing, count) = wait_for(&mut bench.net, |event| match event {
        Event::Received { landing, result, .. } => Some((landing, result.expect("received"))),
        _ => None,
    });
    let Landing::Staging(bytes) = landing else { panic!("the memory that was given") };
    assert_eq!((count, &bytes[..10]), (4, b"\x07\x07\x07\x07abcd\x07\x07".as_slice()));
}

/// Goal: a whole receive waits for all bytes although they come in two parts.
#[test]
fn whole_receive_waits_for_all() {
    let mut bench = connected();
    let buf = arena().alloc(8192).expect("a slot");
    bench.net.recv(bench.socket, Landing::Payload(buf), 0..8192, true);
    bench.net.flush();
    let mut stream = bench.stream.try_clone().expect("a second handle");
    let sender = std::thread::spawn(move || {
        for part in [1u8, 2] {
            stream.write_all(&[part; 4096]).expect("sent");
        }
    });
    let (landing, count) = wait_for(&mut bench.net, |event| match event {
        Event::Received { landing, result, .. } => Some((landing, result.expect("received"))),
        _ => None,
    });
    sender.join().expect("the sender ends");
    let Landing::Payload(buf) = landing else { panic!("the memory that was given") };
    assert_eq!(count, 8192);
    assert_eq!((buf.as_ref()[0], buf.as_ref()[4096]), (1, 2));
}

/// Goal: a send larger than the socket's buffers arrives complete and in order: header, payload, trailer, many times.
#[test]
fn large_send_arrives_in_order() {
    let mut bench = connected();
    let arena = arena();
    let mut outgoing = Box::new(Outgoing::new());
    let mut expected = Vec::new();
    for number in 0..40u8 {
        outgoing.push_bytes(&[number; 24]);
        expected.extend_from_slice(&[number; 24]);
        let mut buf = arena.alloc(128 << 10).expect("a slot");
        buf.as_mut().fill(number ^ 0xFF);
        expected.extend_from_slice(buf.as_ref());
        outgoing.push_payload(buf, 0..128 << 10);
        outgoing.push_bytes(b"crc!");
        expected.extend_from_slice(b"crc!");
    }
    let total = outgoing.len();
    assert_eq!(total, expected.len());
    bench.net.send(bench.socket, outgoing);
    bench.net.flush();
    let mut stream = bench.stream;
    let reader = std::thread::spawn(move || {
        let mut got = vec![0; total];
        stream.read_exact(&mut got).expect("received");
        got
    });
    let free_before = arena.usage()[2].free;
    let mut outgoing = wait_for(&mut bench.net, |event| match event {
        Event::Sent { outgoing, result, .. } => result.map(|()| outgoing).ok(),
        _ => None,
    });
    assert!(reader.join().expect("the reader ends") == expected, "the bytes that were sent, in order");
    outgoing.clear();
    assert_eq!(arena.usage()[2].free, free_before + 40, "the buffers are back in the arena");
}

/// Goal: closing gives back the buffer of a receive in flight, then says that the socket is gone, once.
#[test]
fn close_gives_buffers_back_then_closed() {
    let mut bench = connected();
    bench.net.recv(bench.socket, Landing::Staging(vec![0; 8].into()), 0..8, false);
    bench.net.flush();
    bench.net.close(bench.socket);
    bench.net.close(bench.socket);
    let mut order = Vec::new();
    wait_for(&mut bench.net, |event| match event {
        Event::Received { .. } => {
            order.push("received");
            None
        }
        Event::Closed { .. } => {
            order.push("closed");
            Some(())
        }
        _ => None,
    });
    assert_eq!(order, ["received", "closed"]);
    assert_eq!(bench.net.sockets(), 0);
    assert_eq!(bench.stream.read(&mut [0; 1]).expect("an orderly end"), 0);
}

/// Goal: the end of the peer's stream is a receive of zero bytes.
#[test]
fn end_of_stream_is_zero_bytes() {
    let mut bench = connected();
    bench.net.recv(bench.socket, Landing::Staging(vec![0; 8].into()), 0..8, false);
    bench.net.flush();
    drop(bench.stream);
    let count = wait_for(&mut bench.net, |event| match event {
        Event::Received { result, .. } => result.ok(),
        _ => None,
    });
    assert_eq!(count, 0);
}

/// Goal: a message from another thread ends the sleep; so the core needs no polling while it sleeps.
#[test]
fn waker_ends_the_sleep() {
    let waker = Waker::new().expect("an eventfd");
    let mut net = Net::new(waker.clone()).expect("an io_uring");
    for _ in 0..3 {
        waker.begin_sleep();
        let other = waker.clone();
        let thread = std::thread::spawn(move || other.wake());
        wait_for(&mut net, |event| matches!(event, Event::Woken).then_some(()));
        waker.end_sleep();
        thread.join().expect("the waker ends");
    }
}

/// Goal: after `stop_listening` nobody gets in, and connections that exist go on.
#[test]
fn no_connection_after_stop_listening() {
    let mut bench = connected();
    let address = bench.stream.peer_addr().expect("an address");
    bench.net.stop_listening();
    bench.net.recv(bench.socket, Landing::Staging(vec![0; 1].into()), 0..1, false);
    bench.stream.write_all(b"x").expect("sent");
    wait_for(&mut bench.net, |event| matches!(event, Event::Received { .. }).then_some(()));
    bench.net.wait(Duration::from_millis(1));
    assert!(bench.net.poll().is_none());
    assert!(TcpStream::connect(address).is_err(), "the port is closed");
}

/// Goal: dropping everything with operations in flight returns the payload buffers to their arena.
#[test]
fn drop_waits_for_the_kernel() {
    let arena = arena();
    let before = arena.usage();
    let mut bench = connected();
    bench.net.recv(bench.socket, Landing::Payload(arena.alloc(4096).expect("a slot")), 0..4096, true);
    bench.net.flush();
    drop(bench.net);
    assert_eq!(arena.usage(), before);
}
