//! Reads, writes, flushes and zeroes of hosts.

use super::host::{DATA_MAX, Host, expect, identify, pattern, transfer};
use super::{create_pool, create_volume, engine, file, ram};
use crate::Mode;
use nvme_spec::{NvmOpcode, Sqe, Status};
use nvme_tcp::Digests;
use nvme_tcp::host::Data;
use zerocopy::little_endian::U32;

const NO_DIGESTS: Digests = Digests { header: false, data: false };
const BOTH_DIGESTS: Digests = Digests { header: true, data: true };

/// Goal: what is written is read back, for lengths in the capsule, by R2T, and across chunks that the volume's boundaries
/// cut; with and without digests; in every mode.
#[test]
fn data_is_read_back() {
    for (mode, digests) in
        [(Mode::Balanced, NO_DIGESTS), (Mode::Eco, BOTH_DIGESTS), (Mode::Latency, BOTH_DIGESTS)]
    {
        let engine = engine(&[ram(96)], mode);
        let pool = create_pool(&engine, &["R0"]);
        let volume = create_volume(&engine, 1, 16);
        let mut host = Host::connect(engine.portals()[0], &pool.subsystem_nqn, digests).expect("connected");
        assert_eq!(host.size(volume.nsid).expect("a size"), 16 << 8);
        for (seed, (lba, len)) in
            [(0, 4096), (31, 8192), (100, 16384), (7, 1 << 20), (256, 1 << 20), (511, 300 * 4096 / 2)]
                .into_iter()
                .enumerate()
        {
            let data = pattern(len, seed as u64);
            assert_eq!(host.write(volume.nsid, lba, data.clone()).expect("written"), Status::SUCCESS);
            assert!(host.read(volume.nsid, lba, len).expect("read") == data, "{len} bytes at {lba}");
        }
        engine.stop();
    }
}

/// Goal: a new volume reads as zeroes also where an older one had data.
#[test]
fn new_volume_reads_as_zeroes() {
    let engine = engine(&[ram(96)], Mode::Balanced);
    let pool = create_pool(&engine, &["R0"]);
    create_volume(&engine, 1, 8);
    {
        let mut host =
            Host::connect(engine.portals()[0], &pool.subsystem_nqn, NO_DIGESTS).expect("connected");
        host.write(1, 0, pattern(1 << 20, 1)).expect("written");
    }
    let delete = control::DeleteVolume { uuid: super::volume_id(1), force: true };
    super::call(&engine, control::Request::DeleteVolume(delete)).expect("deleted");
    create_volume(&engine, 2, 8);
    let mut host = Host::connect(engine.portals()[0], &pool.subsystem_nqn, NO_DIGESTS).expect("connected");
    assert!(host.read(1, 0, 1 << 20).expect("read").iter().all(|byte| *byte == 0));
}

/// Goal: many commands in flight on one queue, more data than the arena holds, end well and with the right data: who
/// finds no memory waits.
#[test]
fn commands_wait_for_memory() {
    let engine = engine(&[ram(160)], Mode::Balanced);
    let pool = create_pool(&engine, &["R0"]);
    create_volume(&engine, 1, 64);
    let mut host = Host::connect(engine.portals()[0], &pool.subsystem_nqn, NO_DIGESTS).expect("connected");
    let data: Vec<Vec<u8>> = (0..32).map(|seed| pattern(1 << 20, seed)).collect();
    let slots: Vec<_> = (0u64..)
        .zip(&data)
        .map(|(number, data)| {
            let len = u32::try_from(DATA_MAX).expect("1 MiB");
            host.io.submit(
                transfer(NvmOpcode::WRITE, 1, number * 256, DATA_MAX),
                Data::Write(len),
                data.clone(),
            )
        })
        .collect();
    for slot in slots {
        expect(host.io.finish(slot).expect("answered")).expect("written");
    }
    for (number, data) in (0u64..).zip(&data) {
        assert!(host.read(1, number * 256, 1 << 20).expect("read") == *data, "MiB {number}");
    }
}

/// Goal: Write Zeroes clears exactly its range, and Flush and FUA are honoured by a drive with a cache.
#[test]
fn zeroes_flush_and_fua() {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = engine(&[file(dir.path(), "F0", 96)], Mode::Balanced);
    let pool = create_pool(&engine, &["F0"]);
    create_volume(&engine, 1, 8);
    let mut host = Host::connect(engine.portals()[0], &pool.subsystem_nqn, NO_DIGESTS).expect("connected");
    let (_, page) = host.admin.read(identify(0, 1), 4096).expect("Identify Controller");
    assert_eq!(page[525] & 1, 1, "a volatile write cache is announced");
    let data = pattern(8 * 4096, 3);
    let mut write = transfer(NvmOpcode::WRITE, 1, 60, data.len());
    write.cdw12 = U32::new(write.cdw12.get() | 1 << 30);
    expect(host.io.write(write, data.clone()).expect("answered")).expect("written");
    let zeroes = transfer(NvmOpcode::WRITE_ZEROES, 1, 62, 3 * 4096);
    expect(host.io.command(zeroes).expect("answered")).expect("zeroed");
    expect(host.io.command(Sqe::new(NvmOpcode::FLUSH.0, 1)).expect("answered")).expect("flushed");
    let mut expected = data;
    expected[2 * 4096..5 * 4096].fill(0);
    assert!(host.read(1, 60, expected.len()).expect("read") == expected);
}

/// Goal: a command outside the volume is refused and harms nothing; the connection stays.
#[test]
fn ranges_outside_are_refused() {
    let engine = engine(&[ram(96)], Mode::Balanced);
    let pool = create_pool(&engine, &["R0"]);
    create_volume(&engine, 1, 1);
    let mut host = Host::connect(engine.portals()[0], &pool.subsystem_nqn, NO_DIGESTS).expect("connected");
    let beyond = host.write(1, 255, pattern(8192, 1)).expect("answered");
    assert_eq!(beyond, Status::LBA_OUT_OF_RANGE.dnr());
    let unknown = host.write(9, 0, pattern(4096, 1)).expect("answered");
    assert_eq!(unknown, Status::INVALID_NAMESPACE.dnr());
    assert!(host.read(1, 255, 4096).expect("read").iter().all(|byte| *byte == 0));
}

/// Goal: an engine that is stopped and started on the same files serves the same data under the same names.
#[test]
fn data_survives_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let drives = [file(dir.path(), "F0", 96), file(dir.path(), "F1", 96)];
    let data = pattern(1 << 20, 5);
    let nqn = {
        let engine = engine(&drives, Mode::Balanced);
        let pool = create_pool(&engine, &["F0", "F1"]);
        create_volume(&engine, 1, 130);
        let mut host =
            Host::connect(engine.portals()[0], &pool.subsystem_nqn, NO_DIGESTS).expect("connected");
        for lba in [0, 64 * 256, 129 * 256] {
            assert_eq!(host.write(1, lba, data.clone()).expect("written"), Status::SUCCESS);
        }
        engine.stop();
        pool.subsystem_nqn
    };
    // The order of the drives does not matter.
    let engine = engine(&[drives[1].clone(), drives[0].clone()], Mode::Balanced);
    let mut host = Host::connect(engine.portals()[0], &nqn, NO_DIGESTS).expect("the same name");
    for lba in [0, 64 * 256, 129 * 256] {
        assert!(host.read(1, lba, 1 << 20).expect("read") == data, "block {lba}");
    }
}

/// Goal: a stop while commands are in flight ends in time, and what was answered is there.
#[test]
fn stop_with_commands_in_flight() {
    let dir = tempfile::tempdir().expect("a directory");
    let drives = [file(dir.path(), "F0", 96)];
    let engine = engine(&drives, Mode::Balanced);
    let pool = create_pool(&engine, &["F0"]);
    create_volume(&engine, 1, 32);
    let mut host = Host::connect(engine.portals()[0], &pool.subsystem_nqn, NO_DIGESTS).expect("connected");
    let slots: Vec<_> = (0..16)
        .map(|number| {
            let sqe = transfer(NvmOpcode::WRITE, 1, number * 256, DATA_MAX);
            let len = u32::try_from(DATA_MAX).expect("1 MiB");
            host.io.submit(sqe, Data::Write(len), pattern(DATA_MAX, number))
        })
        .collect();
    // The first answer shows that the commands are on their way.
    host.io.finish(slots[0]).expect("answered");
    engine.stop();
    let answered: Vec<bool> = slots[1..]
        .iter()
        .map(|slot| host.io.finish(*slot).is_ok_and(|cqe| cqe.status().is_success()))
        .collect();
    let engine = super::engine(&drives, Mode::Balanced);
    let mut host = Host::connect(engine.portals()[0], &pool.subsystem_nqn, NO_DIGESTS).expect("connected");
    for (number, _) in (1u64..).zip(&answered).filter(|(_, is_answered)| **is_answered) {
        assert!(host.read(1, number * 256, DATA_MAX).expect("read") == pattern(DATA_MAX, number));
    }
}
