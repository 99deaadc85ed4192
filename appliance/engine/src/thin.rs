//! Pools of the thin engine: opened at the start, and changed as their jobs ask.
//!
//! ```text
//!  pool::Pool: what is asked for, and promised ─▶ Job ─ asked ─▶ thin::Change ─▶ engine on the drive
//!              record is current ◀── finish ◀────────── end ◀────────────────────┘
//! ```
//!
//! Invariants
//! - A job ends when the engine says so: its change is durable then, as with other pools.
//! - After a failure that leaves open whether the change was made the pool accepts no more: the next import finds out.

use crate::refusals;
use ::thin::{Change, Server, volume_extents};
use block::{Blocks, MediaError};
use control::{ControlError, PoolState};
use ondisk::thin::{Exported, ThinIdentity, VolumeKind};
use ondisk::{EXTENT_BLOCKS, Name, PoolRecord, VolumeRecord};
use pool::{Asked, Drive, FoundThin, Job, OfflinePool, Pool, offline_thin};
use target::{Target, Thin, memory};
use uuid::Uuid;
use volume::{EngineError, ImportError, NewVolume, VolumeInfo};

/// Opens a pool that was found, and exports it. Nothing else runs yet.
///
/// # Errors
/// The pool as one that cannot be served.
pub(crate) fn open(target: &mut Target, found: &FoundThin) -> Result<(), Box<OfflinePool>> {
    let uuid = found.superblock.identity.pool;
    let drive = found.drive.id;
    let offline = |why: String| {
        let offline = offline_thin(core::slice::from_ref(found), PoolState::Damaged, why);
        Box::new(offline.expect("it has a drive"))
    };
    let Some(reserve) = target.reserve_for(drive) else {
        return Err(offline("there is too little memory for it".to_owned()));
    };
    let server = Server::import(found.drive.geometry, memory(reserve));
    target.add_thin(Thin::new(uuid, drive, server));
    let opened = wait(target, uuid).map_err(|error| error.to_string());
    match opened.and_then(|()| pool_of(target, found.clone())) {
        Ok(pool) => {
            target.add_pool(pool).expect("fewer pools than drives, and drives are bounded");
            Ok(())
        }
        Err(why) => {
            target.remove_thin(uuid);
            Err(offline(why))
        }
    }
}

/// Begins to make a pool of a drive.
///
/// # Errors
/// If there is no memory for it.
pub(crate) fn begin_create(target: &mut Target, pool: &Pool, drive: &Drive) -> Result<(), ControlError> {
    let record = pool.record();
    let reserve = target.reserve_for(drive.id).ok_or_else(|| refusals::no_memory(pool.name()))?;
    let member = record.members.first().expect("a pool has a member");
    let identity = ThinIdentity { pool: record.pool, drive: member.drive };
    let server = Server::format(identity, record.name.clone(), drive.geometry, memory(reserve));
    target.add_thin(Thin::new(record.pool, drive.id, server));
    Ok(())
}

fn wait(target: &mut Target, pool: Uuid) -> Result<(), ImportError> {
    loop {
        target.poll_devices();
        target.devices_mut().kick();
        let thin = target.thin_mut(pool).expect("it was added");
        if let Some(opened) = thin.server_mut().opened() {
            return opened;
        }
        std::thread::yield_now();
    }
}

/// The pool as the engine has it.
fn pool_of(target: &mut Target, found: FoundThin) -> Result<Pool, String> {
    let thin = target.thin_mut(found.superblock.identity.pool).expect("it was added");
    let (volumes, damage) = (thin.server().engine().volumes(), thin.server().engine().damage());
    let mut trouble = damage.first().map(|first| format!("{first} ({} such)", damage.len()));
    let mut records = Vec::new();
    for info in volumes.iter().filter(|info| info.kind == VolumeKind::Volume) {
        let (number, name) = (info.number, &info.name);
        match record_of(info) {
            Some(record) => {
                thin.add_volume(record.nsid, number);
                records.push(record);
            }
            None => trouble = Some(format!("what volume {name} is for hosts cannot be read")),
        }
    }
    let layout = found.superblock.layout().ok_or("its superblock is impossible")?;
    let pool = Pool::thin(found, volume_extents(&layout), records);
    let mut pool = pool.ok_or("its volumes contradict each other")?;
    if let Some(trouble) = trouble {
        pool.freeze(trouble);
    }
    Ok(pool)
}

/// A volume as it was exported before; `None` if that cannot be read.
fn record_of(info: &VolumeInfo) -> Option<VolumeRecord> {
    let Exported { nsid, revision, settings } = Exported::decode(info.attributes.as_deref()?).ok()?;
    let extents = u32::try_from(info.blocks.0 / EXTENT_BLOCKS.0).ok()?;
    let (uuid, name) = (info.uuid, Name::new(&info.name).ok()?);
    let is_whole = info.blocks.0.is_multiple_of(EXTENT_BLOCKS.0) && extents > 0;
    is_whole.then_some(VolumeRecord { uuid, name, nsid, extents, revision, settings, runs: Vec::new() })
}

/// Begins what a job asks for, or looks whether it has ended; says whether there was anything.
pub(crate) fn go_on(target: &mut Target, pool: Uuid, job: &mut Job, has_begun: &mut bool) -> bool {
    if job.result().is_some() {
        return false;
    }
    let is_first = !core::mem::replace(has_begun, true);
    let ended = match job.asked() {
        // It began when the server was made.
        Asked::Create => target.thin_mut(pool).and_then(|thin| thin.server_mut().opened()).map(of_opening),
        Asked::Delete if is_first => begin(target, pool, Change::Erase),
        Asked::Change(next) if is_first => match change_of(target, pool, next) {
            Some(change) => begin(target, pool, change),
            None => Some(Ok(())),
        },
        Asked::Delete => changed(target, pool, None),
        Asked::Change(next) => changed(target, pool, Some(next)),
    };
    if let Some(ended) = ended {
        job.end(ended.map_err(::thin::media_error), ended.is_err_and(is_undecided));
    }
    is_first || ended.is_some()
}

fn begin(target: &mut Target, pool: Uuid, change: Change) -> Option<Result<(), EngineError>> {
    target.thin_mut(pool).expect("a pool stays while its job works").server_mut().begin(change);
    None
}

/// How a change ended; then commands find their volumes by the new numbers.
fn changed(target: &mut Target, pool: Uuid, next: Option<&PoolRecord>) -> Option<Result<(), EngineError>> {
    let current = target.pool(pool).map(|pool| pool.record().clone());
    let thin = target.thin_mut(pool).expect("a pool stays while its job works");
    let changed = thin.server_mut().poll_change()?;
    if let (Ok(number), Some(next), Some(current)) = (changed, next, current) {
        match (difference(&current, next), number) {
            (Some((None, Some(new))), Some(number)) => thin.add_volume(new.nsid, number),
            (Some((Some(old), None)), _) => thin.remove_volume(old.nsid),
            _ => {}
        }
    }
    Some(changed.map(|_| ()))
}

fn of_opening(opened: Result<(), ImportError>) -> Result<(), EngineError> {
    opened.map_err(|error| {
        if let ImportError::Engine(error) = error {
            error
        } else {
            EngineError::Media(MediaError::WriteFault)
        }
    })
}

/// Whether the next import may find a change that failed.
fn is_undecided(error: EngineError) -> bool {
    match error {
        EngineError::Media(_) | EngineError::Frozen | EngineError::Damaged { .. } => true,
        EngineError::NoSuchVolume
        | EngineError::OutOfRange
        | EngineError::Full
        | EngineError::Exists
        | EngineError::TooLong
        | EngineError::TearsBlocks => false,
    }
}

/// The volume that a change is about, before and after it.
fn difference<'a>(
    current: &'a PoolRecord,
    next: &'a PoolRecord,
) -> Option<(Option<&'a VolumeRecord>, Option<&'a VolumeRecord>)> {
    let in_next = |old: &VolumeRecord| next.volumes.iter().find(|new| new.uuid == old.uuid);
    let is_new = |new: &&VolumeRecord| current.volumes.iter().all(|old| old.uuid != new.uuid);
    let changed = current.volumes.iter().find_map(|old| match in_next(old) {
        None => Some((Some(old), None)),
        Some(new) => {
            let what = |v: &VolumeRecord| (v.extents, v.revision, v.settings.clone());
            (what(old) != what(new)).then_some((Some(old), Some(new)))
        }
    });
    changed.or_else(|| Some((None, Some(next.volumes.iter().find(is_new)?))))
}

/// What makes the volumes as `next` has them; `None` if they are.
fn change_of(target: &Target, pool: Uuid, next: &PoolRecord) -> Option<Change> {
    let current = target.pool(pool).expect("a pool stays while its job works").record();
    let number = |volume: &VolumeRecord| {
        let thin = target.thin(pool).expect("a pool stays while its job works");
        thin.number_of(volume.nsid).expect("each volume has a number")
    };
    let blocks = |volume: &VolumeRecord| Blocks(u64::from(volume.extents) * EXTENT_BLOCKS.0);
    Some(match difference(current, next)? {
        (Some(old), None) => Change::Delete { volume: number(old) },
        (Some(old), Some(new)) => Change::Set {
            volume: number(old),
            attributes: attributes(new),
            blocks: (new.extents > old.extents).then(|| blocks(new)),
        },
        (None, Some(new)) => {
            let (uuid, name, kind) = (new.uuid, new.name.clone(), VolumeKind::Volume);
            let new_volume = NewVolume { uuid, name, kind, attributes: attributes(new) };
            Change::Create { blocks: blocks(new), new: new_volume }
        }
        (None, None) => return None,
    })
}

fn attributes(volume: &VolumeRecord) -> Box<[u8]> {
    let VolumeRecord { nsid, revision, settings, .. } = volume;
    Exported { nsid: *nsid, revision: *revision, settings: settings.clone() }.encode()
}
