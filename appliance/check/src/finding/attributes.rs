//! Problems of what volumes carry for their owner.

use super::{Facts, ORIGINAL, REPORT, lost};
use crate::medium::Fault;
use thiserror::Error;

/// What is wrong with the attributes of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AttributesProblem {
    /// A block of them, and with it those behind it.
    #[error("block {index} of its attributes is damaged: {fault}")]
    Damaged {
        /// Which.
        index: u16,
        /// How.
        fault: Fault,
    },
    /// A good block, but not the one that is meant: a lost write, or an older copy.
    #[error("block {index} of its attributes is not the one that is meant")]
    Other {
        /// Which.
        index: u16,
    },
    /// The pointer leads to where no metadata can be.
    #[error("block {index} of its attributes lies where homes, checksums or the journal are")]
    Outside {
        /// Which.
        index: u16,
    },
    /// It is newer than the checkpoint that follows on the root.
    #[error("block {index} of its attributes has generation {generation}, the root has {root}")]
    Newer {
        /// Which.
        index: u16,
        /// Its generation.
        generation: u64,
        /// The root's.
        root: u64,
    },
}

impl AttributesProblem {
    pub(super) fn facts(&self) -> Facts {
        match self {
            Self::Damaged { .. } => lost("attributes-damaged", ORIGINAL),
            Self::Other { .. } => lost("attributes-other", ORIGINAL),
            Self::Outside { .. } => lost("attributes-outside", REPORT),
            Self::Newer { .. } => lost("attributes-newer", REPORT),
        }
    }
}
