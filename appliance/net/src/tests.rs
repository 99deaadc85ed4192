//! Sockets of a `Net` against plain blocking sockets over loopback.
#![expect(clippy::wildcard_enum_match_arm, reason = "a test waits for one kind of event")]

mod spread;

use crate::limits::{
    ACCEPTS_PER_ROUND_MAX, CONGESTION_CONTROL, HOT_SOCKETS_MAX, MISSES_MAX, PROBE_AFTER_S, UNCONFIRMED_MS_MAX,
};
use crate::{Event, Net, Received, SocketId, Waker};
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

/// Goal: connections are not paced by timers, whatever the system prefers.
#[test]
fn sends_are_not_paced() {
    let bench = connected();
    let fd = bench.net.home.descriptor(bench.socket).expect("an open socket");
    assert_eq!(getsockopt(&fd, sockopt::TcpCongestion), Ok(CONGESTION_CONTROL.into()));
}

/// Goal: a peer that vanishes without a word is noticed, whether or not something was on the way to it.
#[test]
fn vanished_peers_are_noticed() {
    let bench = connected();
    let fd = bench.net.home.descriptor(bench.socket).expect("an open socket");
    assert_eq!(getsockopt(&fd, sockopt::KeepAlive), Ok(true));
    assert_eq!(getsockopt(&fd, sockopt::TcpKeepIdle), Ok(PROBE_AFTER_S));
    assert_eq!(getsockopt(&fd, sockopt::TcpUserTimeout), Ok(UNCONFIRMED_MS_MAX));
}

/// Receives once.
fn receive_now(net: &mut Net, socket: SocketId, placed: &mut [u8], rest: &mut [u8]) -> Received {
    let mut staging = Box::from(&*rest);
    let received = net.receive(socket, placed, &mut staging, rest.len());
    rest.copy_from_slice(&staging);
    received
}

/// Receives until something comes.
fn receive(bench: &mut Bench, placed: &mut [u8], rest: &mut [u8]) -> Received {
    bench.net.watch(bench.socket, true);
    for _ in 0..ROUNDS_MAX {
        wait_for(&mut bench.net, |event| matches!(event, Event::Readable { .. }).then_some(()));
        match receive_now(&mut bench.net, bench.socket, placed, rest) {
            Received::Nothing => bench.net.wait(Duration::from_millis(10)),
            received @ (Received::Bytes(_) | Received::End) => return received,
        }
    }
    panic!("nothing came");
}

/// Goal: bytes go to the place of the payload first, the rest behind it, nothing elsewhere; and nothing is made up when none
/// have come.
#[test]
fn bytes_fill_the_place_and_then_the_rest() {
    let mut bench = connected();
    let (mut placed, mut rest) = ([7; 4], [7; 8]);
    assert_eq!(receive_now(&mut bench.net, bench.socket, &mut placed, &mut rest), Received::Nothing);
    bench.stream.write_all(b"abcdef").expect("sent");
    assert_eq!(receive(&mut bench, &mut placed, &mut rest), Received::Bytes(6));
    assert_eq!((&placed, &rest), (b"abcd", b"ef\x07\x07\x07\x07\x07\x07"));
    bench.stream.write_all(b"gh").expect("sent");
    assert_eq!(receive(&mut bench, &mut [], &mut rest), Received::Bytes(2));
    assert_eq!(&rest, b"gh\x07\x07\x07\x07\x07\x07");
}

/// Goal: bytes that come after the last try, before the core sleeps, end its sleep. (A sleep that is slept through ends
/// without the event.)
#[test]
fn bytes_before_the_sleep_end_it() {
    let mut bench = connected();
    bench.net.watch(bench.socket, true);
    for byte in 0..3 {
        assert!(matches!(bench.net.poll(), Some(Event::Readable { .. })));
        assert_eq!(receive_now(&mut bench.net, bench.socket, &mut [], &mut [0; 4]), Received::Nothing);
        assert!(bench.net.poll().is_none());
        bench.stream.write_all(&[byte]).expect("sent");
        bench.net.wait(Duration::from_secs(60));
        assert!(matches!(bench.net.poll(), Some(Event::Readable { .. })));
        let mut bytes = [9; 4];
        assert_eq!(receive_now(&mut bench.net, bench.socket, &mut [], &mut bytes), Received::Bytes(1));
        assert_eq!(bytes[0], byte);
        assert!(bench.net.poll().is_none());
    }
}

/// Goal: a socket that is silent is not tried for ever; the kernel says when it has something again, also to a core that does
/// not sleep.
#[test]
fn silent_sockets_are_left_to_the_kernel() {
    let mut bench = connected();
    bench.net.watch(bench.socket, true);
    let mut tries = 0;
    while bench.net.poll().is_some() {
        assert!(bench.net.poll().is_none(), "one try in each round");
        assert_eq!(receive_now(&mut bench.net, bench.socket, &mut [], &mut [0; 4]), Received::Nothing);
        tries += 1;
    }
    assert_eq!(tries, MISSES_MAX + 1);
    bench.stream.write_all(b"x").expect("sent");
    for _ in 0..ROUNDS_MAX {
        bench.net.flush();
        if bench.net.poll().is_some() {
            assert_eq!(receive_now(&mut bench.net, bench.socket, &mut [], &mut [0; 4]), Received::Bytes(1));
            return;
        }
        std::thread::yield_now();
    }
    panic!("the kernel said nothing");
}

/// Goal: more connections than are tried in every round are all served, again and again.
#[test]
fn all_of_many_connections_are_served() {
    let mut bench = connected();
    let address = bench.stream.peer_addr().expect("an address");
    let mut streams = vec![bench.stream];
    let mut sockets = vec![bench.socket];
    for _ in 0..HOT_SOCKETS_MAX + 4 {
        streams.push(TcpStream::connect(address).expect("somebody listens"));
        sockets.push(wait_for(&mut bench.net, |event| match event {
            Event::Accepted { socket, .. } => Some(socket),
            _ => None,
        }));
    }
    sockets.iter().for_each(|socket| bench.net.watch(*socket, true));
    for round in 0..3 {
        streams.iter_mut().for_each(|stream| stream.write_all(&[round]).expect("sent"));
        let mut missing = sockets.clone();
        while !missing.is_empty() {
            let socket = wait_for(&mut bench.net, |event| match event {
                Event::Readable { socket } => Some(socket),
                _ => None,
            });
            let mut bytes = [9; 4];
            if receive_now(&mut bench.net, socket, &mut [], &mut bytes) == Received::Bytes(1) {
                assert_eq!(bytes[0], round);
                missing.retain(|other| *other != socket);
            }
        }
    }
}

/// Goal: however many connections wait, a round lets a bounded number of them in, and tries the sockets of those who are in; all
/// come in in the end, without a sleep in between.
#[test]
fn a_crowd_comes_in_by_and_by() {
    let mut bench = connected();
    assert!(bench.net.poll().is_none(), "a round begins");
    bench.net.watch(bench.socket, true);
    let address = bench.stream.peer_addr().expect("an address");
    let count = 3 * ACCEPTS_PER_ROUND_MAX + 1;
    let crowd: Vec<TcpStream> =
        (0..count).map(|_| TcpStream::connect(address).expect("there is room to wait")).collect();
    bench.net.flush();
    let mut rounds = Vec::new();
    while rounds.iter().sum::<usize>() < crowd.len() {
        let (mut accepted, mut tries) = (0, 0);
        while let Some(event) = bench.net.poll() {
            match event {
                Event::Accepted { .. } => accepted += 1,
                Event::Readable { .. } => tries += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(tries, 1, "who is in is served in every round");
        rounds.push(accepted);
        if rounds.len() < 4 {
            // It looks at once whether there are more; a sleep here would be longer than the test may take.
            bench.net.wait(Duration::from_secs(60));
        }
    }
    let full = ACCEPTS_PER_ROUND_MAX;
    assert_eq!(rounds, [full, full, full, 1]);
}

/// Goal: a crowd at one listener does not keep those at another one out, not for a round.
#[test]
fn listeners_take_turns() {
    let mut net = Net::new(Waker::new().expect("an eventfd")).expect("an io_uring");
    let mut listen = || net.listen("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let ((_, crowded), (quiet, address)) = (listen(), listen());
    let connect = |address| TcpStream::connect(address).expect("there is room to wait");
    let crowd: Vec<TcpStream> = (0..3 * ACCEPTS_PER_ROUND_MAX).map(|_| connect(crowded)).collect();
    let _other = connect(address);
    net.flush();
    let mut accepted = Vec::new();
    while let Some(event) = net.poll() {
        let Event::Accepted { listener, .. } = event else { panic!("{event:?}") };
        accepted.push(listener);
    }
    assert!(accepted.len() <= ACCEPTS_PER_ROUND_MAX && accepted.contains(&quiet), "{accepted:?}");
    drop(crowd);
}

/// Goal: while more sockets have something in every round than a round takes, the hot ones are tried all the same, and newcomers come
/// in. Method: rounds of four events, and sockets whose bytes are never used up, half of them not hot.
#[test]
fn busy_sockets_keep_nobody_waiting() {
    let mut bench = connected();
    let address = bench.stream.peer_addr().expect("an address");
    let (mut streams, mut sockets) = (vec![bench.stream], vec![bench.socket]);
    while sockets.len() < 2 * HOT_SOCKETS_MAX {
        streams.push(TcpStream::connect(address).expect("somebody listens"));
        sockets.push(wait_for(&mut bench.net, |event| match event {
            Event::Accepted { socket, .. } => Some(socket),
            _ => None,
        }));
    }
    streams.iter_mut().for_each(|stream| stream.write_all(&[1; 4096]).expect("sent"));
    sockets.iter().for_each(|socket| bench.net.watch(*socket, true));
    let _newcomer = TcpStream::connect(address).expect("somebody listens");
    let mut is_let_in = false;
    let mut waiting = sockets.clone();
    for _ in 0..300 {
        for _ in 0..4 {
            match bench.net.poll() {
                Some(Event::Readable { socket }) => {
                    let received = receive_now(&mut bench.net, socket, &mut [], &mut [0]);
                    assert_eq!(received, Received::Bytes(1));
                    waiting.retain(|other| *other != socket);
                }
                Some(Event::Accepted { .. }) => is_let_in = true,
                other => panic!("a round is longer: {other:?}"),
            }
        }
        bench.net.flush();
    }
    assert_eq!((waiting, is_let_in), (vec![], true));
}

/// Goal: the end of a connection is told before somebody else has its place.
#[test]
fn end_is_told_before_the_place_is_taken() {
    let mut bench = connected();
    let _newcomer = TcpStream::connect(bench.stream.peer_addr().expect("an address")).expect("it waits");
    bench.net.flush();
    bench.net.close(bench.socket);
    let Some(Event::Closed { socket }) = bench.net.poll() else { panic!("one is gone") };
    assert_eq!(socket, bench.socket);
    let Some(Event::Accepted { socket, .. }) = bench.net.poll() else { panic!("another one comes") };
    assert_eq!(socket.index(), bench.socket.index());
}

/// Goal: nothing is said about a connection that nobody watches any more.
#[test]
fn unwatched_connections_are_left_alone() {
    let mut bench = connected();
    bench.net.watch(bench.socket, true);
    bench.stream.write_all(b"x").expect("sent");
    // Once while it is tried, once while the kernel watches it.
    bench.net.watch(bench.socket, false);
    assert!(bench.net.poll().is_none());
    bench.net.watch(bench.socket, true);
    bench.net.wait(Duration::from_secs(60));
    bench.net.watch(bench.socket, false);
    assert!(bench.net.poll().is_none());
    assert_eq!(receive(&mut bench, &mut [], &mut [0; 4]), Received::Bytes(1));
}

/// Goal: a send that the socket takes has ended when the call returns, and its buffer is free.
#[test]
fn short_send_ends_at_once() {
    let mut bench = connected();
    let arena = arena();
    let before = arena.usage();
    for (bytes, payload) in [(&b"head"[..], 0), (b"", 4), (b"head", 4)] {
        let mut outgoing = bench.net.outgoing();
        outgoing.push_bytes(bytes);
        if payload > 0 {
            let mut buf = arena.alloc(4096).expect("a slot");
            buf.as_mut()[..4].copy_from_slice(b"data");
            outgoing.push_payload(buf, 0..payload);
        }
        let sent = bench.net.send(bench.socket, outgoing).expect("there is room");
        sent.expect("sent");
        assert_eq!(arena.usage(), before);
    }
    let mut got = [0; 16];
    bench.stream.read_exact(&mut got).expect("received");
    assert_eq!(&got, b"headdataheaddata");
}

/// Goal: a send larger than the socket's buffers arrives complete and in order: header, payload, trailer, many times.
#[test]
fn large_send_arrives_in_order() {
    let mut bench = connected();
    let arena = arena();
    let mut outgoing = bench.net.outgoing();
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
    assert!(bench.net.send(bench.socket, outgoing).is_none(), "more than the socket takes");
    bench.net.flush();
    let mut stream = bench.stream;
    let reader = std::thread::spawn(move || {
        let mut got = vec![0; total];
        stream.read_exact(&mut got).expect("received");
        got
    });
    let free_before = arena.usage()[2].free;
    wait_for(&mut bench.net, |event| match event {
        Event::Sent { result, .. } => result.ok(),
        _ => None,
    });
    assert!(reader.join().expect("the reader ends") == expected, "the bytes that were sent, in order");
    assert_eq!(arena.usage()[2].free, free_before + 40, "the buffers are back in the arena");
}

/// Goal: long payload is offered without copying; where the kernel copies all the same, as over loopback, the socket is not
/// asked again. The bytes arrive in order, and the memory comes back when the other end has them.
#[test]
fn zero_copy_ends_where_the_kernel_copies() {
    let mut bench = connected();
    let arena = arena();
    let before = arena.usage();
    let mut expected = Vec::new();
    for number in 0..3u8 {
        let mut outgoing = bench.net.outgoing();
        outgoing.push_bytes(&[number; 24]);
        let mut buf = arena.alloc(64 << 10).expect("a slot");
        buf.as_mut().fill(number + 10);
        expected.extend_from_slice(&[number; 24]);
        expected.extend_from_slice(buf.as_ref());
        outgoing.push_payload(buf, 0..64 << 10);
        if let Some(result) = bench.net.send(bench.socket, outgoing) {
            assert!(number > 0, "the first is offered");
            result.expect("sent");
        } else {
            wait_for(&mut bench.net, |event| match event {
                Event::Sent { result, .. } => result.ok(),
                _ => None,
            });
        }
        let mut got = vec![0; (64 << 10) + 24];
        bench.stream.read_exact(&mut got).expect("received");
        assert!(got == expected, "in order");
        expected.clear();
        for _ in 0..ROUNDS_MAX {
            if arena.usage() == before {
                break;
            }
            bench.net.wait(Duration::from_millis(10));
            while bench.net.poll().is_some() {}
        }
        let zero_copy = &bench.net.home.zero_copy;
        assert_eq!((arena.usage(), zero_copy.len(), zero_copy.bytes()), (before, 0, 0));
        let socket = bench.net.home.sockets.get(bench.socket.key()).expect("an open socket");
        assert!(!socket.may_zero_copy, "loopback copies");
    }
}

/// Goal: a buffer that the network still reads is nobody's: not when the stream goes on behind it, not when the socket is closed
/// and gone. It comes back when the other end has the bytes, or is gone, too.
#[test]
fn buffers_outlive_their_socket() {
    let mut bench = connected();
    let arena = arena();
    let before = arena.usage();
    let mut outgoing = bench.net.outgoing();
    outgoing.push_payload(arena.alloc(128 << 10).expect("a slot"), 0..128 << 10);
    // More than the other end takes while nobody reads there; less than our own end keeps.
    (1..8).for_each(|_| outgoing.push_again(0..128 << 10));
    assert!(bench.net.send(bench.socket, outgoing).is_none());
    wait_for(&mut bench.net, |event| match event {
        Event::Sent { result, .. } => result.ok(),
        _ => None,
    });
    assert_ne!(arena.usage(), before, "it waits for being confirmed");
    bench.net.close(bench.socket);
    wait_for(&mut bench.net, |event| matches!(event, Event::Closed { .. }).then_some(()));
    assert_eq!(bench.net.sockets(), 0);
    assert_ne!(arena.usage(), before, "it still waits");
    drop(bench.stream);
    for _ in 0..ROUNDS_MAX {
        if arena.usage() == before {
            return;
        }
        bench.net.wait(Duration::from_millis(10));
        assert!(bench.net.poll().is_none(), "nobody is told about a socket that is gone");
    }
    panic!("the buffer did not come back");
}

/// Goal: short payload is copied, and so is what goes beyond the bound.
#[test]
fn zero_copy_is_for_long_payload_and_bounded() {
    let (arena, mut bench) = (arena(), connected());
    let takes = |net: &Net, lens: &[usize]| {
        let mut outgoing = crate::Outgoing::new();
        lens.iter().for_each(|len| outgoing.push_payload(arena.alloc(*len).expect("a slot"), 0..*len));
        let zero_copy = &net.home.zero_copy;
        let is_taken = zero_copy.take_room(&outgoing);
        if is_taken {
            zero_copy.allowance.give(outgoing.len());
        }
        is_taken
    };
    assert!(takes(&bench.net, &[16 << 10]) && takes(&bench.net, &[128 << 10, 4096]));
    assert!(!takes(&bench.net, &[4096]) && !takes(&bench.net, &[16 << 10, 8192]) && !takes(&bench.net, &[]));
    // Nobody reads: what was offered stays on its way.
    let mut outgoing = bench.net.outgoing();
    outgoing.push_payload(arena.alloc(128 << 10).expect("a slot"), 0..128 << 10);
    (1..31).for_each(|_| outgoing.push_again(0..128 << 10));
    assert!(bench.net.send(bench.socket, outgoing).is_none());
    assert!(takes(&bench.net, &[128 << 10]) && !takes(&bench.net, &[128 << 10, 64 << 10]));
}

/// Sends more than the socket takes, from one buffer.
fn send_too_much(bench: &mut Bench, arena: &Arena) {
    let mut outgoing = bench.net.outgoing();
    outgoing.push_payload(arena.alloc(128 << 10).expect("a slot"), 0..128 << 10);
    for _ in 0..200 {
        outgoing.push_again(0..128 << 10);
    }
    assert!(bench.net.send(bench.socket, outgoing).is_none(), "more than the socket takes");
    bench.net.flush();
}

/// Goal: closing gives back the buffer of a send in flight, then says that the socket is gone, once; afterwards nothing is
/// sent or received.
#[test]
fn close_gives_buffers_back_then_closed() {
    let mut bench = connected();
    let arena = arena();
    let before = arena.usage();
    send_too_much(&mut bench, &arena);
    bench.net.watch(bench.socket, true);
    bench.net.close(bench.socket);
    bench.net.close(bench.socket);
    let mut order = Vec::new();
    wait_for(&mut bench.net, |event| match event {
        Event::Sent { result, .. } => {
            assert!(result.is_err());
            order.push("sent");
            None
        }
        Event::Closed { .. } => {
            order.push("closed");
            Some(())
        }
        _ => None,
    });
    assert_eq!((order, bench.net.sockets(), arena.usage()), (vec!["sent", "closed"], 0, before));
    assert_eq!(receive_now(&mut bench.net, bench.socket, &mut [], &mut [0; 4]), Received::End);
    let mut outgoing = bench.net.outgoing();
    outgoing.push_bytes(b"x");
    assert!(bench.net.send(bench.socket, outgoing).is_some_and(|result| result.is_err()));
    bench.net.wait(Duration::from_millis(1));
    assert!(bench.net.poll().is_none(), "a poll that ends late belongs to nobody");
}

/// Goal: the end of the peer's stream is told as such.
#[test]
fn end_of_stream_is_told() {
    let mut bench = connected();
    bench.stream.shutdown(std::net::Shutdown::Write).expect("shut down");
    assert_eq!(receive(&mut bench, &mut [], &mut [0; 4]), Received::End);
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
    bench.stream.write_all(b"x").expect("sent");
    assert_eq!(receive(&mut bench, &mut [], &mut [0; 4]), Received::Bytes(1));
    bench.net.watch(bench.socket, false);
    bench.net.wait(Duration::from_millis(1));
    assert!(bench.net.poll().is_none());
    assert!(TcpStream::connect(address).is_err(), "the port is closed");
}

/// Goal: dropping everything with a send in flight returns the payload buffers to their arena.
#[test]
fn drop_waits_for_the_kernel() {
    let arena = arena();
    let before = arena.usage();
    let mut bench = connected();
    send_too_much(&mut bench, &arena);
    drop(bench.net);
    assert_eq!(arena.usage(), before);
}
