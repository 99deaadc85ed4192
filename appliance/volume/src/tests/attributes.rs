//! Attributes: whatever length, as a whole the old or the new ones, beside checkpoints, in a full pool, damaged.

use super::full::small_drive;
use super::stories::{act, write};
use super::world::{JOURNAL_BLOCKS, Request, World, on_first};
use crate::{EngineError, ImportError, NewVolume};
use ondisk::limits::ATTRIBUTES_MAX;
use ondisk::thin::{AU_BLOCKS, VolumeKind};
use sim::Drive;

/// A volume with attributes of so many bytes, on a drive.
fn world_on(drive: Drive, len: usize) -> World {
    let mut world = World::new(1, drive);
    let attributes = world.fresh_attributes(len);
    let new = NewVolume { attributes, ..world.fresh_name(VolumeKind::Volume) };
    act(&mut world, Request::Create { blocks: 60_000, new });
    world
}

fn world(is_volatile: bool, len: usize) -> World {
    let mut drive = Drive::new("S0", 12);
    drive.geometry.is_volatile = is_volatile;
    world_on(drive, len)
}

fn set(world: &mut World, volume: u32, len: usize) -> Request {
    Request::SetAttributes { volume, attributes: world.fresh_attributes(len) }
}

fn attributes(world: &mut World, volume: u32) -> Option<Box<[u8]>> {
    let volumes = world.served().engine.volumes();
    volumes.into_iter().find(|found| found.number == volume).expect("it is there").attributes
}

/// Goal: attributes of every length come back from the journal and from a checkpoint; a copy has its own, and each is replaced
/// alone.
#[test]
fn attributes_come_back() {
    for len in [0, 1, 3968, 3969, ATTRIBUTES_MAX] {
        let mut world = world(false, len);
        let (new, mark) = (world.fresh_name(VolumeKind::Snapshot), world.history.mark());
        act(&mut world, Request::Snapshot { origin: 1, new, mark });
        assert_eq!(attributes(&mut world, 2), Some(Box::default()), "a copy does not inherit them");
        for (volume, len) in [(2, 100), (1, ATTRIBUTES_MAX - len), (1, 7)] {
            for _ in 0..2 {
                world.end(false);
                world.recover(false).expect("no cut is planned");
            }
            let request = set(&mut world, volume, len);
            act(&mut world, request);
            assert_eq!(attributes(&mut world, volume).map(|bytes| bytes.len()), Some(len));
        }
    }
}

/// Goal: what cannot be is refused, and changes nothing.
#[test]
fn impossible_attributes_are_refused() {
    let mut world = world(false, 10);
    world.is_healthy = false;
    let new =
        NewVolume { attributes: vec![1; ATTRIBUTES_MAX + 1].into(), ..world.fresh_name(VolumeKind::Volume) };
    let long = [set(&mut world, 1, ATTRIBUTES_MAX + 1), Request::Create { blocks: 5, new }];
    for request in long {
        assert_eq!(act(&mut world, request)[1], 0, "nothing is written");
        assert_eq!(world.failed.take(), Some(EngineError::TooLong));
    }
    let request = set(&mut world, 2, 10);
    assert_eq!(act(&mut world, request)[1], 0);
    assert_eq!(world.failed.take(), Some(EngineError::NoSuchVolume));
}

/// Goal: what they cost: a write for each block and one for the record, none of them again by a checkpoint.
#[test]
fn attributes_cost_what_they_should() {
    let mut world = world(false, 0);
    for (len, writes) in [(0, 1), (60, 2), (3968, 2), (3969, 3), (ATTRIBUTES_MAX, 18)] {
        let request = set(&mut world, 1, len);
        assert_eq!(act(&mut world, request), [0, writes, 0], "{len} bytes");
    }
    let before = act(&mut world, Request::Checkpoint);
    let request = set(&mut world, 1, ATTRIBUTES_MAX);
    act(&mut world, request);
    assert_eq!(act(&mut world, Request::Checkpoint), before);
}

/// Goal: attributes are the old or the new ones at every moment of their replacement, whatever of the drive's cache survives: all,
/// nothing, or all but or only one block. Nodes of a checkpoint are written beside them, and take places that are free.
#[test]
fn attributes_are_old_or_new() {
    let mut old_and_new = [0; 2];
    for steps in 0.. {
        let mut world = world(true, 5000);
        for leaf in 0..6 {
            write(&mut world, 1, leaf * 4096, 1);
        }
        let before = attributes(&mut world, 1);
        let request = set(&mut world, 1, 9000);
        world.send(request);
        world.send(Request::Checkpoint);
        world.steps.cut_in = Some(steps);
        let is_over = world.settle().is_ok();
        world.steps.cut_in = None;
        let pending = world.served().devices.with(0, |d| d.pending());
        let single = (0..pending).flat_map(|block| [1 << block, !(1 << block)]);
        for subset in single.chain([0, u64::MAX]) {
            let mut world = world.cut_to(subset);
            world.recover(false).expect("no cut is planned");
            old_and_new[usize::from(attributes(&mut world, 1) != before)] += 1;
        }
        if is_over {
            break;
        }
    }
    assert!(old_and_new[0] > 20 && old_and_new[1] > 1, "{old_and_new:?}");
}

/// Goal: attributes that are replaced while a checkpoint is written are there after it, and after a power cut, whichever its table
/// names; their old places are used again meanwhile.
#[test]
fn attributes_change_beside_checkpoints() {
    let mut beside = 0;
    for steps in 0..50 {
        let mut world = world(false, 5000);
        for leaf in 0..14 {
            write(&mut world, 1, leaf * 4096, 1);
        }
        world.send(Request::Checkpoint);
        for _ in 0..steps {
            if world.served().under_way > 0 {
                world.go().expect("no cut is planned");
            }
        }
        for _ in 0..3 {
            let under_way = world.served().under_way;
            let request = set(&mut world, 1, 5000);
            world.send(request);
            while world.served().under_way > under_way {
                world.go().expect("no cut is planned");
            }
            beside += u64::from(world.served().engine.checkpoints.is_running.get());
            world.cut_to(0).recover(false).expect("no cut is planned");
        }
        world.settle().expect("no cut is planned");
        world.end(false);
        world.recover(false).expect("no cut is planned");
    }
    assert!(beside > 30, "{beside} replaced while a checkpoint went on");
}

/// Goal: in a pool without room for data attributes are replaced again and again, as long as one more set of them has room.
#[test]
fn attributes_of_a_full_pool_can_be_replaced() {
    let mut world = world_on(small_drive(false, 12), 3000);
    for unit in 0.. {
        write(&mut world, 1, unit * AU_BLOCKS, 16);
        if world.failed.take().is_some() {
            break;
        }
    }
    for _ in 0..JOURNAL_BLOCKS * 2 {
        let request = set(&mut world, 1, 8000);
        act(&mut world, request);
        assert_eq!(world.failed.take(), None);
    }
    world.end(false);
    world.recover(false).expect("no cut is planned");
}

/// Goal: a bad block of attributes, rotten or unreadable, the first of a chain or a later one, costs them: they are not known, the
/// pool is frozen, and everything else is read as ever. Nothing is written.
#[test]
fn damaged_attributes_are_not_guessed() {
    let mut world = world(false, 5000);
    write(&mut world, 1, 0, 3);
    let new = NewVolume { attributes: (*b"other").into(), ..world.fresh_name(VolumeKind::Volume) };
    act(&mut world, Request::Create { blocks: 16, new });
    let places = world.served().engine.state.borrow().volumes[&1].attributes.places.clone();
    assert_eq!(places.len(), 2);
    world.end(false);
    for (lba, is_rotten) in places.iter().flat_map(|at| [(at.lba.0, true), (at.lba.0, false)]) {
        let mut world = world.copy();
        world.is_rotten = true;
        let drive = world.drive.as_mut().expect("the power is off");
        if is_rotten {
            drive.rot(lba, 1000);
        } else {
            drive.faults.unreadable.insert(lba);
        }
        let before = drive.commands()[1];
        world.start(false).expect("no cut is planned").expect("it is served");
        world.is_healthy = false;
        let damage = world.served().engine.damage();
        let is_it = |error: &ImportError| {
            let is_damaged = matches!(error, ImportError::Damaged { at, .. } if at.lba.0 == lba);
            is_damaged == is_rotten && (is_rotten || *error == ImportError::Unreadable { at: on_first(lba) })
        };
        assert!(damage.len() == 1 && damage.iter().all(is_it), "{damage:?}");
        let known = [attributes(&mut world, 1), attributes(&mut world, 2)];
        assert_eq!(known, [None, Some((*b"other").into())]);
        for lba in 0..3 {
            assert!(world.fetch(1, lba).expect("no cut is planned").is_ok());
        }
        let request = set(&mut world, 1, 10);
        act(&mut world, request);
        assert_eq!(world.failed.take(), Some(EngineError::Frozen));
        assert_eq!(world.served().devices.with(0, |d| d.drive.commands()[1]), before, "nothing is written");
    }
}

/// Goal: attributes that were replaced may be bad in their old places: nothing reads them.
#[test]
fn replaced_attributes_are_not_needed() {
    let mut world = world(false, 5000);
    let old = world.served().engine.state.borrow().volumes[&1].attributes.places.clone();
    act(&mut world, Request::Checkpoint);
    let request = set(&mut world, 1, 100);
    act(&mut world, request);
    world.end(false);
    let drive = world.drive.as_mut().expect("the power is off");
    drive.faults.unreadable.extend(old.iter().map(|at| at.lba.0));
    world.recover(false).expect("no cut is planned");
}
