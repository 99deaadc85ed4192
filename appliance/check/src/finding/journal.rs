//! Problems of the journal and of its records.

use super::{Facts, NEXT_IMPORT, ORIGINAL, REPORT, lost, note};
use crate::medium::Fault;
use ondisk::thin::Au;
use thiserror::Error;

/// What is wrong with the journal.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JournalProblem {
    /// A block that was written, and with it what follows.
    #[error("journal block {sequence} is damaged: {fault}")]
    Damaged {
        /// Its number.
        sequence: u64,
        /// How.
        fault: Fault,
    },
    /// A block that was written and durable is not there.
    #[error("journal block {sequence} is missing, and block {later} says that it was durable")]
    Missing {
        /// Its number.
        sequence: u64,
        /// What proves it.
        later: u64,
    },
    /// Of blocks that were not flushed some survived.
    #[error("journal block {sequence} was never written, block {later} was")]
    Gap {
        /// Its number.
        sequence: u64,
        /// The next one that is there.
        later: u64,
    },
    /// A block of a life that the root does not know.
    #[error(
        "journal block {sequence} of epoch {epoch} is newer than every root: the root that it follows is lost"
    )]
    OtherEpoch {
        /// Its number.
        sequence: u64,
        /// Its epoch.
        epoch: u64,
    },
    /// A block that is too far ahead of the root.
    #[error("journal block {sequence} is a whole ring ahead of the root: a later root is lost")]
    Ahead {
        /// Its number.
        sequence: u64,
    },
    /// A block at a place that is not its own.
    #[error("journal block {sequence} lies at the place of others")]
    Elsewhere {
        /// Its number.
        sequence: u64,
    },
    /// The settle mark covers records that are not in earlier blocks.
    #[error("journal block {sequence} settles records that are not written before it")]
    SettledAhead {
        /// Its number.
        sequence: u64,
    },
    /// The settle mark only grows.
    #[error("journal block {sequence} takes back what an earlier one has settled")]
    SettledBack {
        /// Its number.
        sequence: u64,
    },
    /// What was durable stays so.
    #[error("journal block {sequence} says that less is durable than an earlier one")]
    DurableBack {
        /// Its number.
        sequence: u64,
    },
    /// The data of a record had not arrived.
    #[error("a write was under way and did not happen (record {record})")]
    Unfinished {
        /// Its number in the journal.
        record: u64,
    },
    /// A record of a volume that is not there.
    #[error("record {record} is of a volume that does not exist")]
    UnknownVolume {
        /// Its number in the journal.
        record: u64,
    },
    /// A record of blocks that the volume does not have.
    #[error("record {record} goes past the end of the volume, which has {blocks} blocks")]
    PastEnd {
        /// Its number in the journal.
        record: u64,
        /// Length.
        blocks: u64,
    },
    /// A record names a unit in which no data can be.
    #[error("record {record} maps to allocation unit {au}, where homes, checksums or the journal are")]
    UnitOutside {
        /// Its number in the journal.
        record: u64,
        /// Which.
        au: Au,
    },
    /// Snapshots never change.
    #[error("record {record} changes a snapshot")]
    SnapshotChanged {
        /// Its number in the journal.
        record: u64,
    },
    /// A record adds blocks to a unit that is not there.
    #[error(
        "record {record} adds blocks to allocation unit {au}, which the unit of the volume does not have"
    )]
    NotItsUnit {
        /// Its number in the journal.
        record: u64,
        /// Which.
        au: Au,
    },
    /// A record puts a unit over one that was not there.
    #[error("record {record} lies over allocation unit {base}, which the unit of the volume did not have")]
    NotItsBase {
        /// Its number in the journal.
        record: u64,
        /// Which.
        base: Au,
    },
    /// A record creates a volume whose number, name or UUID is taken.
    #[error("record {record} creates a volume whose number, name or UUID is that of volume {other}")]
    Taken {
        /// Its number in the journal.
        record: u64,
        /// The other volume.
        other: u32,
    },
    /// Numbers are given in order.
    #[error("record {record} creates a volume with a number that is not next: {next}")]
    NotNext {
        /// Its number in the journal.
        record: u64,
        /// The next number.
        next: u32,
    },
    /// A record makes a copy of what does not exist.
    #[error("record {record} makes a copy of volume {origin}, which does not exist")]
    UnknownOrigin {
        /// Its number in the journal.
        record: u64,
        /// Which.
        origin: u32,
    },
    /// A copy has the length of what it is made of.
    #[error("record {record} makes a copy with {blocks} blocks of a volume with {of_origin}")]
    CopyLength {
        /// Its number in the journal.
        record: u64,
        /// The copy's length.
        blocks: u64,
        /// The origin's.
        of_origin: u64,
    },
    /// Volumes do not shrink.
    #[error("record {record} grows a volume of {from} blocks to {to}")]
    Shrinks {
        /// Its number in the journal.
        record: u64,
        /// Before.
        from: u64,
        /// After.
        to: u64,
    },
}

impl JournalProblem {
    pub(super) fn facts(&self) -> Facts {
        match self {
            Self::Damaged { .. } => lost("journal-damaged", ORIGINAL),
            Self::Missing { .. } => lost("journal-missing", ORIGINAL),
            Self::Gap { .. } => note("journal-gap", NEXT_IMPORT),
            Self::OtherEpoch { .. } => lost("journal-other-epoch", ORIGINAL),
            Self::Ahead { .. } => lost("journal-ahead", ORIGINAL),
            Self::Elsewhere { .. } => lost("journal-elsewhere", REPORT),
            Self::SettledAhead { .. } => lost("journal-settled-ahead", REPORT),
            Self::SettledBack { .. } => lost("journal-settled-back", REPORT),
            Self::DurableBack { .. } => lost("journal-durable-back", REPORT),
            Self::Unfinished { .. } => note("write-unfinished", NEXT_IMPORT),
            Self::UnknownVolume { .. } => lost("record-unknown-volume", REPORT),
            Self::PastEnd { .. } => lost("record-past-end", REPORT),
            Self::UnitOutside { .. } => lost("record-unit-outside", REPORT),
            Self::SnapshotChanged { .. } => lost("record-changes-snapshot", REPORT),
            Self::NotItsUnit { .. } => lost("record-not-its-unit", REPORT),
            Self::NotItsBase { .. } => lost("record-not-its-base", REPORT),
            Self::Taken { .. } => lost("record-taken", REPORT),
            Self::NotNext { .. } => lost("record-not-next", REPORT),
            Self::UnknownOrigin { .. } => lost("record-unknown-origin", REPORT),
            Self::CopyLength { .. } => lost("record-copy-length", REPORT),
            Self::Shrinks { .. } => lost("record-shrinks", REPORT),
        }
    }
}
