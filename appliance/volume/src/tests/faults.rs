//! Drives that fail: one command, all of them from some moment on, a block that cannot be read, a slow one, one without room.
//! Nothing that was confirmed is lost, nothing is shown that was never written, and every request gets an answer.

use super::power_cut::Life;
use super::world::{Request, Slow, World};
use crate::{EngineError, ImportError};
use block::{BLOCK_SIZE, MediaError};
use ondisk::thin::{HOMES, HomeSlot, VolumeKind};
use sim::{Drive, Faults, every_seed};

const ERRORS: [MediaError; 3] = [MediaError::WriteFault, MediaError::Unreadable, MediaError::TimedOut];

/// The faults of a drive whose engine has ended.
fn faults(world: &mut World) -> &mut Faults {
    &mut world.drive.as_mut().expect("the engine has ended").faults
}

/// Lives whose work the tests below repeat: with and without a volatile cache, with much room and with little.
fn lives() -> Vec<Box<dyn Fn() -> Life>> {
    let plain = (6..10).map(|seed| Box::new(move || Life::new(seed)) as Box<dyn Fn() -> Life>);
    let crowded = (0..2).map(|seed| Box::new(move || Life::crowded(seed, 12)) as Box<dyn Fn() -> Life>);
    plain.chain(crowded).collect()
}

/// Goal: a drive that fails one command, whichever, costs at the most the changes until the next import. Method: the same
/// work, with the Nth command failed for N = 0, 1, … until the work ends without a failure.
#[test]
fn any_command_may_fail_once() {
    for (live, error) in lives().iter().zip(ERRORS.iter().cycle()) {
        for nth in 0.. {
            let mut life = live();
            (life.requests_max, life.world.is_healthy) = (3, false);
            let served = life.world.served();
            served.devices.with(0, |d| d.drive.faults.fails_once_after = Some((nth, *error)));
            life.work(250).expect("no cut is planned");
            let is_over = life.world.served().devices.with(0, |d| d.drive.faults.fails_once_after.is_some());
            life.world.end(false);
            faults(&mut life.world).fails_once_after = None;
            life.world.recover(false).expect("no cut is planned");
            if is_over {
                assert!(nth > 30, "the work has {nth} commands");
                break;
            }
        }
    }
}

/// Goal: an import that meets one failure, whichever, ends with an error or serves everything; the next one serves everything.
#[test]
fn any_command_of_an_import_may_fail_once() {
    for live in lives() {
        let mut life = live();
        life.work(120).expect("no cut is planned");
        life.world.end(false);
        for error in ERRORS {
            let mut failures = 0;
            for nth in 0.. {
                let mut world = life.world.copy();
                faults(&mut world).fails_once_after = Some((nth, error));
                let opened = world.start(false).expect("no cut is planned");
                failures += u64::from(opened.is_err());
                world.end(false);
                let is_over = core::mem::take(&mut faults(&mut world).fails_once_after).is_some();
                world.recover(false).expect("no cut is planned");
                if is_over {
                    break;
                }
            }
            assert!(failures > 3, "{failures} failures");
        }
    }
}

/// Goal: the Nth unit that is wanted is not there, for N = 1, 2, … until the work finds room for everything: what needs no
/// unit goes on, and nothing is lost or leaks.
#[test]
fn any_unit_may_be_missing() {
    let mut needed = 0;
    for seed in 0..8 {
        for units in 1.. {
            let mut life = Life::crowded(seed, units);
            life.work(120).expect("no cut is planned");
            life.world.settle().expect("no cut is planned");
            let refused = life.world.refused;
            life.world.end(false);
            life.world.recover(false).expect("no cut is planned");
            if refused == 0 {
                needed += units;
                break;
            }
        }
    }
    assert!(needed > 40, "the work needs {needed} units");
}

fn die(seed: u64) -> u64 {
    let mut life = if seed.is_multiple_of(3) { Life::crowded(seed, 12) } else { Life::new(seed) };
    life.work(100).expect("no cut is planned");
    life.world.is_healthy = false;
    let left = life.world.random.below(60);
    life.world.served().devices.with(0, |d| d.drive.faults.fails_after = Some(left));
    life.work(150).expect("no cut is planned");
    life.world.settle().expect("everything is answered");
    life.world.end(false);
    let is_dead = life.world.drive.as_ref().is_some_and(|drive| drive.faults.fails_after == Some(0));
    let opened = life.world.start(false).expect("no cut is planned");
    let refused = Some(ImportError::Engine(EngineError::Media(MediaError::WriteFault)));
    assert!(!is_dead || opened.err() == refused, "a drive that takes no writes is not served");
    life.world.end(false);
    faults(&mut life.world).fails_after = None;
    life.world.is_healthy = true;
    life.world.recover(false).expect("no cut is planned");
    life.world.steps.trace.value()
}

/// Goal: a drive that takes no more writes from some moment on: every request gets its answer, reads stay right, and when the drive
/// works again everything that was confirmed is there.
#[test]
fn a_drive_may_die_at_work() {
    every_seed("volume", "a_drive_may_die_at_work", 0..150, die);
}

fn act(world: &mut World, request: Request) {
    world.send(request);
    world.settle().expect("no cut is planned");
}

/// A volume of two units that are written, one block each of a snapshot's and its own.
fn world() -> World {
    let mut drive = Drive::new("S0", 12);
    drive.geometry.is_volatile = false;
    let mut world = World::new(1, drive);
    let new = world.fresh_name(VolumeKind::Volume);
    act(&mut world, Request::Create { blocks: 5000, new });
    for first in [0, 16] {
        let versions = world.versions(16);
        act(&mut world, Request::Write { volume: 1, first, versions });
    }
    world
}

/// The blocks of the drive that hold these contents.
fn places(world: &mut World, version: u64) -> Vec<u64> {
    let blocks = world.layout().aus();
    let is_it =
        |block: &sim::Block| block[..8] == version.to_le_bytes() && block[BLOCK_SIZE - 8..] == block[..8];
    world.served().devices.with(0, |d| {
        let all = d.drive.blocks(0, u64::from(blocks) * 16);
        all.iter().filter(|(_, block)| is_it(block)).map(|(lba, _)| *lba).collect()
    })
}

/// Goal: a block of data that cannot be read fails alone: its neighbours are read, the pool is not frozen, and writing it heals it.
#[test]
fn an_unreadable_block_fails_alone() {
    let mut world = world();
    let [bad] = places(&mut world, 3)[..] else { panic!("one block holds the third version") };
    world.served().devices.with(0, |d| d.drive.faults.unreadable.insert(bad));
    world.is_healthy = false;
    let reads = |world: &mut World, first, blocks| {
        let mark = world.history.mark();
        world.send(Request::Read { volume: 1, first, blocks, mark });
        world.settle().expect("no cut is planned");
        world.failed.take()
    };
    let unreadable = Some(EngineError::Media(MediaError::Unreadable));
    assert_eq!(reads(&mut world, 0, 16), unreadable);
    assert_eq!(reads(&mut world, 2, 1), unreadable);
    assert_eq!(
        (reads(&mut world, 0, 2), reads(&mut world, 3, 13), reads(&mut world, 16, 16)),
        (None, None, None)
    );
    // A merge reads the unit, too: the write that would need it fails, and nothing else.
    for first in [7, 8] {
        let (new, mark) = (world.fresh_name(VolumeKind::Snapshot), world.history.mark());
        act(&mut world, Request::Snapshot { origin: 1, new, mark });
        let versions = world.versions(1);
        act(&mut world, Request::Write { volume: 1, first, versions });
    }
    assert_eq!(world.failed.take(), unreadable, "the third layer cannot be merged");
    let versions = world.versions(1);
    act(&mut world, Request::Write { volume: 1, first: 20, versions });
    assert_eq!(world.failed.take(), None, "others go on");
    world.end(false);
    // No import reads data that are settled; this one would not be served otherwise.
    world.start(false).expect("no cut is planned").expect("an unreadable block of data is no reason");
    assert_eq!(reads(&mut world, 2, 1), unreadable, "it is still named");
    act(&mut world, Request::Delete { volume: 2 });
    act(&mut world, Request::Delete { volume: 3 });
    let versions = world.versions(1);
    act(&mut world, Request::Write { volume: 1, first: 2, versions });
    assert_eq!(
        (reads(&mut world, 2, 1), world.failed.take()),
        (None, None),
        "what is written again can be read"
    );
}

/// Goal: superblocks and roots may be unreadable in any three of the four homes, and any one block in all of them but its last copy.
#[test]
fn homes_may_be_unreadable() {
    let mut world = world();
    let layout = world.layout();
    world.end(false);
    for good in 0..HOMES {
        let mut world = world.copy();
        for home in (0..HOMES).filter(|home| *home != good) {
            let root = |parity| layout.root_lba(HomeSlot { home, parity }).0;
            faults(&mut world).unreadable.extend([layout.home_lba(home).0, root(0), root(1)]);
        }
        world.recover(false).expect("no cut is planned");
    }
}

/// Goal: a read that takes for ever holds up nobody: not writes to the same blocks, not trims, snapshots, deletions, checkpoints.
#[test]
fn a_slow_read_holds_up_nobody() {
    let mut world = world();
    world.slow = Slow::Reads;
    let mark = world.history.mark();
    world.send(Request::Read { volume: 1, first: 0, blocks: 16, mark });
    let (new, mark) = (world.fresh_name(VolumeKind::Snapshot), world.history.mark());
    let versions = [world.versions(16), world.versions(16)];
    let [before, after] = versions.map(|versions| Request::Write { volume: 1, first: 0, versions });
    let trim = Request::Trim { volume: 1, first: 0, blocks: 16 };
    let snapshot = Request::Snapshot { origin: 1, new, mark };
    for request in [before, snapshot, after, trim, Request::Checkpoint, Request::Delete { volume: 2 }] {
        world.send(request);
        while world.served().under_way > 1 {
            world.go().expect("no cut is planned");
        }
    }
    assert_eq!(world.served().devices.with(0, |d| d.in_flight()), 1, "the read is still under way");
    world.settle().expect("no cut is planned");
}

/// Goal: a flush that takes for ever holds up only who needs it: not reads, writes and trims.
#[test]
fn a_slow_flush_holds_up_nobody_else() {
    let mut world = World::new(1, Drive::new("S0", 12));
    let new = world.fresh_name(VolumeKind::Volume);
    act(&mut world, Request::Create { blocks: 5000, new });
    let versions = world.versions(16);
    act(&mut world, Request::Write { volume: 1, first: 0, versions });
    act(&mut world, Request::Checkpoint);
    world.slow = Slow::Flushes;
    let mark = world.history.mark();
    world.send(Request::Flush { mark });
    let versions = [world.versions(16), world.versions(16)];
    let [overwrite, first] = [(0, 0), (1, 160)].map(|(which, first)| Request::Write {
        volume: 1,
        first,
        versions: versions[which].clone(),
    });
    let read = Request::Read { volume: 1, first: 0, blocks: 16, mark: world.history.mark() };
    for request in [overwrite, first, read, Request::Trim { volume: 1, first: 0, blocks: 16 }] {
        world.send(request);
        while world.served().under_way > 1 {
            world.go().expect("no cut is planned");
        }
    }
    assert_eq!(world.served().devices.with(0, |d| d.in_flight()), 1, "the flush is still under way");
    world.settle().expect("no cut is planned");
}

/// What is left of the work on a drive that lied about flushes, after a power cut.
#[derive(Default)]
struct Left {
    /// The import said that the drive does not keep what it flushes.
    reported: u64,
    /// It could not know: nothing of what is left was written after what is lost.
    served: u64,
    /// Blocks without what was confirmed as durable.
    lost: u64,
    /// Blocks that show what was never written there.
    foreign: u64,
}

impl Left {
    fn after_lies(&mut self, seed: u64) {
        let mut life = if seed.is_multiple_of(4) { Life::crowded(seed, 12) } else { Life::new(seed * 2) };
        life.work(100).expect("no cut is planned");
        life.world.settle().expect("no cut is planned");
        let mark = life.world.history.mark();
        act(&mut life.world, Request::Flush { mark });
        life.world.served().devices.with(0, |d| d.drive.faults.lies_about_flush = true);
        life.work(300).expect("no cut is planned");
        life.world.settle().expect("no cut is planned");
        life.world.end(false);
        faults(&mut life.world).lies_about_flush = false;
        match life.world.start(false).expect("no cut is planned") {
            Ok(()) => self.served += 1,
            Err(ImportError::NotKept { .. } | ImportError::JournalGap { .. }) => {
                self.reported += 1;
                return;
            }
            Err(error) => panic!("seed {seed}: the drive lies, and the import says: {error}"),
        }
        life.world.is_healthy = false;
        for (volume, kind, lba) in life.world.known() {
            // What was created after the lies began may be gone as a whole.
            let Ok(data) = life.world.fetch(volume, lba).expect("no cut is planned") else { continue };
            let version = u64::from_le_bytes(data[..8].try_into().expect("eight bytes"));
            let history = &mut life.world.history;
            let verdict = match kind {
                VolumeKind::Snapshot => history.check_snapshot(volume.into(), lba, version),
                VolumeKind::Volume => history.check_after_cut(volume.into(), lba, version),
            };
            self.foreign += u64::from(life.world.is_foreign(volume, lba, &data));
            self.lost += u64::from(verdict.is_err());
        }
    }
}

/// Goal: what a drive that confirms flushes and does nothing costs. If anything is left that was written after a flush, and needs what
/// was flushed, the import says what the drive did, and does not serve it. If all of it is gone the drive looks like one that lost
/// power earlier: confirmed work is lost, and nobody can know. What is shown was written there once; not always, though: where a
/// unit was used again and nothing is left that says so (one of 5000 crowded lives), only checksums of data can tell.
#[test]
fn a_drive_that_lies_about_flushes_is_reported_where_that_can_be_known() {
    let mut left = Left::default();
    (0..200).for_each(|seed| left.after_lies(seed));
    assert!(left.reported > left.served, "{} reported, {} served", left.reported, left.served);
    assert_eq!(left.foreign, 0, "blocks that were never written there");
    assert!(left.lost > 0, "what cannot be known");
}
