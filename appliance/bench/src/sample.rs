//! One sample: a polled initiator that keeps a queue full for a while, and what it saw.
//!
//! ```text
//!  connect ─▶ fill the queues ─▶ warm-up ─▶ window: latencies, commands, time of the cores ─▶ drain ─▶ close
//! ```
//!
//! Invariants
//! - A command's time runs from the moment it is handed to the host until its completion is seen; commands that are seen
//!   together share one look at the clock.
//! - What begins in the warm-up and ends in the window counts as ended there: the queue was full all the time.

use crate::machine::{Clock, Passed};
use crate::workload::{Op, Workload};
use anyhow::{Context, Result, ensure};
use nvme_host::histogram::Histogram;
use nvme_host::{IoQueue, Session, SessionConfig, Target, WriteOptions};
use nvme_tcp::{Digests, Slot};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Turns without any completion between looks at the clock.
const TURNS_PER_LOOK: u32 = 4096;
/// Nothing comes back for so long: the target is dead.
const PATIENCE: Duration = Duration::from_secs(10);
/// Turns over idle queues from which the cost of one is known.
const IDLE_TURNS: u32 = 2000;

/// How long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
}

/// What a sample gives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) iops: f64,
    /// Microseconds.
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p995: f64,
    pub(crate) p999: f64,
    /// Microseconds that the target's process ran for a command.
    pub(crate) cpu: Option<f64>,
    /// Microseconds that the whole machine was busy for a command, without the initiator's thread.
    pub(crate) machine: f64,
    /// Share of its time in which the initiator had nothing to do.
    pub(crate) initiator_idle: f64,
    /// Commands in flight on each queue.
    pub(crate) depth: u16,
}

impl Figures {
    pub(crate) fn of(latency: &Histogram, window: Duration, passed: &Passed, has_process: bool) -> Self {
        let us = |latency: Duration| latency.as_secs_f64() * 1e6;
        let count = latency.count() as f64;
        Self {
            iops: count / window.as_secs_f64(),
            mean: us(latency.mean()),
            p50: us(latency.percentile(500)),
            p99: us(latency.percentile(990)),
            p995: us(latency.percentile(995)),
            p999: us(latency.percentile(999)),
            cpu: has_process.then(|| us(passed.ran) / count),
            machine: us(passed.machine) / count,
            initiator_idle: 0.0,
            depth: 0,
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "iops": self.iops, "mean_us": self.mean, "p50_us": self.p50, "p99_us": self.p99, "p99_5_us": self.p995,
            "p99_9_us": self.p999, "target_cpu_us_per_io": self.cpu, "machine_cpu_us_per_io": self.machine,
            "initiator_idle": self.initiator_idle, "depth": self.depth,
        })
    }
}

/// Figures, and what passed meanwhile: whoever keeps samples judges it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) figures: Figures,
    pub(crate) passed: Passed,
}

/// A sequence of places that repeats itself in every run (xorshift64*).
#[derive(Debug)]
pub(crate) struct Places {
    state: u64,
    /// Pieces of the volume.
    count: u64,
}

impl Places {
    pub(crate) fn new(volume_bytes: u64, io_bytes: u32) -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15, count: volume_bytes / u64::from(io_bytes) }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let random = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d);
        u64::try_from((u128::from(random) * u128::from(self.count)) >> 64).unwrap_or(0)
    }
}

/// The commands in flight, and the latencies of those that ended.
struct Load<'a> {
    work: &'a Workload,
    places: Places,
    /// When it began, by queue and slot.
    begun: Vec<Vec<Instant>>,
    latency: Histogram,
    empty_turns: u64,
}

impl Load<'_> {
    fn begin(&mut self, index: usize, queue: &mut IoQueue<'_>, now: Instant) -> Result<()> {
        let offset = self.places.next() * u64::from(self.work.bytes);
        let len = self.work.bytes;
        let options = WriteOptions { is_durable: self.work.op == Op::DurableWrite };
        let slot = match self.work.op {
            Op::Read => queue.begin_read(offset, len),
            Op::Write | Op::DurableWrite => queue.begin_write(offset, len, options, |_| {}),
        };
        let slot: Slot = slot.context("a command cannot be begun")?;
        self.begun[index][slot.index()] = now;
        Ok(())
    }

    /// One turn of a queue; says when commands ended, if any did. `refill` begins as many again.
    fn turn(&mut self, index: usize, queue: &mut IoQueue<'_>, refill: bool) -> Result<Option<Instant>> {
        let has_moved = queue.turn()?;
        let Some(mut done) = queue.poll() else {
            self.empty_turns += u64::from(!has_moved);
            return Ok(None);
        };
        let now = Instant::now();
        // All of them first: a command that is begun takes a slot of one that has ended, and with it the moment it began.
        let mut ended = 1;
        loop {
            let slot = done.result_of("a command of the benchmark")?.slot;
            self.latency.record(now.duration_since(self.begun[index][slot.index()]));
            match queue.poll() {
                Some(next) => (done, ended) = (next, ended + 1),
                None => break,
            }
        }
        if refill {
            for _ in 0..ended {
                self.begin(index, queue, now)?;
            }
        }
        Ok(Some(now))
    }
}

/// Takes one sample. `pid` is the target's process, if it is on this machine.
pub(crate) fn take(target: &Target, work: &Workload, times: Times, pid: Option<i32>) -> Result<Sample> {
    let config = SessionConfig {
        queues: work.queues,
        depth: work.depth,
        io_bytes_max: work.bytes,
        digests: Digests { header: work.digests, data: work.digests },
        in_capsule: work.in_capsule,
        timeout: PATIENCE,
    };
    let mut session = Session::connect(target, config)?;
    ensure!(
        session.transfer_bytes_max() >= work.bytes,
        "the target takes at most {} bytes at once",
        session.transfer_bytes_max()
    );
    let size = session.namespace().size_bytes();
    let depth = session.queue(0).depth();
    let idle_turn = idle_turn(&mut session)?;
    let now = Instant::now();
    let mut load = Load {
        work,
        places: Places::new(size, work.bytes),
        begun: vec![vec![now; usize::from(depth)]; usize::from(work.queues)],
        latency: Histogram::default(),
        empty_turns: 0,
    };
    for index in 0..usize::from(work.queues) {
        let mut queue = session.queue(index);
        for _ in 0..depth {
            load.begin(index, &mut queue, now)?;
        }
    }
    let began = keep_full(&mut session, &mut load, now + times.warm_up)?;
    let before = Clock::look(pid);
    (load.latency, load.empty_turns) = (Histogram::default(), 0);
    let ended = keep_full(&mut session, &mut load, began + times.window)?;
    let passed = Clock::look(pid).since(&before);
    let window = ended.duration_since(began);
    let mut figures = Figures::of(&load.latency, window, &passed, pid.is_some());
    figures.depth = depth;
    figures.initiator_idle =
        (load.empty_turns as f64 * idle_turn.as_secs_f64() / window.as_secs_f64()).min(1.0);
    drain(&mut session, &mut load)?;
    session.close();
    Ok(Sample { figures, passed })
}

/// What a turn costs that moves nothing.
fn idle_turn(session: &mut Session) -> Result<Duration> {
    let mut queue = session.queue(0);
    let began = Instant::now();
    for _ in 0..IDLE_TURNS {
        queue.turn()?;
    }
    Ok(began.elapsed() / IDLE_TURNS)
}

/// Turns the queues until `end`; gives the moment of the completion that reached it.
fn keep_full(session: &mut Session, load: &mut Load<'_>, end: Instant) -> Result<Instant> {
    let mut last = Instant::now();
    let mut turns = 0u32;
    loop {
        for index in 0..usize::from(load.work.queues) {
            if let Some(now) = load.turn(index, &mut session.queue(index), true)? {
                last = now;
            }
        }
        if last >= end {
            return Ok(last);
        }
        turns = turns.wrapping_add(1);
        if turns.is_multiple_of(TURNS_PER_LOOK) {
            ensure!(last.elapsed() < PATIENCE, "nothing came back for {PATIENCE:?}");
        }
    }
}

/// Waits for what is in flight.
fn drain(session: &mut Session, load: &mut Load<'_>) -> Result<()> {
    let began = Instant::now();
    for index in 0..usize::from(load.work.queues) {
        while session.queue(index).in_flight() > 0 {
            load.turn(index, &mut session.queue(index), false)?;
            ensure!(began.elapsed() < PATIENCE, "commands are missing");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: places lie within the volume, and reach all of it.
    #[test]
    fn places_cover_the_volume() {
        let mut places = Places::new(64 * 4096, 4096);
        let mut seen = [0u32; 64];
        for _ in 0..6400 {
            seen[usize::try_from(places.next()).expect("small")] += 1;
        }
        assert!(seen.iter().all(|count| (40..200).contains(count)), "{seen:?}");
    }
}
