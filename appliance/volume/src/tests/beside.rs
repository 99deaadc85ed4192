//! Checkpoints beside other work: what is changed while a checkpoint is written is there after a power cut, whether the
//! checkpoint has it or not; nobody waits longer than it takes; the journal and the places for nodes are never used up.

use super::audit::audit;
use super::world::{Request, World};
use ondisk::thin::VolumeKind;
use sim::Drive;

/// Blocks that a leaf of the map covers.
const LEAF: u64 = 4096;

/// A world with two volumes, and so many leaves of the first one changed since the last checkpoint.
fn world(is_volatile: bool, leaves: u64) -> World {
    let mut drive = Drive::new("S0", 256);
    drive.geometry.is_volatile = is_volatile;
    let mut world = World::new(1, drive);
    for _ in 0..2 {
        let new = world.fresh_name(VolumeKind::Volume);
        act(&mut world, Request::Create { blocks: 200 * LEAF, new });
    }
    for leaf in 0..leaves {
        write(&mut world, 1, leaf * LEAF, 1);
    }
    world
}

fn act(world: &mut World, request: Request) {
    world.send(request);
    world.settle().expect("no cut is planned");
}

fn write(world: &mut World, volume: u32, first: u64, blocks: u64) {
    let versions = world.versions(blocks);
    act(world, Request::Write { volume, first, versions });
}

/// Does a request while a checkpoint goes on, which is not waited for.
fn act_beside(world: &mut World, request: Request) {
    let under_way = world.served().under_way;
    world.send(request);
    while world.served().under_way > under_way {
        world.go().expect("no cut is planned");
    }
    assert!(world.served().engine.checkpoints.is_running.get(), "the checkpoint goes on");
}

fn write_beside(world: &mut World, volume: u32, first: u64, blocks: u64) {
    let versions = world.versions(blocks);
    act_beside(world, Request::Write { volume, first, versions });
}

fn cut_and_recover(world: &mut World) {
    world.end(false);
    world.recover(false).expect("no cut is planned");
    audit(&world.served().engine);
}

/// Goal: the story of a trim that is replayed over what came after it. A unit loses a block, gains it, and loses all others while
/// a checkpoint goes on that has not come to its leaf; the replay begins with the first trim, and must not lose the unit.
#[test]
fn a_replayed_trim_takes_nothing_that_was_added_later() {
    for is_volatile in [false, true] {
        let mut world = world(is_volatile, 100);
        write(&mut world, 2, 0, 1);
        world.send(Request::Checkpoint);
        act_beside(&mut world, Request::Trim { volume: 2, first: 2, blocks: 1 });
        write_beside(&mut world, 2, 2, 1);
        act_beside(&mut world, Request::Trim { volume: 2, first: 0, blocks: 1 });
        world.settle().expect("no cut is planned");
        let mark = world.history.mark();
        act(&mut world, Request::Flush { mark });
        cut_and_recover(&mut world);
    }
}

/// Goal: a node that changes after a checkpoint wrote it is written by the next one, too, although its parent was written in
/// between. Method: cuts after one, two and three checkpoints, with nothing left to replay but what is asked for.
#[test]
fn what_changes_behind_a_checkpoint_is_in_the_next() {
    let mut world = world(false, 120);
    world.send(Request::Checkpoint);
    // The first leaf is written by now; its parent is not.
    for _ in 0..20 {
        world.go().expect("no cut is planned");
    }
    for leaf in 0..10 {
        write_beside(&mut world, 1, leaf * LEAF + 16, 2);
    }
    world.settle().expect("no cut is planned");
    for _ in 0..2 {
        let state_is_clean = world.served().engine.state.borrow().map.dirty == 0;
        assert!(!state_is_clean, "the first checkpoint left something");
        act(&mut world, Request::Checkpoint);
        if world.served().engine.state.borrow().map.dirty == 0 {
            break;
        }
    }
    audit(&world.served().engine);
    let used = world.served().engine.journal.used();
    assert_eq!(used, 0, "the journal is not needed any more");
    cut_and_recover(&mut world);
}

/// Goal: a first write after a snapshot copies nodes while a checkpoint goes on; the new root names the copies, not holes.
#[test]
fn copies_that_are_made_beside_a_checkpoint_are_in_it() {
    for steps in 0..70 {
        let mut world = world(false, 30);
        let (new, mark) = (world.fresh_name(VolumeKind::Snapshot), world.history.mark());
        act(&mut world, Request::Snapshot { origin: 1, new, mark });
        let under_way = world.served().under_way;
        world.send(Request::Checkpoint);
        for _ in 0..steps {
            if world.served().under_way > under_way {
                world.go().expect("no cut is planned");
            }
        }
        for leaf in [29, 0, 15] {
            write(&mut world, 1, leaf * LEAF + 1, 1);
        }
        world.settle().expect("no cut is planned");
        cut_and_recover(&mut world);
    }
}

/// Goal: a snapshot waits for the checkpoint that runs, and writes do not wait for the snapshot meanwhile.
#[test]
fn a_snapshot_waits_for_the_checkpoint_and_lets_writes_pass() {
    let mut world = world(false, 60);
    world.send(Request::Checkpoint);
    world.go().expect("no cut is planned");
    let (new, mark) = (world.fresh_name(VolumeKind::Snapshot), world.history.mark());
    world.send(Request::Snapshot { origin: 1, new, mark });
    write_beside(&mut world, 1, 0, 1);
    assert_eq!(world.volumes.len(), 2, "the snapshot waits");
    world.settle().expect("no cut is planned");
    assert_eq!(world.volumes.len(), 3);
    cut_and_recover(&mut world);
}

/// Goal: nobody asks for checkpoints and everybody writes first writes: checkpoints come by themselves, the journal is never
/// full, writes go on beside them, and a cut at any of six moments loses nothing.
#[test]
fn checkpoints_come_by_themselves() {
    for round in 0..6 {
        let mut world = world(round % 2 == 1, 1);
        let generation = world.served().engine.state.borrow().generation;
        for n in 0..3000 + 20 * round {
            while world.served().room() == 0 {
                world.go().expect("no cut is planned");
            }
            let versions = world.versions(1);
            world.send(Request::Write { volume: 1, first: n % 190 * LEAF + n / 190 * 16, versions });
        }
        let served = world.served();
        let checkpoints = served.engine.state.borrow().generation - generation;
        assert!(checkpoints > 1, "{checkpoints} checkpoints");
        assert!(served.beside.get()[0] > 20, "writes went on: {:?}", served.beside.get());
        cut_and_recover(&mut world);
    }
}

/// Goal: a trim of a whole volume that shares everything with a snapshot needs copies of its whole map. In a full pool it is
/// refused when only the reserve is left, and the pool can still be imported, and emptied.
#[test]
fn a_trim_that_needs_copies_leaves_the_reserve() {
    let mut drive = Drive::new("S0", 16);
    drive.geometry.is_volatile = false;
    let mut world = World::new(1, drive);
    let new = world.fresh_name(VolumeKind::Volume);
    // A map of many leaves over few units.
    act(&mut world, Request::Create { blocks: 4000 * LEAF, new });
    let commands = |world: &mut World| world.served().devices.with(0, |d| d.drive.commands()[1]);
    let mut leaf = 0;
    loop {
        let before = commands(&mut world);
        write(&mut world, 1, leaf * LEAF, 1);
        leaf += 1;
        if commands(&mut world) == before {
            break;
        }
    }
    let (new, mark) = (world.fresh_name(VolumeKind::Snapshot), world.history.mark());
    act(&mut world, Request::Snapshot { origin: 1, new, mark });
    world.is_healthy = false;
    for again in 0..5 {
        // Each clone that is trimmed has copies of its own.
        act(&mut world, Request::Trim { volume: 1, first: 0, blocks: 200 * LEAF });
        let (new, mark) = (world.fresh_name(VolumeKind::Volume), world.history.mark());
        act(&mut world, Request::Snapshot { origin: 2, new, mark });
        let clone = *world.volumes.keys().last().expect("volumes");
        act(&mut world, Request::Trim { volume: clone, first: 0, blocks: 200 * LEAF });
        let state = world.served().engine.state.borrow();
        assert!(state.space.node_room() >= crate::limits::NODE_RESERVE, "round {again}");
    }
    assert!(world.refused > 0, "the last trims were refused");
    world.is_healthy = true;
    cut_and_recover(&mut world);
    for volume in world.volumes.keys().copied().collect::<Vec<_>>() {
        act(&mut world, Request::Delete { volume });
    }
    act(&mut world, Request::Checkpoint);
    audit(&world.served().engine);
    assert_eq!(world.volumes.len(), 0, "all could be deleted");
}
