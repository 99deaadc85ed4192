//! Problems of drives of the served format: labels, records, and what the drives of a pool say of one another.

use super::{Facts, ORIGINAL, REPORT, lost, note, repairable};
use crate::medium::Fault;
use ondisk::Slot;
use thiserror::Error;
use uuid::Uuid;

const ALL_DRIVES: &str =
    "give all drives of the pool; if one is lost, its volumes must be restored from a backup";
const NEXT_START: &str = "nothing: the next start of the node writes it";
const APART: &str =
    "do not start a node with these drives: find out which ones belong together, and remove the others";

/// What is wrong with a drive, or with a pool.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ServedProblem {
    /// The records say who it is.
    #[error("the label is damaged: {0}")]
    LabelDamaged(Fault),
    /// Something else was written to the start of the drive.
    #[error("the label was erased, a pool record remains")]
    LabelErased,
    /// Neither label nor records are good.
    #[error("the label is damaged, and no record says which pool it belongs to: {0}")]
    Unknown(Fault),
    /// A change that was cut off, or damage, where the other record is good.
    #[error("record slot {} does not hold a good record: {fault}", letter(*slot))]
    RecordCutOff {
        /// Which.
        slot: Slot,
        /// How.
        fault: Fault,
    },
    /// The drive has no good record beside it.
    #[error("record slot {} is damaged, and the other one has no record: {fault}", letter(*slot))]
    RecordDamaged {
        /// Which.
        slot: Slot,
        /// How.
        fault: Fault,
    },
    /// A record that was written for another drive.
    #[error("record slot {} holds the record of drive {drive} of pool {pool}", letter(*slot))]
    RecordOfOther {
        /// Which.
        slot: Slot,
        /// As the record says.
        drive: Uuid,
        /// As the record says.
        pool: Uuid,
    },
    /// The two records of a drive do not follow one another.
    #[error("the records have generations {older} and {newer}")]
    RecordsApart {
        /// One of them.
        older: u64,
        /// The other one.
        newer: u64,
    },
    /// Bytes that nobody of us wrote.
    #[error("block {0} is not zero, and nothing of ours belongs there")]
    Stray(u64),
    /// Other drives of the pool have a record.
    #[error("it has no record, others of its pool have generation {0}")]
    NoRecord(u64),
    /// A creation or deletion that did not end.
    #[error("it is left over from a creation or deletion of a pool that did not end")]
    Leftover,
    /// Records were there.
    #[error("no drive of the pool has a good record")]
    NoRecords,
    /// Cut off while the last change was written.
    #[error("it has generation {own}, the pool has {newest}")]
    Behind {
        /// Its own.
        own: u64,
        /// The pool's.
        newest: u64,
    },
    /// An older copy, or a drive that lost what it had confirmed.
    #[error("it has generation {own}, the pool has {newest}: its data may be as old")]
    FarBehind {
        /// Its own.
        own: u64,
        /// The pool's.
        newest: u64,
    },
    /// Two histories.
    #[error("it has another record of generation {0} than a drive before")]
    Differs(u64),
    /// A copy.
    #[error("it is the same member as another drive: one is a copy of the other")]
    Twin,
    /// The pool goes on without it.
    #[error("its pool does not list it any more")]
    NotListed,
    /// Label and record disagree.
    #[error("its label says that it is member {label}, the record {record}")]
    MemberNumber {
        /// By the label.
        label: u16,
        /// By the record.
        record: u16,
    },
    /// It has not the extents that it gave to the pool.
    #[error("it has {capacity} blocks, too few for the {extents} extents that it gave to the pool")]
    Shrank {
        /// Blocks.
        capacity: u64,
        /// By the record.
        extents: u32,
    },
    /// A drive was not given.
    #[error("member {member} of pool {pool} is not there: serial number {serial}")]
    Missing {
        /// The pool's name.
        pool: String,
        /// Its number.
        member: usize,
        /// Its serial number when it joined.
        serial: String,
    },
}

fn letter(slot: Slot) -> char {
    match slot {
        Slot::A => 'A',
        Slot::B => 'B',
    }
}

impl ServedProblem {
    /// Name, severity and remedy.
    #[must_use]
    pub fn facts(&self) -> Facts {
        match self {
            Self::LabelDamaged(_) => repairable("label-damaged", NEXT_START),
            Self::LabelErased => lost(
                "label-erased",
                "keep an image of the drive; \"dd\" of block 0 from a copy of it brings the label back",
            ),
            Self::Unknown(_) => lost("drive-unknown", ORIGINAL),
            Self::RecordCutOff { .. } => {
                note("record-cut-off", "nothing: the next change of the pool writes it")
            }
            Self::RecordDamaged { .. } => repairable("record-damaged", NEXT_START),
            Self::RecordOfOther { .. } => repairable("record-of-other", REPORT),
            Self::RecordsApart { .. } => repairable("records-apart", REPORT),
            Self::Stray(_) => repairable(
                "stray-bytes",
                "find out what wrote to the drive: more of it may be overwritten; check the data of its volumes",
            ),
            Self::NoRecord(_) => note("no-record", NEXT_START),
            Self::Leftover => note("leftover", "nothing: the drive is as good as blank"),
            Self::NoRecords => lost("no-records", ORIGINAL),
            Self::Behind { .. } => note("behind", NEXT_START),
            Self::FarBehind { .. } => lost("far-behind", "put the original drive back"),
            Self::Differs(_) => lost("records-differ", APART),
            Self::Twin => lost("twin", "remove the copy"),
            Self::NotListed => repairable("not-listed", "\"ironbay drive wipe\" makes it blank"),
            Self::MemberNumber { .. } => repairable("member-number", REPORT),
            Self::Shrank { .. } => lost("drive-shrank", "give the drive its former size back"),
            Self::Missing { .. } => note("drive-missing", ALL_DRIVES),
        }
    }
}
