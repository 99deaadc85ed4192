//! Connections that do not behave cost themselves, and nobody else.

use super::host::{Host, Queue, pattern};
use super::{create_pool, create_volume, engine, ram};
use crate::Mode;
use control::{Reply, Request};
use nvme_spec::{NvmOpcode, Status};
use nvme_tcp::Digests;
use nvme_tcp::host::Data;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

const NO_DIGESTS: Digests = Digests { header: false, data: false };

/// Goal: garbage ends its own connection, with a termination request where the protocol wants one, and a well-behaved host
/// goes on beside it.
#[test]
fn garbage_closes_only_itself() {
    let engine = engine(&[ram(96)], Mode::Balanced);
    let pool = create_pool(&engine, &["R0"]);
    create_volume(&engine, 1, 8);
    let mut host = Host::connect(engine.portals()[0], &pool.subsystem_nqn, NO_DIGESTS).expect("connected");
    for seed in 0..50 {
        let mut stream = TcpStream::connect(engine.portals()[0]).expect("connected");
        // The peer may close before everything is written.
        let _ = stream.write_all(&pattern(2000, seed));
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer[0] == 3, "nothing, or a termination request");
        let data = pattern(8192, seed);
        assert_eq!(host.write(1, seed, data.clone()).expect("written"), Status::SUCCESS);
        assert!(host.read(1, seed, 8192).expect("read") == data);
    }
}

/// Goal: hosts that disappear in the middle of commands, with data half sent, leave nothing behind: the whole memory is
/// free for the next.
#[test]
fn lost_hosts_leave_nothing_behind() {
    let engine = engine(&[ram(160)], Mode::Balanced);
    let pool = create_pool(&engine, &["R0"]);
    create_volume(&engine, 1, 64);
    let data = pattern(1 << 20, 7);
    for _ in 0..40 {
        let mut host =
            Host::connect(engine.portals()[0], &pool.subsystem_nqn, NO_DIGESTS).expect("connected");
        for number in 0..16 {
            let write = super::host::transfer(NvmOpcode::WRITE, 1, number * 256, 1 << 20);
            host.io.submit(write, Data::Write(1 << 20), data.clone());
            let read = super::host::transfer(NvmOpcode::READ, 1, number * 256, 1 << 20);
            host.io.submit(read, Data::Read(1 << 20), Vec::new());
        }
        // Sends the capsules and reads one bunch of what comes back; then both sockets close.
        let _ = host.io.turn();
    }
    let mut host = Host::connect(engine.portals()[0], &pool.subsystem_nqn, NO_DIGESTS).expect("connected");
    for number in 0..64 {
        assert_eq!(host.write(1, number * 256, data.clone()).expect("written"), Status::SUCCESS);
    }
}

/// Goal: many hosts at the same time, each with its own data; all are seen, and all get what they wrote.
#[test]
fn many_hosts() {
    let engine = engine(&[ram(160)], Mode::Balanced);
    let pool = create_pool(&engine, &["R0"]);
    create_volume(&engine, 1, 64);
    let mut hosts: Vec<Host> = (0..60)
        .map(|number| {
            let nqn = format!("nqn.2014-08.org.nvmexpress:uuid:host-{number}");
            Host::connect_as(engine.portals()[0], &pool.subsystem_nqn, &nqn, NO_DIGESTS).expect("connected")
        })
        .collect();
    let sessions = super::call(&engine, Request::ListSessions);
    assert!(matches!(sessions, Ok(Reply::Sessions(sessions)) if sessions.len() == 60));
    for (number, host) in (0u64..).zip(&mut hosts) {
        let status = host.write(1, number * 8, pattern(32_768, number)).expect("written");
        assert_eq!(status, Status::SUCCESS);
    }
    for (number, host) in (0u64..).zip(&mut hosts) {
        assert!(host.read(1, number * 8, 32_768).expect("read") == pattern(32_768, number));
    }
}

/// Goal: connections that say nothing do not keep others out.
#[test]
fn silent_connections_keep_nobody_out() {
    let engine = engine(&[ram(96)], Mode::Balanced);
    let pool = create_pool(&engine, &["R0"]);
    let silent: Vec<TcpStream> =
        (0..200).map(|_| TcpStream::connect(engine.portals()[0]).expect("connected")).collect();
    let half_open: Vec<Queue> =
        (0..20).map(|_| Queue::open(engine.portals()[0], NO_DIGESTS).expect("initialized")).collect();
    assert!(Host::connect(engine.portals()[0], &pool.subsystem_nqn, NO_DIGESTS).is_ok());
    drop((silent, half_open));
}
