//! An engine whose sockets are on two other cores: the same tests, and some of its own.

use super::host::{Host, Queue, Which, expect, pattern, transfer};
use super::{call, create_pool, create_volume, engine_on, file, host, ram, volume_id};
use crate::{Engine, Mode};
use control::{Reply, Request};
use nvme_spec::{NvmOpcode, Status};
use nvme_tcp::Digests;
use nvme_tcp::host::Data;

#[path = "data_plane.rs"]
mod data_plane;
#[path = "hostile.rs"]
mod hostile;

const HOST: &str = "nqn.2014-08.org.nvmexpress:uuid:host-a";

const NO_DIGESTS: Digests = Digests { header: false, data: false };

/// A home core and two socket cores.
fn engine(drives: &[String], mode: Mode) -> Engine {
    engine_on(drives, mode, true, 3)
}

/// Goal: one controller has eight IO queues, spread over the cores; all of them work at the same time, with data in capsules and
/// asked for, and each finds what another one wrote.
#[test]
fn queues_of_a_controller_are_on_several_cores() {
    let engine = engine(&[ram(96)], Mode::Balanced);
    let pool = create_pool(&engine, &["R0"]);
    create_volume(&engine, 1, 16);
    let portal = engine.portals()[0];
    let admin = Which { subsystem: &pool.subsystem_nqn, host: HOST, qid: 0, cntlid: 0xffff };
    let (mut admin_queue, cntlid) = Queue::connect(portal, admin, NO_DIGESTS).expect("connected");
    host::enable(&mut admin_queue).expect("enabled");
    let open = |qid| Queue::connect(portal, Which { qid, cntlid, ..admin }, NO_DIGESTS).expect("one more").0;
    let mut queues: Vec<Queue> = (1..=8).map(open).collect();
    let Ok(Reply::Engine(status)) = call(&engine, Request::GetStatus) else { panic!("a status") };
    assert_eq!(status.cores, 3);
    for len in [4096_usize, 128 << 10] {
        let bytes = u32::try_from(len).expect("short");
        let lba = |index: u64, number: u64| (index * 4 + number) * (len as u64 / 4096);
        let data = |index: u64, number: u64| pattern(len, index * 4 + number + len as u64);
        let mut slots = Vec::new();
        for (index, queue) in (0..).zip(&mut queues) {
            for number in 0..4 {
                let write = transfer(NvmOpcode::WRITE, 1, lba(index, number), len);
                slots.push(queue.submit(write, Data::Write(bytes), data(index, number)));
            }
        }
        for (index, slots) in slots.chunks(4).enumerate() {
            for slot in slots {
                expect(queues[index].finish(*slot).expect("answered")).expect("written");
            }
        }
        for index in 0..8 {
            for number in 0..4 {
                let read = transfer(NvmOpcode::READ, 1, lba(index, number), len);
                let other = &mut queues[usize::try_from(7 - index).expect("small")];
                let (_, got) = other.read(read, bytes).expect("read");
                assert!(got == data(index, number), "{len} bytes of queue {index}");
            }
        }
    }
}

/// Goal: hosts that come and go as fast as they can, in the middle of commands, on sockets of other cores, leave nothing behind;
/// one that stays is served all the time.
#[test]
fn reconnect_storms_leave_nothing_behind() {
    let engine = engine(&[ram(160)], Mode::Balanced);
    let pool = create_pool(&engine, &["R0"]);
    create_volume(&engine, 1, 64);
    let portal = engine.portals()[0];
    let mut steady = Host::connect(portal, &pool.subsystem_nqn, NO_DIGESTS).expect("connected");
    let data = pattern(256 << 10, 7);
    for round in 0..30_u64 {
        let mut hosts: Vec<Host> = (0..4)
            .map(|number| {
                let nqn = format!("nqn.2014-08.org.nvmexpress:uuid:host-{number}");
                Host::connect_as(portal, &pool.subsystem_nqn, &nqn, NO_DIGESTS).expect("connected")
            })
            .collect();
        for (number, host) in (0..).zip(&mut hosts) {
            for lba in [number * 128, 1024 + number * 128] {
                let len = u32::try_from(data.len()).expect("short");
                host.io.submit(
                    transfer(NvmOpcode::WRITE, 1, lba, data.len()),
                    Data::Write(len),
                    data.clone(),
                );
                host.io.submit(transfer(NvmOpcode::READ, 1, lba, data.len()), Data::Read(len), Vec::new());
            }
            let _ = host.io.turn();
        }
        drop(hosts);
        let own = pattern(8192, round);
        assert_eq!(steady.write(1, 8192 + round * 2, own.clone()).expect("written"), Status::SUCCESS);
        assert!(steady.read(1, 8192 + round * 2, 8192).expect("read") == own);
    }
    // All memory is free again: more data than the arena holds passes through it.
    for number in 0..64 {
        let status = steady.write(1, number * 64, data.clone()).expect("written");
        assert_eq!(status, Status::SUCCESS);
    }
}
