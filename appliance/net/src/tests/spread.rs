//! Sockets on other cores: what differs from those of the home core, and what must not.

use super::{Bench, ROUNDS_MAX, arena, send_too_much, wait_for};
use crate::limits::{STAGING_BYTES, STAGINGS_MAX};
use crate::spread::Spread;
use crate::{Ahead, CoreSeed, Event, Net, Received, SocketCore, SocketId, Waker};
use core::time::Duration;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{JoinHandle, spawn};

/// A socket core that sleeps whenever it finds nothing.
fn run(seed: CoreSeed) -> JoinHandle<()> {
    spawn(move || {
        let mut core = seed.start().expect("an io_uring");
        while !core.is_finished() {
            if !core.round() {
                core.wait(Duration::from_secs(60));
            }
        }
    })
}

/// A home core that listens, with socket cores.
fn spread(cores: usize) -> (Net, SocketAddr, Vec<JoinHandle<()>>) {
    let waker = Waker::new().expect("an eventfd");
    let (mut net, seeds) = Net::with_cores(&waker, cores).expect("an io_uring");
    let (_, address) = net.listen("127.0.0.1:0".parse().expect("an address")).expect("a port");
    (net, address, seeds.into_iter().map(run).collect())
}

fn accept(net: &mut Net, address: SocketAddr) -> (SocketId, TcpStream) {
    net.flush();
    let stream = TcpStream::connect(address).expect("somebody listens");
    let socket = wait_for(net, |event| match event {
        Event::Accepted { socket, .. } => Some(socket),
        _ => None,
    });
    (socket, stream)
}

fn connected() -> (Bench, Vec<JoinHandle<()>>) {
    let (mut net, address, threads) = spread(1);
    let (socket, stream) = accept(&mut net, address);
    (Bench { net, stream, socket }, threads)
}

fn staging() -> Box<[u8]> {
    vec![0; STAGING_BYTES].into()
}

/// Waits until something can be received, and receives it.
fn receive(net: &mut Net, socket: SocketId, staging: &mut Box<[u8]>) -> Received {
    wait_for(net, |event| match event {
        Event::Readable { socket: other } if other == socket => Some(()),
        _ => None,
    });
    net.receive(socket, &mut [], staging, STAGING_BYTES)
}

/// Waits until all memory has come back.
fn returned(net: &mut Net, arena: &dma::Arena, before: [dma::Usage; 3]) {
    for _ in 0..ROUNDS_MAX {
        while net.poll().is_some() {}
        if arena.usage() == before {
            return;
        }
        net.wait(Duration::from_millis(10));
    }
    panic!("memory did not come back: {:?}", arena.usage());
}

/// Goal: bytes go to the place that was prepared first, what is behind them to the staging memory, as far as that was allowed; the rest
/// waits. The buffer comes back with them.
#[test]
fn bytes_fill_the_place_and_then_the_staging_memory() {
    let (mut bench, _threads) = connected();
    let arena = arena();
    let mut staging = staging();
    bench.stream.write_all(b"abcdefgh").expect("sent");
    let mut buffer = arena.alloc(4096).expect("a slot");
    buffer.as_mut()[..8].fill(b'.');
    assert!(bench.net.receives_ahead(bench.socket));
    bench.net.prepare(bench.socket, Ahead { staged_max: 2, place: Some((buffer, 1..4)) });
    assert!(!bench.net.receives_ahead(bench.socket), "once");
    bench.net.watch(bench.socket, true);
    assert_eq!(receive(&mut bench.net, bench.socket, &mut staging), Received::Bytes(5));
    let buffer = bench.net.take_placed(bench.socket).expect("it comes back");
    assert_eq!((&buffer.as_ref()[..8], &staging[..2]), (&b".abc...."[..], &b"de"[..]));
    // Nothing was prepared: all of it is staged.
    assert_eq!(receive(&mut bench.net, bench.socket, &mut staging), Received::Bytes(3));
    assert_eq!(&staging[..3], b"fgh");
    assert!(bench.net.take_placed(bench.socket).is_none());
    // All of it has a place.
    bench.net.prepare(bench.socket, Ahead { staged_max: 2, place: Some((buffer, 0..4)) });
    bench.stream.write_all(b"ij").expect("sent");
    assert_eq!(receive(&mut bench.net, bench.socket, &mut staging), Received::Bytes(2));
    let buffer = bench.net.take_placed(bench.socket).expect("it comes back");
    assert_eq!(&buffer.as_ref()[..4], b"ijbc");
    bench.stream.shutdown(std::net::Shutdown::Write).expect("shut down");
    assert_eq!(receive(&mut bench.net, bench.socket, &mut staging), Received::End);
    assert_eq!(bench.net.receive(bench.socket, &mut [], &mut staging, 1), Received::End, "it stays so");
}

/// Goal: connections that nobody watches keep no staging memory, and lose no byte; so whoever is watched is served, however many
/// others wait. Nothing is received for them beyond what had been allowed before.
#[test]
fn unwatched_connections_keep_nobody_waiting() {
    let (mut net, address, _threads) = spread(1);
    let mut others: Vec<_> = (0..2 * STAGINGS_MAX).map(|_| accept(&mut net, address)).collect();
    let (socket, mut stream) = accept(&mut net, address);
    for (other, _) in &others {
        net.watch(*other, true);
        net.watch(*other, false);
    }
    net.watch(socket, true);
    let mut staging = staging();
    for round in 0..3 {
        for (_, stream) in &mut others {
            stream.write_all(&[round; 100]).expect("sent");
        }
        stream.write_all(&[round]).expect("sent");
        assert_eq!(receive(&mut net, socket, &mut staging), Received::Bytes(1));
        assert_eq!(staging[0], round);
    }
    for (other, _) in &others {
        net.watch(*other, true);
        let mut got = Vec::new();
        while got.len() < 300 {
            let Received::Bytes(count) = receive(&mut net, *other, &mut staging) else { panic!("bytes") };
            got.extend_from_slice(&staging[..count]);
        }
        assert_eq!(got, [[0; 100], [1; 100], [2; 100]].concat());
        net.watch(*other, false);
    }
}

/// Goal: a send larger than the socket's buffers arrives complete and in order, and its buffers come back.
#[test]
fn large_send_arrives_in_order() {
    let (mut bench, _threads) = connected();
    let arena = arena();
    let before = arena.usage();
    let (mut outgoing, mut expected) = (bench.net.outgoing(), Vec::new());
    for number in 0..40u8 {
        let mut buf = arena.alloc(64 << 10).expect("a slot");
        buf.as_mut().fill(number);
        outgoing.push_bytes(&[number; 24]);
        expected.extend_from_slice(&[number; 24]);
        expected.extend_from_slice(buf.as_ref());
        outgoing.push_payload(buf, 0..64 << 10);
    }
    assert!(bench.net.send(bench.socket, outgoing).is_none(), "another core sends it");
    bench.net.flush();
    let (mut stream, total) = (bench.stream, expected.len());
    let reader = spawn(move || {
        let mut got = vec![0; total];
        stream.read_exact(&mut got).expect("received");
        (got, stream)
    });
    wait_for(&mut bench.net, |event| match event {
        Event::Sent { result, .. } => result.ok(),
        _ => None,
    });
    let (got, _stream) = reader.join().expect("the reader ends");
    assert!(got == expected, "the bytes that were sent, in order");
    returned(&mut bench.net, &arena, before);
}

/// Goal: closing with a send in flight and a place lent gives both buffers back, tells the end of the send, then that the socket is
/// gone, once; afterwards nothing is sent or received.
#[test]
fn close_gives_lent_memory_back() {
    let (mut bench, _threads) = connected();
    let arena = arena();
    let before = arena.usage();
    let place = arena.alloc(128 << 10).expect("a slot");
    bench.net.prepare(bench.socket, Ahead { staged_max: 1, place: Some((place, 0..128 << 10)) });
    bench.net.watch(bench.socket, true);
    send_too_much(&mut bench, &arena);
    bench.net.close(bench.socket);
    bench.net.close(bench.socket);
    let mut order = Vec::new();
    wait_for(&mut bench.net, |event| {
        match event {
            Event::Sent { result, .. } => order.push(if result.is_err() { "not sent" } else { "sent" }),
            Event::Closed { .. } => order.push("closed"),
            Event::Woken => {}
            other => panic!("{other:?}"),
        }
        (order.len() == 2).then_some(())
    });
    assert_eq!((order, bench.net.sockets()), (vec!["not sent", "closed"], 0));
    returned(&mut bench.net, &arena, before);
    assert_eq!(bench.net.receive(bench.socket, &mut [], &mut staging(), 1), Received::End);
    let mut outgoing = bench.net.outgoing();
    outgoing.push_bytes(b"x");
    assert!(bench.net.send(bench.socket, outgoing).is_some_and(|result| result.is_err()));
    assert!(matches!(bench.net.poll(), None | Some(Event::Woken)));
}

/// Goal: dropping everything, with sends in flight and places lent on several cores, ends the cores and returns all buffers.
#[test]
fn drop_ends_the_cores_and_waits_for_memory() {
    let arena = arena();
    let before = arena.usage();
    let (mut net, address, threads) = spread(2);
    let mut streams = Vec::new();
    for _ in 0..4 {
        let (socket, stream) = accept(&mut net, address);
        let place = arena.alloc(4096).expect("a slot");
        net.prepare(socket, Ahead { staged_max: 1, place: Some((place, 0..4096)) });
        net.watch(socket, true);
        let mut bench = Bench { net, stream, socket };
        send_too_much(&mut bench, &arena);
        net = bench.net;
        streams.push(bench.stream);
    }
    drop(net);
    threads.into_iter().for_each(|thread| thread.join().expect("the core ends"));
    assert_eq!(arena.usage(), before);
}

/// Goal: seeds that never became cores keep nobody waiting.
#[test]
fn drop_without_cores() {
    let waker = Waker::new().expect("an eventfd");
    let (net, seeds) = Net::with_cores(&waker, 2).expect("an io_uring");
    drop(seeds);
    drop(net);
}

/// Goal: a core whose home core is gone without a word ends: `Stop` may have had no room in the lane.
#[test]
fn abandoned_core_ends() {
    let (spread, mut seeds) = Spread::new(&Waker::new().expect("an eventfd"), 1).expect("an eventfd");
    let mut core = seeds.remove(0).start().expect("an io_uring");
    core.round();
    assert!(!core.is_finished());
    drop(spread);
    core.round();
    assert!(core.is_finished());
}

/// A socket core on this thread, which runs when the test says so.
fn by_hand() -> (Net, SocketAddr, SocketCore) {
    let (mut net, mut seeds) = Net::with_cores(&Waker::new().expect("an eventfd"), 1).expect("an io_uring");
    let core = seeds.remove(0).start().expect("an io_uring");
    let (_, address) = net.listen("127.0.0.1:0".parse().expect("an address")).expect("a port");
    (net, address, core)
}

/// Goal: what has arrived for connections that nobody watches any more is kept elsewhere, and the core gets all its staging memory back.
#[test]
fn news_that_nobody_wants_keep_no_staging_memory() {
    let (mut net, address, mut core) = by_hand();
    let mut others = Vec::new();
    for _ in 0..STAGINGS_MAX {
        let (socket, mut stream) = accept(&mut net, address);
        net.watch(socket, true);
        stream.write_all(b"x").expect("sent");
        core.round();
        let Some(Event::Readable { .. }) = net.poll() else { panic!("it has arrived") };
        net.watch(socket, false);
        others.push((socket, stream));
    }
    let (socket, mut stream) = accept(&mut net, address);
    net.watch(socket, true);
    stream.write_all(b"y").expect("sent");
    net.flush();
    core.round();
    let Some(Event::Readable { .. }) = net.poll() else { panic!("there is memory for it") };
    assert_eq!(net.receive(socket, &mut [], &mut staging(), 1), Received::Bytes(1));
    net.watch(others[0].0, true);
    let Some(Event::Readable { .. }) = net.poll() else { panic!("it was kept") };
    let mut staging = staging();
    assert_eq!((net.receive(others[0].0, &mut [], &mut staging, 1), staging[0]), (Received::Bytes(1), b'x'));
    drop(core);
}

/// Goal: a buffer that is lent stays so after its connection was closed, until the core says that it has let go.
#[test]
fn lent_memory_is_nobodys_until_the_core_says_so() {
    let (mut net, address, mut core) = by_hand();
    let arena = arena();
    let before = arena.usage();
    let (socket, _stream) = accept(&mut net, address);
    let place = arena.alloc(4096).expect("a slot");
    net.prepare(socket, Ahead { staged_max: 1, place: Some((place, 0..4096)) });
    net.watch(socket, true);
    assert!(net.take_placed(socket).is_none(), "the core may fill it");
    net.close(socket);
    net.flush();
    assert!(net.poll().is_none() && net.take_placed(socket).is_none());
    assert_ne!(arena.usage(), before, "the core may still fill it");
    core.round();
    let Some(Event::Closed { .. }) = net.poll() else { panic!("it is gone") };
    assert_eq!(arena.usage(), before);
    drop(core);
}

/// Goal: what a socket core has to say ends the home core's sleep, and an order that of a socket core. (A sleep that is slept through is
/// longer than a test may take.)
#[test]
fn news_and_orders_end_the_sleep() {
    let (mut net, address, _threads) = spread(1);
    let (socket, mut stream) = accept(&mut net, address);
    let mut staging = staging();
    net.watch(socket, true);
    for byte in 0..50 {
        stream.write_all(&[byte]).expect("sent");
        let received = loop {
            match net.poll() {
                Some(Event::Readable { .. }) => break net.receive(socket, &mut [], &mut staging, 1),
                Some(_) => {}
                None => net.wait(Duration::from_secs(600)),
            }
        };
        assert_eq!((received, staging[0]), (Received::Bytes(1), byte));
        let mut outgoing = net.outgoing();
        outgoing.push_bytes(&[byte]);
        assert!(net.send(socket, outgoing).is_none());
        net.flush();
        stream.read_exact(&mut [0]).expect("the core was woken");
    }
}

/// Goal: a connection that ends and one that begins in the same round of their core, which gives one the place of the other, are told
/// apart.
#[test]
fn one_place_in_one_round() {
    let (mut net, address, mut core) = by_hand();
    let (first, _stream) = accept(&mut net, address);
    core.round();
    net.close(first);
    let (second, mut stream) = accept(&mut net, address);
    core.round();
    let Some(Event::Closed { socket }) = net.poll() else { panic!("one is gone") };
    assert_eq!((socket, net.sockets()), (first, 1));
    net.watch(second, true);
    stream.write_all(b"x").expect("sent");
    core.round();
    let Some(Event::Readable { socket }) = net.poll() else { panic!("the other is served") };
    assert_eq!((socket, net.receive(socket, &mut [], &mut staging(), 1)), (second, Received::Bytes(1)));
    // Its end comes from here: nobody waits for a core that does not run.
    drop(core);
}

/// Goal: while cores have more to say than a round takes, newcomers come in. Method: rounds of one event, and two connections whose
/// bytes never end.
#[test]
fn busy_cores_keep_no_newcomer_out() {
    let (mut net, address, mut core) = by_hand();
    let mut busy: Vec<_> = (0..2).map(|_| accept(&mut net, address)).collect();
    for (socket, stream) in &mut busy {
        net.watch(*socket, true);
        stream.write_all(b"x").expect("sent");
    }
    net.flush();
    core.round();
    let _newcomer = TcpStream::connect(address).expect("somebody listens");
    let mut staging = staging();
    for _ in 0..300 {
        match net.poll() {
            Some(Event::Accepted { .. }) => return,
            Some(Event::Readable { socket }) => {
                assert_eq!(net.receive(socket, &mut [], &mut staging, 1), Received::Bytes(1));
                let stream = busy.iter_mut().find(|(busy, _)| *busy == socket).map(|(_, stream)| stream);
                stream.expect("one of them").write_all(b"x").expect("sent");
            }
            other => panic!("there is always something: {other:?}"),
        }
        net.flush();
        core.round();
    }
    panic!("nobody was let in");
}

/// Goal: a connection goes to the core that has the fewest, also after others have gone.
#[test]
fn connections_are_spread_evenly() {
    let (mut net, address, _threads) = spread(3);
    let count = |net: &Net| net.cores().iter().map(|core| core.connections).collect::<Vec<_>>();
    let sockets: Vec<_> = (0..7).map(|_| accept(&mut net, address)).collect();
    assert_eq!(count(&net), [3, 2, 2]);
    for index in [0, 3] {
        net.close(sockets[index].0);
        wait_for(&mut net, |event| matches!(event, Event::Closed { .. }).then_some(()));
    }
    assert_eq!(count(&net), [1, 2, 2]);
    let _one_more = accept(&mut net, address);
    assert_eq!(count(&net), [2, 2, 2]);
}

/// Goal: connections that carry a load are on all cores alike, whatever others come in between: one that is silent before each of them,
/// and those of somebody who wants it otherwise. Those that are gone count no more.
#[test]
fn loads_are_spread_evenly() {
    let (mut net, address, _threads) = spread(2);
    let loads = |net: &Net| net.cores().iter().map(|core| core.loaded).collect::<Vec<_>>();
    let mut silent: Vec<_> = (0..3).map(|_| accept(&mut net, address)).collect();
    let mut busy = Vec::new();
    for _ in 0..4 {
        silent.push(accept(&mut net, address));
        let (socket, stream) = accept(&mut net, address);
        net.expect_load(socket);
        net.expect_load(socket);
        busy.push((socket, stream));
    }
    assert_eq!(loads(&net), [2, 2]);
    for (socket, _) in &busy {
        net.close(*socket);
        net.expect_load(*socket);
        wait_for(&mut net, |event| matches!(event, Event::Closed { .. }).then_some(()));
    }
    assert_eq!(loads(&net), [0, 0]);
}
