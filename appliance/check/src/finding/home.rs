//! Problems of superblocks and roots.

use super::{Facts, NEXT_IMPORT, ORIGINAL, OTHER_COPIES, REPORT, lost, note, repairable};
use crate::medium::Fault;
use thiserror::Error;

/// What is wrong with the homes of a drive.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HomeProblem {
    /// One copy of four.
    #[error("the superblock of home {home} is damaged: {fault}")]
    SuperblockDamaged {
        /// Which copy.
        home: u8,
        /// How.
        fault: Fault,
    },
    /// A copy that missed a change of the pool's members.
    #[error("the superblock of home {home} has generation {generation}, others have {newest}")]
    SuperblockOlder {
        /// Which copy.
        home: u8,
        /// Its generation.
        generation: u64,
        /// The newest one.
        newest: u64,
    },
    /// Two copies of one generation contradict each other.
    #[error("the superblock of home {home} says something else than an earlier one of the same generation")]
    SuperblocksDiffer {
        /// Which copy.
        home: u8,
    },
    /// All four are damaged.
    #[error("no home has a good superblock")]
    NoSuperblock,
    /// The drive is shorter than its superblock says.
    #[error("the drive has {capacity} blocks, and had {blocks} when it joined")]
    Shrank {
        /// Now.
        capacity: u64,
        /// Then.
        blocks: u64,
    },
    /// The drive is longer than its superblock says.
    #[error("the drive has {capacity} blocks, and had {blocks} when it joined: what follows is not used")]
    Grew {
        /// Now.
        capacity: u64,
        /// Then.
        blocks: u64,
    },
    /// The pool has drives that are not looked at.
    #[error("the drive is member {member} of {member_count}: the others are not checked")]
    OtherMembers {
        /// Its number.
        member: u16,
        /// Drives of the pool.
        member_count: u16,
    },
    /// One copy of a root.
    #[error("home {home} has a damaged root of {} generations: {fault}", if *parity == 0 { "even" } else { "odd" })]
    RootDamaged {
        /// Which copy.
        home: u8,
        /// 0 for even generations, 1 for odd ones.
        parity: u8,
        /// How.
        fault: Fault,
    },
    /// A copy that the last checkpoint did not reach.
    #[error("home {home} does not have root {newest}")]
    RootLags {
        /// Which copy.
        home: u8,
        /// The newest generation.
        newest: u64,
    },
    /// Two copies of one generation.
    #[error("home {home} has another root {generation} than an earlier home")]
    RootsDiffer {
        /// Which copy.
        home: u8,
        /// Of both.
        generation: u64,
    },
    /// Nothing to start from.
    #[error("no home has a good root")]
    NoRoot,
    /// Perhaps the newest root is gone.
    #[error("generation {generation} is followed by damage in every home: a later root may be lost")]
    RootLost {
        /// The newest one that is left.
        generation: u64,
    },
    /// The root before the newest one is gone.
    #[error("no home has root {generation}, after which the newest one was written")]
    RootBeforeMissing {
        /// Its generation.
        generation: u64,
    },
    /// A copy of the root before the newest one is gone.
    #[error("home {home} does not have root {generation}, after which the newest one was written")]
    RootBeforeLags {
        /// Which copy.
        home: u8,
        /// The generation that should be there.
        generation: u64,
    },
    /// What only grows has become less.
    #[error("{what} went back from one root to the next")]
    RootWentBack {
        /// Which number.
        what: &'static str,
    },
}

impl HomeProblem {
    pub(super) fn facts(&self) -> Facts {
        match self {
            Self::SuperblockDamaged { .. } => repairable("superblock-damaged", OTHER_COPIES),
            Self::SuperblockOlder { .. } => repairable("superblock-older", OTHER_COPIES),
            Self::SuperblocksDiffer { .. } => lost("superblocks-differ", REPORT),
            Self::NoSuperblock => lost("no-superblock", ORIGINAL),
            Self::Shrank { .. } => lost(
                "drive-shrank",
                "give the drive its former size back (namespace, partition, image file), or copy the image completely",
            ),
            Self::Grew { .. } => note("drive-grew", "nothing, if the image was copied to a larger drive"),
            Self::OtherMembers { .. } => note("other-members", "check the other drives of the pool as well"),
            Self::RootDamaged { .. } => repairable("root-damaged", OTHER_COPIES),
            Self::RootLags { .. } => note("root-lags", NEXT_IMPORT),
            Self::RootsDiffer { .. } => lost("roots-differ", REPORT),
            Self::NoRoot => lost("no-root", ORIGINAL),
            Self::RootLost { .. } => lost("root-lost", ORIGINAL),
            Self::RootBeforeMissing { .. } => repairable("root-before-missing", OTHER_COPIES),
            Self::RootBeforeLags { .. } => repairable("root-before-lags", OTHER_COPIES),
            Self::RootWentBack { .. } => lost("root-went-back", REPORT),
        }
    }
}
