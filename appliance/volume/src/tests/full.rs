//! Pools without a free unit: what is given up is used again at once, so whoever gives it up too early shows one volume the data of
//! another one.

use super::world::{JOURNAL_BLOCKS, Request, Slow, World};
use block::{Blocks, MediaError};
use ondisk::thin::{AU_BLOCKS, Au, VolumeKind};
use sim::Drive;

/// Blocks of a volume that is longer than the drives here.
const LONG: u64 = 8000;

/// A drive with room for about so many units of data: homes, checksums, journal, and the reserve for nodes take the rest.
pub(super) fn small_drive(is_volatile: bool, units: u64) -> Drive {
    let mut drive = Drive::new("S0", 1);
    let nodes = (crate::limits::NODE_RESERVE + crate::limits::NODE_WORK) as u64;
    drive.geometry.blocks = Blocks((20 + 1 + units) * AU_BLOCKS + JOURNAL_BLOCKS + nodes);
    drive.geometry.is_volatile = is_volatile;
    drive
}

/// Does one request to its end, beside `others` that are under way; says whether the drive was written to.
fn act(world: &mut World, request: Request, others: usize) -> bool {
    let writes = |world: &mut World| world.served().devices.with(0, |d| d.drive.commands()[1]);
    let before = writes(world);
    world.send(request);
    while world.served().under_way > others {
        world.go().expect("no cut is planned");
    }
    writes(world) > before
}

fn write(world: &mut World, unit: u64, others: usize) -> bool {
    let versions = world.versions(AU_BLOCKS);
    act(world, Request::Write { volume: 1, first: unit * AU_BLOCKS, versions }, others)
}

fn trim(unit: u64) -> Request {
    Request::Trim { volume: 1, first: unit * AU_BLOCKS, blocks: AU_BLOCKS }
}

fn flush(world: &mut World) {
    let mark = world.history.mark();
    act(world, Request::Flush { mark }, 0);
}

/// A volume that fills its pool, everything durable; gives how many units it has.
fn full(is_volatile: bool) -> (World, u64) {
    let mut world = World::new(1, small_drive(is_volatile, 12));
    let new = world.fresh_name(VolumeKind::Volume);
    act(&mut world, Request::Create { blocks: LONG, new }, 0);
    let mut units = 0;
    while write(&mut world, units, 0) {
        units += 1;
    }
    act(&mut world, Request::Checkpoint, 0);
    // The nodes have taken units of the reserve: as many must be given up before a unit can be used again.
    loop {
        units -= 1;
        act(&mut world, trim(units), 0);
        flush(&mut world);
        if write(&mut world, units, 0) {
            break;
        }
    }
    flush(&mut world);
    assert!((4..40).contains(&units), "{units} units");
    (world, units + 1)
}

/// Where a unit of the volume lies.
fn place(world: &mut World, unit: u64) -> Option<Au> {
    let state = world.served().engine.state.borrow();
    state.map.lookup(state.volumes[&1].root, unit).0.map(|entry| entry.own.au)
}

/// Gives up each unit of a full volume in turn, each in a world of its own, and writes others; whenever that works, the power may
/// fail in every way. Somewhere the unit must have been used again at once: otherwise this shows nothing.
fn give_up_and_write(rounds: usize, others: u64, give_up: impl Fn(&mut World, u64)) {
    let (mut first, units) = full(true);
    first.end(false);
    let mut used_again = 0;
    for unit in (0..units).flat_map(|unit| core::iter::repeat_n(unit, rounds)) {
        let mut world = first.copy();
        world.recover(false).expect("no cut is planned");
        world.random = first.random.clone();
        first.random.bits();
        let before = place(&mut world, unit);
        give_up(&mut world, unit);
        for other in units..units + others {
            let is_there = write(&mut world, other, 0);
            used_again += u64::from(is_there && place(&mut world, other) == before);
        }
        world.try_every_cut();
    }
    assert!(used_again > 0, "no unit was used again at once");
}

/// Goal: a unit that was trimmed has its old contents until the trim is durable: a power cut that takes the trim back must not
/// show what somebody else has written there since.
#[test]
fn a_unit_is_used_again_only_when_its_trim_is_durable() {
    give_up_and_write(1, 1, |world, unit| {
        act(world, trim(unit), 0);
        let mark = world.history.mark();
        act(world, Request::Read { volume: 1, first: unit * AU_BLOCKS, blocks: 1, mark }, 0);
    });
}

/// Goal: the same for a trim that comes while a flush is under way, which does not cover it.
#[test]
fn a_flush_frees_only_what_was_given_up_before() {
    give_up_and_write(8, 1, |world, unit| {
        let mark = world.history.mark();
        world.send(Request::Flush { mark });
        world.send(trim(unit));
        world.settle().expect("no cut is planned");
    });
}

/// Goal: a settle mark covers only data that are durable: where a unit is used again, a record whose data were lost would show what
/// its former owner had written.
#[test]
fn a_mark_covers_only_durable_data() {
    give_up_and_write(1, 2, |world, unit| {
        act(world, trim(unit), 0);
        act(world, trim(unit + 1), 0);
        flush(world);
    });
}

/// Goal: the story of a write whose record arrived and whose data did not, where the read that would show that fails once: the unit
/// still has what its former owner wrote, and that must not be shown.
#[test]
fn a_record_without_its_data_is_dropped_though_a_read_fails() {
    let (mut first, units) = full(true);
    first.end(false);
    let mut used_again = 0;
    for unit in 0..units {
        let mut world = first.copy();
        world.recover(false).expect("no cut is planned");
        let before = place(&mut world, unit);
        act(&mut world, trim(unit), 0);
        flush(&mut world);
        let versions = world.versions(1);
        act(&mut world, Request::Write { volume: 1, first: units * AU_BLOCKS, versions }, 0);
        if place(&mut world, units) != before {
            continue;
        }
        used_again += 1;
        for (subset, nth) in [1, 2].into_iter().flat_map(|subset| (0..60).map(move |nth| (subset, nth))) {
            let mut world = world.cut_to(subset);
            let faults = |world: &mut World, nth| {
                let drive = world.drive.as_mut().expect("the engine has ended");
                drive.faults.fails_once_after = nth;
            };
            faults(&mut world, Some((nth, MediaError::Unreadable)));
            // Whether it is served is of no interest here.
            let _ = world.start(false).expect("no cut is planned");
            world.end(false);
            faults(&mut world, None);
            world.recover(false).expect("no cut is planned");
        }
    }
    assert!(used_again > 0, "no unit was used again at once");
}

/// Goal: the story of a block that was added to a new unit whose own record was dropped: it is dropped, too. The unit that counts then
/// still has in that place what its former owner wrote.
#[test]
fn what_adds_to_a_dropped_unit_is_dropped() {
    let (mut first, units) = full(true);
    first.end(false);
    let mut layers = 0;
    for unit in 0..units - 1 {
        let mut world = first.copy();
        world.recover(false).expect("no cut is planned");
        let put = |world: &mut World, block| {
            let versions = world.versions(1);
            act(world, Request::Write { volume: 1, first: units * AU_BLOCKS + block, versions }, 0)
        };
        act(&mut world, trim(unit), 0);
        act(&mut world, trim(unit + 1), 0);
        flush(&mut world);
        let is_there = put(&mut world, 0);
        let base = place(&mut world, units);
        let (new, mark) = (world.fresh_name(VolumeKind::Snapshot), world.history.mark());
        act(&mut world, Request::Snapshot { origin: 1, new, mark }, 0);
        // A region that is marked already needs no flush between the two writes.
        for block in [1, 2] {
            put(&mut world, block);
        }
        layers += u64::from(is_there && place(&mut world, units) != base);
        world.try_every_cut();
    }
    assert!(layers > 0, "no unit came over another one");
}

/// Goal: a slow read shows what was there when it began or later, and never what another unit has become.
#[test]
fn a_unit_is_used_again_only_when_nobody_reads_it() {
    for is_volatile in [false, true] {
        let (mut world, units) = full(is_volatile);
        world.slow = Slow::Reads;
        let mark = world.history.mark();
        world.send(Request::Read { volume: 1, first: 0, blocks: AU_BLOCKS, mark });
        act(&mut world, trim(0), 1);
        assert!(!write(&mut world, units, 1), "the only unit that is given up is being read");
        world.settle().expect("no cut is planned");
        flush(&mut world);
        assert!(write(&mut world, units, 0), "now it is free");
    }
}

/// Goal: on a full pool whatever needs no unit works as often as one likes, whatever needs one is refused, and what is given up
/// is there again, to the last unit.
#[test]
fn a_full_pool_stays_usable() {
    for is_volatile in [false, true] {
        let (mut world, units) = full(is_volatile);
        let free = world.served().engine.free();
        for round in 0..200 {
            let unit = world.random.below(units);
            assert!(write(&mut world, unit, 0), "an overwrite");
            assert!(!write(&mut world, units + round, 0), "there is no unit for it");
            if round % 10 == 0 {
                let (new, mark) = (world.fresh_name(VolumeKind::Snapshot), world.history.mark());
                act(&mut world, Request::Snapshot { origin: 1, new, mark }, 0);
                assert!(!write(&mut world, unit, 0), "it is shared");
                let snapshot = *world.volumes.keys().next_back().expect("there is one");
                act(&mut world, Request::Delete { volume: snapshot }, 0);
            }
            if round % 7 == 0 {
                act(&mut world, trim(unit), 0);
                flush(&mut world);
                assert!(write(&mut world, unit, 0), "it is free again");
            }
        }
        act(&mut world, Request::Checkpoint, 0);
        assert_eq!(world.served().engine.free(), free, "nothing has leaked");
        act(&mut world, Request::Delete { volume: 1 }, 0);
        act(&mut world, Request::Checkpoint, 0);
        assert!(world.served().engine.free().0 >= free.0 + units * AU_BLOCKS);
        world.end(false);
        world.recover(false).expect("no cut is planned");
    }
}

/// Goal: a unit that is given up while a checkpoint is written gets no new owner before its root is durable. Else the root names the new
/// owner while the journal, which is replayed over it, still begins with the old one. Method: one unit of a volume is written
/// and trimmed until every free unit of the pool has been its, then another one is written.
#[test]
fn a_unit_is_used_again_only_after_the_checkpoint() {
    let mut world = World::new(1, small_drive(false, 12));
    for _ in 0..2 {
        let new = world.fresh_name(VolumeKind::Volume);
        act(&mut world, Request::Create { blocks: LONG, new }, 0);
    }
    let put = |world: &mut World, volume, unit, others| {
        let versions = world.versions(1);
        act(world, Request::Write { volume, first: unit * AU_BLOCKS, versions }, others)
    };
    put(&mut world, 1, 0, 0);
    world.slow = Slow::Leaves;
    world.send(Request::Checkpoint);
    let free = world.served().engine.free().0 / AU_BLOCKS;
    let generation = world.served().engine.state.borrow().generation;
    for round in 0..=free {
        let others = world.served().under_way;
        assert!(put(&mut world, 2, 0, others), "round {round} of {free}");
        act(&mut world, Request::Trim { volume: 2, first: 0, blocks: AU_BLOCKS }, others);
    }
    let others = world.served().under_way;
    put(&mut world, 2, 1, others);
    assert!(world.served().engine.state.borrow().generation > generation, "it waited for the checkpoint");
    world.settle().expect("no cut is planned");
    world.end(false);
    world.recover(false).expect("no cut is planned");
}
