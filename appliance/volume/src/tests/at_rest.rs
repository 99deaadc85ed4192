//! Data at rest: what is not what was written is found by reads and scrubs and never returned; and neither a power cut nor a
//! damaged page of checksums takes good data away.

use super::stories::{act, read, snapshot, world, write};
use super::world::{Request, World};
use crate::{EngineError, Finding, Problem, ScrubReport, SumCounts};
use ondisk::thin::{Address, Au, VolumeKind};
use sim::{Drive, NextWrite};

/// Two checkpoints without a write between them: all regions get clean that are sure.
fn clean(world: &mut World) {
    act(world, Request::Checkpoint);
    act(world, Request::Checkpoint);
}

fn restart(world: &mut World) {
    world.end(true);
    world.start(false).expect("no cut is planned").expect("the pool is good");
}

/// Where a block of a volume lies.
fn address(world: &mut World, volume: u32, block: u64) -> Address {
    let state = world.served().engine.state.borrow();
    let root = state.volume(volume).expect("it is there").root;
    let entry = state.map.lookup(root, block / 16).0.expect("it is mapped");
    entry.block(u32::try_from(block % 16).expect("small")).expect("it is mapped")
}

fn lba(world: &mut World, volume: u32, block: u64) -> u64 {
    address(world, volume, block).lba.0
}

/// Where the page of a block's checksum lies.
fn page(world: &mut World, volume: u32, block: u64) -> u64 {
    let au = Au::of(address(world, volume, block)).expect("it is on the drive");
    let drives = world.served().engine.drives();
    drives.sums_at(drives.region_of(au)).lba.0
}

fn rot(world: &mut World, lba: u64) {
    world.served().devices.with(0, |d| d.drive.rot(lba, 1000));
}

fn counts(world: &mut World) -> SumCounts {
    world.served().engine.sum_counts()
}

fn scrub(world: &mut World) -> ScrubReport {
    act(world, Request::Scrub);
    world.scrubbed.take().expect("it has ended")
}

/// Reads each of the first 16 blocks of the volume; gives those that are damaged.
fn damaged(world: &mut World, volume: u32) -> Vec<u64> {
    let is_damaged = |block: &u64| {
        world.failed = None;
        read(world, volume, *block, 1);
        match world.failed {
            None => false,
            Some(error) => {
                assert_eq!(error, EngineError::Damaged { volume, block: *block });
                true
            }
        }
    };
    (0..16).filter(is_damaged).collect()
}

/// A volume with 16 blocks, on a drive that will not do what it is told.
fn faulty() -> World {
    let mut world = world(64, 4000);
    write(&mut world, 1, 0, 16);
    clean(&mut world);
    // The region is dirty from here on, so the next write is the data.
    write(&mut world, 1, 5, 1);
    world.is_healthy = false;
    world
}

/// Goal: a bit that flipped, a write that was lost and one that went elsewhere are found, from memory and from the drive, by reads and
/// by scrubs; each damaged block fails alone, names its volume, and is good again when it is written again.
#[test]
fn damage_at_rest_is_never_returned() {
    type Fault = fn(&mut World);
    let faults: [(&str, Fault, &[u64]); 3] = [
        (
            "rot",
            |world| {
                (3..5).for_each(|block| {
                    let at = lba(world, 1, block);
                    rot(world, at);
                });
            },
            &[3, 4],
        ),
        (
            "lost",
            |world| {
                world.served().devices.with(0, |d| d.drive.faults.next_write = NextWrite::IsLost);
                write(world, 1, 3, 1);
            },
            &[3],
        ),
        (
            "misdirected",
            |world| {
                let victim = lba(world, 1, 9);
                world.served().devices.with(0, |d| d.drive.faults.next_write = NextWrite::GoesTo(victim));
                write(world, 1, 3, 1);
            },
            &[3, 9],
        ),
    ];
    for (what, fault, expected) in faults {
        let mut world = faulty();
        fault(&mut world);
        assert_eq!(damaged(&mut world, 1), expected, "{what}, from memory");
        clean(&mut world);
        restart(&mut world);
        assert_eq!(damaged(&mut world, 1), expected, "{what}, from the drive");
        snapshot(&mut world, 1);
        let report = scrub(&mut world);
        let finding =
            |volume| move |block: &u64| Finding { volume, block: *block, problem: Problem::Damaged };
        let each: Vec<Finding> = [1, 2].iter().flat_map(|v| expected.iter().map(finding(*v))).collect();
        assert_eq!((report.findings, report.is_complete), (each, true), "{what}, by a scrub");
        act(&mut world, Request::Delete { volume: 2 });
        for block in expected {
            write(&mut world, 1, *block, 1);
        }
        assert_eq!(damaged(&mut world, 1), [0; 0], "{what}, written again");
        assert_eq!(counts(&mut world).restamped, 0);
    }
}

/// Goal: what checksums cost: a read whose page is in memory is one command, another one two together; an overwrite in a
/// dirty region is one write, the first one in a clean region is announced before.
#[test]
fn checksums_cost_what_they_should() {
    for is_volatile in [false, true] {
        let mut drive = Drive::new("S0", 64);
        drive.geometry.is_volatile = is_volatile;
        let mut world = World::new(1, drive);
        let new = world.fresh_name(VolumeKind::Volume);
        act(&mut world, Request::Create { blocks: 4000, new });
        write(&mut world, 1, 0, 16);
        assert_eq!(read(&mut world, 1, 0, 16), [1, 0, 0], "written in this life");
        clean(&mut world);
        let flushes = u64::from(is_volatile);
        assert_eq!(write(&mut world, 1, 3, 1), [0, 2, flushes], "a dirty record, then the data");
        assert_eq!(write(&mut world, 1, 4, 1), [0, 1, 0]);
        act(&mut world, Request::Checkpoint);
        assert_eq!(write(&mut world, 1, 4, 1), [0, 1, 0], "it was not quiet, and the root says so");
        clean(&mut world);
        restart(&mut world);
        let mark = world.history.mark();
        world.send(Request::Read { volume: 1, first: 0, blocks: 16, mark });
        world.step().expect("no cut is planned");
        assert_eq!(
            world.served().devices.with(0, |d| d.in_flight()),
            1,
            "page and data were on their way together"
        );
        world.settle().expect("no cut is planned");
        assert_eq!(world.served().devices.with(0, |d| d.in_flight()), 0);
        assert_eq!(read(&mut world, 1, 0, 16), [1, 0, 0], "the page is in memory");
        restart(&mut world);
        assert_eq!(read(&mut world, 1, 0, 16), [2, 0, 0], "data and page");
        assert_eq!(counts(&mut world), SumCounts::default());
    }
}

/// Goal: a damaged page is noticed and costs no data; checksums come back with reads, and find damage from then on.
#[test]
fn a_bad_page_takes_no_good_data_away() {
    let mut world = world(64, 4000);
    write(&mut world, 1, 0, 16);
    clean(&mut world);
    let at = page(&mut world, 1, 0);
    rot(&mut world, at);
    restart(&mut world);
    assert_eq!(damaged(&mut world, 1), [0; 0]);
    assert_eq!(counts(&mut world), SumCounts { unverified: 16, pages_lost: 1, ..SumCounts::default() });
    write(&mut world, 1, 0, 1);
    clean(&mut world);
    restart(&mut world);
    world.is_healthy = false;
    let at = lba(&mut world, 1, 7);
    rot(&mut world, at);
    assert_eq!(damaged(&mut world, 1), [7]);
}

/// Goal: a damaged bitmap makes regions dirty, and nothing worse.
#[test]
fn a_bad_bitmap_makes_all_regions_dirty() {
    let mut world = world(64, 4000);
    write(&mut world, 1, 0, 16);
    clean(&mut world);
    write(&mut world, 1, 0, 16);
    act(&mut world, Request::Checkpoint);
    let places: Vec<u64> = world.served().engine.state.borrow().bitmap.places().map(|at| at.lba.0).collect();
    assert_eq!(places.len(), 2, "an index and a piece");
    for place in places {
        let mut world = world.copy();
        world.drive.as_mut().expect("it is copied").rot(place, 1000);
        world.is_rotten = true;
        world.recover(false).expect("no cut is planned");
        assert!(world.served().engine.sums.borrow().dirty().all(|is_dirty| is_dirty));
        assert_eq!(scrub(&mut world).found, 0);
        clean(&mut world);
        restart(&mut world);
        assert_eq!(damaged(&mut world, 1), [0; 0]);
    }
}

/// Goal: what a power cut left unsure is sure after a scrub: checksums that lag follow the data, and later damage is found.
#[test]
fn a_scrub_makes_sure_what_a_cut_left_unsure() {
    let mut world = world(64, 4000);
    write(&mut world, 1, 0, 16);
    clean(&mut world);
    for block in 0..4 {
        write(&mut world, 1, block, 1);
    }
    world.end(false);
    world.start(false).expect("no cut is planned").expect("the pool is good");
    assert_eq!(scrub(&mut world).found, 0);
    assert_eq!(counts(&mut world).restamped, 4, "the page was as old as the checkpoint");
    let before = world.served().timers.now();
    scrub(&mut world);
    // One unit: the first is read at once.
    assert_eq!(world.served().timers.now(), before);
    clean(&mut world);
    restart(&mut world);
    world.is_healthy = false;
    let at = lba(&mut world, 1, 2);
    rot(&mut world, at);
    assert_eq!(damaged(&mut world, 1), [2]);
}

/// Goal: scrubs take their time.
#[test]
fn scrubs_keep_their_pace() {
    let mut world = world(64, 4000);
    for unit in 0..10 {
        write(&mut world, 1, unit * 16, 16);
    }
    let before = world.served().timers.now();
    assert_eq!(scrub(&mut world).units, 10);
    let pause = 16 * super::world::PACE.block_ns;
    assert_eq!(world.served().timers.now().0 - before.0, 9 * pause);
}

/// Goal: the story of a map record in a volatile cache: it makes the region dirty only if it is found, so data of the same
/// region that is overwritten in place after it needs a record that is durable. No outcome of a cut refuses good data.
#[test]
fn a_map_record_in_a_cache_is_not_enough() {
    let mut world = World::new(1, Drive::new("S0", 64));
    let new = world.fresh_name(VolumeKind::Volume);
    act(&mut world, Request::Create { blocks: 4000, new });
    write(&mut world, 1, 0, 16);
    clean(&mut world);
    write(&mut world, 1, 16, 16);
    write(&mut world, 1, 0, 1);
    assert!(world.try_every_cut() >= 2);
    // The same with blocks that were given up: neither the trim nor what follows it is durable.
    clean(&mut world);
    act(&mut world, Request::Trim { volume: 1, first: 3, blocks: 1 });
    write(&mut world, 1, 3, 1);
    assert!(world.try_every_cut() >= 2);
}

/// Goal: the story of a dirty record behind a gap: writing it durably is not enough, what the journal has before it must be
/// durable, too.
#[test]
fn a_dirty_record_behind_a_gap_is_not_enough() {
    let mut world = World::new(1, Drive::new("S0", 64));
    let new = world.fresh_name(VolumeKind::Volume);
    act(&mut world, Request::Create { blocks: 40_000, new });
    write(&mut world, 1, 0, 16);
    clean(&mut world);
    // In the cache only: a record of something else.
    act(&mut world, Request::Trim { volume: 1, first: 32_000, blocks: 1 });
    write(&mut world, 1, 0, 1);
    assert!(world.try_every_cut() >= 2);
}
