//! The commands that are more than one operation for each buffer: what they do to the blocks, and what a host is told when any
//! of their operations fails.

use super::host::{Host, pattern, transfer};
use super::{Bench, each_operation_fails};
use block::MediaError;
use nvme_spec::entry::{CopyFlags, DatasetFlags};
use nvme_spec::{CopyRange, DatasetRange, NvmOpcode, Sqe, Status};
use nvme_tcp::host::Data;
use zerocopy::{FromZeros, IntoBytes};

/// Dataset Management with these ranges (first block, blocks).
pub(super) fn dataset(host: &mut Host, ranges: &[(u64, u32)], is_deallocate: bool) -> Status {
    let mut sqe = Sqe::new(NvmOpcode::DATASET_MANAGEMENT.0, 1);
    sqe.cdw10 = u32::try_from(ranges.len() - 1).expect("at most 256 ranges").into();
    sqe.cdw11 = DatasetFlags::new().with_deallocate(is_deallocate).into_bits().into();
    let entry =
        |&(slba, nlb): &(u64, u32)| DatasetRange { cattr: 0.into(), nlb: nlb.into(), slba: slba.into() };
    let data = ranges.iter().flat_map(|range| entry(range).as_bytes().to_vec()).collect();
    host.io.write(sqe, data).expect("answered").status()
}

/// Copy of these ranges (first block, blocks) to block `to`.
pub(super) fn copy(host: &mut Host, to: u64, ranges: &[(u64, u16)]) -> Status {
    let mut sqe = Sqe::new(NvmOpcode::COPY.0, 1);
    sqe.set_slba(to);
    let count_z = u8::try_from(ranges.len() - 1).expect("at most 128 ranges");
    sqe.cdw12 = CopyFlags::new().with_count_z(count_z).into_bits().into();
    let entry = |&(slba, blocks): &(u64, u16)| CopyRange {
        slba: slba.into(),
        nlb_z: (blocks - 1).into(),
        ..CopyRange::new_zeroed()
    };
    let data = ranges.iter().flat_map(|range| entry(range).as_bytes().to_vec()).collect();
    host.io.write(sqe, data).expect("answered").status()
}

pub(super) fn compare(host: &mut Host, lba: u64, data: Vec<u8>) -> Status {
    host.io.write(transfer(NvmOpcode::COMPARE, 1, lba, data.len()), data).expect("answered").status()
}

fn verify(host: &mut Host, lba: u64, len: usize) -> Status {
    host.io.command(transfer(NvmOpcode::VERIFY, 1, lba, len)).expect("answered").status()
}

/// Goal: Compare finds a difference in any byte: in the first and the last, before and behind the seams of buffers, in short
/// commands and the longest. Afterwards all memory is free.
#[test]
fn compare_finds_every_difference() {
    let mut bench = Bench::new();
    let before = bench.target.arena().usage();
    let host = bench.host(|mut host| {
        let data = pattern(1 << 20, 1);
        // Neither at a boundary of buffers nor of extents.
        assert_eq!(host.write(1, 3, data.clone()).expect("answered"), Status::SUCCESS);
        assert_eq!(compare(&mut host, 3, data.clone()), Status::SUCCESS);
        assert_eq!(compare(&mut host, 4, data[4096..12_288].to_vec()), Status::SUCCESS);
        let seam = (32 - 3) * 4096;
        for at in [0, 4095, 4096, seam - 1, seam, seam + 128 * 1024, (1 << 20) - 1] {
            let mut other = data.clone();
            other[at] ^= 0x10;
            assert_eq!(compare(&mut host, 3, other), Status::COMPARE_FAILURE.dnr(), "byte {at}");
        }
        let is_same = host.read(1, 3, 1 << 20).expect("read") == data;
        assert!(is_same, "comparing changes nothing");
    });
    bench.join(host);
    bench.until(|bench| bench.target.is_idle());
    assert_eq!(bench.target.arena().usage(), before);
}

/// Goal: Verify reads the blocks and sends no data; what cannot be read is told.
#[test]
fn verify_reads_and_tells_nothing() {
    let mut bench = Bench::new();
    bench.orders(false, None);
    let host = bench.host(|mut host| verify(&mut host, 31, 1 << 20));
    assert_eq!(bench.join(host), Status::SUCCESS);
    assert_eq!(bench.operations(), 9);
    for number in 0..9 {
        bench.fail_after(number, MediaError::Unreadable);
        let host = bench.host(|mut host| verify(&mut host, 31, 1 << 20));
        assert_eq!(bench.join(host), Status::UNRECOVERED_READ_ERROR.dnr(), "operation {number}");
    }
    bench.until(|bench| bench.target.is_idle());
}

/// Goal: exactly the blocks of the ranges read zero afterwards, also where ranges overlap, are empty, or are more than go to
/// a drive at once. A list with one bad range, and one without the attribute, changes nothing.
#[test]
fn deallocated_blocks_read_zero() {
    let mut bench = Bench::new();
    let host = bench.host(|mut host| {
        let data = pattern(4 << 20, 2);
        for (number, part) in (0..).zip(data.chunks(1 << 20)) {
            assert_eq!(host.write(1, number * 256, part.to_vec()).expect("answered"), Status::SUCCESS);
        }
        let stored = |host: &mut Host| -> Vec<u8> {
            (0..4).flat_map(|number| host.read(1, number * 256, 1 << 20).expect("read")).collect()
        };
        let bad = [(0, 8), (8192, 1)];
        assert_eq!(dataset(&mut host, &bad, true), Status::LBA_OUT_OF_RANGE.dnr());
        assert_eq!(dataset(&mut host, &[(0, 1024)], false), Status::SUCCESS);
        assert!(stored(&mut host) == data);
        let mut ranges = vec![(1, 3), (2, 4), (9, 0), (250, 300)];
        ranges.extend((0..200).map(|number| (600 + 2 * number, 1)));
        assert_eq!(dataset(&mut host, &ranges, true), Status::SUCCESS);
        let mut expected = data;
        for (slba, nlb) in ranges {
            let start = usize::try_from(slba).expect("small") * 4096;
            expected[start..start + nlb as usize * 4096].fill(0);
        }
        assert!(stored(&mut host) == expected);
    });
    bench.join(host);
}

/// Goal: Copy moves exactly the blocks of its ranges, one behind the other, whatever boundaries lie between; with a list that
/// is refused nothing moves.
#[test]
fn copied_blocks_are_equal() {
    let mut bench = Bench::new();
    let before = bench.target.arena().usage();
    let host = bench.host(|mut host| {
        let data = pattern(4 << 20, 3);
        for (number, part) in (0..).zip(data.chunks(1 << 20)) {
            assert_eq!(host.write(1, number * 256, part.to_vec()).expect("answered"), Status::SUCCESS);
        }
        let stored = |host: &mut Host| -> Vec<u8> {
            (0..12).flat_map(|number| host.read(1, number * 256, 1 << 20).expect("read")).collect()
        };
        let mut expected = data.clone();
        expected.resize(12 << 20, 0);
        let bad = [(0, 8), (8192, 1)];
        assert_eq!(copy(&mut host, 1100, &bad), Status::LBA_OUT_OF_RANGE.dnr());
        assert_eq!(copy(&mut host, 1000, &[(900, 101)]), Status::OVERLAPPING_RANGE.dnr());
        assert!(stored(&mut host) == expected);
        // Three ranges that start, end and land between boundaries of buffers and extents; the longest range.
        for (to, ranges) in
            [(1037, vec![(3, 300), (1, 1), (500, 77)]), (2000, vec![(0, 1000)]), (1024, vec![(5, 1)])]
        {
            assert_eq!(copy(&mut host, to, &ranges), Status::SUCCESS);
            let mut next = usize::try_from(to).expect("small") * 4096;
            for (slba, blocks) in ranges {
                let start = usize::try_from(slba).expect("small") * 4096;
                let len = usize::from(blocks) * 4096;
                expected[next..next + len].copy_from_slice(&data[start..start + len]);
                next += len;
            }
            assert!(stored(&mut host) == expected, "to {to}");
        }
    });
    bench.join(host);
    bench.until(|bench| bench.target.is_idle());
    assert_eq!(bench.target.arena().usage(), before);
}

/// Goal: whichever operation of a command fails, the host is told, nothing follows it, and no memory is lost.
#[test]
fn every_operation_may_fail() {
    let mut bench = Bench::new();
    let before = bench.target.arena().usage();
    let ranges: Vec<(u64, u32)> = (0..40).map(|number| (number * 3, 1)).collect();
    let write = Status::WRITE_FAULT.dnr();
    let deallocate = move |mut host: Host| dataset(&mut host, &ranges, true);
    each_operation_fails(&mut bench, 40, MediaError::WriteFault, &deallocate, write);
    let read = Status::UNRECOVERED_READ_ERROR.dnr();
    let equal = |mut host: Host| compare(&mut host, 31, vec![0; 1 << 20]);
    each_operation_fails(&mut bench, 9, MediaError::Unreadable, &equal, read);
    // Blocks 20 to 59 to 1020: four pieces, cut at 24 (goes to 1024), 32, and 56 (goes to 1056).
    let copying = |mut host: Host| copy(&mut host, 1020, &[(20, 40), (3, 1)]);
    each_operation_fails(&mut bench, 10, MediaError::Unreadable, &copying, read);
    for (number, operations) in [(0, 1), (1, 2), (2, 3), (9, 10)] {
        bench.fail_after(number, MediaError::Unreadable);
        let host = bench.host(copying);
        bench.join(host);
        assert_eq!(bench.operations(), operations, "nothing follows operation {number}, which failed");
    }
    bench.until(|bench| bench.target.is_idle());
    assert_eq!(bench.target.arena().usage(), before);
}

/// Goal: a host that disappears in the middle of a command with several steps gets no further step done.
#[test]
fn no_step_follows_the_host() {
    let mut bench = Bench::new();
    bench.orders(true, None);
    let host = bench.host(|mut host| {
        let entry = |slba: u64| DatasetRange { cattr: 0.into(), nlb: 1.into(), slba: slba.into() };
        let data: Vec<u8> = (0..256).flat_map(|number| entry(number * 2).as_bytes().to_vec()).collect();
        let mut sqe = Sqe::new(NvmOpcode::DATASET_MANAGEMENT.0, 1);
        sqe.cdw10 = 255.into();
        sqe.cdw11 = DatasetFlags::new().with_deallocate(true).into_bits().into();
        host.io.submit(sqe, Data::Write(4096), data);
        host.io.send().expect("sent");
        host.admin.read(super::host::identify(0, 1), 4096).expect("answered by the other queue");
        host
    });
    bench.until(|bench| !bench.target.devices().is_quiet());
    drop(bench.join(host));
    bench.until(|bench| bench.net.sockets() == 0);
    bench.orders.borrow_mut().is_holding = false;
    bench.until(|bench| bench.target.is_idle());
    assert_eq!(bench.operations(), crate::limits::ZERO_OPS_PER_STEP_MAX);
}
