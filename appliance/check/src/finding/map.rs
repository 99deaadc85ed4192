//! Problems of maps and of the units in them.

use super::{Facts, REPORT, RESTORE, lost, repairable};
use crate::medium::Fault;
use ondisk::thin::Au;
use thiserror::Error;

/// What is wrong with the map of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MapProblem {
    /// Everything below it is unknown.
    #[error("{} is damaged: {fault}", node(*level))]
    NodeDamaged {
        /// 0 for a leaf.
        level: u8,
        /// How.
        fault: Fault,
    },
    /// A good block, but not the one that the pointer means: a lost or misdirected write, or an older copy.
    #[error("{} is not the one that was written there last", node(*level))]
    NodeOther {
        /// 0 for a leaf.
        level: u8,
    },
    /// The pointer leads to where no node can be.
    #[error("{} lies where homes, checksums or the journal are", node(*level))]
    NodeOutside {
        /// 0 for a leaf.
        level: u8,
    },
    /// Nodes are written before what names them.
    #[error("{} has generation {generation}, what names it has {above}", node(*level))]
    NodeNewer {
        /// 0 for a leaf.
        level: u8,
        /// Its generation.
        generation: u64,
        /// The generation of the node or table above.
        above: u64,
    },
    /// Volumes share nodes at the same place only.
    #[error("{} is also the one for unit {other} at level {other_level}", node(*level))]
    NodeElsewhere {
        /// 0 for a leaf.
        level: u8,
        /// The first unit that it covers elsewhere.
        other: u64,
        /// Its level elsewhere.
        other_level: u8,
    },
    /// Volumes share nodes only with copies of themselves.
    #[error("{} is shared with volume {other}, of which it is no copy", node(*level))]
    NodeOfStranger {
        /// 0 for a leaf.
        level: u8,
        /// The other volume.
        other: u32,
    },
    /// An entry leads to where no data can be.
    #[error("it maps to allocation unit {au}, where homes, checksums or the journal are")]
    UnitOutside {
        /// Which.
        au: Au,
    },
    /// Something is mapped that nobody can read.
    #[error("block {block} is mapped, the volume has {blocks} blocks")]
    PastEnd {
        /// The last one that is mapped.
        block: u64,
        /// Length.
        blocks: u64,
    },
    /// A unit holds either data or metadata.
    #[error("allocation unit {au} holds its data, and nodes of a map")]
    UnitHoldsNodes {
        /// Which.
        au: Au,
    },
    /// A unit belongs to one unit of a volume, and of its copies.
    #[error("allocation unit {au} is also unit {other_unit} of volume {other}")]
    UnitTwice {
        /// Which.
        au: Au,
        /// The other volume.
        other: u32,
        /// The unit there.
        other_unit: u64,
    },
    /// Volumes share units only with copies of themselves.
    #[error("allocation unit {au} is shared with volume {other}, of which it is no copy")]
    UnitOfStranger {
        /// Which.
        au: Au,
        /// The other volume.
        other: u32,
    },
    /// What lies below a unit is decided when it is first written.
    #[error("allocation unit {au} lies over unit {base} here, and over {other} elsewhere")]
    BaseDiffers {
        /// The own one.
        au: Au,
        /// Below it here.
        base: Au,
        /// Below it elsewhere.
        other: Au,
    },
}

fn node(level: u8) -> String {
    if level == 0 { "a leaf of the map".to_owned() } else { format!("a node of level {level}") }
}

impl MapProblem {
    pub(super) fn facts(&self) -> Facts {
        match self {
            Self::NodeDamaged { .. } => lost("node-damaged", RESTORE),
            Self::NodeOther { .. } => lost("node-other", RESTORE),
            Self::NodeOutside { .. } => lost("node-outside", REPORT),
            Self::NodeNewer { .. } => lost("node-newer", REPORT),
            Self::NodeElsewhere { .. } => lost("node-elsewhere", REPORT),
            Self::NodeOfStranger { .. } => lost("node-of-stranger", REPORT),
            Self::UnitOutside { .. } => lost("unit-outside", REPORT),
            Self::PastEnd { .. } => repairable("mapped-past-end", REPORT),
            Self::UnitHoldsNodes { .. } => lost("unit-holds-nodes", REPORT),
            Self::UnitTwice { .. } => lost("unit-twice", REPORT),
            Self::UnitOfStranger { .. } => lost("unit-of-stranger", REPORT),
            Self::BaseDiffers { .. } => lost("base-differs", REPORT),
        }
    }
}
