//! Reservations and write protection of hosts over loopback, through restarts, on drives that are files.

use super::host::{Host, pattern};
use super::{create_pool, create_volume, engine, file};
use crate::{Engine, Mode};
use control::PoolStatus;
use nvme_spec::reservation::{ReservationCdw10, cptpl, racqa, rrega};
use nvme_spec::{AdminOpcode, CopyRange, DatasetRange, NvmOpcode, Sqe, Status};
use nvme_tcp::Digests;
use zerocopy::little_endian::U32;
use zerocopy::{FromZeros, IntoBytes};

const CONFLICT: Status = Status::RESERVATION_CONFLICT.dnr();

fn connect(engine: &Engine, nqn: &str, name: char) -> Host {
    let host = format!("nqn.2014-08.org.nvmexpress:uuid:host-{name}");
    let digests = Digests { header: false, data: false };
    Host::connect_as(engine.portals()[0], nqn, &host, digests).expect("connected")
}

fn reserve(host: &mut Host, opcode: NvmOpcode, cdw10: ReservationCdw10, keys: (u64, u64)) -> Status {
    let mut sqe = Sqe::new(opcode.0, 1);
    sqe.cdw10 = U32::new(cdw10.into_bits());
    let data = [keys.0.to_le_bytes(), keys.1.to_le_bytes()].concat();
    host.io.write(sqe, data).expect("answered").status()
}

fn register(host: &mut Host, key: u64, cptpl: u8) -> Status {
    let cdw10 = ReservationCdw10::new().with_action(rrega::REGISTER).with_cptpl(cptpl);
    reserve(host, NvmOpcode::RESERVATION_REGISTER, cdw10, (0, key))
}

fn acquire(host: &mut Host, action: u8, rtype: u8, keys: (u64, u64)) -> Status {
    let cdw10 = ReservationCdw10::new().with_action(action).with_rtype(rtype);
    reserve(host, NvmOpcode::RESERVATION_ACQUIRE, cdw10, keys)
}

/// Generation, type, persistence, and the keys, as Report tells.
fn report(host: &mut Host) -> (u8, u8, u8, Vec<u8>) {
    let mut sqe = Sqe::new(NvmOpcode::RESERVATION_REPORT.0, 1);
    sqe.cdw10 = U32::new(4096 / 4 - 1);
    sqe.cdw11 = U32::new(1);
    let (cqe, page) = host.io.read(sqe, 4096).expect("answered");
    assert!(cqe.status().is_success());
    let count = usize::from(page[5]);
    (page[0], page[4], page[9], page[64..].chunks(64).take(count).map(|entry| entry[8]).collect())
}

fn protect(host: &mut Host, state: u32) -> Status {
    let mut sqe = Sqe::new(AdminOpcode::SET_FEATURES.0, 1);
    sqe.cdw10 = U32::new(0x84);
    sqe.cdw11 = U32::new(state);
    host.admin.command(sqe).expect("answered").status()
}

fn with_volume(dir: &std::path::Path) -> (Engine, PoolStatus) {
    let engine = restart(dir);
    let pool = create_pool(&engine, &["F0", "F1"]);
    create_volume(&engine, 1, 8);
    (engine, pool)
}

fn restart(dir: &std::path::Path) -> Engine {
    engine(&[file(dir, "F0", 96), file(dir, "F1", 96)], Mode::Balanced)
}

/// Goal: with persistence, keys and reservation are there after a restart, and what they forbid stays forbidden; without
/// it they are gone.
#[test]
fn reservation_survives_a_restart_if_it_is_to() {
    for (cptpl, expected) in
        [(cptpl::PERSIST, (2, 2, 1, vec![10, 20])), (cptpl::NO_CHANGE, (0, 0, 0, vec![]))]
    {
        let dir = tempfile::tempdir().expect("a directory");
        let (engine, pool) = with_volume(dir.path());
        let (mut a, mut b) =
            (connect(&engine, &pool.subsystem_nqn, 'a'), connect(&engine, &pool.subsystem_nqn, 'b'));
        assert_eq!(register(&mut a, 10, cptpl), Status::SUCCESS);
        assert_eq!(register(&mut b, 20, cptpl::NO_CHANGE), Status::SUCCESS);
        assert_eq!(acquire(&mut a, racqa::ACQUIRE, 2, (10, 0)), Status::SUCCESS);
        assert_eq!(b.write(1, 0, pattern(4096, 1)).expect("answered"), CONFLICT);
        assert_eq!(a.write(1, 0, pattern(4096, 1)).expect("answered"), Status::SUCCESS);
        drop((a, b));
        engine.stop();

        let engine = restart(dir.path());
        let (mut a, mut b) =
            (connect(&engine, &pool.subsystem_nqn, 'a'), connect(&engine, &pool.subsystem_nqn, 'b'));
        assert_eq!(report(&mut b), expected);
        let is_kept = cptpl == cptpl::PERSIST;
        let status = b.write(1, 0, pattern(4096, 2)).expect("answered");
        assert_eq!(status, if is_kept { CONFLICT } else { Status::SUCCESS });
        assert_eq!(a.write(1, 0, pattern(4096, 3)).expect("answered"), Status::SUCCESS);
    }
}

/// Goal: a host that takes the reservation over keeps it through a restart, and the other one is fenced off, also in large
/// writes whose data is still on its way.
#[test]
fn preempted_host_stays_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let (engine, pool) = with_volume(dir.path());
    let nqn = &pool.subsystem_nqn;
    let (mut a, mut b) = (connect(&engine, nqn, 'a'), connect(&engine, nqn, 'b'));
    assert_eq!(register(&mut a, 10, cptpl::PERSIST), Status::SUCCESS);
    assert_eq!(register(&mut b, 20, cptpl::NO_CHANGE), Status::SUCCESS);
    assert_eq!(acquire(&mut a, racqa::ACQUIRE, 1, (10, 0)), Status::SUCCESS);
    // The write passes the check, and its data is asked for; then the reservation changes hands.
    let data = pattern(1 << 20, 7);
    let write = super::host::transfer(NvmOpcode::WRITE, 1, 0, data.len());
    let slot = a.io.submit(write, nvme_tcp::host::Data::Write(1 << 20), data);
    a.io.send().expect("the command goes out");
    a.io.receive().expect("a request for data");
    assert_eq!(acquire(&mut b, racqa::PREEMPT_AND_ABORT, 1, (20, 10)), Status::SUCCESS);
    let late = a.io.finish(slot).expect("answered").status();
    assert_eq!(late, Status::ABORTED_PREEMPT.dnr());
    assert!(b.read(1, 0, 1 << 20).expect("read").iter().all(|byte| *byte == 0), "nothing of it was written");
    drop((a, b));
    engine.stop();

    let engine = restart(dir.path());
    let (mut a, mut b) = (connect(&engine, nqn, 'a'), connect(&engine, nqn, 'b'));
    assert_eq!(report(&mut b), (3, 1, 1, vec![20]));
    assert_eq!(a.write(1, 0, pattern(4096, 2)).expect("answered"), CONFLICT);
    assert_eq!(b.write(1, 0, pattern(4096, 2)).expect("answered"), Status::SUCCESS);
}

/// Goal: write protection survives a restart, unless it is only meant to last until one.
#[test]
fn write_protection_survives_a_restart() {
    for (state, after) in
        [(1, Status::WRITE_PROTECTED.dnr()), (2, Status::SUCCESS), (3, Status::WRITE_PROTECTED.dnr())]
    {
        let dir = tempfile::tempdir().expect("a directory");
        let (engine, pool) = with_volume(dir.path());
        let mut host = connect(&engine, &pool.subsystem_nqn, 'a');
        assert_eq!(protect(&mut host, state), Status::SUCCESS);
        assert_eq!(host.write(1, 0, pattern(4096, 1)).expect("answered"), Status::WRITE_PROTECTED.dnr());
        drop(host);
        engine.stop();
        let engine = restart(dir.path());
        let mut host = connect(&engine, &pool.subsystem_nqn, 'a');
        assert_eq!(host.write(1, 0, pattern(4096, 1)).expect("answered"), after, "state {state}");
        assert!(host.read(1, 0, 4096).is_ok());
    }
}

/// Goal: while another host has the volume for its own writes, nothing that changes blocks gets through, whatever form it has:
/// a Copy, the second half of a Compare and Write (its first half, which only reads, ends with it), zeroes, a deallocation.
/// What only reads does.
#[test]
fn every_way_to_write_meets_the_reservation() {
    let dir = tempfile::tempdir().expect("a directory");
    let (engine, pool) = with_volume(dir.path());
    let nqn = &pool.subsystem_nqn;
    let (mut a, mut b) = (connect(&engine, nqn, 'a'), connect(&engine, nqn, 'b'));
    assert_eq!(b.write(1, 0, pattern(8192, 1)).expect("answered"), Status::SUCCESS);
    assert_eq!(register(&mut b, 20, cptpl::NO_CHANGE), Status::SUCCESS);
    assert_eq!(acquire(&mut b, racqa::ACQUIRE, 1, (20, 0)), Status::SUCCESS);

    let transfer = super::host::transfer;
    let range = CopyRange { slba: 1.into(), ..CopyRange::new_zeroed() };
    let mut copy = Sqe::new(NvmOpcode::COPY.0, 1);
    assert_eq!(a.io.write(copy, range.as_bytes().to_vec()).expect("answered").status(), CONFLICT);
    let mut deallocate = Sqe::new(NvmOpcode::DATASET_MANAGEMENT.0, 1);
    deallocate.cdw11 = U32::new(4);
    let blocks = DatasetRange { cattr: 0.into(), nlb: 2.into(), slba: 0.into() };
    assert_eq!(a.io.write(deallocate, blocks.as_bytes().to_vec()).expect("answered").status(), CONFLICT);
    let zeroes = transfer(NvmOpcode::WRITE_ZEROES, 1, 0, 4096);
    assert_eq!(a.io.command(zeroes).expect("answered").status(), CONFLICT);

    let half = |opcode, fuse: u8| {
        let mut sqe = transfer(opcode, 1, 0, 4096);
        sqe.flags |= fuse;
        sqe
    };
    let data = || nvme_tcp::host::Data::Write(4096);
    let first = a.io.submit(half(NvmOpcode::COMPARE, 1), data(), pattern(4096, 1));
    let second = a.io.submit(half(NvmOpcode::WRITE, 2), data(), pattern(4096, 9));
    let statuses = [second, first].map(|slot| a.io.finish(slot).expect("answered").status());
    assert_eq!(statuses, [CONFLICT, Status::ABORTED_FAILED_FUSED.dnr()]);
    let compare = transfer(NvmOpcode::COMPARE, 1, 0, 4096);
    assert_eq!(a.io.write(compare, pattern(4096, 1)).expect("answered").status(), Status::SUCCESS);
    assert!(a.read(1, 0, 8192).expect("read") == pattern(8192, 1), "nothing has changed");

    // The holder may.
    copy.set_slba(8);
    assert_eq!(b.io.write(copy, range.as_bytes().to_vec()).expect("answered").status(), Status::SUCCESS);
    assert!(a.read(1, 8, 4096).expect("read") == pattern(8192, 1)[4096..]);
}
