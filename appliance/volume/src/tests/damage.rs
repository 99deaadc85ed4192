//! Damage at rest: one bad place of what exists four times costs nothing; of maps and the volume table it costs what it names and
//! all changes; of the journal the pool. It is named, and nothing is written.

use super::world::{Request, World, on_first};
use crate::{EngineError, ImportError};
use block::MediaError;
use ondisk::thin::{HOMES, Root};
use ondisk::{Inconsistency, LoadError};
use sim::{Drive, NextWrite, Random};
use std::collections::BTreeSet;

fn act(world: &mut World, request: Request) {
    world.send(request);
    world.settle().expect("no cut is planned");
}

fn flush(world: &mut World) {
    let mark = world.history.mark();
    act(world, Request::Flush { mark });
}

/// A pool with two volumes, and something in the journal; all of it is durable.
fn world(is_volatile: bool) -> World {
    let mut drive = Drive::new("S0", 12);
    drive.geometry.is_volatile = is_volatile;
    let mut world = World::new(1, drive);
    let new = world.fresh_name(ondisk::thin::VolumeKind::Volume);
    act(&mut world, Request::Create { blocks: 5000, new });
    for first in [0, 4096] {
        let versions = world.versions(3);
        act(&mut world, Request::Write { volume: 1, first, versions });
    }
    let new = world.fresh_name(ondisk::thin::VolumeKind::Volume);
    act(&mut world, Request::Create { blocks: 100, new });
    let versions = world.versions(3);
    act(&mut world, Request::Write { volume: 2, first: 0, versions });
    act(&mut world, Request::Checkpoint);
    for first in [16, 32, 48] {
        let versions = world.versions(3);
        act(&mut world, Request::Write { volume: 1, first, versions });
    }
    flush(&mut world);
    world
}

/// Imports after damage at some blocks; the error, if there is one, and whether anything was written.
fn import(world: &World, damaged: &[u64]) -> (Option<ImportError>, bool) {
    let mut world = world.copy();
    world.is_rotten = true;
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
    let mut world = world(false);
    let (layout, generation) = (world.layout(), world.served().engine.state.borrow().generation);
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

/// Every block that has a history, read: those that fail.
fn unread(world: &mut World) -> Vec<(u32, u64)> {
    let known = |volume: &u32| world.history.known(u64::from(*volume)).collect::<Vec<_>>();
    let all: Vec<(u32, Vec<u64>)> = world.volumes.keys().map(|volume| (*volume, known(volume))).collect();
    let mut failed = Vec::new();
    for (volume, lba) in all.iter().flat_map(|(volume, lbas)| lbas.iter().map(|lba| (*volume, *lba))) {
        let mark = world.history.mark();
        act(world, Request::Read { volume, first: lba, blocks: 1, mark });
        match world.failed.take() {
            None => {}
            Some(EngineError::Media(MediaError::Unreadable) | EngineError::NoSuchVolume) => {
                failed.push((volume, lba));
            }
            Some(error) => panic!("{volume} {lba}: {error}"),
        }
    }
    failed
}

/// Goal: a bad block of a map or of the volume table, rotten or unreadable, costs reads of what it names and nothing else: all other
/// blocks of all volumes are read as they were. It is named, nothing can be changed, and nothing is written.
#[test]
fn damaged_maps_cost_what_they_name() {
    let mut world = world(false);
    let places = {
        let engine = &world.served().engine;
        let state = engine.state.borrow();
        let places = state.map.places().chain(state.tables.iter().copied());
        places.map(|at| at.lba.0).collect::<BTreeSet<u64>>()
    };
    world.end(false);
    let blocks = |volume, firsts: &[u64]| {
        let all = firsts.iter().flat_map(move |first| *first..first + 3).map(move |lba| (volume, lba));
        all.collect::<Vec<_>>()
    };
    let first = blocks(1, &[0, 16, 32, 48]);
    let (last, other) = (blocks(1, &[4096]), blocks(2, &[0]));
    let (map, all) = ([&first[..], &last].concat(), [&first[..], &last, &other].concat());
    let expected = BTreeSet::from([first, last, other, map, all]);
    assert_eq!(
        places.len(),
        expected.len(),
        "a root, two leaves, one of the other volume, a block of the table"
    );
    for is_rotten in [true, false] {
        let mut found = BTreeSet::new();
        for lba in &places {
            let mut world = world.copy();
            let drive = world.drive.as_mut().expect("the power is off");
            if is_rotten {
                drive.rot(*lba, 1000);
            } else {
                drive.faults.unreadable.insert(*lba);
            }
            let before = drive.commands()[1];
            world.start(false).expect("no cut is planned").expect("it is served");
            world.is_healthy = false;
            let damage = world.served().engine.damage();
            let is_it = |error: &ImportError| {
                let meant = on_first(*lba);
                let is_damaged = matches!(error, ImportError::Damaged { at, .. } if *at == meant);
                is_damaged == is_rotten && (is_rotten || *error == ImportError::Unreadable { at: meant })
            };
            assert!(damage.len() == 1 && damage.iter().all(is_it), "{damage:?}");
            found.insert(unread(&mut world));
            let versions = world.versions(1);
            act(&mut world, Request::Write { volume: 2, first: 0, versions });
            let refused = world.failed.take();
            assert!(matches!(refused, Some(EngineError::Frozen | EngineError::NoSuchVolume)), "{refused:?}");
            act(&mut world, Request::Checkpoint);
            assert_eq!(world.failed.take(), Some(EngineError::Frozen));
            assert_eq!(
                world.served().devices.with(0, |d| d.drive.commands()[1]),
                before,
                "nothing is written"
            );
        }
        assert_eq!(found, expected);
    }
}

/// Goal: no block of the journal that was confirmed goes unnoticed if it is damaged, alone or with its neighbour, be it the last
/// one; with and without a volatile cache. Nothing is written then.
#[test]
fn a_damaged_journal_is_never_taken_for_its_end() {
    for is_volatile in [false, true] {
        let mut world = world(is_volatile);
        let layout = world.layout();
        let journal = &world.served().engine.journal;
        let blocks = journal.first.get()..journal.next();
        world.end(false);
        assert_eq!(import(&world, &[]).0, None);
        assert_eq!(blocks.clone().count(), 3);
        for sequence in blocks.clone() {
            let lba = layout.journal_lba(sequence).0;
            for damaged in [&[lba][..], &[lba, lba + 1]] {
                let (error, is_written) = import(&world, damaged);
                assert!(
                    matches!(error, Some(ImportError::Damaged { at, .. }) if at == on_first(lba)),
                    "{error:?}"
                );
                assert!(!is_written);
            }
            let mut world = world.copy();
            world.drive.as_mut().expect("the power is off").faults.unreadable.extend([lba, lba + 1]);
            let error = world.start(false).expect("no cut is planned").err();
            assert_eq!(error, Some(ImportError::Unreadable { at: on_first(lba) }));
        }
    }
}

/// Goal: what lies behind the end of the journal may be damaged or unreadable; only of the very next place nobody can say
/// whether it held something.
#[test]
fn behind_the_end_of_the_journal_nothing_is_needed() {
    let mut world = world(false);
    let (layout, next) = (world.layout(), world.served().engine.journal.next());
    world.end(false);
    let place = |sequence| layout.journal_lba(sequence).0;
    assert_eq!(import(&world, &[place(next + 1), place(next + 2)]).0, None);
    let unreadable = ImportError::Unreadable { at: on_first(place(next)) };
    for (sequence, error) in [(next, Some(unreadable)), (next + 1, None)] {
        let mut world = world.copy();
        world.drive.as_mut().expect("the power is off").faults.unreadable.insert(place(sequence));
        assert_eq!(world.start(false).expect("no cut is planned").err(), error);
    }
}

/// Goal: a journal block that the drive confirmed and lost is not taken for the journal's end if a later one is there: the space
/// that its record gave up has the data of another volume by then.
#[test]
fn a_lost_journal_block_is_missed() {
    for is_volatile in [false, true] {
        let mut world = world(is_volatile);
        let sequence = world.served().engine.journal.next();
        world.served().devices.with(0, |d| d.drive.faults.next_write = NextWrite::IsLost);
        act(&mut world, Request::Trim { volume: 1, first: 16, blocks: 3 });
        flush(&mut world);
        act(&mut world, Request::Trim { volume: 1, first: 32, blocks: 3 });
        flush(&mut world);
        world.end(false);
        assert_eq!(import(&world, &[]), (Some(ImportError::JournalGap { sequence }), false));
    }
}

/// Goal: a gap that a power cut left is the journal's end, also where the image of the drive is on another one without a volatile
/// cache by then.
#[test]
fn a_gap_before_what_was_never_flushed_is_the_end() {
    let mut world = world(true);
    for first in [16, 32] {
        act(&mut world, Request::Trim { volume: 1, first, blocks: 3 });
    }
    // Of two records the second one survives.
    assert_eq!(world.served().devices.with(0, |d| d.pending()), 2);
    world.served().devices.with(0, |d| d.power_cut_to(0b10));
    world.end(false);
    world.drive.as_mut().expect("the power is off").geometry.is_volatile = false;
    world.recover(false).expect("no cut is planned");
}

/// Goal: a root that only one home has is in all of them before anything that the root before it needs is overwritten. Method: the
/// power fails after the first copy of a root, and then at any moment of the import; then that one copy cannot be read.
#[test]
fn a_root_in_one_home_is_in_all_before_it_is_relied_on() {
    let mut world = world(false);
    let (layout, generation) = (world.layout(), world.served().engine.state.borrow().generation + 1);
    let root = |home| layout.root_lba(Root::slot(generation, home));
    let owner = super::world::identity();
    let has_root = |world: &mut World, home| {
        let block = world.served().devices.with(0, |d| d.drive.block(root(home).0));
        let slot = Root::slot(generation, home);
        let found = block.and_then(|block| Root::decode(&block, slot, root(home), owner).ok());
        found.is_some_and(|found| found.generation == generation)
    };
    world.send(Request::Checkpoint);
    while !has_root(&mut world, 0) {
        world.go().expect("no cut is planned");
    }
    assert!(!has_root(&mut world, 1), "one home has it");
    world.end(false);
    for steps in 0.. {
        let mut world = world.copy();
        world.steps.cut_in = Some(steps);
        let is_over = world.start(false).is_ok();
        world.end(false);
        let faults = &mut world.drive.as_mut().expect("the power is off").faults;
        faults.unreadable.insert(root(0).0);
        world.recover(false).expect("no cut is planned");
        if is_over {
            assert!(steps > 20, "the import has {steps} steps");
            break;
        }
    }
}

/// Goal: a drive that was a pool, and gets formatted again, is the old pool with everything that it had, no pool, or the new one,
/// whenever the power fails.
#[test]
fn a_format_that_is_cut_off_leaves_no_half_pool() {
    let (mut old, mut none, mut new) = (0, 0, 0);
    for is_volatile in [false, true] {
        let mut world = world(is_volatile);
        world.end(false);
        for steps in 0.. {
            let mut world = world.copy();
            world.random = Random(steps);
            world.steps.cut_in = Some(steps);
            let is_over = world.start(true).is_ok();
            world.end(false);
            match world.start(false).expect("no cut is planned") {
                Ok(()) if world.served().engine.volumes().is_empty() => new += 1,
                Ok(()) => {
                    world.end(false);
                    world.recover(false).expect("no cut is planned");
                    old += 1;
                }
                Err(ImportError::NoSuperblock(LoadError::Blank)) => none += 1,
                Err(error) => panic!("cut after {steps} steps: {error}"),
            }
            if is_over {
                break;
            }
        }
    }
    assert!(
        old > 4 && none > 10 && new > 2,
        "{old} times the old pool, {none} times none, {new} times the new one"
    );
}

/// Goal: a drive that may leave a block half old and half new is not used: neither a new pool, nor one from another drive.
#[test]
fn drives_that_tear_blocks_are_refused() {
    let mut world = world(false);
    world.end(false);
    for is_new in [true, false] {
        let mut world = world.copy();
        world.drive.as_mut().expect("the power is off").geometry.is_block_atomic = false;
        let error = world.start(is_new).expect("no cut is planned").err();
        assert_eq!(error, Some(ImportError::Engine(EngineError::TearsBlocks)));
    }
}

/// Goal: the story of a write that the drive confirmed and lost, where an older good node of the same generation lies: an import
/// was cut off after it had written the node, and the next one writes the same generation to the same place.
#[test]
fn an_older_node_is_not_taken_for_the_one_that_was_lost() {
    let mut world = World::new(1, Drive::new("S0", 12));
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
    world.is_rotten = true;
    world.recover(false).expect("no cut is planned");
    world.end(false);
    let error = world.start(false).expect("no cut is planned").err();
    let other = LoadError::Inconsistent(Inconsistency::OtherNode);
    assert!(matches!(&error, Some(ImportError::NotKept { error, .. }) if *error == other), "{error:?}");
}
