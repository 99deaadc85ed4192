//! Logical blocks of 512 bytes over drives that write 4 KiB.

use super::commands::{copy, dataset};
use super::host::{Host, pattern};
use super::{Bench, each_operation_fails};
use block::MediaError;
use nvme_spec::{NvmOpcode, Sqe, Status};
use nvme_tcp::host::Data;
use std::sync::mpsc::channel;

/// Logical blocks that the tests use: beyond a boundary of extents.
const COUNT: usize = 2200;

fn transfer(opcode: NvmOpcode, lba: usize, count: usize) -> Sqe {
    let mut sqe = Sqe::new(opcode.0, 1);
    sqe.set_slba(lba as u64);
    sqe.cdw12 = u32::try_from(count - 1).expect("at most 2048").into();
    sqe
}

fn write(host: &mut Host, lba: usize, data: Vec<u8>) -> Status {
    host.io.write(transfer(NvmOpcode::WRITE, lba, data.len() / 512), data).expect("answered").status()
}

fn read(host: &mut Host, lba: usize, count: usize) -> Vec<u8> {
    let len = u32::try_from(count * 512).expect("at most 1 MiB");
    let (cqe, data) = host.io.read(transfer(NvmOpcode::READ, lba, count), len).expect("answered");
    assert!(cqe.status().is_success());
    data
}

fn swap(host: &mut Host, lba: usize, old: &[u8], new: Vec<u8>) -> (Status, Status) {
    let len = u32::try_from(old.len()).expect("a few blocks");
    let half = |fuse: u8, opcode| {
        let mut sqe = transfer(opcode, lba, old.len() / 512);
        sqe.flags |= fuse;
        sqe
    };
    let first = host.io.submit(half(1, NvmOpcode::COMPARE), Data::Write(len), old.to_vec());
    let second = host.io.submit(half(2, NvmOpcode::WRITE), Data::Write(len), new);
    let mut status = |slot| host.io.finish(slot).expect("answered").status();
    (status(first), status(second))
}

/// A number below a bound, drawn from a seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }

    /// First block and blocks, near a boundary of blocks, buffers or extents.
    fn range(&mut self, most: usize) -> (usize, usize) {
        let start = [self.below(64), 256 - self.below(20), 2048 - self.below(20)][self.below(3)];
        (start, 1 + self.below(most).min(COUNT - start - 1))
    }
}

fn bytes_of((start, count): (usize, usize)) -> core::ops::Range<usize> {
    start * 512..(start + count) * 512
}

/// Goal: every command does to the bytes it names what it says, and nothing to those beside them, wherever it starts and ends:
/// against a model, with starts and lengths drawn from a seed, around every boundary of buffers and extents.
#[test]
fn bytes_are_as_in_memory() {
    let mut bench = Bench::new().with_small_blocks();
    let before = bench.target.arena().usage();
    let host = bench.host(|mut host| {
        let mut model = vec![0; COUNT * 512];
        let mut draw = Draw(7);
        for number in 0..300 {
            let most = [8, 24, 300][draw.below(3)];
            let (start, count) = draw.range(most);
            let bytes = bytes_of((start, count));
            let data = pattern(count * 512, number);
            match draw.below(5) {
                0 => assert!(read(&mut host, start, count) == model[bytes]),
                1 => {
                    let zeroes = transfer(NvmOpcode::WRITE_ZEROES, start, count);
                    assert!(host.io.command(zeroes).expect("answered").status().is_success());
                    model[bytes].fill(0);
                }
                2 => {
                    let same = model[bytes.clone()].to_vec();
                    let sqe = transfer(NvmOpcode::COMPARE, start, count);
                    assert_eq!(host.io.write(sqe, same).expect("answered").status(), Status::SUCCESS);
                    let other = host.io.write(sqe, data).expect("answered").status();
                    assert_eq!(other, Status::COMPARE_FAILURE.dnr());
                }
                3 if count <= 8 => {
                    let old = model[bytes.clone()].to_vec();
                    assert_eq!(
                        swap(&mut host, start, &old, data.clone()),
                        (Status::SUCCESS, Status::SUCCESS)
                    );
                    model[bytes].copy_from_slice(&data);
                }
                _ => {
                    assert_eq!(write(&mut host, start, data.clone()), Status::SUCCESS);
                    model[bytes].copy_from_slice(&data);
                }
            }
        }
        assert!(read(&mut host, 0, 2048) == model[..2048 * 512]);
        // The longest write, that starts and ends within blocks.
        let data = pattern(1 << 20, 1);
        assert_eq!(write(&mut host, 257, data.clone()), Status::SUCCESS);
        assert!(read(&mut host, 257, 2048) == data);
        assert!(read(&mut host, 0, 257) == model[..257 * 512]);
    });
    bench.join(host);
    bench.until(|bench| bench.target.is_idle());
    assert_eq!(bench.target.arena().usage(), before);
    assert!(bench.target.ranges.is_empty());
}

/// Copies ranges that a seed chooses, in the volume and in the model, if they may be copied.
fn copy_both(host: &mut Host, model: &mut [u8], draw: &mut Draw) {
    let most = [4, 24, 600][draw.below(3)];
    let ranges: Vec<(usize, usize)> = (0..=draw.below(4)).map(|_| draw.range(most)).collect();
    let total: usize = ranges.iter().map(|(_, count)| count).sum();
    let to = [draw.below(64), 230 + draw.below(60), 1000 + draw.below(9), COUNT.saturating_sub(total)]
        [draw.below(4)];
    let list: Vec<(u64, u16)> =
        ranges.iter().map(|&(start, count)| (start as u64, u16::try_from(count).expect("small"))).collect();
    let overlaps = ranges.iter().any(|&(start, count)| start < to + total && to < start + count);
    let expected = if to + total > COUNT {
        Status::LBA_OUT_OF_RANGE.dnr()
    } else if overlaps {
        Status::OVERLAPPING_RANGE.dnr()
    } else {
        let data: Vec<u8> = ranges.iter().flat_map(|&range| model[bytes_of(range)].to_vec()).collect();
        model[bytes_of((to, total))].copy_from_slice(&data);
        Status::SUCCESS
    };
    assert_eq!(copy(host, to as u64, &list), expected, "{ranges:?} to {to}");
}

/// Deallocates ranges that a seed chooses: the drives' blocks that lie in them read zero then, parts of blocks stay.
fn deallocate_both(host: &mut Host, model: &mut [u8], draw: &mut Draw) {
    let ranges: Vec<(usize, usize)> = (0..=draw.below(5)).map(|_| draw.range(40)).collect();
    let list: Vec<(u64, u32)> =
        ranges.iter().map(|&(start, count)| (start as u64, u32::try_from(count).expect("small"))).collect();
    assert_eq!(dataset(host, &list, true), Status::SUCCESS);
    for (start, count) in ranges {
        let (first, end) = (start.div_ceil(8), (start + count) / 8);
        if first < end {
            model[first * 4096..end * 4096].fill(0);
        }
    }
}

/// Goal: Copy and Dataset Management, between writes, zeroes and reads, do to the volume what the same does to bytes in memory,
/// wherever ranges start and end; what ends behind the volume or overlaps is refused. Method: commands drawn from seeds.
#[test]
fn copies_are_as_in_memory() {
    let mut bench = Bench::new().with_small_blocks_up_to(COUNT);
    let before = bench.target.arena().usage();
    for seed in 1..=12 {
        let host = bench.host(move |mut host| {
            let (mut draw, mut model) = (Draw(seed), vec![0; COUNT * 512]);
            for (number, part) in (0..).zip(model.chunks_mut(1 << 20)) {
                part.copy_from_slice(&pattern(part.len(), seed));
                assert_eq!(write(&mut host, number * 2048, part.to_vec()), Status::SUCCESS);
            }
            for number in 0..60 {
                match draw.below(8) {
                    0 => {
                        let range = draw.range(300);
                        let zeroes = transfer(NvmOpcode::WRITE_ZEROES, range.0, range.1);
                        assert!(host.io.command(zeroes).expect("answered").status().is_success());
                        model[bytes_of(range)].fill(0);
                    }
                    1 | 2 => {
                        let range = draw.range(300);
                        let data = pattern(range.1 * 512, number);
                        assert_eq!(write(&mut host, range.0, data.clone()), Status::SUCCESS);
                        model[bytes_of(range)].copy_from_slice(&data);
                    }
                    3 => deallocate_both(&mut host, &mut model, &mut draw),
                    4 => {
                        let range = draw.range(300);
                        assert!(read(&mut host, range.0, range.1) == model[bytes_of(range)]);
                    }
                    _ => copy_both(&mut host, &mut model, &mut draw),
                }
                if number % 4 == 3 {
                    let stored = [read(&mut host, 0, 2048), read(&mut host, 2048, COUNT - 2048)].concat();
                    let differs = stored.iter().zip(&model).position(|(stored, model)| stored != model);
                    assert_eq!(differs, None, "seed {seed}, after command {number}");
                }
            }
        });
        bench.join(host);
    }
    bench.until(|bench| bench.target.is_idle());
    assert_eq!(bench.target.arena().usage(), before);
    assert!(bench.target.ranges.is_empty());
}

/// Goal: two hosts write different parts of one block of the drive at once, or one the part and the other the whole, or one
/// copies to it: no write is undone by the other's read of the rest.
#[test]
fn neighbours_in_a_block() {
    let mut bench = Bench::new().with_small_blocks();
    let source = bench.host(|mut host| write(&mut host, 301, vec![1; 8 * 512]));
    assert_eq!(bench.join(source), Status::SUCCESS);
    // First block and blocks of either; what is read afterwards from the first on. The first of the two writes, or copies.
    for ((a, b), (released, is_copy)) in
        [((56, 1), (57, 1)), ((56, 8), (58, 1)), ((58, 1), (56, 8)), ((50, 8), (57, 8))]
            .into_iter()
            .flat_map(|pair| (0..6).map(move |round| (pair, (round / 2, round % 2 == 1))))
    {
        let mut hosts = Vec::new();
        bench.until(|bench| bench.net.sockets() == 0);
        bench.orders(false, None);
        let zero = bench.host(|mut host| write(&mut host, 48, vec![0; 24 * 512]));
        assert_eq!(bench.join(zero), Status::SUCCESS);
        bench.until(|bench| bench.net.sockets() == 0);
        let begin: Vec<_> = [(a, 1), (b, 2)]
            .into_iter()
            .map(|((lba, count), seed)| {
                let (go_on, may_go_on) = channel::<()>();
                let (connected, is_connected) = channel();
                hosts.push(bench.host(move |mut host| {
                    connected.send(()).expect("the test waits");
                    may_go_on.recv().expect("the test goes on");
                    if is_copy && seed == 1 {
                        copy(&mut host, lba as u64, &[(301, u16::try_from(count).expect("small"))])
                    } else {
                        write(&mut host, lba, vec![seed; count * 512])
                    }
                }));
                bench.until(|_| is_connected.try_recv().is_ok());
                go_on
            })
            .collect();
        bench.orders(true, None);
        bench.release(released);
        let commands =
            |bench: &Bench| bench.target.sessions().iter().map(|session| session.commands).sum::<u64>();
        for go_on in &begin {
            let before = commands(&bench);
            go_on.send(()).expect("the host waits");
            bench.until(|bench| commands(bench) != before);
            (0..3).for_each(|_| bench.turn());
        }
        bench.release_last();
        (0..3).for_each(|_| bench.turn());
        bench.orders(false, None);
        for host in hosts {
            assert_eq!(bench.join(host), Status::SUCCESS);
        }
        let reader = bench.host(|mut host| read(&mut host, 48, 24));
        let stored = bench.join(reader);
        let is_in = |(lba, count): (usize, usize), at: usize| (lba..lba + count).contains(&(at + 48));
        for (at, bytes) in stored.chunks(512).enumerate() {
            let allowed: &[u8] = match (is_in(a, at), is_in(b, at)) {
                (true, true) => &[1, 2],
                (true, false) => &[1],
                (false, true) => &[2],
                (false, false) => &[0],
            };
            assert!(
                allowed.contains(&bytes[0]) && bytes.iter().all(|byte| *byte == bytes[0]),
                "{a:?} {b:?} {released} {is_copy}: block {at} holds {}",
                bytes[0]
            );
        }
    }
}

/// Goal: whichever operation of such a write fails, the host is told, and no memory and no claim is left.
#[test]
fn every_operation_may_fail() {
    let mut bench = Bench::new().with_small_blocks();
    let before = bench.target.arena().usage();
    let fault = MediaError::TimedOut;
    let status = Status::COMMAND_INTERRUPTED;
    // Two edges are read, and one buffer written; across a boundary of buffers two.
    each_operation_fails(&mut bench, 3, fault, &|mut host| write(&mut host, 1, vec![1; 16 * 512]), status);
    each_operation_fails(&mut bench, 4, fault, &|mut host| write(&mut host, 250, vec![1; 16 * 512]), status);
    let zeroes = |mut host: Host| {
        host.io.command(transfer(NvmOpcode::WRITE_ZEROES, 1, 24)).expect("answered").status()
    };
    // The edges are read and written, and there is something between them.
    each_operation_fails(&mut bench, 5, fault, &zeroes, status);
    // Source and destination are read and the destination written, for a part of a block; for whole blocks only the source.
    let copying = |mut host: Host| copy(&mut host, 1001, &[(3, 7), (20, 9)]);
    each_operation_fails(&mut bench, 3 + 2 + 3, fault, &copying, status);
    bench.until(|bench| bench.target.is_idle());
    assert_eq!(bench.target.arena().usage(), before);
    assert!(bench.target.ranges.is_empty());
}
