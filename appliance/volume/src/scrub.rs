//! Scrub: everything that is mapped is read once, at a pace, so that damage is found before somebody needs the data, and so that
//! regions that a power cut left unsure get sure.
//!
//! Volume after volume, unit after unit, by reads like those of hosts; numbers of volumes grow, so a snapshot that is made
//! meanwhile comes later. What several volumes share is read once for each, and what is damaged in it is reported for each.
//!
//! Not here: when to scrub, and what is done about what it finds.

use crate::engine::{Engine, EngineError, State};
use crate::limits::FINDINGS_MAX;
use crate::map::{Body, Map, NodeId};
use crate::pages::SCRUB;
use block::{BLOCK_SIZE, BlockDevice, MediaError, Tick};
use ondisk::thin::{AU_BLOCKS, Au, LEAF_UNITS, MapNode};
use task::{Mode, Timers};

/// How fast to scrub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Nanoseconds from one block to the next, at least.
    pub block_ns: u64,
}

/// What is wrong with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It does not agree with its checksum.
    Damaged,
    /// The drive cannot read it.
    Unreadable,
}

/// A block that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The number of the volume or snapshot.
    pub volume: u32,
    /// Which block of it.
    pub block: u64,
    /// Why.
    pub problem: Problem,
}

/// What a scrub found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// Units read.
    pub units: u64,
    /// The first blocks that cannot be read.
    pub findings: Vec<Finding>,
    /// How many there are.
    pub found: u64,
    /// It came to its end.
    pub is_complete: bool,
}

impl ScrubReport {
    fn add(&mut self, finding: Finding) {
        self.found += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

/// The first unit from `unit` on that is mapped below a node, which covers `first_unit` and what follows.
fn mapped_below(map: &Map, id: NodeId, first_unit: u64, unit: u64) -> Option<u64> {
    match &map.node(id).body {
        // Nobody knows what is mapped there.
        Body::Lost => None,
        Body::Leaf(entries) => {
            let from = usize::try_from(unit.saturating_sub(first_unit)).unwrap_or(LEAF_UNITS);
            let found = entries.iter().skip(from).position(Option::is_some)?;
            Some(first_unit + (from + found) as u64)
        }
        Body::Inner { level, children } => {
            let span = MapNode::span(level - 1).unwrap_or(u64::MAX);
            let from = unit.saturating_sub(first_unit) / span;
            let children = children.iter().zip(0..).skip(usize::try_from(from).unwrap_or(usize::MAX));
            let mut children = children.filter_map(|(child, at)| Some(((*child)?, first_unit + at * span)));
            children.find_map(|(child, first)| mapped_below(map, child, first, unit))
        }
    }
}

impl State {
    /// The next mapped unit, of this volume from `unit` on or of a later one.
    fn mapped_from(&self, volume: u32, unit: u64) -> Option<(u32, u64)> {
        self.volumes.range(volume..).find_map(|(number, v)| {
            let from = if *number == volume { unit } else { 0 };
            Some((*number, mapped_below(&self.map, v.root?, 0, from)?))
        })
    }
}

impl<D: BlockDevice> Engine<D> {
    /// Scrubs everything once.
    pub async fn scrub(&self, timers: &Timers, pace: Pace) -> ScrubReport {
        let _turn = self.sum_turns.claim(SCRUB, 0..1, Mode::Exclusive).await;
        self.sums.borrow_mut().begin_scrub();
        let mut report = ScrubReport::default();
        let (mut volume, mut unit) = (0, 0);
        let mut due = timers.now();
        loop {
            let next = self.state.borrow().mapped_from(volume, unit);
            let Some(next) = next else { break };
            timers.sleep_until(due).await;
            due = Tick(due.max(timers.now()).0.saturating_add(pace.block_ns.saturating_mul(AU_BLOCKS)));
            if !self.scrub_unit(next, &mut report).await {
                return report;
            }
            (volume, unit) = (next.0, next.1 + 1);
        }
        self.sums.borrow_mut().end_scrub();
        report.is_complete = true;
        report
    }

    /// Reads a unit; if something is wrong with it, block by block. Says whether to go on.
    async fn scrub_unit(&self, (volume, unit): (u32, u64), report: &mut ScrubReport) -> bool {
        let first = unit * AU_BLOCKS;
        let length = self.state.borrow().volume(volume).map_or(0, |v| v.blocks.0);
        let blocks = length.saturating_sub(first).min(AU_BLOCKS);
        let len = usize::try_from(blocks).unwrap_or(0) * BLOCK_SIZE;
        // It was deleted meanwhile.
        if len == 0 {
            return true;
        }
        report.units += 1;
        if self.read(volume, first, (self.memory)(len)).await.is_ok() {
            return true;
        }
        for block in first..first + blocks {
            let problem = match self.read(volume, block, (self.memory)(BLOCK_SIZE)).await {
                Ok(_) | Err(EngineError::NoSuchVolume | EngineError::OutOfRange) => continue,
                Err(EngineError::Damaged { .. }) => Problem::Damaged,
                Err(EngineError::Media(MediaError::Unreadable)) => Problem::Unreadable,
                Err(_) => return false,
            };
            if problem == Problem::Unreadable {
                self.leave_unsure(volume, unit, block);
            }
            report.add(Finding { volume, block, problem });
        }
        true
    }

    /// What cannot be read now may be read later, and its checksum may lag.
    fn leave_unsure(&self, volume: u32, unit: u64, block: u64) {
        let state = self.state.borrow();
        let Ok(root) = state.volume(volume).map(|v| v.root) else { return };
        let within = u32::try_from(block % AU_BLOCKS).unwrap_or(0);
        let place = state.map.lookup(root, unit).0.and_then(|entry| entry.block(within));
        if let Some(au) = place.and_then(Au::of) {
            self.sums.borrow_mut().give_up(self.drives().region_of(au));
        }
    }
}
