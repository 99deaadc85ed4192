//! Exhaustive small scope: all workloads of up to three requests, cut after every step, with every subset of what was cached.

use super::world::{Request, World};
use ondisk::thin::VolumeKind;
use sim::{Drive, History};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Subsets of up to so many changes are all tried; of more, only those that lack or have a single one.
const ALL_SUBSETS_MAX: usize = 4;

/// A drive with a volume and a snapshot of it, as every workload finds it.
fn prepared() -> World {
    let mut world = World::new(1, Drive::new("S0", 8));
    let act = |world: &mut World, request| {
        world.send(request);
        world.settle().expect("no cut is planned");
    };
    let new = world.fresh_name(VolumeKind::Volume);
    act(&mut world, Request::Create { blocks: 20, new });
    let versions = world.versions(2);
    act(&mut world, Request::Write { volume: 1, first: 0, versions });
    let (new, mark) = (world.fresh_name(VolumeKind::Snapshot), world.history.mark());
    act(&mut world, Request::Snapshot { origin: 1, new, mark });
    let versions = world.versions(1);
    act(&mut world, Request::Write { volume: 1, first: 0, versions });
    let mark = world.history.mark();
    act(&mut world, Request::Flush { mark });
    world.end(false);
    world.history = History::default();
    for (owner, lba, version) in [(2, 0, 1), (2, 1, 2), (1, 0, 3), (1, 1, 2)] {
        world.history.begin(owner, lba, version);
        world.history.end(owner, lba, version);
    }
    world.history.all_durable();
    world
}

/// The requests of which workloads consist: writes that are shared, owned, new and overlapping, a trim, a flush, a checkpoint, a
/// snapshot, and the end of one.
fn request(world: &mut World, which: usize) -> Request {
    let mut write = |first, blocks| Request::Write { volume: 1, first, versions: world.versions(blocks) };
    match which {
        0 => write(0, 1),
        1 => write(0, 2),
        2 => write(17, 2),
        3 => Request::Trim { volume: 1, first: 0, blocks: 1 },
        4 => Request::Flush { mark: world.history.mark() },
        CHECKPOINT => Request::Checkpoint,
        6 => {
            let new = world.fresh_name(VolumeKind::Snapshot);
            Request::Snapshot { origin: 1, new, mark: world.history.mark() }
        }
        _ => Request::Delete { volume: 2 },
    }
}

const REQUESTS: usize = 8;
const CHECKPOINT: usize = 5;

/// Runs a workload for so many steps and cuts the power; gives how many changes were undecided, or `None` if the workload
/// ended before.
fn run(prepared: &World, workload: &[usize], steps: u64, subset: Option<u64>) -> Option<usize> {
    let mut world = prepared.copy();
    world.recover(false).expect("no cut is planned");
    world.steps.cut_in = Some(steps);
    let mut is_cut = false;
    for which in workload {
        // A change that waits for another one would be refused by the oracle, not by the engine.
        let request = request(&mut world, *which);
        world.send(request);
        // What follows a checkpoint goes on beside it.
        is_cut = *which != CHECKPOINT && world.settle().is_err();
        if is_cut {
            break;
        }
    }
    is_cut = is_cut || world.settle().is_err();
    let pending = world.served().devices.with(0, |d| d.pending());
    if let Some(subset) = subset {
        world.served().devices.with(0, |d| d.power_cut_to(subset));
        world.end(false);
        world.recover(false).expect("no cut is planned");
    }
    is_cut.then_some(pending)
}

/// Goal: no workload of up to three requests has a moment and an outcome of a power cut after which something is lost, shown
/// that was never written, or changed in a snapshot.
#[test]
fn no_small_workload_loses_anything() {
    let prepared = prepared();
    let mut outcomes = 0;
    for number in 0..REQUESTS.pow(3) {
        let workload = [number / REQUESTS.pow(2), number / REQUESTS % REQUESTS, number % REQUESTS];
        // The same snapshot is not deleted twice.
        if workload.iter().filter(|which| **which == REQUESTS - 1).count() > 1 {
            continue;
        }
        for steps in 0.. {
            let found = run(&prepared, &workload, steps, None);
            let pending = found.unwrap_or(0);
            let subsets: Vec<u64> = if pending <= ALL_SUBSETS_MAX {
                (0..1 << pending).collect()
            } else {
                (0..pending.min(63)).flat_map(|n| [1 << n, !(1 << n)]).chain([0, u64::MAX]).collect()
            };
            for subset in subsets {
                let outcome = AssertUnwindSafe(|| run(&prepared, &workload, steps, Some(subset)));
                let is_good = catch_unwind(outcome).is_ok();
                assert!(is_good, "workload {workload:?} cut after {steps} steps, survivors {subset:b}");
                outcomes += 1;
            }
            if found.is_none() {
                break;
            }
        }
    }
    assert!(outcomes > 15_000, "{outcomes} outcomes");
}
