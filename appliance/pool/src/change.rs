//! Changes of the volumes of a pool: create, grow, delete. (Changes of their settings are in `settings`.)
//!
//! ```text
//!  zero the new extents ─▶ flush all ─▶ begin_commit ─▶ write record, generation + 1, to all ─▶ flush all ─▶ finish
//!  └───────── a job that prepares ──┘                  └────────────── a job that changes ─────┘
//! ```
//!
//! The crash each arrow prevents: without the first flush the record could become durable before the zeroes, and a
//! new volume would show what a deleted one stored; without the second, an answered change could be gone after a
//! power cut.
//!
//! Zeroing takes as long as drives need for it, the record a moment. So the pool is not busy while it zeroes: settings of
//! volumes may change meanwhile (a cluster that fences a host waits for that), and the record is made of what there is when
//! the zeroes are durable. Whatever cuts the zeroing short leaves extents that no record names: they are free.

use crate::job::{Goal, Job, Stage, Work};
use crate::pool::{Begun, Phase, Pool};
use crate::settings::access_of;
use crate::space::{NoSpace, Space};
use block::{Blocks, Bytes};
use control::{ControlError, CreateVolume, ErrorKind, ResizeVolume};
use ondisk::limits::VOLUMES_MAX;
use ondisk::{
    EXTENT_BLOCKS, EXTENT_BYTES, LbaSize, Name, PoolRecord, Run, Settings, VolumeRecord, extent_lba,
};
use uuid::Uuid;

impl Pool {
    /// Begins to create a volume. The same request again, for a volume that exists, changes nothing.
    ///
    /// That name and UUID are unique among the volumes of other pools is checked by the caller.
    ///
    /// # Errors
    /// What is wrong with the request or the pool, for the operator.
    pub fn begin_create_volume(&mut self, request: &CreateVolume) -> Result<Begun, ControlError> {
        let object = format!("volume/{}", request.name);
        let name = checked_name("volume", &request.name)?;
        let extents = checked_size(request.size_bytes).map_err(|e| e.object(object.as_str()))?;
        let lba_size = checked_block_size(request.block_size).map_err(|e| e.object(object.as_str()))?;
        let access = access_of(&request.allowed_hosts).map_err(|e| e.object(object.as_str()))?;
        if request.uuid.is_nil() {
            let error = ControlError::new(ErrorKind::InvalidArgument, "the UUID of a volume must not be nil");
            return Err(error.object(object).field("id").remedy("send a random UUID (version 4)"));
        }
        if let Some(existing) = self.volume(request.uuid) {
            let is_same = existing.settings.lba_size == lba_size && existing.settings.access == access;
            if existing.name == name && existing.extents == extents && is_same {
                return Ok(Begun::Unchanged);
            }
            let message =
                format!("volume {} exists with another name, size, block size or hosts", request.uuid);
            let error = ControlError::new(ErrorKind::AlreadyExists, message);
            return Err(error
                .object(format!("volume/{}", existing.name))
                .field("id")
                .remedy("choose another UUID"));
        }
        if self.record.volumes.iter().any(|v| v.name == name) {
            let message = format!("pool \"{}\" has a volume \"{name}\" already", self.name());
            let error = ControlError::new(ErrorKind::AlreadyExists, message);
            return Err(error.object(object).field("name").remedy("choose another name"));
        }
        self.accept_change()?;
        if self.record.volumes.len() >= VOLUMES_MAX {
            let message = format!("pool \"{}\" has {VOLUMES_MAX} volumes, the most it can have", self.name());
            let error = ControlError::new(ErrorKind::ResourceExhausted, message);
            return Err(error.object(self.object()).remedy("delete a volume, or use another pool"));
        }
        let runs = self.allocate(&object, &[], extents)?;
        let settings = Settings { access, ..Settings::new(lba_size) };
        let uuid = request.uuid;
        let gain = Gain { uuid, runs, extents, old: 0, new: Some((name, settings)) };
        // Also checked when it is written; what can be refused is refused before the work.
        let next = self.with_gain(&gain)?;
        Ok(self.begin_gain(gain, next))
    }

    /// Begins to grow a volume. The size that it has already changes nothing.
    ///
    /// # Errors
    /// What is wrong with the request or the pool, for the operator.
    pub fn begin_grow_volume(&mut self, request: &ResizeVolume) -> Result<Begun, ControlError> {
        let volume = self.existing(request.uuid)?;
        let (object, old, runs) = (format!("volume/{}", volume.name), volume.extents, volume.runs.clone());
        let extents = checked_size(request.size_bytes).map_err(|e| e.object(object.as_str()))?;
        if extents == old {
            return Ok(Begun::Unchanged);
        }
        if extents < old {
            let size = Bytes(u64::from(old) * EXTENT_BYTES);
            let message = format!("volume \"{}\" has {size} and cannot become smaller", volume.name);
            let error = ControlError::new(ErrorKind::InvalidArgument, message);
            return Err(error
                .object(object)
                .field("size_bytes")
                .remedy(format!("choose a size of at least {} bytes", size.0)));
        }
        self.accept_change()?;
        let runs = self.allocate(&object, &runs, extents - old)?;
        let gain = Gain { uuid: request.uuid, runs, extents, old, new: None };
        let next = self.with_gain(&gain)?;
        Ok(self.begin_gain(gain, next))
    }

    /// Goes on with a change whose preparation has ended well: writes the record. The job that prepared is to be given here
    /// when the pool has no other job; what it prepared is held until then.
    ///
    /// # Errors
    /// Why the preparation failed, or what came between: the pool accepts no change any more, or its record has no room. The
    /// change is given up then, and what it would have gained is free.
    ///
    /// # Panics
    /// If the job is another pool's, prepares nothing, or has no result yet.
    pub fn begin_commit(&mut self, job: Job) -> Result<Job, ControlError> {
        assert_eq!(job.pool, self.record.pool, "a job goes on where it began");
        let result = job.result().expect("a job goes on when it has a result");
        let Goal::Gain(gain) = job.goal else { unreachable!("this job changes what is stored") };
        assert!(core::mem::take(&mut self.is_zeroing), "one preparation at a time");
        result?;
        self.accept_setting()?;
        let next = self.with_gain(&gain)?;
        Ok(self.begin_change(next))
    }

    /// The record with what a volume gains.
    fn with_gain(&self, gain: &Gain) -> Result<PoolRecord, ControlError> {
        let mut next = self.next_record()?;
        let revision = next.generation;
        let Gain { uuid, runs, extents, old, new } = gain;
        if let Some((name, settings)) = new {
            let nsid = smallest_free_nsid(&next.volumes);
            let (uuid, extents, name) = (*uuid, *extents, name.clone());
            let (settings, runs) = (settings.clone(), runs.clone());
            let volume = VolumeRecord { uuid, name, nsid, extents, revision, settings, runs };
            next.volumes.insert(next.volumes.partition_point(|v| v.nsid < nsid), volume);
        }
        for volume in next.volumes.iter_mut().filter(|v| v.uuid == *uuid && new.is_none()) {
            assert_eq!(volume.extents, *old, "nobody else changes what volumes own");
            volume.runs.clone_from(runs);
            (volume.extents, volume.revision) = (*extents, revision);
        }
        self.accept_settings(&next, *uuid)?;
        Ok(next)
    }

    /// Begins to delete a volume. No IO to it may be in flight from now on until the job is finished: its extents may
    /// belong to another volume soon after. (That no host is connected is the caller's check.)
    ///
    /// # Errors
    /// If there is no such volume or the pool accepts no change.
    pub fn begin_delete_volume(&mut self, uuid: Uuid) -> Result<Begun, ControlError> {
        self.existing(uuid)?;
        self.accept_change()?;
        let mut next = self.next_record()?;
        next.volumes.retain(|v| v.uuid != uuid);
        Ok(Begun::Job(self.begin_change(next)))
    }

    /// Zeroes what a volume gains. The record stays as it is until [`Self::begin_commit`]. Of the thin engine's volumes what nobody
    /// wrote reads as zeroes.
    fn begin_gain(&mut self, gain: Gain, next: PoolRecord) -> Begun {
        if self.is_thin {
            return Begun::Job(self.begin_change(next));
        }
        let mut zero = Stage::new("zero new extents", false, self.drives.len());
        for run in gain.runs.iter().filter_map(|run| beyond(run, gain.old)) {
            let blocks = Blocks(u64::from(run.count) * EXTENT_BLOCKS.0);
            zero.push(usize::from(run.member), Work::Zero { lba: extent_lba(run.first), blocks });
        }
        self.is_zeroing = true;
        Begun::Job(self.job(Goal::Gain(Box::new(gain)), vec![zero]))
    }

    /// Writes the record.
    pub(crate) fn begin_change(&mut self, next: PoolRecord) -> Job {
        let commit = self.commit_stage(&next);
        self.phase = Phase::Busy { is_settled: true, stale: Vec::new() };
        self.job(Goal::Change(Box::new(next)), vec![commit])
    }

    pub(crate) fn next_record(&self) -> Result<PoolRecord, ControlError> {
        let mut next = self.record.clone();
        next.generation = next.generation.checked_add(1).ok_or_else(|| {
            ControlError::new(ErrorKind::ResourceExhausted, "the generation number of the pool is used up")
                .object(self.object())
        })?;
        Ok(next)
    }

    pub(crate) fn existing(&self, uuid: Uuid) -> Result<&VolumeRecord, ControlError> {
        self.volume(uuid).ok_or_else(|| {
            let message = format!("pool \"{}\" has no volume {uuid}", self.name());
            ControlError::new(ErrorKind::NotFound, message)
                .object(format!("volume/{uuid}"))
                .remedy("list the volumes to see which exist")
        })
    }

    /// The runs of a volume that has `runs` already and gains `extents`.
    fn allocate(&self, object: &str, runs: &[Run], extents: u32) -> Result<Vec<Run>, ControlError> {
        let space = Space::of(&self.record);
        space.extend(runs, extents).map_err(|reason| {
            let free = Bytes(space.free() * EXTENT_BYTES);
            let need = Bytes(u64::from(extents) * EXTENT_BYTES);
            let owned: u64 = runs.iter().map(|r| u64::from(r.count)).sum();
            let largest = free.0 + owned * EXTENT_BYTES;
            let name = self.name();
            let (message, remedy) = match reason {
                NoSpace::Full if free.0 == 0 => (
                    format!("pool \"{name}\" is full, {need} are needed"),
                    "delete a volume, or use another pool".to_owned(),
                ),
                NoSpace::Full => (
                    format!("pool \"{name}\" has {free} free, {need} are needed"),
                    format!("choose a size of at most {largest} bytes, or use another pool"),
                ),
                NoSpace::Fragmented => (
                    format!("the {free} free in pool \"{name}\" lie in too many pieces for {need}"),
                    "choose a smaller size, or use another pool".to_owned(),
                ),
            };
            let error = ControlError::new(ErrorKind::ResourceExhausted, message);
            error.object(object).field("size_bytes").remedy(remedy)
        })
    }
}

/// What a volume gains; not in the record yet.
#[derive(Debug)]
pub(crate) struct Gain {
    uuid: Uuid,
    /// All of the volume's, with those that are new.
    runs: Vec<Run>,
    /// All of them.
    extents: u32,
    /// Those that the volume has already.
    old: u32,
    /// Name and settings, if the volume is new.
    new: Option<(Name, Settings)>,
}

/// The part of a run at or behind a position.
fn beyond(run: &Run, position: u32) -> Option<Run> {
    let skip = position.saturating_sub(run.position);
    let count = run.count.checked_sub(skip).filter(|count| *count > 0)?;
    Some(Run { first: run.first + skip, count, position: run.position + skip, ..*run })
}

fn smallest_free_nsid(volumes: &[VolumeRecord]) -> u32 {
    let mut nsid = 1;
    for volume in volumes {
        if volume.nsid != nsid {
            break;
        }
        nsid += 1;
    }
    nsid
}

/// A size in extents.
fn checked_size(size_bytes: u64) -> Result<u32, ControlError> {
    let extents = size_bytes / EXTENT_BYTES;
    if size_bytes == 0 || !size_bytes.is_multiple_of(EXTENT_BYTES) {
        let up = extents.saturating_add(1).saturating_mul(EXTENT_BYTES);
        let message = format!("{size_bytes} bytes is not a multiple of 1 MiB");
        return Err(ControlError::new(ErrorKind::InvalidArgument, message)
            .field("size_bytes")
            .remedy(format!("choose {up} bytes, or another multiple of {EXTENT_BYTES}")));
    }
    u32::try_from(extents).map_err(|_| {
        let message = format!("{} is more than a volume can have", Bytes(size_bytes));
        ControlError::new(ErrorKind::ResourceExhausted, message)
            .field("size_bytes")
            .remedy("choose a size that the pool has free")
    })
}

/// The size of a volume's logical blocks.
fn checked_block_size(bytes: u32) -> Result<LbaSize, ControlError> {
    LbaSize::of_bytes(bytes).ok_or_else(|| control::no_block_size(bytes))
}

/// The name of a pool or volume.
pub(crate) fn checked_name(what: &str, name: &str) -> Result<Name, ControlError> {
    Name::new(name).map_err(|why| {
        ControlError::new(ErrorKind::InvalidArgument, format!("\"{name}\" is no name for a {what}: {why}"))
            .object(format!("{what}/{name}"))
            .field("name")
            .remedy("use 1 to 63 characters of a-z, 0-9 and -")
    })
}
