//! Side by side: one sample of each system in turn, and only those kept that can be compared.
//!
//! Between the virtual cores of a shared machine the distance may change within seconds, and with it every figure. So the
//! ping-pong is measured before and after each sample, and a sample counts only if it was the same, if neither poller lost
//! its core, and if the host machine took no time. Near and far are never mixed.

use crate::machine::{Cores, NEAR_NS_MAX, Passed, ping_pong};
use crate::sample::{Figures, Sample, Times};
use crate::system::System;
use crate::workload::Workload;
use anyhow::Result;
use std::collections::BTreeMap;
use std::time::Duration;

/// Rounds are repeated for samples that were dropped, this many times as often as samples are wanted.
const ROUNDS_PER_SAMPLE: usize = 3;
/// The ping-pong before and after may differ by this factor.
const PING_RATIO_MAX: f64 = 1.3;

/// How far the cores are from one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Distance {
    Near,
    Far,
    /// The machine is emulated: it means nothing.
    Emulated,
}

impl Distance {
    pub(crate) const ALL: [Self; 3] = [Self::Near, Self::Far, Self::Emulated];

    pub(crate) fn of(ping_ns: f64) -> Self {
        if ping_ns <= NEAR_NS_MAX { Self::Near } else { Self::Far }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Far => "far",
            Self::Emulated => "emulated",
        }
    }
}

/// Why a sample does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dropped {
    Moved,
    InitiatorLostCore,
    TargetLostCore,
    TimeTaken,
}

impl Dropped {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Moved => "the distance of the cores changed",
            Self::InitiatorLostCore => "the initiator lost its core",
            Self::TargetLostCore => "the target lost its core",
            Self::TimeTaken => "the host machine took time",
        }
    }
}

/// A sample that counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) distance: Distance,
    pub(crate) ping_ns: f64,
    pub(crate) figures: Figures,
}

/// The samples of one system under one workload.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) system: String,
    pub(crate) is_floor: bool,
    pub(crate) is_kernel: bool,
    pub(crate) kept: Vec<Kept>,
    pub(crate) dropped: BTreeMap<Dropped, usize>,
}

/// All samples of one workload; the first series is ours.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) work: Workload,
    pub(crate) series: Vec<Series>,
}

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) times: Times,
    /// Samples of each system that must count.
    pub(crate) samples: usize,
    pub(crate) cores: Cores,
    /// The machine is emulated.
    pub(crate) is_emulated: bool,
    /// Share of a window that a poller may wait for its core, or that the host machine may take.
    pub(crate) lost_max: f64,
}

/// Measures one workload on all systems that take it.
pub(crate) fn measure(work: &Workload, systems: &[&System], effort: Effort) -> Result<Outcome> {
    let mut series: Vec<Series> = systems
        .iter()
        .map(|system| Series {
            system: system.name.clone(),
            is_floor: system.is_floor(),
            is_kernel: system.is_kernel,
            kept: Vec::new(),
            dropped: BTreeMap::new(),
        })
        .collect();
    let mut before = ping_pong(effort.cores)?;
    for round in 0..effort.samples * ROUNDS_PER_SAMPLE {
        // Each is first in turn, so that none profits from what the others leave in the caches.
        for step in 0..systems.len() {
            let index = (round + step) % systems.len();
            let Sample { figures, passed } = systems[index].sample(work, effort.times)?;
            let after = ping_pong(effort.cores)?;
            let distance = if effort.is_emulated { Ok(Distance::Emulated) } else { far(before, after) };
            match distance.and_then(|distance| judge(distance, &passed, &effort)) {
                Ok(distance) => series[index].kept.push(Kept { distance, ping_ns: after, figures }),
                Err(reason) => *series[index].dropped.entry(reason).or_insert(0) += 1,
            }
            before = after;
        }
        if is_enough(&series, effort.samples) {
            break;
        }
    }
    Ok(Outcome { work: *work, series })
}

/// Every system has as many samples as wanted, at a distance that all of them have seen.
fn is_enough(series: &[Series], samples: usize) -> bool {
    Distance::ALL.into_iter().any(|distance| {
        let count = |one: &Series| one.kept.iter().filter(|kept| kept.distance == distance).count();
        series.iter().all(|one| count(one) >= samples)
    })
}

/// The distance, if it was the same before and after.
fn far(before: f64, after: f64) -> Result<Distance, Dropped> {
    let distance = Distance::of(before);
    if distance != Distance::of(after) || before.max(after) / before.min(after) > PING_RATIO_MAX {
        return Err(Dropped::Moved);
    }
    Ok(distance)
}

fn judge(distance: Distance, passed: &Passed, effort: &Effort) -> Result<Distance, Dropped> {
    let is_much = |time: Duration| time.as_secs_f64() / effort.times.window.as_secs_f64() > effort.lost_max;
    if is_much(passed.own_waited) {
        return Err(Dropped::InitiatorLostCore);
    }
    if is_much(passed.target_waited) {
        return Err(Dropped::TargetLostCore);
    }
    if is_much(passed.stolen) {
        return Err(Dropped::TimeTaken);
    }
    Ok(distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a sample counts only if nothing moved and nobody took time, and the reason is told.
    #[test]
    fn disturbed_samples_are_dropped() {
        let times = Times { warm_up: Duration::ZERO, window: Duration::from_secs(1) };
        let effort = Effort {
            times,
            samples: 1,
            cores: Cores { initiator: 0, target: 1 },
            is_emulated: false,
            lost_max: 0.01,
        };
        let lost = Duration::from_millis(11);
        let calm = Passed::default();
        assert_eq!(far(55.0, 60.0), Ok(Distance::Near));
        assert_eq!(far(310.0, 320.0), Ok(Distance::Far));
        assert_eq!(far(60.0, 310.0), Err(Dropped::Moved));
        assert_eq!(far(200.0, 310.0), Err(Dropped::Moved));
        assert_eq!(judge(Distance::Near, &calm, &effort), Ok(Distance::Near));
        let initiator = Passed { own_waited: lost, ..calm };
        assert_eq!(judge(Distance::Near, &initiator, &effort), Err(Dropped::InitiatorLostCore));
        let target = Passed { target_waited: lost, ..calm };
        assert_eq!(judge(Distance::Near, &target, &effort), Err(Dropped::TargetLostCore));
        let taken = Passed { stolen: lost, ..calm };
        assert_eq!(judge(Distance::Emulated, &taken, &effort), Err(Dropped::TimeTaken));
        let lenient = Effort { lost_max: 0.02, ..effort };
        assert_eq!(judge(Distance::Near, &target, &lenient), Ok(Distance::Near));
    }
}
