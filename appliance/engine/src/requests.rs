//! Requests of the control plane: questions are answered at once, changes take their turn.

use crate::answer::{Answer, overloaded};
use crate::changes::{Active, Kind, Waiting, Worker};
use crate::core::{Core, Load};
use crate::drives::{DriveEntry, statuses};
use crate::refusals;
use crate::thin;
use ::thin::volume_extents_on;
use block::Tick;
use control::{
    ControlError, CreatePool, CreateVolume, DeleteVolume, EngineStatus, PoolState, PoolStatus, Reply,
    Request, ResizeVolume, SetVolumeHosts, VolumeState, VolumeStatus,
};
use nvme_subsystem::limits::SUBSYSTEMS_MAX;
use pool::{Begun, DriveId, Job, Pool, Role};
use std::io::Read;
use target::{HostChange, nqn_of};
use uuid::Uuid;

/// What beginning a change leads to.
pub(crate) enum Begin {
    /// It is as asked for already.
    Reply(Reply),
    /// Drives have to work.
    Job(Uuid, Kind, Box<Job>),
}

impl Core {
    pub(crate) fn on_request(&mut self, request: Request, answer: Answer, now: Tick, load: Load) {
        let pool = match &request {
            Request::GetStatus => return answer.give(Ok(Reply::Engine(self.engine_status(load)))),
            Request::ListDrives => {
                let drives = statuses(&self.drives, &self.known, self.target.devices());
                return answer.give(Ok(Reply::Drives(drives)));
            }
            Request::ListPools => return answer.give(Ok(Reply::Pools(self.pool_statuses()))),
            Request::ListVolumes => return answer.give(Ok(Reply::Volumes(self.all_volume_statuses()))),
            Request::ListSessions => {
                return answer.give(Ok(Reply::Sessions(self.target.session_statuses(now))));
            }
            // Of no pool that could have a job.
            Request::WipeDrive(_) => Ok(Uuid::nil()),
            Request::CreatePool(create) => Ok(create.uuid),
            Request::DeletePool(delete) => Ok(delete.uuid),
            Request::CreateVolume(create) => Ok(create.pool),
            Request::ResizeVolume(resize) => self.pool_of(resize.uuid),
            Request::SetVolumeHosts(set) => self.pool_of(set.uuid),
            Request::DeleteVolume(delete) => self.pool_of(delete.uuid),
        };
        match pool {
            Err(error) => answer.give(Err(error)),
            Ok(pool) => {
                if let Err(refused) = self.changes.enqueue(Waiting { pool, request, answer }) {
                    refused.answer.give(Err(overloaded()));
                }
            }
        }
    }

    /// Begins the changes whose turn it is; says how many.
    pub(crate) fn begin_changes(&mut self) -> usize {
        let mut count = 0;
        while let Some(Waiting { pool: _, request, answer }) = self.changes.next_ready() {
            count += 1;
            let begun = match request {
                Request::WipeDrive(wipe) => self.begin_wipe_drive(&wipe),
                Request::CreatePool(create) => self.begin_create_pool(&create),
                Request::DeletePool(delete) => self.begin_delete_pool(delete.uuid),
                Request::CreateVolume(create) => self.begin_create_volume(&create),
                Request::ResizeVolume(resize) => self.begin_resize_volume(&resize),
                Request::SetVolumeHosts(set) => self.begin_set_hosts(&set),
                Request::DeleteVolume(delete) => self.begin_delete_volume(&delete),
                Request::GetStatus
                | Request::ListDrives
                | Request::ListPools
                | Request::ListVolumes
                | Request::ListSessions => unreachable!("questions do not wait"),
            };
            match begun {
                Err(error) => answer.give(Err(error)),
                Ok(Begin::Reply(reply)) => answer.give(Ok(reply)),
                Ok(Begin::Job(pool, kind, job)) => self.start_job(pool, kind, *job, Some(answer)),
            }
        }
        count
    }

    /// Takes what hosts decided about volumes; it waits until its pool is free.
    pub(crate) fn take_host_changes(&mut self) {
        while let Some(change) = self.target.poll_host_change() {
            self.changes.enqueue_host(change);
        }
    }

    /// Begins what hosts decided about volumes; says how much.
    pub(crate) fn begin_host_changes(&mut self) -> usize {
        let mut count = 0;
        while let Some(HostChange { pool, volume, name, reservation, write_protect }) =
            self.changes.next_host()
        {
            count += 1;
            let begun =
                self.online(pool).and_then(|pool| pool.begin_set_guard(volume, reservation, write_protect));
            match begun {
                Ok(Begun::Job(job)) => self.start_job(pool, Kind::Guard { name }, job, None),
                Ok(Begun::Unchanged) => self.target.on_persisted(name, true),
                // The pool has no room for more registrants, or accepts no changes: it says so to the operator.
                Err(_refused) => self.target.on_persisted(name, false),
            }
        }
        count
    }

    fn start_job(&mut self, pool: Uuid, kind: Kind, job: Job, answer: Option<Answer>) {
        let members = match &kind {
            Kind::WipeDrive { drive, .. } => {
                let worker = Worker::Drives(vec![*drive]);
                return self.changes.start(Active { pool, kind, job, answer, worker });
            }
            Kind::CreatePool(pool) => Some(pool.as_ref()),
            Kind::Settle
            | Kind::DeletePool
            | Kind::CreateVolume(_)
            | Kind::ResizeVolume { .. }
            | Kind::SetHosts { .. }
            | Kind::Guard { .. }
            | Kind::DeleteVolume { .. } => self.target.pool(pool),
        };
        let drives = members.map(Pool::drives).unwrap_or_default().iter().map(|drive| drive.id).collect();
        let worker = if members.is_some_and(Pool::is_thin) {
            Worker::Engine { has_begun: false }
        } else {
            Worker::Drives(drives)
        };
        self.changes.start(Active { pool, kind, job, answer, worker });
    }

    fn begin_create_pool(&mut self, create: &CreatePool) -> Result<Begin, ControlError> {
        if let Some(existing) = self.target.pool(create.uuid) {
            let mut wanted: Vec<&str> = create.drive_serials.iter().map(String::as_str).collect();
            let mut have: Vec<&str> = existing.drives().iter().map(|drive| drive.serial.as_str()).collect();
            wanted.sort_unstable();
            have.sort_unstable();
            if existing.name() != create.name || wanted != have {
                return Err(refusals::pool_differs(create.uuid, existing.name()));
            }
            return Ok(Begin::Reply(self.pool_reply(create.uuid)));
        }
        if let Some(offline) = self.offline.iter().find(|offline| offline.uuid == create.uuid) {
            return Err(refusals::pool_offline(offline));
        }
        let is_taken = self.target.pools().any(|pool| pool.name() == create.name)
            || self.offline.iter().any(|offline| offline.name() == create.name);
        if is_taken {
            return Err(refusals::pool_name_taken(&create.name));
        }
        if self.target.pools().count() >= SUBSYSTEMS_MAX {
            return Err(refusals::too_many_pools(SUBSYSTEMS_MAX));
        }
        self.check_working(&create.drive_serials, "drive_serials")?;
        let random = &mut self.random;
        let begun = pool::begin_create_pool(create, &self.known, &self.offline, || random_uuid(random));
        let (mut pool, job) = begun?;
        // Pools of several drives are not the thin engine's yet.
        if let [drive] = pool.drives() {
            let (id, capacity) = (drive.id, drive.geometry.blocks);
            thin::begin_create(&mut self.target, &pool, drive)?;
            pool = pool.into_thin(volume_extents_on(capacity));
            debug_assert!(self.known.iter().any(|known| known.drive.id == id));
        }
        Ok(Begin::Job(create.uuid, Kind::CreatePool(Box::new(pool)), Box::new(job)))
    }

    /// A drive that does not work is refused with the reason: one that did not open is not known to `pool`, and of one that
    /// stopped working it knows what was on it.
    pub(crate) fn check_working(&self, serials: &[String], field: &str) -> Result<(), ControlError> {
        for serial in serials {
            let why = match self.known.iter().find(|known| known.drive.serial == *serial) {
                Some(known) => self.target.devices().failure(known.drive.id),
                None => self
                    .drives
                    .iter()
                    .filter_map(DriveEntry::failure)
                    .find_map(|(name, why)| (name == serial).then(|| why.to_owned())),
            };
            if let Some(why) = why {
                return Err(refusals::drive_failed(serial, &why).field(field));
            }
        }
        Ok(())
    }

    fn begin_delete_pool(&mut self, uuid: Uuid) -> Result<Begin, ControlError> {
        let begun = self.online(uuid)?.begin_delete_pool()?;
        Ok(match begun {
            Begun::Job(job) => Begin::Job(uuid, Kind::DeletePool, Box::new(job)),
            Begun::Unchanged => Begin::Reply(Reply::Done),
        })
    }

    fn begin_create_volume(&mut self, create: &CreateVolume) -> Result<Begin, ControlError> {
        self.check_unique(create)?;
        let begun = self.online(create.pool)?.begin_create_volume(create)?;
        Ok(match begun {
            Begun::Job(job) => {
                Begin::Job(create.pool, Kind::CreateVolume(Box::new(create.clone())), Box::new(job))
            }
            Begun::Unchanged => Begin::Reply(self.volume_reply(create.uuid)),
        })
    }

    /// Names and UUIDs of volumes are unique on the node, not only in their pool.
    fn check_unique(&self, create: &CreateVolume) -> Result<(), ControlError> {
        let others = self.volume_statuses().into_iter().filter(|volume| volume.pool != create.pool);
        for other in others {
            if other.uuid == create.uuid {
                return Err(refusals::volume_elsewhere(create.uuid, &other.pool_name));
            }
            if other.name == create.name {
                return Err(refusals::volume_name_taken(&create.name));
            }
        }
        let is_taken =
            self.changes.volumes_in_creation().any(|new| new.uuid == create.uuid || new.name == create.name);
        if is_taken { Err(refusals::volume_name_taken(&create.name)) } else { Ok(()) }
    }

    fn begin_resize_volume(&mut self, resize: &ResizeVolume) -> Result<Begin, ControlError> {
        let pool = self.pool_of(resize.uuid)?;
        let begun = self.online(pool)?.begin_grow_volume(resize)?;
        Ok(match begun {
            Begun::Job(job) => Begin::Job(pool, Kind::ResizeVolume { volume: resize.uuid }, Box::new(job)),
            Begun::Unchanged => Begin::Reply(self.volume_reply(resize.uuid)),
        })
    }

    fn begin_set_hosts(&mut self, set: &SetVolumeHosts) -> Result<Begin, ControlError> {
        let pool = self.pool_of(set.uuid)?;
        let access = pool::access_of(&set.allowed_hosts)?;
        let begun = self.online(pool)?.begin_set_access(set.uuid, access)?;
        Ok(match begun {
            Begun::Job(job) => Begin::Job(pool, Kind::SetHosts { volume: set.uuid }, Box::new(job)),
            Begun::Unchanged => Begin::Reply(self.volume_reply(set.uuid)),
        })
    }

    fn begin_delete_volume(&mut self, delete: &DeleteVolume) -> Result<Begin, ControlError> {
        let pool = self.pool_of(delete.uuid)?;
        let record =
            self.online(pool)?.volume(delete.uuid).ok_or_else(|| refusals::no_volume(delete.uuid))?;
        let (nsid, name, nqn) = (record.nsid, record.name.to_string(), nqn_of(pool));
        let hosts = self.target.hosts_of(&nqn, nsid);
        if !hosts.is_empty() && !delete.force {
            return Err(refusals::volume_in_use(&name, &nqn, &hosts));
        }
        let begun = self.online(pool)?.begin_delete_volume(delete.uuid)?;
        Ok(match begun {
            Begun::Job(job) => {
                self.target.withdraw(pool, nsid);
                let kind = Kind::DeleteVolume { volume: delete.uuid, nsid, name, is_drained: false };
                Begin::Job(pool, kind, Box::new(job))
            }
            Begun::Unchanged => Begin::Reply(Reply::Done),
        })
    }

    /// Ends jobs that have a result; says how many.
    pub(crate) fn finish_changes(&mut self) -> usize {
        let mut count = 0;
        while let Some(active) = self.changes.next_finished() {
            count += 1;
            let Active { pool, kind, job, answer, .. } = active;
            if job.is_preparing() {
                match self.online(pool).and_then(|pool| pool.begin_commit(job)) {
                    Ok(commit) => self.start_job(pool, kind, commit, answer),
                    Err(refused) => {
                        if let Some(answer) = answer {
                            answer.give(Err(refused));
                        }
                    }
                }
                continue;
            }
            let result = match kind {
                Kind::WipeDrive { drive, serial } => self.finish_wipe_drive(drive, &serial, &job),
                Kind::CreatePool(new) => self.finish_create_pool(*new, job),
                Kind::DeletePool => self.finish_delete_pool(pool, job),
                Kind::Settle => self.finish_settle(pool, job),
                Kind::CreateVolume(new) => self.finish_volume(pool, new.uuid, job, "created"),
                Kind::Guard { name } => self.finish_guard(pool, name, job),
                Kind::ResizeVolume { volume } => self.finish_volume(pool, volume, job, "grown"),
                Kind::SetHosts { volume } => self.finish_set_hosts(pool, volume, job),
                Kind::DeleteVolume { volume, name, .. } => {
                    self.finish_delete_volume(pool, (volume, name), job)
                }
            };
            if let Some(answer) = answer {
                answer.give(result);
            }
        }
        count
    }

    fn finish_create_pool(&mut self, mut pool: Pool, job: Job) -> Result<Reply, ControlError> {
        let (uuid, name) = (pool.uuid(), pool.name().to_owned());
        let result = pool.finish(job);
        // After a failure the drives carry parts of a pool that nobody was told about: as good as blank.
        let role = if result.is_ok() { Role::Member(uuid) } else { Role::Leftover };
        let drives: Vec<DriveId> = pool.drives().iter().map(|drive| drive.id).collect();
        self.set_roles(&drives, &role);
        if result.is_err() {
            self.target.remove_thin(uuid);
        }
        result.map_err(ControlError::from)?;
        self.target
            .add_pool(pool)
            .expect("there is room for another subsystem: it was checked, and only here they grow");
        self.notify("pool-created", format!("pool/{name}"), format!("pool {name} was created"));
        Ok(self.pool_reply(uuid))
    }

    fn finish_delete_pool(&mut self, uuid: Uuid, job: Job) -> Result<Reply, ControlError> {
        let pool = self.target.pool_mut(uuid).expect("a pool stays while its job works");
        let name = pool.name().to_owned();
        let drives: Vec<DriveId> = pool.drives().iter().map(|drive| drive.id).collect();
        pool.finish(job).map_err(ControlError::from)?;
        self.target.remove_pool(uuid);
        self.set_roles(&drives, &Role::Blank);
        self.notify("pool-deleted", format!("pool/{name}"), format!("pool {name} was deleted"));
        Ok(Reply::Done)
    }

    fn finish_settle(&mut self, uuid: Uuid, job: Job) -> Result<Reply, ControlError> {
        let pool = self.target.pool_mut(uuid).expect("a pool stays while its job works");
        pool.finish(job).map_err(ControlError::from)?;
        let volumes: Vec<Uuid> = pool.volumes().iter().map(|volume| volume.uuid).collect();
        for volume in volumes {
            self.target.publish(uuid, volume);
        }
        Ok(Reply::Done)
    }

    /// `what` was done to the volume: "created".
    fn finish_volume(
        &mut self,
        pool: Uuid,
        volume: Uuid,
        job: Job,
        what: &str,
    ) -> Result<Reply, ControlError> {
        let changed = self.target.pool_mut(pool).expect("a pool stays while its job works");
        changed.finish(job).map_err(ControlError::from)?;
        let name = changed.volume(volume).map(|volume| volume.name.to_string()).unwrap_or_default();
        self.target.publish(pool, volume);
        self.notify(&format!("volume-{what}"), format!("volume/{name}"), format!("volume {name} was {what}"));
        Ok(self.volume_reply(volume))
    }

    /// Durable first: a host that was let in stays in after a loss of power, one that was shut out stays out.
    fn finish_set_hosts(&mut self, pool: Uuid, volume: Uuid, job: Job) -> Result<Reply, ControlError> {
        let changed = self.target.pool_mut(pool).expect("a pool stays while its job works");
        changed.finish(job).map_err(ControlError::from)?;
        let name = changed.volume(volume).map(|volume| volume.name.to_string()).unwrap_or_default();
        self.target.apply_hosts(pool, volume);
        let text = format!("the hosts that may use volume {name} were changed");
        self.notify("volume-hosts", format!("volume/{name}"), text);
        Ok(self.volume_reply(volume))
    }

    fn finish_guard(&mut self, uuid: Uuid, name: u64, job: Job) -> Result<Reply, ControlError> {
        let pool = self.target.pool_mut(uuid).expect("a pool stays while its job works");
        let result = pool.finish(job);
        self.target.on_persisted(name, result.is_ok());
        result.map(|()| Reply::Done).map_err(ControlError::from)
    }

    fn finish_delete_volume(
        &mut self,
        pool: Uuid,
        (volume, name): (Uuid, String),
        job: Job,
    ) -> Result<Reply, ControlError> {
        let changed = self.target.pool_mut(pool).expect("a pool stays while its job works");
        if let Err(error) = changed.finish(job) {
            // It exists as before: hosts see it again. Where the next import may find it deleted, it stays withdrawn, or
            // what hosts wrote until then would be lost after it was acknowledged.
            if !error.is_undecided {
                self.target.publish(pool, volume);
            }
            return Err(error.into());
        }
        self.notify("volume-deleted", format!("volume/{name}"), format!("volume {name} was deleted"));
        Ok(Reply::Done)
    }

    /// Tries again to bring pools up to date that could not be; says whether there are any.
    pub(crate) fn settle_again(&mut self) -> bool {
        let unsettled = |pool: &&Pool| !pool.is_settled() && !pool.is_gone();
        let pools: Vec<Uuid> = self.target.pools().filter(unsettled).map(Pool::uuid).collect();
        for uuid in &pools {
            if self.changes.is_busy(*uuid) || !self.changes.has_room() {
                continue;
            }
            if let Some(Ok(Begun::Job(job))) = self.target.pool_mut(*uuid).map(Pool::begin_settle) {
                self.start_job(*uuid, Kind::Settle, job, None);
            }
        }
        !pools.is_empty()
    }

    pub(crate) fn set_roles(&mut self, drives: &[DriveId], role: &Role) {
        for known in self.known.iter_mut().filter(|known| drives.contains(&known.drive.id)) {
            known.role = role.clone();
        }
    }

    /// The pool of a volume. A change of one that is being created takes its turn behind that.
    fn pool_of(&self, volume: Uuid) -> Result<Uuid, ControlError> {
        let found = self.all_volume_statuses().into_iter().find(|status| status.uuid == volume);
        found.map(|status| status.pool).ok_or_else(|| refusals::no_volume(volume))
    }

    /// A pool that accepts changes, as far as the engine can tell.
    fn online(&mut self, uuid: Uuid) -> Result<&mut Pool, ControlError> {
        if let Some(offline) = self.offline.iter().find(|offline| offline.uuid == uuid) {
            return Err(refusals::pool_offline(offline));
        }
        self.target.pool_mut(uuid).ok_or_else(|| refusals::no_pool(uuid))
    }

    fn engine_status(&self, load: Load) -> EngineStatus {
        let uptime = self.facts.started.elapsed().as_millis();
        EngineStatus {
            version: self.facts.version.clone(),
            cores: load.cores,
            mode: self.facts.mode.to_string(),
            portals: self.facts.portals.iter().map(ToString::to_string).collect(),
            start_ms: self.facts.start_ms,
            uptime_ms: u64::try_from(uptime).unwrap_or(u64::MAX),
            io_commands: self.target.counters().commands,
            busy_permille: load.busy_permille,
        }
    }

    fn pool_statuses(&self) -> Vec<PoolStatus> {
        let online = self.target.pools().map(|pool| {
            let mut status = pool.status(&nqn_of(pool.uuid()));
            if let Some(failed) = self.failed_member(pool) {
                status.state = PoolState::Incomplete;
                status.detail = failed;
            } else if status.detail.is_empty() && self.is_frozen(pool) {
                status.detail = refusals::FROZEN.to_owned();
            }
            status
        });
        let offline = self.offline.iter().map(|offline| offline.status(&nqn_of(offline.uuid)));
        online.chain(offline).collect()
    }

    fn volume_statuses(&self) -> Vec<VolumeStatus> {
        let mut volumes: Vec<VolumeStatus> = Vec::new();
        for pool in self.target.pools() {
            let nqn = nqn_of(pool.uuid());
            let is_failed = self.failed_member(pool).is_some();
            for status in pool.volume_statuses(&nqn) {
                let state = if is_failed { VolumeState::Offline } else { status.state };
                volumes.push(VolumeStatus {
                    hosts: self.target.hosts_of(&nqn, status.nsid),
                    state,
                    ..status
                });
            }
        }
        volumes
            .extend(self.offline.iter().flat_map(|offline| offline.volume_statuses(&nqn_of(offline.uuid))));
        volumes
    }

    /// Volumes that there are, and those that are being created: who is told of none would think that none will come.
    fn all_volume_statuses(&self) -> Vec<VolumeStatus> {
        let mut volumes = self.volume_statuses();
        for create in self.changes.volumes_to_come() {
            let pool = self.target.pools().find(|pool| pool.uuid() == create.pool);
            // The same request again, or one that will be refused.
            let is_told = volumes.iter().any(|volume| volume.uuid == create.uuid);
            if let (Some(pool), false) = (pool, is_told) {
                volumes.push(in_creation(create, pool));
            }
        }
        volumes
    }

    /// Which drive of a pool stopped working, and why. Commands to it fail; the pool's other drives go on.
    fn failed_member(&self, pool: &Pool) -> Option<String> {
        let failed = |drive: &pool::Drive| {
            let why = self.target.devices().failure(drive.id)?;
            Some(format!("drive {}: {why}", drive.serial))
        };
        pool.drives().iter().find_map(failed)
    }

    /// The engine of a pool writes nothing any more.
    fn is_frozen(&self, pool: &Pool) -> bool {
        self.target.thin(pool.uuid()).is_some_and(|thin| thin.server().engine().is_frozen())
    }

    fn pool_reply(&self, uuid: Uuid) -> Reply {
        Reply::Pools(self.pool_statuses().into_iter().filter(|pool| pool.uuid == uuid).collect())
    }

    fn volume_reply(&self, uuid: Uuid) -> Reply {
        Reply::Volumes(self.volume_statuses().into_iter().filter(|volume| volume.uuid == uuid).collect())
    }
}

/// What is known of a volume before it is there.
fn in_creation(create: &CreateVolume, pool: &Pool) -> VolumeStatus {
    VolumeStatus {
        uuid: create.uuid,
        name: create.name.clone(),
        pool: create.pool,
        pool_name: pool.name().to_owned(),
        size_bytes: create.size_bytes,
        block_size: create.block_size,
        state: VolumeState::Creating,
        nsid: 0,
        subsystem_nqn: nqn_of(create.pool),
        hosts: Vec::new(),
        allowed_hosts: create.allowed_hosts.clone(),
        revision: 0,
    }
}

/// A random UUID (version 4).
pub(crate) fn random_uuid(random: &mut std::fs::File) -> Uuid {
    let mut bytes = [0; 16];
    random.read_exact(&mut bytes).expect("the kernel always has random bytes");
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}
