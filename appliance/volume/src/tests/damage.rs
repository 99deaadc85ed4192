//! Damage at rest: one bad place of what exists four times costs nothing; any other bad place of metadata is named, and nothing
//! is written to a drive that cannot be served.

use super::world::{Request, World};
use crate::ImportError;
use ondisk::thin::{HOMES, Root};
use ondisk::{Inconsistency, LoadError};
use sim::{Drive, NextWrite};

/// A pool with a volume, a snapshot, and something in the journal; its power is off.
fn world() -> World {
    let mut drive = Drive::new("S0", 12);
    drive.geometry.is_volatile = false;
    let mut world = World::new(1, drive);
    let act = |world: &mut World, request| {
        world.send(request);
        world.settle().expect("no cut is planned");
    };
    let new = world.fresh_name(ondisk::thin::VolumeKind::Volume);
    act(&mut world, Request::Create { blocks: 5000, new });
    for first in [0, 4096] {
        let versions = world.versions(3);
        act(&mut world, Request::Write { volume: 1, first, versions });
    }
    act(&mut world, Request::Checkpoint);
    for first in [16, 32, 48] {
        let versions = world.versions(3);
        act(&mut world, Request::Write { volume: 1, first, versions });
    }
    world
}

/// Imports after damage at some blocks; the error, if there is one, and whether anything was written.
fn import(world: &World, damaged: &[u64]) -> (Option<ImportError>, bool) {
    let mut world = world.copy();
    let drive = world.drive.as_mut().expect("the power is off");
    damaged.iter().for_each(|lba| drive.rot(*lba, 1000));
    let before = drive.commands()[1];
    let error = world.start(false).expect("no cut is planned").err();
    let drive = world.drive.as_ref().map(Drive::commands);
    if error.is_none() {
        world.end(false);
        world.recover(false).expect("no cut is planned");
    }
    (error, drive.is_none_or(|commands| commands[1] > before))
}

/// Goal: a superblock or root may be bad in three of four homes; if the newest root is bad in all, nothing older is served
/// instead.
#[test]
fn homes_stand_in_for_each_other() {
    let mut world = world();
    let (layout, generation) = {
        let engine = &world.served().engine;
        (engine.layout, engine.state.borrow().generation)
    };
    world.end(false);
    let root = |home| layout.root_lba(Root::slot(generation, home)).0;
    let other = |home| layout.root_lba(Root::slot(generation + 1, home)).0;
    for good in 0..HOMES {
        let places = |home| [layout.home_lba(home).0, root(home), other(home)];
        let bad: Vec<u64> = (0..HOMES).filter(|home| *home != good).flat_map(places).collect();
        assert_eq!(import(&world, &bad).0, None, "home {good} is left");
    }
    let all = |place: &dyn Fn(u8) -> u64| (0..HOMES).map(place).collect::<Vec<_>>();
    let lost = ImportError::RootLost { generation: generation - 1 };
    assert_eq!(import(&world, &all(&root)), (Some(lost), false));
    let (error, is_written) = import(&world, &all(&|home| layout.home_lba(home).0));
    assert!(matches!(error, Some(ImportError::NoSuperblock(_))) && !is_written, "{error:?}");
}

/// Goal: any bad block of a map, of the volume table, or of the journal before its end is named, and nothing is written.
#[test]
fn damaged_metadata_is_named() {
    let mut world = world();
    let (places, layout, first) = {
        let engine = &world.served().engine;
        let state = engine.state.borrow();
        // Nodes that were changed since have a new place only after the next checkpoint; the last root reaches the old one.
        let nodes = state.map.places().chain(state.map.stale.iter().copied());
        (
            nodes.chain(state.tables.iter().copied()).collect::<Vec<_>>(),
            engine.layout,
            engine.journal.first.get(),
        )
    };
    world.end(false);
    assert_eq!(places.len(), 4, "a root, two leaves, a block of the table");
    for lba in places {
        let (error, is_written) = import(&world, &[lba.0]);
        assert!(matches!(error, Some(ImportError::Damaged { lba: at, .. }) if at == lba.0), "{error:?}");
        assert!(!is_written);
    }
    let gap = ImportError::JournalGap { sequence: first + 1 };
    assert_eq!(import(&world, &[layout.journal_lba(first + 1).0]), (Some(gap), false));
}

/// Goal: the story of a write that the drive confirmed and lost, where an older good node of the same generation lies: an import
/// was cut off after it had written the node, and the next one writes the same generation to the same place.
#[test]
fn an_older_node_is_not_taken_for_the_one_that_was_lost() {
    let mut world = World::new(1, Drive::new("S0", 12));
    let act = |world: &mut World, request| {
        world.send(request);
        world.settle().expect("no cut is planned");
    };
    let new = world.fresh_name(ondisk::thin::VolumeKind::Volume);
    act(&mut world, Request::Create { blocks: 100, new });
    let versions = world.versions(1);
    act(&mut world, Request::Write { volume: 1, first: 0, versions });
    let mark = world.history.mark();
    act(&mut world, Request::Flush { mark });
    let versions = world.versions(1);
    act(&mut world, Request::Write { volume: 1, first: 1, versions });
    let writes = |world: &mut World| world.served().devices.with(0, |d| d.drive.commands()[1]);
    let before = writes(&mut world);
    world.send(Request::Checkpoint);
    while writes(&mut world) < before + 2 {
        world.go().expect("no cut is planned");
    }
    // Of the second write's data and record nothing survives; the leaf and the block of the table do.
    world.served().devices.with(0, |d| d.power_cut_to(0b1100));
    world.end(false);
    world.drive.as_mut().expect("the power is off").faults.next_write = NextWrite::IsLost;
    world.recover(false).expect("no cut is planned");
    world.end(false);
    let error = world.start(false).expect("no cut is planned").err();
    let other = LoadError::Inconsistent(Inconsistency::OtherNode);
    assert!(matches!(&error, Some(ImportError::Damaged { error, .. }) if *error == other), "{error:?}");
}
