//! Drives on a bench: runs probes and jobs against them as the engine does, and pulls the plug.

use super::{job, tank, uuid, volume};
use crate::{
    DriveId, Finding, Found, Imported, Job, JobError, KnownDrive, MemberIndex, OfflinePool, Pool, Probe,
    begin_create_pool, import,
};
use block::{BlockDevice, Completion, Op, Tag};
use control::{ControlError, CreatePool};
use core::hash::Hash;
pub(super) use sim::PowerCut;
use sim::{Drive, Faults, Random, SimDrive, Steps};

/// In the tags of the second of two jobs.
const JOB_MARK: u64 = 1 << 40;

#[derive(Debug)]
pub(super) struct Bench {
    pub(super) drives: Vec<SimDrive>,
    pub(super) random: Random,
    /// Submissions and completions.
    pub(super) steps: Steps,
    uuids: u64,
}

impl Bench {
    /// Blank drives `S0`, `S1`, … of 64 MiB.
    pub(super) fn new(count: usize, seed: u64) -> Self {
        Self::of((0..count).map(|n| Drive::new(&format!("S{n}"), 64)), seed)
    }

    pub(super) fn of(drives: impl IntoIterator<Item = Drive>, seed: u64) -> Self {
        Self {
            drives: drives.into_iter().map(SimDrive::new).collect(),
            random: Random(seed),
            steps: Steps::default(),
            uuids: 0,
        }
    }

    /// A pool "tank" of all drives, created without disturbance.
    pub(super) fn with_tank(count: usize) -> (Self, Pool) {
        let mut bench = Self::new(count, 1);
        let pool = bench.create(&tank(count)).expect("no cut").expect("no fault");
        (bench, pool)
    }

    /// A pool "tank" of two drives, offline for a reason: in the place of `S0` is a copy of it that is three changes old.
    pub(super) fn with_older_copy(outcome: u64) -> Self {
        let (mut bench, mut pool) = Self::with_tank(2);
        bench.random.0 ^= outcome * 977;
        bench.restart();
        let old = bench.drives[0].drive.clone();
        for number in 1..=3 {
            let job = job(pool.begin_create_volume(&volume(number, 1)));
            bench.run(&mut pool, job).expect("no cut").expect("no fault");
        }
        bench.drives[0].drive = old;
        assert_eq!(bench.import().offline.len(), 1, "it is an older copy");
        bench
    }

    pub(super) fn trace(&self) -> u64 {
        self.steps.trace.value()
    }

    fn note(&mut self, event: impl Hash) -> Result<(), PowerCut> {
        self.steps.note(event)
    }

    /// Looks at one drive.
    pub(super) fn probe(&mut self, index: usize) -> Finding {
        let mut probe = Probe::new(&self.drives[index].geometry());
        let drive = &mut self.drives[index];
        while probe.result().is_none() {
            while let Some((tag, op)) = probe.poll_op(|len| Some(vec![0xaa; len])) {
                assert!(matches!(op, Op::Read { .. }), "a probe writes nothing");
                drive.submit(tag, op).expect("room");
            }
            drive.step(&mut self.random);
            while let Some(completion) = drive.poll() {
                probe.on_completion(completion);
            }
        }
        probe.into_result().expect("it has a result")
    }

    /// Looks at all drives and sorts them into pools.
    pub(super) fn import(&mut self) -> Imported {
        let found: Vec<Found> = (0..self.drives.len())
            .map(|index| Found { drive: self.drive(index), finding: self.probe(index) })
            .collect();
        import(&found)
    }

    /// What the engine knows about a drive.
    pub(super) fn drive(&self, index: usize) -> crate::Drive {
        let id = DriveId(u32::try_from(index).expect("few drives"));
        let sim = &self.drives[index];
        crate::Drive { id, serial: sim.drive.serial.clone(), geometry: sim.geometry() }
    }

    /// The only pool there is, settled.
    pub(super) fn reopen(&mut self) -> Pool {
        let Imported { pools, offline, .. } = self.import();
        assert!(offline.is_empty(), "{offline:?}");
        let [mut pool] = <[Pool; 1]>::try_from(pools).expect("one pool");
        let settle = job(pool.begin_settle());
        self.run(&mut pool, settle).expect("no cut").expect("no fault");
        pool
    }

    /// Does a job to its end, and what follows it.
    pub(super) fn run(&mut self, pool: &mut Pool, mut job: Job) -> Result<Result<(), JobError>, PowerCut> {
        self.work(pool, &mut [&mut job])?;
        if !job.is_preparing() {
            return Ok(pool.finish(job));
        }
        let result = job.result().expect("it has a result");
        match (pool.begin_commit(job), result) {
            (Ok(commit), _) => self.run(pool, commit),
            (Err(_), Err(error)) => Ok(Err(error)),
            (Err(refused), Ok(())) => panic!("nothing came between: {refused}"),
        }
    }

    /// Works on one job of a pool, or two beside each other, until each has a result.
    pub(super) fn work(&mut self, pool: &Pool, jobs: &mut [&mut Job]) -> Result<(), PowerCut> {
        self.work_on(|member| pool.drive(member), jobs)
    }

    /// The same on drives that may be of no pool.
    pub(super) fn work_on(
        &mut self,
        drive_of: impl Fn(MemberIndex) -> DriveId,
        jobs: &mut [&mut Job],
    ) -> Result<(), PowerCut> {
        while jobs.iter().any(|job| job.result().is_none()) {
            for (job, mark) in jobs.iter_mut().zip([0, JOB_MARK]) {
                while let Some((member, tag, op)) = job.poll_op(|len| Some(vec![0xaa; len])) {
                    let drive = drive_of(member).0;
                    self.note((drive, tag, op_number(&op), op.range()))?;
                    let drive = &mut self.drives[usize::try_from(drive).expect("few drives")];
                    drive.submit(Tag(tag.0 | mark), op).expect("a job stays within its depth");
                }
            }
            for Completion { tag, buf, result } in self.step()? {
                let index = usize::from(tag.0 & JOB_MARK != 0);
                jobs[index].on_completion(Completion { tag: Tag(tag.0 & !JOB_MARK), buf, result });
            }
        }
        Ok(())
    }

    /// One drive completes one operation.
    pub(super) fn step(&mut self) -> Result<Vec<Completion<Vec<u8>>>, PowerCut> {
        let busy: Vec<usize> = (0..self.drives.len()).filter(|d| !self.drives[*d].is_idle()).collect();
        let index = busy[self.random.index(busy.len())];
        self.drives[index].step(&mut self.random);
        let mut done = Vec::new();
        while let Some(completion) = self.drives[index].poll() {
            self.note((index, completion.tag, completion.result.is_ok()))?;
            done.push(completion);
        }
        Ok(done)
    }

    /// Creates a pool from the drives as they are now.
    pub(super) fn create(&mut self, request: &CreatePool) -> Result<Result<Pool, JobError>, PowerCut> {
        let Imported { drives, offline, .. } = self.import();
        let begun = self.begin_create(request, &drives, &offline);
        let (mut pool, job) = begun.expect("the request is good");
        Ok(self.run(&mut pool, job)?.map(|()| pool))
    }

    /// Begins to create a pool from what is known of the drives.
    pub(super) fn begin_create(
        &mut self,
        request: &CreatePool,
        drives: &[KnownDrive],
        offline: &[OfflinePool],
    ) -> Result<(Pool, Job), ControlError> {
        begin_create_pool(request, drives, offline, || {
            self.uuids += 1;
            uuid(b'D', self.uuids)
        })
    }

    /// All drives work again.
    pub(super) fn mend(&mut self) {
        for drive in &mut self.drives {
            drive.drive.faults = Faults::default();
        }
    }

    pub(super) fn power_cut(&mut self) {
        self.steps.cut_in = None;
        for drive in &mut self.drives {
            drive.power_cut(&mut self.random);
        }
    }

    pub(super) fn restart(&mut self) {
        self.steps.cut_in = None;
        for drive in &mut self.drives {
            drive.restart(&mut self.random);
        }
    }
}

fn op_number(op: &Op<Vec<u8>>) -> u8 {
    match op {
        Op::Read { .. } => 0,
        Op::Write { .. } => 1,
        Op::WriteZeroes { .. } => 2,
        Op::Flush => 3,
    }
}
