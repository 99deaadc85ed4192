//! Which extents are free, and which of them a volume gets.
//!
//! Policy: a volume is spread over the members in runs, each member in proportion to its free space, so that the load
//! spreads too. Runs grow with the volume, because a pool has a bounded number of them. Where space is fragmented any
//! free extents do; an allocation fails for lack of contiguity only if the run table would overflow.
//!
//! Free space is derived from the record, there is no second bookkeeping that could disagree. Since the record becomes
//! current only when it is durable, extents freed by a change cannot be given away by a change before that.

use crate::limits::{RUN_EXTENTS_MIN, RUNS_RESERVED_PER_VOLUME, RUNS_SHARE};
use ondisk::limits::{RUNS_MAX, VOLUMES_MAX};
use ondisk::{PoolRecord, Run};

/// Consecutive free extents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap {
    first: u32,
    count: u32,
}

/// A member's free extents while an allocation is made.
#[derive(Clone, Debug)]
struct MemberSpace {
    gaps: Vec<Gap>,
    free_at_start: u64,
    taken: u64,
}

/// The free extents of a pool.
#[derive(Clone, Debug)]
pub(crate) struct Space {
    members: Vec<MemberSpace>,
    runs_used: usize,
    volumes_used: usize,
}

/// Why an allocation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSpace {
    /// Fewer extents are free.
    Full,
    /// Enough are free, but in too many pieces for the run table.
    Fragmented,
}

impl Space {
    pub(crate) fn of(record: &PoolRecord) -> Self {
        let mut used: Vec<Vec<Gap>> = vec![Vec::new(); record.members.len()];
        let mut runs_used = 0;
        for run in record.volumes.iter().flat_map(|v| &v.runs) {
            used[usize::from(run.member)].push(Gap { first: run.first, count: run.count });
            runs_used += 1;
        }
        let members =
            record.members.iter().zip(used).map(|(m, used)| member_space(m.extents, used)).collect();
        Self { members, runs_used, volumes_used: record.volumes.len() }
    }

    /// Free extents in all.
    pub(crate) fn free(&self) -> u64 {
        self.members.iter().map(|m| m.free_at_start - m.taken).sum()
    }

    /// Chooses `extents` free extents and appends them to `runs`, the runs of a volume (empty for a new one).
    pub(crate) fn extend(&self, runs: &[Run], extents: u32) -> Result<Vec<Run>, NoSpace> {
        if u64::from(extents) > self.free() {
            return Err(NoSpace::Full);
        }
        let spread = self.run_length(extents);
        // The second try takes the longest gaps first: the fewest runs that are possible.
        [spread, u32::MAX]
            .into_iter()
            .find_map(|length| self.clone().extend_by(runs.to_vec(), extents, length))
            .ok_or(NoSpace::Fragmented)
    }

    /// The length of runs at which a volume of this size takes no more than its share of the run table.
    fn run_length(&self, extents: u32) -> u32 {
        let unused = RUNS_MAX.saturating_sub(self.runs_used);
        let reserve = RUNS_RESERVED_PER_VOLUME * VOLUMES_MAX.saturating_sub(self.volumes_used);
        let share = (unused.saturating_sub(reserve) / RUNS_SHARE).max(RUNS_RESERVED_PER_VOLUME);
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        extents.div_ceil(share).max(RUN_EXTENTS_MIN)
    }

    /// `None` if the run table would overflow.
    fn extend_by(mut self, mut runs: Vec<Run>, extents: u32, run_length: u32) -> Option<Vec<Run>> {
        let runs_max = RUNS_MAX - (self.runs_used - runs.len());
        let mut position = runs.last().map_or(0, |r| r.position + r.count);
        let mut left = extents;
        while left > 0 {
            let want = left.min(run_length);
            let member = if run_length == u32::MAX { self.longest_gap()? } else { self.least_served()? };
            let taken = self.members[member].take(want)?;
            let index = u16::try_from(member).ok()?;
            push(&mut runs, Run { member: index, first: taken.first, count: taken.count, position });
            if runs.len() > runs_max {
                return None;
            }
            position += taken.count;
            left -= taken.count;
        }
        Some(runs)
    }

    /// The member that has given the smallest part of its free space: a weighted round robin.
    fn least_served(&self) -> Option<usize> {
        let open = self.members.iter().enumerate().filter(|(_, m)| m.taken < m.free_at_start);
        // taken/free compared by cross multiplication; the larger free space and the lower number win a tie.
        let order = |a: &MemberSpace, b: &MemberSpace| {
            let (left, right) = (
                u128::from(a.taken) * u128::from(b.free_at_start),
                u128::from(b.taken) * u128::from(a.free_at_start),
            );
            left.cmp(&right).then(b.free_at_start.cmp(&a.free_at_start))
        };
        open.min_by(|(_, a), (_, b)| order(a, b)).map(|(index, _)| index)
    }

    fn longest_gap(&self) -> Option<usize> {
        let longest = |m: &MemberSpace| m.gaps.iter().map(|g| g.count).max().unwrap_or(0);
        let best = self.members.iter().enumerate().max_by_key(|(index, m)| (longest(m), usize::MAX - index));
        best.filter(|(_, m)| longest(m) > 0).map(|(index, _)| index)
    }
}

impl MemberSpace {
    /// Takes up to `want` extents in one piece: from the first gap that has them, else all of the longest gap.
    fn take(&mut self, want: u32) -> Option<Gap> {
        let fitting = self.gaps.iter().position(|g| g.count >= want);
        let index = fitting.or_else(|| {
            let longest = self.gaps.iter().enumerate().max_by_key(|(index, g)| (g.count, usize::MAX - index));
            longest.map(|(index, _)| index)
        })?;
        let gap = &mut self.gaps[index];
        let taken = Gap { first: gap.first, count: gap.count.min(want) };
        gap.first += taken.count;
        gap.count -= taken.count;
        if gap.count == 0 {
            self.gaps.remove(index);
        }
        self.taken += u64::from(taken.count);
        Some(taken)
    }
}

/// The extents of a member that no run uses.
fn member_space(extents: u32, mut used: Vec<Gap>) -> MemberSpace {
    used.sort_unstable_by_key(|g| g.first);
    used.push(Gap { first: extents, count: 0 });
    let mut gaps = Vec::new();
    let mut at = 0;
    for run in used {
        assert!(run.first >= at, "runs do not overlap: the record was checked");
        if run.first > at {
            gaps.push(Gap { first: at, count: run.first - at });
        }
        at = run.first + run.count;
    }
    let free_at_start = gaps.iter().map(|g| u64::from(g.count)).sum();
    MemberSpace { gaps, free_at_start, taken: 0 }
}

/// Appends a run, or lengthens the last one if the new extents follow it on the same member.
fn push(runs: &mut Vec<Run>, run: Run) {
    match runs.last_mut() {
        Some(last) if last.member == run.member && last.first + last.count == run.first => {
            last.count += run.count;
        }
        _ => runs.push(run),
    }
}
