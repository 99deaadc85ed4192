//! Hostile metadata: blocks with good checksums that say anything. An import ends with an engine or an error.

use super::world::{Request, World};
use crate::{ImportError, NewVolume};
use block::BLOCK_SIZE;
use core::ops::Range;
use ondisk::thin::{HomeSlot, VolumeKind, data_checksum};
use sim::{Drive, Random};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Where the checksum stands in every block of metadata (`docs/ondisk.md`).
const CHECKSUM: Range<usize> = 16..20;

pub(super) fn act(world: &mut World, request: Request) {
    world.send(request);
    world.settle().expect("no cut is planned");
}

fn write(world: &mut World, volume: u32, first: u64, blocks: u64) {
    let versions = world.versions(blocks);
    act(world, Request::Write { volume, first, versions });
}

fn copy_of(world: &mut World, origin: u32, kind: VolumeKind) {
    let (new, mark) = (world.fresh_name(kind), world.history.mark());
    act(world, Request::Snapshot { origin, new, mark });
}

/// Where the metadata of a pool lie that the next import reads; of the homes the first one.
pub(super) fn places(world: &mut World) -> Vec<u64> {
    let layout = world.layout();
    let engine = &world.served().engine;
    let state = engine.state.borrow();
    let nodes = state.map.places().chain(state.map.stale.iter().copied()).chain(state.tables.iter().copied());
    let attributes = state.volumes.values().flat_map(|volume| volume.attributes.places.iter().copied());
    let journal = (engine.journal.first.get()..engine.journal.next()).map(|s| layout.journal_lba(s));
    let roots = [0, 1].map(|parity| layout.root_lba(HomeSlot { home: 0, parity }));
    let all =
        nodes.chain(attributes).map(|at| at.lba).chain(journal).chain(roots).chain([layout.home_lba(0)]);
    all.map(|lba| lba.0).collect::<Vec<_>>()
}

/// A pool with maps of two levels that share nodes, and records of every kind in the journal; and where its metadata lie.
pub(super) fn pool() -> (World, Vec<u64>) {
    let mut drive = Drive::new("S0", 12);
    drive.geometry.is_volatile = false;
    let mut world = World::new(1, drive);
    for blocks in [5000, 100] {
        let attributes = world.fresh_attributes(4000);
        let new = NewVolume { attributes, ..world.fresh_name(VolumeKind::Volume) };
        act(&mut world, Request::Create { blocks, new });
    }
    for (volume, first) in [(1, 0), (1, 20), (1, 4100), (2, 0)] {
        write(&mut world, volume, first, 3);
    }
    copy_of(&mut world, 1, VolumeKind::Snapshot);
    write(&mut world, 1, 1, 1);
    act(&mut world, Request::Checkpoint);
    write(&mut world, 1, 40, 4);
    write(&mut world, 1, 44, 1);
    copy_of(&mut world, 1, VolumeKind::Volume);
    write(&mut world, 4, 41, 1);
    act(&mut world, Request::Trim { volume: 1, first: 20, blocks: 2 });
    act(&mut world, Request::Grow { volume: 2, blocks: 9000 });
    write(&mut world, 2, 8000, 2);
    act(&mut world, Request::Delete { volume: 3 });
    let attributes = world.fresh_attributes(5000);
    act(&mut world, Request::SetAttributes { volume: 1, attributes });
    let places = places(&mut world);
    world.end(false);
    (world, places)
}

pub(super) fn block(drive: &Drive, lba: u64) -> Vec<u8> {
    drive.block(lba).map_or_else(|| vec![0; BLOCK_SIZE], |block| block.to_vec())
}

fn seal(block: &mut [u8]) {
    block[CHECKSUM].fill(0);
    let sum = data_checksum(block);
    block[CHECKSUM].copy_from_slice(&sum.to_le_bytes());
}

/// Puts a changed block onto the drive with a good checksum, and the checksum into the pointers that mean the block.
pub(super) fn plant(drive: &mut Drive, places: &[u64], lba: u64, mut changed: Vec<u8>) {
    let old = block(drive, lba);
    seal(&mut changed);
    for at in (0..BLOCK_SIZE).filter(|at| old[*at] != changed[*at]) {
        drive.put(lba * BLOCK_SIZE as u64 + at as u64, &changed[at..=at]);
    }
    for parent in places {
        let mut bytes = block(drive, *parent);
        let is_pointer =
            |at: &usize| bytes[*at..at + 8] == lba.to_le_bytes() && bytes[at + 16..at + 20] == old[CHECKSUM];
        let pointers: Vec<usize> = (128..BLOCK_SIZE - 24).step_by(8).filter(is_pointer).collect();
        for at in &pointers {
            bytes[at + 16..at + 20].copy_from_slice(&changed[CHECKSUM]);
        }
        if !pointers.is_empty() {
            plant(drive, places, *parent, bytes);
        }
    }
}

/// Changes a few bytes behind the stamp; most often some that mean something.
fn mutate(block: &mut [u8], random: &mut Random) {
    for _ in 0..=random.below(3) {
        let used: Vec<usize> = (64..BLOCK_SIZE).filter(|at| block[*at] != 0).collect();
        let at = if used.is_empty() || random.chance(1, 4) {
            64 + random.index(400)
        } else {
            used[random.index(used.len())]
        };
        match random.below(6) {
            0 => block[at] = 0,
            1 => block[at] = block[at].wrapping_add(1),
            2 => block[at] = block[at].wrapping_sub(1),
            3 => block[at] ^= 1 << random.below(8),
            4 => block[at] = block[used.get(random.index(used.len().max(1))).copied().unwrap_or(at)],
            // A counter or length at its end.
            _ => block[at / 8 * 8..at / 8 * 8 + 8].fill(0xff),
        }
    }
}

/// Whatever the pool is now, it is worked with: each request gets some answer, and what was written imports again.
fn work(world: &mut World) {
    let ask = |world: &mut World, request| {
        world.send(request);
        while world.served().under_way > 0 {
            world.step().expect("no cut is planned");
        }
    };
    let volumes: Vec<u32> = world.served().engine.volumes().into_iter().map(|volume| volume.number).collect();
    for volume in volumes {
        for first in [0, 40, 4100] {
            let (mark, versions) = (world.history.mark(), world.versions(2));
            ask(world, Request::Read { volume, first, blocks: 2, mark });
            ask(world, Request::Write { volume, first, versions });
            ask(world, Request::Trim { volume, first: first + 1, blocks: 1 });
        }
    }
    ask(world, Request::Checkpoint);
    let is_whole = world.served().engine.damage().is_empty();
    world.end(false);
    let again = world.start(false).expect("no cut is planned");
    assert!(again.is_ok(), "{again:?}");
    assert_eq!(world.served().engine.damage().is_empty(), is_whole);
}

/// Goal: an import of anything ends with an engine that works, or with an error: no panic, no loop without an end. Method: 1500
/// seeds change a few bytes of one block of metadata, give it a good checksum, and tell the new one to those that point there.
#[test]
fn hostile_metadata_is_refused_or_served() {
    let (world, places) = pool();
    let drive = world.drive.as_ref().expect("the power is off");
    for lba in &places {
        let mut bytes = block(drive, *lba);
        seal(&mut bytes);
        assert_eq!(bytes, block(drive, *lba), "block {lba} is sealed like this");
    }
    let (mut served, mut refused, mut impossible) = (0, 0, 0);
    for seed in 0..1500 {
        let mut random = Random(seed);
        let mut world = world.copy();
        world.is_healthy = false;
        let drive = world.drive.as_mut().expect("the power is off");
        let lba = places[random.index(places.len())];
        let mut bytes = block(drive, lba);
        mutate(&mut bytes, &mut random);
        plant(drive, &places, lba, bytes);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let opened = world.start(false).expect("no cut is planned");
            if opened.is_ok() {
                work(&mut world);
            }
            opened
        }));
        match outcome {
            Ok(Ok(())) => served += 1,
            Ok(Err(error)) => {
                refused += 1;
                impossible += u64::from(matches!(error, ImportError::Impossible(_)));
            }
            Err(_) => panic!("seed {seed}, block {lba}"),
        }
    }
    assert!(served > 100 && refused > 100 && impossible > 50, "{served} {refused} {impossible}");
}
