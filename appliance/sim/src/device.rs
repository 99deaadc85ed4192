//! A simulated drive and what it is doing: commands in flight, their times, and the ways in which they end.
//!
//! Two ways to go on, never mixed by one test: [`SimDrive::step`] completes any command, so every order of completion
//! is seen; [`SimDrive::complete_due`] completes what is due by virtual time, so that a slow drive is slow.

use crate::drive::Change;
use crate::{Drive, Random};
use block::{BlockDevice, Completion, Geometry, Op, Tag, Tick};
use std::collections::VecDeque;

/// How long commands take, in nanoseconds of virtual time: `least` and up to `spread` more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// At least.
    pub least_ns: u64,
    /// Up to this much more.
    pub spread_ns: u64,
}

impl Default for Latency {
    /// Guessed: a fast drive with power-loss protection.
    fn default() -> Self {
        Self { least_ns: 10_000, spread_ns: 90_000 }
    }
}

#[derive(Debug)]
struct InFlight {
    tag: Tag,
    op: Op<Vec<u8>>,
    /// A flush covers what completed before it was submitted, and nothing else.
    covers: u64,
    due: Tick,
}

/// A drive and what it is doing.
#[derive(Debug)]
pub struct SimDrive {
    /// The drive itself.
    pub drive: Drive,
    /// How long commands take from now on.
    pub latency: Latency,
    now: Tick,
    times: Random,
    in_flight: Vec<InFlight>,
    ready: VecDeque<Completion<Vec<u8>>>,
}

impl SimDrive {
    /// A drive that is switched on.
    #[must_use]
    pub fn new(drive: Drive) -> Self {
        Self {
            drive,
            latency: Latency::default(),
            now: Tick(0),
            times: Random(0),
            in_flight: Vec::new(),
            ready: VecDeque::new(),
        }
    }

    /// Whether no command is in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Commands in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Completes one command in flight, in any order. There must be one.
    pub fn step(&mut self, random: &mut Random) {
        let chosen = random.index(self.in_flight.len());
        self.complete(chosen);
    }

    /// The same, but a command that `may_wait` ends only when there is no other: so a drive is slow with some.
    pub fn step_others_first(&mut self, random: &mut Random, may_wait: impl Fn(&Op<Vec<u8>>) -> bool) {
        let others: Vec<usize> =
            (0..self.in_flight.len()).filter(|place| !may_wait(&self.in_flight[*place].op)).collect();
        match others.len() {
            0 => self.step(random),
            count => self.complete(others[random.index(count)]),
        }
    }

    /// When the next command in flight is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Tick> {
        self.in_flight.iter().map(|f| f.due).min()
    }

    /// Time has come to `now`: completes what is due, the earliest first.
    pub fn complete_due(&mut self, now: Tick) {
        self.now = self.now.max(now);
        loop {
            let earliest = self.in_flight.iter().enumerate().min_by_key(|(place, f)| (f.due, *place));
            let Some((place, _)) = earliest.filter(|(_, f)| f.due <= self.now) else { return };
            self.complete(place);
        }
    }

    fn complete(&mut self, place: usize) {
        let InFlight { tag, mut op, covers, .. } = self.in_flight.remove(place);
        let result = self.drive.run(&mut op, covers);
        self.ready.push_back(Completion { tag, buf: op.into_buf(), result });
    }

    fn take_in_flight(&mut self) -> Vec<Change> {
        self.ready.clear();
        self.in_flight.drain(..).filter_map(|f| Change::of(&f.op)).collect()
    }

    /// The power fails, and returns.
    pub fn power_cut(&mut self, random: &mut Random) {
        let in_flight = self.take_in_flight();
        self.drive.cut(in_flight, random);
    }

    /// Changes that are not durable: cached and in flight, in this order.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.drive.cached() + self.in_flight.iter().filter(|f| Change::of(&f.op).is_some()).count()
    }

    /// The power fails, and returns; of [`SimDrive::pending`] exactly those survive, whole, whose bit is set.
    pub fn power_cut_to(&mut self, subset: u64) {
        let in_flight = self.take_in_flight();
        self.drive.cut_to(in_flight, subset);
    }

    /// The engine ends and starts again while the drive keeps running: what is in flight completes, or never arrived.
    pub fn restart(&mut self, random: &mut Random) {
        while !self.in_flight.is_empty() {
            let chosen = random.index(self.in_flight.len());
            let InFlight { mut op, covers, .. } = self.in_flight.swap_remove(chosen);
            if random.chance(1, 2) {
                // Whether it failed is of no interest: nobody waits for it.
                let _ = self.drive.run(&mut op, covers);
            }
        }
        self.ready.clear();
    }
}

impl BlockDevice for SimDrive {
    type Buf = Vec<u8>;

    fn geometry(&self) -> Geometry {
        self.drive.geometry
    }

    fn submit(&mut self, tag: Tag, op: Op<Vec<u8>>) -> Result<(), Op<Vec<u8>>> {
        if self.in_flight.len() >= self.drive.geometry.depth_max as usize {
            return Err(op);
        }
        let duration = self.latency.least_ns + self.times.below(self.latency.spread_ns + 1);
        let due = Tick(self.now.0 + duration);
        self.in_flight.push(InFlight { tag, op, covers: self.drive.completed(), due });
        Ok(())
    }

    fn kick(&mut self) {}

    fn poll(&mut self) -> Option<Completion<Vec<u8>>> {
        self.ready.pop_front()
    }
}
