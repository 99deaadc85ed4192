//! What a check gives: the findings, and what the drive holds.

use crate::finding::{Finding, Place, Problem, Severity};
use crate::limits::FINDINGS_MAX;
use block::Blocks;
use ondisk::thin::{ThinIdentity, VolumeKind};
use uuid::Uuid;

/// The result of a check.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In the order in which they were found: homes, table, maps, journal, attributes, units. At most [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// Findings that found no room.
    pub left_out: u64,
    /// What is there; `None` if there is no root to start from.
    pub summary: Option<Summary>,
}

impl Report {
    pub(crate) fn add(&mut self, problem: impl Into<Problem>, place: Place) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { problem: problem.into(), place });
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    /// Nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// The worst of what was found.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.problem.facts().severity).max()
    }
}

/// What a drive of the thin engine holds, its journal included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Pool and drive.
    pub identity: ThinIdentity,
    /// Of the newest root.
    pub generation: u64,
    /// Of the newest root.
    pub epoch: u64,
    /// Whether everything that the root reaches could be read; if not, the numbers below are too small.
    pub is_complete: bool,
    /// In the order of their numbers.
    pub volumes: Vec<VolumeSummary>,
    /// How the space is used.
    pub units: Units,
    /// How the journal is used.
    pub journal: JournalUse,
}

/// A volume or snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeSummary {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Identity.
    pub uuid: Uuid,
    /// Volume or snapshot.
    pub kind: VolumeKind,
    /// Length.
    pub blocks: Blocks,
    /// Of what it is a copy; that one may be gone.
    pub origin: Option<Uuid>,
    /// Units of it that map to something.
    pub mapped: u64,
    /// Bytes that it carries for its owner.
    pub attributes: u32,
}

/// Allocation units of 64 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Units {
    /// That data and nodes may use.
    pub usable: u64,
    /// That hold data.
    pub data: u64,
    /// Of those: reached by more than one volume or snapshot.
    pub shared: u64,
    /// That hold nodes or the volume table of the checkpoint, or attributes.
    pub nodes: u64,
}

impl Units {
    /// That hold nothing.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.usable.saturating_sub(self.data).saturating_sub(self.nodes)
    }
}

/// The journal since the checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalUse {
    /// Blocks of the ring.
    pub blocks: u64,
    /// Blocks since the checkpoint.
    pub used: u64,
    /// Records in them.
    pub records: u64,
    /// Records whose data had not arrived: writes that did not happen.
    pub dropped: u64,
}
