//! The simulated drive: durability, power cuts, faults, time.

use crate::{Drive, Latency, NextWrite, Random, SimDrive};
use block::{BLOCK_SIZE, BlockDevice, Blocks, Lba, MediaError, Op, Tag, Tick};
use std::collections::BTreeSet;

fn write(lba: u64, byte: u8) -> Op<Vec<u8>> {
    Op::Write { lba: Lba(lba), buf: vec![byte; BLOCK_SIZE], fua: false }
}

fn sim() -> SimDrive {
    SimDrive::new(Drive::new("S0", 64))
}

/// Runs one command to its end.
fn run(sim: &mut SimDrive, op: Op<Vec<u8>>) -> (Option<Vec<u8>>, Result<(), MediaError>) {
    sim.submit(Tag(7), op).expect("room");
    sim.step(&mut Random(1));
    let completion = sim.poll().expect("it has completed");
    assert_eq!(completion.tag, Tag(7));
    (completion.buf, completion.result)
}

/// First byte of each of the blocks 0 to 9.
fn shown(sim: &SimDrive) -> [u8; 10] {
    core::array::from_fn(|lba| sim.drive.block(lba as u64).map_or(0, |b| b[0]))
}

/// Goal: a flush covers what completed before it was submitted, and nothing else.
#[test]
fn flush_covers_only_what_completed_before() {
    let mut sim = sim();
    run(&mut sim, write(1, 1)).1.expect("it works");
    sim.latency = Latency { least_ns: 1000, spread_ns: 0 };
    sim.submit(Tag(2), write(2, 2)).expect("room");
    sim.submit(Tag(3), Op::Flush).expect("room");
    sim.complete_due(Tick(1000));
    assert_eq!(shown(&sim)[1..3], [1, 2], "both are shown");
    sim.power_cut_to(0);
    assert_eq!(shown(&sim)[1..3], [1, 0], "the second write was in flight when the flush was sent");
}

/// Goal: FUA and drives without a volatile cache are durable at once; later writes over earlier ones stay in order.
#[test]
fn fua_and_safe_drives_are_durable_at_once() {
    let mut sim = sim();
    run(&mut sim, write(1, 1)).1.expect("it works");
    run(&mut sim, Op::Write { lba: Lba(1), buf: vec![2; BLOCK_SIZE], fua: true }).1.expect("it works");
    run(&mut sim, write(1, 3)).1.expect("it works");
    assert_eq!(shown(&sim)[1], 3);
    sim.power_cut_to(0);
    assert_eq!(shown(&sim)[1], 2);
    sim.drive.geometry.is_volatile = false;
    run(&mut sim, write(1, 4)).1.expect("it works");
    run(&mut sim, Op::WriteZeroes { lba: Lba(0), blocks: Blocks(1), fua: false }).1.expect("it works");
    assert_eq!(sim.pending(), 0);
    sim.power_cut_to(0);
    assert_eq!(shown(&sim)[1], 4);
}

/// Goal: FUA makes durable what it writes and what that overlaps, and is no flush: everything else stays in the cache.
#[test]
fn fua_is_no_flush() {
    let mut sim = sim();
    for (lba, byte) in [(1, 1), (2, 2), (3, 3), (2, 4)] {
        run(&mut sim, write(lba, byte)).1.expect("it works");
    }
    run(&mut sim, Op::Write { lba: Lba(2), buf: vec![5; 2 * BLOCK_SIZE], fua: true }).1.expect("it works");
    run(&mut sim, write(3, 6)).1.expect("it works");
    assert_eq!((shown(&sim)[1..4].to_vec(), sim.pending()), (vec![1, 5, 6], 2));
    sim.power_cut_to(0);
    assert_eq!(shown(&sim)[1..4], [0, 5, 5]);
}

/// Goal: of three writes in the cache and one in flight every subset survives some cut, and none that is no subset.
#[test]
fn every_subset_survives_some_cut() {
    let outcome = |cut: &dyn Fn(&mut SimDrive)| {
        let mut sim = sim();
        for lba in 1..4 {
            run(&mut sim, write(lba, 1)).1.expect("it works");
        }
        sim.submit(Tag(4), write(4, 1)).expect("room");
        assert_eq!(sim.pending(), 4);
        cut(&mut sim);
        assert!(sim.is_idle() && sim.pending() == 0);
        shown(&sim)
    };
    let named: BTreeSet<_> = (0..16).map(|subset| outcome(&|sim| sim.power_cut_to(subset))).collect();
    let random: BTreeSet<_> = (0..500).map(|seed| outcome(&|sim| sim.power_cut(&mut Random(seed)))).collect();
    assert_eq!(named.len(), 16);
    assert_eq!(named, random);
}

/// Goal: a drive with atomic blocks never tears one, one without does so at its sectors; longer writes are torn by both.
#[test]
fn tearing_has_the_unit_of_the_drive() {
    let outcomes = |is_block_atomic: bool| -> BTreeSet<Vec<u8>> {
        (0..500)
            .map(|seed| {
                let mut sim = sim();
                sim.drive.geometry.is_block_atomic = is_block_atomic;
                let op = Op::Write { lba: Lba(0), buf: vec![1; 2 * BLOCK_SIZE], fua: false };
                sim.submit(Tag(1), op).expect("room");
                sim.power_cut(&mut Random(seed));
                let block = |lba| sim.drive.block(lba).map_or_else(|| vec![0; BLOCK_SIZE], |b| b.to_vec());
                [block(0), block(1)].concat().chunks(512).map(|sector| sector[0]).collect()
            })
            .collect()
    };
    let whole = |sectors: &Vec<u8>| sectors.chunks(8).all(|block| block.iter().all(|s| *s == block[0]));
    let atomic = outcomes(true);
    assert!(atomic.len() == 4 && atomic.iter().all(whole));
    assert!(outcomes(false).iter().any(|sectors| !whole(sectors)));
}

/// Goal: a flush that lies keeps nothing, and a misdirected or lost write is confirmed.
#[test]
fn writes_and_flushes_can_lie() {
    let mut sim = sim();
    sim.drive.faults.next_write = NextWrite::IsLost;
    run(&mut sim, write(1, 1)).1.expect("it is confirmed");
    sim.drive.faults.next_write = NextWrite::GoesTo(3);
    run(&mut sim, write(2, 2)).1.expect("it is confirmed");
    assert_eq!(shown(&sim)[..5], [0, 0, 0, 2, 0]);
    sim.drive.faults.lies_about_flush = true;
    run(&mut sim, Op::Flush).1.expect("it is confirmed");
    sim.power_cut_to(0);
    assert_eq!(shown(&sim), [0; 10]);
}

/// Goal: latent errors end when the block is written, rot changes one bit, a dying drive fails writes, one failure is one.
#[test]
fn faults_do_what_they_say() {
    let mut sim = sim();
    let read = || Op::Read { lba: Lba(1), buf: vec![9; BLOCK_SIZE] };
    sim.drive.faults.unreadable.insert(1);
    assert_eq!(run(&mut sim, read()).1, Err(MediaError::Unreadable));
    run(&mut sim, write(1, 1)).1.expect("it works");
    sim.drive.rot(1, 8);
    let (buf, result) = run(&mut sim, read());
    assert_eq!((result, buf.map(|b| b[..3].to_vec())), (Ok(()), Some(vec![1, 0, 1])));
    sim.drive.faults.fails_once_after = Some((1, MediaError::TimedOut));
    assert_eq!([(); 3].map(|()| run(&mut sim, read()).1), [Ok(()), Err(MediaError::TimedOut), Ok(())]);
    sim.drive.faults.fails_after = Some(1);
    run(&mut sim, write(1, 1)).1.expect("one more");
    assert_eq!(run(&mut sim, write(1, 2)).1, Err(MediaError::WriteFault));
    assert_eq!(run(&mut sim, Op::Flush).1, Err(MediaError::WriteFault));
    run(&mut sim, read()).1.expect("it still reads");
    assert_eq!(shown(&sim)[1], 1);
    assert_eq!(
        run(&mut sim, Op::Read { lba: Lba(u64::MAX), buf: vec![0; BLOCK_SIZE] }).1,
        Err(MediaError::OutOfRange)
    );
}

/// Goal: in virtual time the earliest command ends first, and a slow drive takes as long as it is told to.
#[test]
fn time_decides_the_order() {
    let mut sim = sim();
    sim.latency = Latency { least_ns: 1_000_000, spread_ns: 0 };
    sim.submit(Tag(1), write(1, 1)).expect("room");
    sim.latency = Latency { least_ns: 10, spread_ns: 0 };
    sim.submit(Tag(2), write(2, 2)).expect("room");
    assert_eq!(sim.next_due(), Some(Tick(10)));
    sim.complete_due(Tick(9));
    assert!(sim.poll().is_none());
    sim.complete_due(Tick(999_999));
    assert_eq!(sim.poll().map(|c| c.tag), Some(Tag(2)));
    assert!(sim.poll().is_none());
    sim.complete_due(Tick(1_000_000));
    assert_eq!(sim.poll().map(|c| c.tag), Some(Tag(1)));
}
