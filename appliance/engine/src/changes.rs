//! Changes of pools and volumes on their way: which wait, which work on the drives.
//!
//! ```text
//!  request ─▶ waiting ─ nothing before it touches the same pool ─▶ begin ─▶ job: operations between those of hosts ─▶ answer
//!                                                    a job that prepares ─▶ its pool is free ─▶ commit ──┘
//! ```
//!
//! Invariants
//! - One job for each pool writes its record; requests to the same pool keep their order. Creating and deleting pools and
//!   wiping drives wait for each other, too: they look at all drives and names.
//! - A job that [prepares](Job::is_preparing) a change takes as long as drives need to zero what a volume gains. Beside it goes
//!   what is only a word in the record: changes of hosts, and who may use a volume. They do not wait for other zeroing, either.
//! - A job of a pool of the thin engine is that engine's to do; it is begun once, and then asked after (`thin`).
//! - A job takes its turn between the commands of hosts, a few operations at a time; it never blocks the core.

use crate::answer::Answer;
use crate::limits::{JOB_TAG_BITS, JOBS_MAX, WAITING_MAX};
use crate::thin;
use block::{Completion, Tag};
use control::{CreateVolume, Request};
use dma::DmaBuf;
use pool::{DriveId, Job, Pool};
use std::collections::VecDeque;
use target::{HostChange, JOB_TAG, Target};
use uuid::Uuid;

/// What a job is for.
pub(crate) enum Kind {
    /// Bringing an imported pool up to date.
    Settle,
    /// A drive of no pool, or of one that is not online.
    WipeDrive {
        drive: DriveId,
        serial: String,
    },
    CreatePool(Box<Pool>),
    DeletePool,
    CreateVolume(Box<CreateVolume>),
    ResizeVolume {
        volume: Uuid,
    },
    SetHosts {
        volume: Uuid,
    },
    /// What hosts decided about a volume, by the name that `target` gave it.
    Guard {
        name: u64,
    },
    /// `is_drained`: no command of a host for it is at a drive any more.
    DeleteVolume {
        volume: Uuid,
        nsid: u32,
        name: String,
        is_drained: bool,
    },
}

impl Kind {
    fn concerns_pools(&self) -> bool {
        matches!(self, Self::WipeDrive { .. } | Self::CreatePool(_) | Self::DeletePool)
    }
}

/// A change that works on drives.
pub(crate) struct Active {
    pub(crate) pool: Uuid,
    pub(crate) kind: Kind,
    pub(crate) job: Job,
    /// Nobody waits for a settle; hosts get their answer from `target`.
    pub(crate) answer: Option<Answer>,
    pub(crate) worker: Worker,
}

/// Who does the work of a job.
pub(crate) enum Worker {
    /// Drives, by their number in the pool.
    Drives(Vec<DriveId>),
    /// The thin engine.
    Engine { has_begun: bool },
}

/// A change that waits.
pub(crate) struct Waiting {
    pub(crate) pool: Uuid,
    pub(crate) request: Request,
    pub(crate) answer: Answer,
}

/// All changes.
pub(crate) struct Changes {
    active: Vec<Option<Active>>,
    /// How many of them there are: asked in every round.
    active_count: usize,
    waiting: VecDeque<Waiting>,
    /// What hosts wait for: at most one for each volume.
    hosts: VecDeque<HostChange>,
}

impl Changes {
    pub(crate) fn new() -> Self {
        let active = (0..JOBS_MAX).map(|_| None).collect();
        Self { active, active_count: 0, waiting: VecDeque::new(), hosts: VecDeque::new() }
    }

    /// Lets a change wait for its turn; it comes back if too many do.
    pub(crate) fn enqueue(&mut self, waiting: Waiting) -> Result<(), Box<Waiting>> {
        if self.waiting.len() >= WAITING_MAX {
            return Err(Box::new(waiting));
        }
        self.waiting.push_back(waiting);
        Ok(())
    }

    /// The next change whose turn it is.
    pub(crate) fn next_ready(&mut self) -> Option<Waiting> {
        if self.active.iter().all(Option::is_some) {
            return None;
        }
        let is_free = |index: &usize| {
            let this = &self.waiting[*index];
            let (concerns_pools, short) = (concerns_pools(&this.request), short(&this.request));
            let waits_for_active = self.active.iter().flatten().any(|active| {
                let makes_it = |volume| matches!(&active.kind, Kind::CreateVolume(new) if new.uuid == volume);
                let is_beside = short.is_some_and(|volume| active.job.is_preparing() && !makes_it(volume));
                (active.pool == this.pool && !is_beside) || (concerns_pools && active.kind.concerns_pools())
            });
            let waits_for_earlier = self.waiting.iter().take(*index).any(|earlier| {
                let makes_it =
                    |volume| matches!(&earlier.request, Request::CreateVolume(new) if new.uuid == volume);
                let is_beside =
                    short.is_some_and(|volume| has_preparation(&earlier.request) && !makes_it(volume));
                (earlier.pool == this.pool && !is_beside)
                    || (concerns_pools && self::concerns_pools(&earlier.request))
            });
            !waits_for_active && !waits_for_earlier
        };
        let index = (0..self.waiting.len()).find(is_free)?;
        self.waiting.remove(index)
    }

    /// Lets a change of hosts wait for its pool.
    pub(crate) fn enqueue_host(&mut self, change: HostChange) {
        self.hosts.push_back(change);
    }

    /// The next change of hosts whose pool is free. They go before those of operators: they are short, and a cluster that
    /// fences a host waits for them.
    pub(crate) fn next_host(&mut self) -> Option<HostChange> {
        if !self.has_room() {
            return None;
        }
        let index = self.hosts.iter().position(|change| !self.is_writing(change.pool))?;
        self.hosts.remove(index)
    }

    /// Starts a job.
    pub(crate) fn start(&mut self, active: Active) {
        let place =
            self.active.iter_mut().find(|place| place.is_none()).expect("a place was seen to be free");
        *place = Some(active);
        self.active_count += 1;
    }

    /// A job for this pool is on its way.
    pub(crate) fn is_busy(&self, pool: Uuid) -> bool {
        self.active.iter().flatten().any(|active| active.pool == pool)
    }

    /// A job for this pool is on its way that writes its record.
    fn is_writing(&self, pool: Uuid) -> bool {
        self.active.iter().flatten().any(|active| active.pool == pool && !active.job.is_preparing())
    }

    /// Some job has a free place.
    pub(crate) fn has_room(&self) -> bool {
        self.active.iter().any(Option::is_none)
    }

    /// Volumes that are being created.
    pub(crate) fn volumes_in_creation(&self) -> impl Iterator<Item = &CreateVolume> {
        self.active.iter().flatten().filter_map(|active| match &active.kind {
            Kind::CreateVolume(create) => Some(create.as_ref()),
            Kind::Settle
            | Kind::WipeDrive { .. }
            | Kind::CreatePool(_)
            | Kind::DeletePool
            | Kind::ResizeVolume { .. }
            | Kind::SetHosts { .. }
            | Kind::Guard { .. }
            | Kind::DeleteVolume { .. } => None,
        })
    }

    /// Volumes that are being created, and those whose creation waits for its turn.
    pub(crate) fn volumes_to_come(&self) -> impl Iterator<Item = &CreateVolume> {
        let waiting = self.waiting.iter().filter_map(|waiting| {
            if let Request::CreateVolume(create) = &waiting.request { Some(create) } else { None }
        });
        self.volumes_in_creation().chain(waiting)
    }

    /// Submits what jobs have to do now; says how many operations.
    pub(crate) fn submit(&mut self, target: &mut Target) -> usize {
        let mut count = 0;
        for (number, place) in self.active.iter_mut().enumerate() {
            let Some(active) = place else { continue };
            if !may_run(active, target) {
                continue;
            }
            let drives = match &mut active.worker {
                Worker::Drives(drives) => drives,
                Worker::Engine { has_begun } => {
                    count += usize::from(thin::go_on(target, active.pool, &mut active.job, has_begun));
                    continue;
                }
            };
            let arena = target.arena().clone();
            while let Some((member, tag, op)) = active.job.poll_op(|len| arena.alloc(len)) {
                assert!(tag.0 < 1 << JOB_TAG_BITS, "a job has fewer operations");
                let tag = Tag(JOB_TAG | ((number as u64) << JOB_TAG_BITS) | tag.0);
                target.devices_mut().submit(drives[member.index()], tag, op);
                count += 1;
            }
        }
        count
    }

    /// An operation of a job has ended.
    pub(crate) fn on_completion(&mut self, completion: Completion<DmaBuf>) {
        let bits = completion.tag.0 & !JOB_TAG;
        let number = usize::try_from(bits >> JOB_TAG_BITS).unwrap_or(usize::MAX);
        let active = self.active.get_mut(number).and_then(Option::as_mut);
        let active = active.expect("a job stays until its operations have ended");
        let tag = Tag(bits & ((1 << JOB_TAG_BITS) - 1));
        active.job.on_completion(Completion { tag, ..completion });
    }

    /// The next job that has a result. One that prepared a change stays until its pool is free to go on with it.
    pub(crate) fn next_finished(&mut self) -> Option<Active> {
        let is_finished = |active: &Active| {
            active.job.result().is_some() && !(active.job.is_preparing() && self.is_writing(active.pool))
        };
        let index = self.active.iter().position(|place| place.as_ref().is_some_and(is_finished))?;
        let finished = self.active[index].take();
        self.active_count -= usize::from(finished.is_some());
        finished
    }

    /// Nothing works and nothing waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.hosts.is_empty() && self.active_count == 0
    }

    /// Refuses what waits, and gives up what works: the engine stops. Drives must be quiet, or their memory kept.
    pub(crate) fn abandon(&mut self) {
        self.waiting.clear();
        self.hosts.clear();
        self.active.iter_mut().for_each(|place| *place = None);
        self.active_count = 0;
    }

    /// Refuses what waits.
    pub(crate) fn refuse_waiting(&mut self) {
        self.waiting.clear();
        self.hosts.clear();
    }
}

/// A volume is deleted when the last command of a host has come back from the drives.
fn may_run(active: &mut Active, target: &Target) -> bool {
    let Kind::DeleteVolume { nsid, is_drained, .. } = &mut active.kind else { return true };
    *is_drained = *is_drained || target.is_withdrawn(active.pool, *nsid);
    *is_drained
}

/// The volume of which it changes a word in the record of its pool, and no extents.
fn short(request: &Request) -> Option<Uuid> {
    if let Request::SetVolumeHosts(set) = request { Some(set.uuid) } else { None }
}

/// It begins with a job that prepares.
fn has_preparation(request: &Request) -> bool {
    matches!(request, Request::CreateVolume(_) | Request::ResizeVolume(_))
}

fn concerns_pools(request: &Request) -> bool {
    matches!(request, Request::WipeDrive(_) | Request::CreatePool(_) | Request::DeletePool(_))
}

#[cfg(test)]
mod tests;
