//! Which commands have to wait for which: the blocks of a volume that somebody needs for itself.
//!
//! Some commands read blocks, think, and write them (Compare and Write; writes of less than a block). Between the two nobody
//! else may write there, and nobody may see half of it. Such a command *claims* its area exclusively. All others are
//! *ordinary*: as long as no claim overlaps, they come and go without being noted anywhere.
//!
//! ```text
//!  claims, oldest first      exclusive [20..21)   ordinary [16..24)   exclusive [21..22)
//!                              at the drives        waits for 1         waits for 1
//! ```
//!
//! Invariants
//! - An exclusive claim begins when nobody else is at the drives in its area; nobody begins there before it has ended.
//! - Whoever came first goes first: `ahead` counts the older claims in the way, and for an exclusive claim the ordinary
//!   commands without claim that were at the drives when it came. An ordinary command without claim that ends overlaps only
//!   exclusive claims that are younger, for with an older one it would have a claim itself.
//! - An ordinary command has a claim only while it waits, or has waited. So claims end with what caused them, however many
//!   commands follow each other at the same blocks.
//! - Claims wait only for commands at drives and for older claims; so they cannot wait in a circle.
//! - What a connection left behind at the drives when it was lost ends before any later write to the same blocks begins. Its
//!   host repeats such a write by another controller that it has, is answered, and writes something newer: the old write
//!   must not reach the medium after that.
//! - At most [`CLAIMS_MAX`](crate::limits::CLAIMS_MAX). They are kept in order of their blocks (`claims`), so that whoever holds
//!   many of them costs others nothing who work elsewhere.
//!
//! What this is not: an order for the overlapping writes of a host. NVMe promises none for commands that are outstanding
//! together (Base 2.1 §3.4.1): of two such writes each block has one or the other, as the drives happen to do them.

use crate::claims::{Claim, Claims};
use crate::limits::CLAIMS_MAX;
use block::Blocks;
use nvme_subsystem::Span;
use std::collections::VecDeque;

/// A volume, and a block in it.
pub(crate) type Place = (u64, u64);

/// Blocks of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Area {
    volume: u64,
    first: u64,
    end: u64,
}

impl Area {
    /// The blocks that cover a span.
    pub(crate) fn of(volume: u64, span: Span) -> Self {
        let (lba, Blocks(count)) = span.blocks();
        Self { volume, first: lba.0, end: lba.0 + count }
    }

    /// The smallest that covers both.
    pub(crate) fn with(self, other: Self) -> Self {
        assert_eq!(self.volume, other.volume, "areas of one command");
        Self { volume: self.volume, first: self.first.min(other.first), end: self.end.max(other.end) }
    }

    /// Its first block.
    pub(crate) fn start(&self) -> Place {
        (self.volume, self.first)
    }

    /// The block behind it.
    pub(crate) fn end(&self) -> Place {
        (self.volume, self.end)
    }

    /// They have a block in common.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.volume == other.volume && self.first.max(other.first) < self.end.min(other.end)
    }
}

/// Whose claim it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    /// Place of the connection.
    pub(crate) place: usize,
    /// Index of the command's slot.
    pub(crate) index: usize,
}

/// How a command wants to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Beside others.
    Ordinary {
        /// Writes of lost connections that are at the drives in its area, if it writes itself.
        lost: usize,
    },
    /// Alone.
    Exclusive {
        /// Commands without claim that are at the drives in its area.
        at_drives: usize,
    },
}

/// What a command is told when it wants to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It begins, and nobody notes it.
    Unnoted,
    /// It begins, and has a claim until it leaves.
    Begins,
    /// It has a claim, and begins when [`Ranges::pop_ready`] names it.
    Waits,
    /// There are too many claims.
    Full,
}

/// All claims of a core.
#[derive(Debug)]
pub(crate) struct Ranges {
    claims: Claims,
    ready: VecDeque<Owner>,
    /// The number of the next claim.
    next: u64,
    /// Connections that were lost while something of theirs was at the drives, and it still is.
    lost: usize,
}

/// When a connection was lost: the number of the first claim that came later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loss(u64);

impl Ranges {
    pub(crate) fn new() -> Self {
        Self { claims: Claims::new(), ready: VecDeque::with_capacity(CLAIMS_MAX), next: 0, lost: 0 }
    }

    /// There is no claim, and nothing of lost connections: ordinary commands need not ask.
    pub(crate) fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.lost == 0
    }

    /// Some connections were lost with something at the drives.
    pub(crate) fn has_lost(&self) -> bool {
        self.lost > 0
    }

    /// A connection is lost, with something at the drives.
    pub(crate) fn begin_loss(&mut self) -> Loss {
        self.lost += 1;
        Loss(self.next)
    }

    /// Nothing of it is at the drives any more.
    pub(crate) fn end_loss(&mut self) {
        self.lost = self.lost.checked_sub(1).expect("it was counted");
    }

    /// A write of a lost connection has ended that did not have its blocks for itself.
    pub(crate) fn on_lost_end(&mut self, area: &Area, loss: Loss) {
        let ready = &mut self.ready;
        self.claims.each_overlapping(area, |claim| {
            if claim.counts_lost && claim.number >= loss.0 {
                step_forward(claim, ready);
            }
        });
    }

    /// A command wants to begin.
    pub(crate) fn enter(&mut self, owner: Owner, area: Area, want: Want) -> Entry {
        let (mut all, mut exclusive) = (0, 0);
        self.claims.each_overlapping(&area, |claim| {
            all += 1;
            exclusive += usize::from(claim.is_exclusive);
        });
        let (is_exclusive, ahead) = match want {
            Want::Ordinary { lost: 0 } if exclusive == 0 => return Entry::Unnoted,
            Want::Ordinary { lost } => (false, exclusive + lost),
            Want::Exclusive { at_drives } => (true, all + at_drives),
        };
        if self.claims.is_full() {
            return Entry::Full;
        }
        let counts_lost = matches!(want, Want::Ordinary { lost: 1.. });
        self.claims.insert(Claim { owner, area, is_exclusive, counts_lost, number: self.next, ahead });
        self.next += 1;
        if ahead == 0 { Entry::Begins } else { Entry::Waits }
    }

    /// A command with a claim has ended, or will never begin.
    pub(crate) fn leave(&mut self, owner: Owner, area: &Area) {
        let left = self.claims.remove(owner, area);
        if left.ahead == 0 {
            self.ready.retain(|ready| *ready != owner);
        }
        let ready = &mut self.ready;
        self.claims.each_overlapping(area, |claim| {
            if claim.number > left.number && (claim.is_exclusive || left.is_exclusive) {
                step_forward(claim, ready);
            }
        });
    }

    /// A command without claim has ended.
    pub(crate) fn on_unnoted_end(&mut self, area: &Area) {
        let ready = &mut self.ready;
        self.claims.each_overlapping(area, |claim| {
            if claim.is_exclusive {
                step_forward(claim, ready);
            }
        });
    }

    /// Place of the connection that has a claim, by age.
    #[cfg(test)]
    pub(crate) fn place_of(&self, claim: usize) -> usize {
        self.claims.by_age(claim).owner.place
    }

    /// The next command that waited and begins now.
    pub(crate) fn pop_ready(&mut self) -> Option<Owner> {
        self.ready.pop_front()
    }
}

/// One command less is in the way of a claim.
fn step_forward(claim: &mut Claim, ready: &mut VecDeque<Owner>) {
    claim.ahead = claim.ahead.checked_sub(1).expect("who ends was counted");
    if claim.ahead == 0 {
        ready.push_back(claim.owner);
    }
}

#[cfg(test)]
mod tests;
