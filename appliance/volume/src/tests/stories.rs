//! What each request costs the drive, and what a full pool still does.

use super::audit::audit;
use super::world::{Answer, JOURNAL_BLOCKS, Request, Slow, World, version_of};
use crate::NewVolume;
use ondisk::thin::VolumeKind;
use sim::Drive;

/// A world with one volume of so many blocks; drives have no volatile cache.
pub(super) fn world(mib: u64, blocks: u64) -> World {
    let mut drive = Drive::new("S0", mib);
    drive.geometry.is_volatile = false;
    let mut world = World::new(1, drive);
    let new = world.fresh_name(VolumeKind::Volume);
    act(&mut world, Request::Create { blocks, new });
    world
}

/// Does one request to its end; gives the commands that it took: reads, writes, flushes.
pub(super) fn act(world: &mut World, request: Request) -> [u64; 3] {
    let before = world.served().devices.with(0, |d| d.drive.commands());
    world.send(request);
    world.settle().expect("no cut is planned");
    let after = world.served().devices.with(0, |d| d.drive.commands());
    core::array::from_fn(|n| after[n] - before[n])
}

pub(super) fn write(world: &mut World, volume: u32, first: u64, blocks: u64) -> [u64; 3] {
    let versions = world.versions(blocks);
    act(world, Request::Write { volume, first, versions })
}

pub(super) fn read(world: &mut World, volume: u32, first: u64, blocks: u64) -> [u64; 3] {
    let mark = world.history.mark();
    act(world, Request::Read { volume, first, blocks, mark })
}

pub(super) fn snapshot(world: &mut World, origin: u32) -> [u64; 3] {
    let (new, mark) = (world.fresh_name(VolumeKind::Snapshot), world.history.mark());
    act(world, Request::Snapshot { origin, new, mark })
}

/// Goal: the table of `io.rs`: an overwrite is one write, a first write (also after a snapshot) two and no read, a read one
/// read, a snapshot one write whatever was mapped.
#[test]
fn requests_cost_what_they_should() {
    let mut world = world(64, 4000);
    assert_eq!(write(&mut world, 1, 0, 16), [0, 2, 0], "first write");
    act(&mut world, Request::Checkpoint);
    assert_eq!(write(&mut world, 1, 0, 16), [0, 1, 0], "overwrite");
    assert_eq!(write(&mut world, 1, 3, 1), [0, 1, 0], "overwrite of a part");
    assert_eq!(read(&mut world, 1, 0, 16), [1, 0, 0]);
    assert_eq!(read(&mut world, 1, 16, 16), [0, 0, 0], "nothing is there");
    for unit in 1..200 {
        write(&mut world, 1, unit * 16, 16);
    }
    assert_eq!(snapshot(&mut world, 1), [0, 1, 0], "with 200 units mapped");
    assert_eq!(write(&mut world, 1, 3, 1), [0, 2, 0], "first write after a snapshot");
    assert_eq!(read(&mut world, 1, 0, 16), [3, 0, 0], "before, in and behind the new block");
    assert_eq!(write(&mut world, 1, 4, 1), [0, 2, 0], "the next one joins it");
    snapshot(&mut world, 1);
    assert_eq!(write(&mut world, 1, 5, 1), [3, 2, 0], "a third layer is merged");
    assert_eq!(read(&mut world, 1, 0, 16), [1, 0, 0], "and lies together");
    assert_eq!(act(&mut world, Request::Trim { volume: 1, first: 0, blocks: 16 }), [0, 1, 0]);
    assert_eq!(act(&mut world, Request::Delete { volume: 2 }), [0, 1, 0]);
    act(&mut world, Request::Checkpoint);
    audit(&world.served().engine);
}

/// Goal: the first overwrite of a block whose record an import would still compare waits for a mark; later ones do not.
#[test]
fn unsettled_blocks_are_settled_before_they_are_overwritten() {
    let mut world = world(64, 4000);
    write(&mut world, 1, 0, 1);
    assert_eq!(write(&mut world, 1, 0, 1), [0, 2, 0], "an empty journal block, then the data");
    assert_eq!(write(&mut world, 1, 0, 1), [0, 1, 0]);
}

/// Goal: a full pool refuses first writes, goes on with overwrites, and trims, deletes and snapshots still work; what they
/// free can be used. TRIM frees space, and it is seen.
#[test]
fn a_full_pool_still_does_what_needs_no_space() {
    let mut world = world(16, 16 << 10);
    let free = |world: &mut World| world.served().engine.free().0;
    let before = free(&mut world);
    let mut units = 0;
    while write(&mut world, 1, units * 16, 16) != [0, 0, 0] {
        units += 1;
    }
    assert!(units > 100, "{units} units");
    assert_eq!(write(&mut world, 1, 0, 16), [0, 1, 0], "an overwrite");
    snapshot(&mut world, 1);
    assert_eq!(write(&mut world, 1, 0, 16), [0, 0, 0], "this needs a unit now");
    act(&mut world, Request::Delete { volume: 2 });
    assert!(write(&mut world, 1, 0, 16)[1] > 0, "the volume owns its units again");
    act(&mut world, Request::Trim { volume: 1, first: 0, blocks: 160 });
    assert_eq!(write(&mut world, 1, units * 16, 16)[1], 2, "what was trimmed is used again");
    act(&mut world, Request::Trim { volume: 1, first: 0, blocks: 16 << 10 });
    act(&mut world, Request::Checkpoint);
    audit(&world.served().engine);
    assert!(free(&mut world) + 32 >= before, "all but the map is free again");
    world.end(false);
    world.recover(false).expect("no cut is planned");
}

/// Goal: a volume that grows keeps its contents, also past the reach of its map, and its snapshots keep their length.
#[test]
fn volumes_grow() {
    let mut world = world(64, 10);
    write(&mut world, 1, 0, 10);
    snapshot(&mut world, 1);
    act(&mut world, Request::Grow { volume: 1, blocks: 5_000_000 });
    write(&mut world, 1, 4_999_990, 5);
    world.end(false);
    world.recover(false).expect("no cut is planned");
    assert_eq!(world.volumes[&2].blocks, 10);
    assert_eq!(read(&mut world, 1, 4_999_990, 5), [1, 0, 0]);
}

/// Goal: the story of a unit that grew under a volatile cache: it is still the volume's own one, so the next write goes in place,
/// and a power cut that loses the data of the one before leaves the older blocks.
#[test]
fn a_unit_that_grew_is_not_taken_for_shared() {
    let mut world = World::new(1, Drive::new("S0", 64));
    let new = world.fresh_name(VolumeKind::Volume);
    act(&mut world, Request::Create { blocks: 4000, new });
    write(&mut world, 1, 0, 1);
    assert_eq!(
        write(&mut world, 1, 1, 1),
        [0, 3, 1],
        "the second block of the unit, and a dirty record that is durable"
    );
    act(&mut world, Request::Checkpoint);
    assert_eq!(write(&mut world, 1, 2, 1), [0, 2, 0]);
    assert_eq!(write(&mut world, 1, 0, 1), [0, 1, 0], "in place");
}

/// Goal: the journal goes round its ring several times within one life, and blocks of earlier laps count for nothing.
#[test]
fn the_journal_goes_round() {
    let mut world = world(64, 4000);
    for round in 0..2 * JOURNAL_BLOCKS {
        let first = round % 4 * 16;
        write(&mut world, 1, first, 16);
        if round < 2 * JOURNAL_BLOCKS - 4 {
            act(&mut world, Request::Trim { volume: 1, first, blocks: 16 });
        }
    }
    assert!(world.served().engine.journal.next() > 3 * JOURNAL_BLOCKS);
    world.end(false);
    world.recover(false).expect("no cut is planned");
}

/// Goal: nobody writes to a snapshot, trims it, or makes it longer.
#[test]
fn snapshots_take_no_changes() {
    let mut world = world(64, 4000);
    write(&mut world, 1, 0, 4);
    snapshot(&mut world, 1);
    world.is_healthy = false;
    assert_eq!(write(&mut world, 2, 0, 1), [0, 0, 0]);
    assert_eq!(act(&mut world, Request::Trim { volume: 2, first: 0, blocks: 4 }), [0, 0, 0]);
    assert_eq!(act(&mut world, Request::Grow { volume: 2, blocks: 5000 }), [0, 0, 0]);
    assert_eq!(read(&mut world, 2, 0, 4), [1, 0, 0], "it is there");
}

/// Goal: of two writes to the same blocks the one that came later stays, whatever the drive does first.
#[test]
fn overlapping_writes_happen_in_the_order_in_which_they_came() {
    for seed in 0..20 {
        let mut world = world(64, 4000);
        world.random = sim::Random(seed);
        for _ in 0..2 {
            for first in [0, 2, 1] {
                let versions = world.versions(4);
                world.send(Request::Write { volume: 1, first, versions });
            }
            let last = world.version;
            world.settle().expect("no cut is planned");
            // The oracle would allow any order of what is under way together; this is the only one that is left.
            for (lba, version) in (1..5).zip(last - 3..) {
                world.history.begin(1, lba, version);
                world.history.end(1, lba, version);
            }
            read(&mut world, 1, 0, 6);
        }
    }
}

/// Goal: a read of a snapshot that is deleted meanwhile shows the snapshot, whatever is written to its origin then. Method: the drive
/// does what it has in any order.
#[test]
fn a_deleted_snapshot_is_read_to_the_end() {
    let mut reads = 0;
    for seed in 0..40 {
        let mut world = world(64, 4000);
        world.random = sim::Random(seed);
        write(&mut world, 1, 0, 4);
        let before = world.version - 3;
        snapshot(&mut world, 1);
        act(&mut world, Request::Checkpoint);
        let mark = world.history.mark();
        world.send(Request::Read { volume: 2, first: 0, blocks: 1, mark });
        world.send(Request::Delete { volume: 2 });
        let versions = world.versions(4);
        world.send(Request::Write { volume: 1, first: 0, versions });
        while world.served().under_way > 0 {
            for (request, result) in world.step().expect("no cut is planned") {
                if let (Request::Read { .. }, Ok(Answer::Data(block))) = (&request, &result) {
                    assert_eq!(version_of(block, 0), before, "seed {seed}");
                    reads += 1;
                }
            }
        }
    }
    assert_eq!(reads, 40);
}

/// Goal: the story of a leaf that a root names, and that nobody has any more when the root is durable: shared with a deleted snapshot
/// that is still read when the checkpoint writes its table, copied by a write, and left by the read before the root. Method: the drive
/// does what it has in any order; a second checkpoint, which looks for free places, is cut off at any moment.
#[test]
fn a_root_keeps_what_a_deleted_snapshot_leaves() {
    for seed in 0..120 {
        let mut world = world(64, 4000);
        write(&mut world, 1, 0, 4);
        snapshot(&mut world, 1);
        act(&mut world, Request::Checkpoint);
        world.slow = Slow::Reads;
        let mark = world.history.mark();
        world.send(Request::Read { volume: 2, first: 0, blocks: 1, mark });
        world.send(Request::Delete { volume: 2 });
        while world.served().under_way > 1 {
            world.go().expect("no cut is planned");
        }
        world.random = sim::Random(seed);
        world.send(Request::Checkpoint);
        let versions = world.versions(4);
        world.send(Request::Write { volume: 1, first: 0, versions });
        while world.served().under_way > 2 {
            world.go().expect("no cut is planned");
        }
        world.slow = Slow::Nothing;
        world.settle().expect("no cut is planned");
        write(&mut world, 1, 100, 1);
        world.steps.cut_in = Some(seed % 20);
        world.send(Request::Checkpoint);
        let _ = world.settle();
        world.end(false);
        world.recover(false).expect("no cut is planned");
    }
}

/// Goal: a volume without an identity, which an import would refuse, is never made.
#[test]
fn nobody_has_the_nil_uuid() {
    let mut world = world(64, 4000);
    let new = NewVolume { uuid: uuid::Uuid::nil(), ..world.fresh_name(VolumeKind::Volume) };
    world.is_healthy = false;
    assert_eq!(act(&mut world, Request::Create { blocks: 16, new }), [0, 0, 0]);
}
