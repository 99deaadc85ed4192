//! What hosts do on a pool that works.

use super::{Bench, data, read, volume, write, zeroes};
use crate::limits::{OPERATIONS_MAX, TRANSFER_BLOCKS_MAX};
use crate::{Change, Server};
use block::{BLOCK_SIZE, Blocks, Lba, Op, Tag};
use ondisk::thin::VolumeKind;
use sim::Drive;
use std::collections::{BTreeMap, BTreeSet};

/// Goal: data is read back, however an operation lies to the units; the buffer of a write comes back whole; what nobody wrote and what
/// was trimmed is zero.
#[test]
fn operations_across_units() {
    let mut bench = Bench::new(Drive::new("S0", 32));
    let volume = bench.create(1, 256);
    for (first, blocks) in [(0, 32), (23, 32), (79, 2), (95, 1), (160, 16)] {
        let sent = data(first, blocks);
        assert_eq!(bench.run(volume, write(first, sent.clone())), Ok(Some(sent.clone())));
        assert_eq!(bench.run(volume, read(first, blocks)), Ok(Some(sent)), "{blocks} blocks from {first}");
    }
    assert_eq!(bench.run(volume, zeroes(25, 40)), Ok(None));
    let left = bench.run(volume, read(23, 32)).expect("read").expect("a buffer");
    assert!(left[..2 * BLOCK_SIZE] == data(23, 2)[..] && left[2 * BLOCK_SIZE..].iter().all(|b| *b == 0));
    assert_eq!(bench.run(volume, read(200, 32)), Ok(Some(vec![0; 32 * BLOCK_SIZE])));
    assert_eq!(bench.run(volume, Op::Flush), Ok(None));
    assert!(bench.longest.get() <= 32 * BLOCK_SIZE);
    assert!(bench.server.is_quiet());
}

/// Goal: with more operations than there are tasks, in several volumes, each completes once, with its own buffer, and every read finds
/// what was written before; the drive ends its commands in any order.
#[test]
fn many_operations_end_once_each() {
    let mut bench = Bench::new(Drive::new("S0", 32));
    let volumes: Vec<u32> = (0..3).map(|number| bench.create(number, 512)).collect();
    // By volume and block: what it is, and who is there now.
    let (mut stored, mut busy) = (BTreeMap::new(), BTreeSet::new());
    let mut under_way = BTreeMap::new();
    let mut count = [0_u32; 3];
    for seed in 0..1500 {
        let (volume, blocks) = (volumes[bench.random.index(3)], 1 + bench.random.below(TRANSFER_BLOCKS_MAX));
        let first = bench.random.below(512 - blocks);
        let places: Vec<(u32, u64)> = (first..first + blocks).map(|block| (volume, block)).collect();
        if under_way.len() < OPERATIONS_MAX && places.iter().all(|place| !busy.contains(place)) {
            busy.extend(places.iter().copied());
            let kind = bench.random.index(3);
            count[kind] += 1;
            let op = match kind {
                0 => read(first, blocks),
                1 => zeroes(first, blocks),
                _ => write(first, data(seed, blocks)),
            };
            let tag = bench.submit(volume, op);
            assert!(under_way.insert(tag, (kind, seed, places)).is_none());
        }
        bench.turn();
        while let Some(completion) = bench.server.poll() {
            let (kind, seed, places) = under_way.remove(&completion.tag).expect("it completes once");
            assert_eq!(completion.result, Ok(()));
            let blocks = places.len() as u64;
            match kind {
                0 => {
                    let none = vec![0; BLOCK_SIZE];
                    let block = |place| stored.get(place).unwrap_or(&none).clone();
                    let expected: Vec<u8> = places.iter().flat_map(block).collect();
                    assert!(completion.buf.as_deref() == Some(&expected[..]), "{places:?}");
                }
                1 => places.iter().for_each(|place| _ = stored.remove(place)),
                _ => {
                    let written = data(seed, blocks);
                    assert!(completion.buf.as_deref() == Some(&written[..]));
                    let pieces = written.chunks(BLOCK_SIZE).map(<[u8]>::to_vec);
                    stored.extend(places.iter().copied().zip(pieces));
                }
            }
            places.iter().for_each(|place| _ = busy.remove(place));
        }
    }
    assert!(count.iter().all(|count| *count > 100), "{count:?} of each kind");
    while !under_way.is_empty() {
        let completion = bench.next();
        assert!(under_way.remove(&completion.tag).is_some());
    }
    assert!(bench.server.poll().is_none() && bench.server.is_quiet());
}

/// Goal: an operation for which there is no place comes back as it was, and is accepted when another has ended.
#[test]
fn places_are_bounded() {
    let mut bench = Bench::new(Drive::new("S0", 32));
    let volume = bench.create(1, 4096);
    for number in 0..OPERATIONS_MAX as u64 {
        bench.submit(volume, write(number * 20, data(number, 20)));
    }
    let last = Op::Write { lba: Lba(4000), buf: data(9, 3), fua: true };
    let Err(back) = bench.server.submit(Tag(999), volume, last) else { panic!("there is no place") };
    assert_eq!(back, Op::Write { lba: Lba(4000), buf: data(9, 3), fua: true });
    assert_eq!(bench.next().result, Ok(()));
    bench.server.submit(Tag(999), volume, back).expect("there is a place");
    let tags: BTreeSet<Tag> = (0..OPERATIONS_MAX).map(|_| bench.next().tag).collect();
    assert!(tags.len() == OPERATIONS_MAX && tags.contains(&Tag(999)));
}

/// Goal: on a drive with a cache a write with FUA and what was flushed are there after a loss of power, and the volume, too.
#[test]
fn what_is_durable_survives() {
    for is_fua in [false, true] {
        let mut bench = Bench::new(Drive::new("S0", 32));
        assert!(bench.drive.drive.geometry.is_volatile);
        let volume = bench.create(1, 256);
        let write = Op::Write { lba: Lba(14), buf: data(3, 20), fua: is_fua };
        bench.run(volume, write).expect("written");
        if !is_fua {
            bench.run(volume, Op::Flush).expect("flushed");
        }
        let mut bench = bench.restart().expect("it is a pool");
        let found = bench.server.engine().volumes();
        assert_eq!(found.len(), 1);
        assert_eq!(bench.run(volume, read(14, 20)), Ok(Some(data(3, 20))));
    }
}

/// Goal: volumes come, grow and go between operations, and a pool that is erased is none any more, at either end of its drive.
#[test]
fn changes_and_the_end() {
    let mut bench = Bench::new(Drive::new("S0", 32));
    let first = bench.create(1, 16);
    let attributes: Box<[u8]> = [7; 9].into();
    let set = Change::Set { volume: first, attributes: attributes.clone(), blocks: Some(Blocks(64)) };
    let grown = bench.change(set);
    assert_eq!(grown, Ok(None));
    bench.run(first, write(60, data(1, 4))).expect("it is longer");
    assert_eq!(bench.server.engine().volumes()[0].attributes, Some(attributes));
    let again = bench.change(Change::Create { blocks: Blocks(16), new: volume(1) });
    assert_eq!(again, Err(volume::EngineError::Exists));
    assert_eq!(bench.change(Change::Delete { volume: first }), Ok(None));
    assert!(bench.run(first, read(0, 1)).is_err());
    let second = bench.create(2, 16);
    assert_eq!(bench.run(second, read(0, 16)), Ok(Some(vec![0; 16 * BLOCK_SIZE])));
    assert_eq!(bench.server.engine().volumes().len(), 1);
    assert_eq!(volume(2).kind, VolumeKind::Volume);
    assert_eq!(bench.change(Change::Delete { volume: second }), Ok(None));
    assert_eq!(bench.change(Change::Erase), Ok(None));
    let capacity = bench.drive.drive.geometry.blocks.0;
    for lba in (0..256).chain(capacity - 256..capacity) {
        let block = bench.drive.drive.block(lba);
        assert!(block.is_none_or(|block| block.iter().all(|byte| *byte == 0)), "block {lba}");
    }
    assert!(bench.restart().is_err(), "there is no pool");
}

/// Goal: a pool of any life is told from its drive alone, and a drive that had one is made a new one without it.
#[test]
fn an_old_pool_leaves_nothing() {
    let mut bench = Bench::new(Drive::new("S0", 32));
    let volume = bench.create(1, 256);
    bench.run(volume, write(0, data(1, 32))).expect("written");
    bench.run(volume, Op::Flush).expect("flushed");
    let Bench { drive, .. } = bench;
    let mut bench = Bench::new(drive.drive);
    assert!(bench.server.engine().volumes().is_empty());
    let volume = bench.create(1, 256);
    assert_eq!(bench.run(volume, read(0, 32)), Ok(Some(vec![0; 32 * BLOCK_SIZE])));
    let _: &Server<Vec<u8>> = &bench.server;
}
