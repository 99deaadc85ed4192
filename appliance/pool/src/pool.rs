//! A pool whose drives are all there: its record in memory, and which changes it accepts now.
//!
//! ```text
//!  begin_create_pool ─▶ Busy ─ finish ─▶ Ready ─ begin_… ─▶ Busy ─ finish ─▶ Ready | Frozen | Gone
//!  import ─▶ Unsettled ─ begin_settle ─▶ Busy ─ finish ──┘
//! ```
//! A volume that is created or grows begins with a job beside this picture: while it zeroes, the pool stays Ready, and settings
//! may change (Busy, finish). `begin_commit` goes on with it, when the pool is Ready: Busy, finish.
//!
//! A pool of the *thin* engine is planned here, too: its record is kept in memory only, as the engine tells it, and says which
//! part of the pool is promised to which volume. Whoever has the engine makes the changes that a job asks for ([`Job::asked`],
//! [`Job::end`]). Promises never exceed the pool, so no host meets a full one.

use crate::drive::{Drive, DriveId, MemberIndex};
use crate::import::{FoundThin, thin_member};
use crate::job::{Goal, Job, JobError, Stage, Work};
use crate::map::{self, MapError, Segments};
use crate::space::Space;
use block::{Blocks, Lba};
use control::{ControlError, ErrorKind, PoolState, PoolStatus, VolumeState, VolumeStatus};
use ondisk::{DriveLabel, EXTENT_BYTES, LABEL_LBA, PoolRecord, Run, Serial, VolumeRecord};
use uuid::Uuid;

/// A member that has to be brought up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stale {
    pub(crate) member: u16,
    pub(crate) needs_label: bool,
    pub(crate) needs_record: bool,
}

/// Which changes are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Imported: the record that was read may not be durable on all members yet.
    Unsettled(Vec<Stale>),
    /// No job that writes; one may be zeroing beside it (`is_zeroing`).
    Ready,
    /// A job is on its way; `is_settled` says whether volumes are served meanwhile.
    Busy { is_settled: bool, stale: Vec<Stale> },
    /// A record was written to some members only.
    Frozen(String),
    /// Deleted: its drives are blank.
    Gone,
}

/// What a `begin_` function says if nothing is wrong.
#[expect(clippy::large_enum_variant, reason = "one at a time, and moved once")]
#[derive(Debug)]
pub enum Begun {
    /// Do this, then go on with it as [`Job`] says.
    Job(Job),
    /// The pool is as asked for already.
    Unchanged,
}

/// A pool with all its drives.
#[derive(Debug)]
pub struct Pool {
    pub(crate) record: PoolRecord,
    /// By member number.
    pub(crate) drives: Vec<Drive>,
    pub(crate) phase: Phase,
    /// A job zeroes extents that no record names yet: nobody else may get them.
    pub(crate) is_zeroing: bool,
    /// The thin engine keeps what the record says, and where things lie.
    pub(crate) is_thin: bool,
}

impl Pool {
    /// A pool of the thin engine that was opened, with `extents` for its volumes. Of the volumes, runs are of no interest.
    /// `None` if they contradict each other, or the drive's serial number cannot be stored.
    #[must_use]
    pub fn thin(found: FoundThin, extents: u32, volumes: Vec<VolumeRecord>) -> Option<Self> {
        let revision = volumes.iter().map(|volume| volume.revision).max();
        let mut record = PoolRecord {
            pool: found.superblock.identity.pool,
            name: found.superblock.name.clone(),
            generation: revision.unwrap_or(1).max(if volumes.is_empty() { 1 } else { 2 }),
            members: vec![thin_member(&found, extents)?],
            volumes,
        };
        record.volumes.sort_by_key(|volume| volume.nsid);
        promise(&mut record);
        record.check().ok()?;
        let drives = vec![found.drive];
        Some(Self { record, drives, phase: Phase::Ready, is_zeroing: false, is_thin: true })
    }

    /// A pool whose creation has begun becomes one of the thin engine, with `extents` for its volumes.
    #[must_use]
    pub fn into_thin(mut self, extents: u32) -> Self {
        assert_eq!(self.drives.len(), 1, "a pool of the thin engine has one drive");
        self.is_thin = true;
        self.record.members.iter_mut().for_each(|member| member.extents = extents);
        self
    }

    /// The thin engine has it.
    #[must_use]
    pub fn is_thin(&self) -> bool {
        self.is_thin
    }

    /// It accepts no change from now on, until the engine restarts.
    pub fn freeze(&mut self, why: String) {
        self.phase = Phase::Frozen(why);
    }

    /// All that is known.
    #[must_use]
    pub fn record(&self) -> &PoolRecord {
        &self.record
    }

    /// Identity.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        self.record.pool
    }

    /// Name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.record.name.as_str()
    }

    /// The drives, by member number.
    #[must_use]
    pub fn drives(&self) -> &[Drive] {
        &self.drives
    }

    /// The drive behind a member number.
    ///
    /// # Panics
    /// If the pool has no such member: member numbers come from this pool.
    #[must_use]
    pub fn drive(&self, member: MemberIndex) -> DriveId {
        self.drives.get(member.index()).map(|d| d.id).expect("member numbers come from their pool")
    }

    /// The volumes, in the order of their namespace identifiers.
    #[must_use]
    pub fn volumes(&self) -> &[VolumeRecord] {
        &self.record.volumes
    }

    /// A volume by identity.
    #[must_use]
    pub fn volume(&self, uuid: Uuid) -> Option<&VolumeRecord> {
        self.record.volumes.iter().find(|v| v.uuid == uuid)
    }

    /// Whether volumes may be served: what is in memory is durable on all members.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        match &self.phase {
            Phase::Ready | Phase::Frozen(_) => true,
            Phase::Busy { is_settled, .. } => *is_settled,
            Phase::Unsettled(_) | Phase::Gone => false,
        }
    }

    /// Whether the pool was deleted; drop it then.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.phase == Phase::Gone
    }

    /// Where a range of a volume lies. Allocates nothing.
    ///
    /// # Errors
    /// If there is no such volume, it is not served, or the range ends behind it.
    pub fn map(&self, nsid: u32, lba: Lba, blocks: Blocks) -> Result<Segments<'_>, MapError> {
        if !self.is_settled() {
            return Err(MapError::NoVolume);
        }
        let volumes = &self.record.volumes;
        let index = volumes.binary_search_by_key(&nsid, |v| v.nsid).map_err(|_| MapError::NoVolume)?;
        map::segments(&volumes[index], lba, blocks)
    }

    /// Bytes usable for volumes, in all.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        size_bytes(&self.record)
    }

    /// Bytes not used by volumes.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        Space::of(&self.record).free() * EXTENT_BYTES
    }

    /// Makes what was imported durable on all members: lagging ones get the record, all are flushed. Needed once after
    /// an import, before volumes are served or changes accepted; may be repeated if it failed.
    ///
    /// # Errors
    /// If another job is on its way.
    pub fn begin_settle(&mut self) -> Result<Begun, ControlError> {
        let stale = match &self.phase {
            Phase::Unsettled(stale) => stale.clone(),
            Phase::Ready => return Ok(Begun::Unchanged),
            Phase::Busy { .. } | Phase::Frozen(_) | Phase::Gone => return Err(self.refusal()),
        };
        let mut stage = Stage::new("bring the pool record up to date", false, self.drives.len());
        for Stale { member, needs_label, needs_record } in &stale {
            let index = usize::from(*member);
            if *needs_label {
                stage.push(index, self.label_work(*member));
            }
            if *needs_record {
                stage.push(index, record_work(&self.record, *member));
            }
        }
        self.phase = Phase::Busy { is_settled: false, stale };
        Ok(Begun::Job(self.job(Goal::Settle, vec![stage])))
    }

    /// Ends a job that has a result. After `Ok` the change is durable and current; after an error the pool is as
    /// before, and if the error [is undecided](JobError::is_undecided) it accepts no more changes.
    ///
    /// # Errors
    /// Why the job failed.
    ///
    /// # Panics
    /// If the job has no result yet or is another pool's.
    pub fn finish(&mut self, job: Job) -> Result<(), JobError> {
        assert_eq!(job.pool, self.record.pool, "a job ends where it began");
        let Phase::Busy { is_settled, stale } = core::mem::replace(&mut self.phase, Phase::Ready) else {
            unreachable!("a pool with a job is busy")
        };
        let result = job.result().expect("a job is finished when it has a result");
        match (result, job.goal) {
            (Ok(()), Goal::Settle | Goal::Create) => Ok(()),
            (Ok(()), Goal::Change(record)) => {
                self.record = *record;
                if self.is_thin {
                    promise(&mut self.record);
                }
                Ok(())
            }
            (_, Goal::Gain(_)) => unreachable!("a job that prepares goes on with begin_commit"),
            (_, Goal::Wipe) => unreachable!("a drive that is wiped is no member"),
            (Ok(()), Goal::Delete) => {
                self.phase = Phase::Gone;
                Ok(())
            }
            (Err(error), Goal::Create) => {
                self.phase = Phase::Gone;
                Err(error)
            }
            (Err(error), Goal::Settle | Goal::Change(_) | Goal::Delete) => {
                if error.is_undecided {
                    self.phase = Phase::Frozen(error.to_string());
                } else if !is_settled {
                    self.phase = Phase::Unsettled(stale);
                }
                Err(error)
            }
        }
    }

    /// The pool for people. The NQN is the subsystem's.
    #[must_use]
    pub fn status(&self, subsystem_nqn: &str) -> PoolStatus {
        let detail = match &self.phase {
            Phase::Frozen(why) => format!("accepts no changes until the engine restarts: {why}"),
            Phase::Unsettled(_) => "being brought up to date".to_owned(),
            Phase::Ready | Phase::Busy { .. } | Phase::Gone => String::new(),
        };
        PoolStatus {
            detail,
            drive_serials: self.drives.iter().map(|d| d.serial.clone()).collect(),
            ..pool_status(&self.record, PoolState::Online, subsystem_nqn)
        }
    }

    /// The volumes for people; connected hosts are filled in by the caller.
    #[must_use]
    pub fn volume_statuses(&self, subsystem_nqn: &str) -> Vec<VolumeStatus> {
        let state = if self.is_settled() { VolumeState::Online } else { VolumeState::Offline };
        volume_statuses(&self.record, state, subsystem_nqn)
    }

    /// Checks that a change of what there is, or of what it owns, may begin.
    pub(crate) fn accept_change(&self) -> Result<(), ControlError> {
        if self.phase == Phase::Ready && !self.is_zeroing { Ok(()) } else { Err(self.refusal()) }
    }

    /// Checks that a change may begin that moves no extents.
    pub(crate) fn accept_setting(&self) -> Result<(), ControlError> {
        if self.phase == Phase::Ready { Ok(()) } else { Err(self.refusal()) }
    }

    fn refusal(&self) -> ControlError {
        let name = self.name();
        let (kind, message, remedy) = match &self.phase {
            Phase::Ready | Phase::Busy { .. } => (
                ErrorKind::Unavailable,
                format!("pool \"{name}\" is busy with another change"),
                "try again in a moment",
            ),
            Phase::Unsettled(_) => (
                ErrorKind::Unavailable,
                format!("pool \"{name}\" is being brought up to date"),
                "try again in a moment; if it stays so, look for failing drives",
            ),
            Phase::Frozen(why) => (
                ErrorKind::FailedPrecondition,
                format!("pool \"{name}\" accepts no changes after a failed one: {why}"),
                "check the drive, then restart the engine",
            ),
            Phase::Gone => {
                (ErrorKind::NotFound, format!("pool \"{name}\" was deleted"), "choose another pool")
            }
        };
        ControlError::new(kind, message).object(self.object()).remedy(remedy)
    }

    pub(crate) fn object(&self) -> String {
        format!("pool/{}", self.name())
    }

    pub(crate) fn job(&self, goal: Goal, stages: Vec<Stage>) -> Job {
        let mut job = Job::new(self.record.pool, goal, &self.drives, stages);
        job.begin_stage();
        job
    }

    /// The stage that writes a record to all members: the moment at which a change happens.
    pub(crate) fn commit_stage(&self, record: &PoolRecord) -> Stage {
        let mut stage = Stage::new("write the pool record", true, self.drives.len());
        for member in members(record).filter(|_| !self.is_thin) {
            stage.push(usize::from(member), record_work(record, member));
        }
        stage
    }

    /// The label as it was, or would have been, written when the drive joined.
    pub(crate) fn label_work(&self, member: u16) -> Work {
        let own = &self.record.members[usize::from(member)];
        let serial: Serial = own.serial.clone();
        let label = DriveLabel { drive: own.drive, pool: self.record.pool, member, serial };
        Work::Write { lba: LABEL_LBA, bytes: label.encode().to_vec() }
    }
}

/// Promises to each volume its part of a pool of the thin engine, whose promises have no place: in one piece, whatever was before.
fn promise(record: &mut PoolRecord) {
    let mut first = 0;
    for volume in &mut record.volumes {
        volume.runs = vec![Run { member: 0, first, count: volume.extents, position: 0 }];
        first = first.saturating_add(volume.extents);
    }
    for member in &mut record.members {
        member.extents = member.extents.max(first);
    }
}

/// The member numbers of a record.
pub(crate) fn members(record: &PoolRecord) -> impl Iterator<Item = u16> + use<> {
    0..u16::try_from(record.members.len()).unwrap_or(0)
}

pub(crate) fn record_work(record: &PoolRecord, member: u16) -> Work {
    Work::Write { lba: record.slot().lba(), bytes: record.encode(member) }
}

fn size_bytes(record: &PoolRecord) -> u64 {
    record.members.iter().map(|m| u64::from(m.extents)).sum::<u64>() * EXTENT_BYTES
}

/// What a record says about its pool.
pub(crate) fn pool_status(record: &PoolRecord, state: PoolState, subsystem_nqn: &str) -> PoolStatus {
    PoolStatus {
        uuid: record.pool,
        name: record.name.to_string(),
        state,
        detail: String::new(),
        drive_serials: record.members.iter().map(|m| m.serial.to_string()).collect(),
        size_bytes: size_bytes(record),
        free_bytes: Space::of(record).free() * EXTENT_BYTES,
        subsystem_nqn: subsystem_nqn.to_owned(),
        revision: record.generation,
    }
}

/// What a record says about its volumes.
pub(crate) fn volume_statuses(
    record: &PoolRecord,
    state: VolumeState,
    subsystem_nqn: &str,
) -> Vec<VolumeStatus> {
    let status = |volume: &VolumeRecord| VolumeStatus {
        uuid: volume.uuid,
        name: volume.name.to_string(),
        pool: record.pool,
        pool_name: record.name.to_string(),
        size_bytes: u64::from(volume.extents) * EXTENT_BYTES,
        block_size: volume.settings.lba_size.bytes(),
        state,
        nsid: volume.nsid,
        subsystem_nqn: subsystem_nqn.to_owned(),
        hosts: Vec::new(),
        allowed_hosts: crate::settings::allowed_hosts(&volume.settings.access),
        revision: volume.revision,
    };
    record.volumes.iter().map(status).collect()
}
