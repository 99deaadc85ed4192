//! Problems of the checksums of data.

use super::{Facts, REPORT, RESTORE, lost, repairable};
use crate::medium::Fault;
use thiserror::Error;

const SCRUB: &str = "nothing: the next import believes the data of these regions; scrub the pool after it";

/// What is wrong with the checksums of data at rest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SumsProblem {
    /// Which checksums may lag behind their data is not known any more.
    #[error("the bitmap of dirty regions is damaged (level {level}, from region {first} on): {fault}")]
    BitmapDamaged {
        /// 0 for the bits, 1 for an index.
        level: u8,
        /// The first region that it covers.
        first: u32,
        /// How.
        fault: Fault,
    },
    /// The pointer leads to where no metadata can be.
    #[error("the bitmap of dirty regions (level {level}) lies where homes, checksums or the journal are")]
    BitmapOutside {
        /// 0 for the bits, 1 for an index.
        level: u8,
    },
    /// It is newer than what names it.
    #[error(
        "the bitmap of dirty regions (level {level}) has generation {generation}, what names it has {above}"
    )]
    BitmapNewer {
        /// 0 for the bits, 1 for an index.
        level: u8,
        /// Its generation.
        generation: u64,
        /// The generation of the root or index.
        above: u64,
    },
    /// The checksums of a region are gone.
    #[error("the page with the checksums of region {region} is damaged: {fault}")]
    PageDamaged {
        /// Its number.
        region: u32,
        /// How.
        fault: Fault,
    },
    /// What was stored changed on the drive.
    #[error("block {block} of the unit does not agree with its checksum")]
    DataDamaged {
        /// Which of the 16 blocks.
        block: u64,
    },
    /// What was stored cannot be read.
    #[error("block {block} of the unit cannot be read: {fault}")]
    DataUnreadable {
        /// Which of the 16 blocks.
        block: u64,
        /// How.
        fault: Fault,
    },
    /// A bit or record of a region that the drive does not have.
    #[error("region {region} is dirty, the drive has {regions}")]
    NoSuchRegion {
        /// Its number.
        region: u32,
        /// Regions of the drive.
        regions: u32,
    },
}

impl SumsProblem {
    pub(super) fn facts(&self) -> Facts {
        match self {
            Self::BitmapDamaged { .. } => repairable("bitmap-damaged", SCRUB),
            Self::BitmapOutside { .. } => lost("bitmap-outside", REPORT),
            Self::BitmapNewer { .. } => lost("bitmap-newer", REPORT),
            Self::PageDamaged { .. } => repairable("page-damaged", SCRUB),
            Self::DataDamaged { .. } => lost("data-damaged", RESTORE),
            Self::DataUnreadable { .. } => lost("data-unreadable", RESTORE),
            Self::NoSuchRegion { .. } => lost("no-such-region", REPORT),
        }
    }
}
