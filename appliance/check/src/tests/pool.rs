//! A pool as the engine makes it: volumes, a snapshot, clones, one whose origin is gone, trims, and a journal in use.

use super::image::Image;
use crate::{Depth, Report, Units, check_thin};
use block::{BLOCK_SIZE, Blocks};
use core::cell::RefCell;
use ondisk::Name;
use ondisk::thin::{ThinIdentity, VolumeKind};
use sim::{Drive, Random, SimDrive};
use std::rc::Rc;
use task::{Core, Devices, Executor};
use uuid::Uuid;
use volume::{Engine, EngineError, Memory, NewPool, NewVolume, format};

pub(super) fn identity() -> ThinIdentity {
    ThinIdentity { pool: Uuid::from_u128(1), drive: Uuid::from_u128(2) }
}

pub(super) fn uuid(n: u32) -> Uuid {
    Uuid::from_u128(100 + u128::from(n))
}

/// The first and the third one carry something, more than a block of it.
fn new(n: u32, name: &str, kind: VolumeKind) -> NewVolume {
    let attributes = vec![7; if [1, 3].contains(&n) { 5000 } else { 0 }].into();
    NewVolume { uuid: uuid(n), name: Name::new(name).expect("a good name"), kind, attributes }
}

async fn write(engine: &Engine<SimDrive>, volume: u32, first: u64, blocks: usize) -> Result<(), EngineError> {
    engine
        .write(volume, first, vec![u8::try_from(volume).expect("small"); blocks * BLOCK_SIZE])
        .await
        .map(drop)
}

/// What is in the checkpoint: volumes 1 to 6 but 5, of which 6 is a copy.
async fn first_part(engine: &Engine<SimDrive>) -> Result<(), EngineError> {
    use VolumeKind::{Snapshot, Volume};
    engine.create(Blocks(5000), new(1, "db", Volume)).await?;
    for first in [0, 18, 32, 64, 80, 4096, 4112] {
        write(engine, 1, first, 3).await?;
    }
    engine.snapshot(1, new(2, "db-monday", Snapshot)).await?;
    write(engine, 1, 0, 2).await?;
    write(engine, 1, 34, 2).await?;
    engine.checkpoint().await?;
    engine.snapshot(2, new(3, "db-copy", Volume)).await?;
    write(engine, 3, 0, 1).await?;
    engine.create(Blocks(400), new(4, "logs", Volume)).await?;
    for first in [0, 16, 32, 48, 64, 80] {
        write(engine, 4, first, 16).await?;
    }
    engine.trim(4, 20, Blocks(30)).await?;
    engine.snapshot(4, new(5, "logs-old", Snapshot)).await?;
    engine.snapshot(5, new(6, "logs-copy", Volume)).await?;
    engine.delete(5).await?;
    engine.checkpoint().await
}

/// What is in the journal.
async fn second_part(engine: &Engine<SimDrive>) -> Result<(), EngineError> {
    use VolumeKind::{Snapshot, Volume};
    write(engine, 1, 112, 2).await?;
    write(engine, 1, 114, 2).await?;
    engine.trim(1, 64, Blocks(1)).await?;
    engine.create(Blocks(200), new(7, "fresh", Volume)).await?;
    write(engine, 7, 5, 4).await?;
    engine.snapshot(7, new(8, "fresh-old", Snapshot)).await?;
    write(engine, 7, 5, 1).await?;
    write(engine, 7, 9, 1).await?;
    engine.grow(4, Blocks(9000)).await?;
    write(engine, 4, 8000, 8).await?;
    engine.create(Blocks(50), new(9, "short-lived", Volume)).await?;
    write(engine, 9, 0, 1).await?;
    engine.delete(9).await?;
    engine.set_attributes(3, &[8; 9]).await?;
    write(engine, 3, 100, 1).await
}

/// The drive of the pool, with its power off and a journal in use.
pub(super) fn pool() -> Image {
    pool_after(0)
}

/// The same after so many checkpoints more.
pub(super) fn pool_after(checkpoints: u32) -> Image {
    let mut drive = Drive::new("S0", 32);
    drive.geometry.is_volatile = false;
    let core = Core::new();
    let devices = Rc::new(Devices::new(&core, vec![SimDrive::new(drive)]));
    let mut executor = Executor::new(&core);
    let engine = Rc::new(RefCell::new(None));
    let (made, of_task, of_core) = (engine.clone(), devices.clone(), core.clone());
    let formatted = executor.spawn(async move {
        let memory: Rc<Memory<Vec<u8>>> = Rc::new(|len| vec![0xaa; len]);
        let name = Name::new("tank").expect("a name");
        let new = NewPool { identity: identity(), name, journal_blocks: volume::limits::JOURNAL_BLOCKS_MIN };
        *made.borrow_mut() = format(&of_core, of_task, memory, new).await.ok();
    });
    let mut random = Random(1);
    let mut go_on = |executor: &mut Executor, task| {
        while !executor.has_ended(task) {
            executor.run();
            devices.with(0, |d| {
                if !d.is_idle() {
                    d.step(&mut random);
                }
            });
            devices.poll();
        }
    };
    go_on(&mut executor, formatted);
    let engine: Rc<Engine<SimDrive>> = Rc::new(engine.borrow_mut().take().expect("a blank drive"));
    for task in engine.background() {
        executor.spawn(task);
    }
    let worked = executor.spawn(async move {
        first_part(&engine).await.expect("there is room");
        second_part(&engine).await.expect("there is room");
        for _ in 0..checkpoints {
            engine.checkpoint().await.expect("there is room");
        }
    });
    go_on(&mut executor, worked);
    devices.with(0, |d| Image::of(&d.drive, identity()))
}

/// Goal: what the engine leaves behind is in order, and the summary says what there is.
#[test]
fn what_the_engine_writes_is_clean() {
    let image = pool();
    let Report { findings, summary, left_out } =
        check_thin(&image, Depth::Data).expect("a drive of the thin engine");
    assert_eq!((findings, left_out), (Vec::new(), 0));
    let summary = summary.expect("there is a root");
    assert!(summary.is_complete);
    let volumes: Vec<_> = summary
        .volumes
        .iter()
        .map(|v| (v.number, v.name.as_str(), v.blocks.0, v.mapped, v.attributes))
        .collect();
    assert_eq!(
        volumes,
        [
            (1, "db", 5000, 8, 5000),
            (2, "db-monday", 5000, 7, 0),
            (3, "db-copy", 5000, 8, 9),
            (4, "logs", 9000, 6, 0),
            (6, "logs-copy", 400, 5, 0),
            (7, "fresh", 200, 1, 0),
            (8, "fresh-old", 200, 1, 0),
        ]
    );
    assert_eq!((summary.journal.records, summary.journal.dropped), (15, 0));
    assert_eq!(summary.units, Units { usable: 443, data: 20, shared: 13, nodes: 1 });
}

/// Goal: a drive of something else is not judged, whatever it is.
#[test]
fn other_drives_are_not_judged() {
    let mut image = pool();
    image.homes().into_iter().for_each(|lba| image.erase(lba));
    assert!(check_thin(&image, Depth::Data).is_none());
}
