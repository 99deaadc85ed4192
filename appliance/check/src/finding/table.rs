//! Problems of the volume table.

use super::{Facts, ORIGINAL, REPORT, lost, repairable};
use crate::medium::Fault;
use thiserror::Error;

/// What is wrong with the volume table.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TableProblem {
    /// A block of it.
    #[error("block {index} of the volume table is damaged: {fault}")]
    Damaged {
        /// Which.
        index: u16,
        /// How.
        fault: Fault,
    },
    /// Its pointer leads to where no table can be.
    #[error("block {index} of the volume table lies where homes, checksums or the journal are")]
    Outside {
        /// Which.
        index: u16,
    },
    /// It is newer than the root that names it.
    #[error("block {index} of the volume table has generation {generation}, the root has {root}")]
    Newer {
        /// Which.
        index: u16,
        /// Its generation.
        generation: u64,
        /// The root's.
        root: u64,
    },
    /// Root and table disagree.
    #[error("the table has {found} volumes, the root says {expected}")]
    Count {
        /// Entries.
        found: u64,
        /// As the root says.
        expected: u32,
    },
    /// Entries are in ascending order.
    #[error("its number is not above that of the entry before, {before}")]
    Order {
        /// That one's number.
        before: u32,
    },
    /// Numbers are given in order and never again.
    #[error("the next volume would get number {next}, which is not above this one's")]
    Number {
        /// As the root says.
        next: u32,
    },
    /// Two volumes.
    #[error("volume {other} has the same name")]
    SameName {
        /// The other one.
        other: u32,
    },
    /// Two volumes.
    #[error("volume {other} has the same UUID")]
    SameUuid {
        /// The other one.
        other: u32,
    },
    /// A copy is younger than what it was made of.
    #[error("it is a copy of volume {origin}, which was made later")]
    OriginYounger {
        /// Of what it is a copy.
        origin: u32,
    },
    /// Snapshots do not grow, volumes do not shrink.
    #[error("the snapshot has {blocks} blocks, its origin {origin} has {of_origin}")]
    LongerThanOrigin {
        /// Its length.
        blocks: u64,
        /// Of what it is a copy.
        origin: u32,
        /// That one's length.
        of_origin: u64,
    },
}

impl TableProblem {
    pub(super) fn facts(&self) -> Facts {
        match self {
            Self::Damaged { .. } => lost("table-damaged", ORIGINAL),
            Self::Outside { .. } => lost("table-outside", REPORT),
            Self::Newer { .. } => lost("table-newer", REPORT),
            Self::Count { .. } => lost("volume-count", REPORT),
            Self::Order { .. } => lost("volume-order", REPORT),
            Self::Number { .. } => lost("volume-number", REPORT),
            Self::SameName { .. } => {
                repairable("volume-same-name", "copy one of the two by its number, and delete it")
            }
            Self::SameUuid { .. } => lost("volume-same-uuid", REPORT),
            Self::OriginYounger { .. } => lost("origin-younger", REPORT),
            Self::LongerThanOrigin { .. } => lost("snapshot-longer", REPORT),
        }
    }
}
