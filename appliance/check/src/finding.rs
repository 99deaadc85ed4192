//! What can be wrong with a drive: how bad it is, where, and what to do.
//!
//! | severity | what it means |
//! |---|---|
//! | note | what a power cut may leave; the next import settles it |
//! | repairable | something is wrong, and nothing is lost: a copy of it is good |
//! | data lost | contents are gone, or cannot be trusted |

use core::fmt;
use ondisk::thin::Address;
use thiserror::Error;

mod attributes;
mod home;
mod journal;
mod map;
mod served;
mod sums;
mod table;

pub use attributes::AttributesProblem;
pub use home::HomeProblem;
pub use journal::JournalProblem;
pub use map::MapProblem;
pub use served::ServedProblem;
pub use sums::SumsProblem;
pub use table::TableProblem;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A power cut may leave it.
    Note,
    /// Nothing is lost.
    Repairable,
    /// Contents are gone or cannot be trusted.
    DataLost,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Repairable => "repairable",
            Self::DataLost => "data lost",
        })
    }
}

/// What programs and people get of a problem beside its text: a name that stays, how bad it is, what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its name for programs: it stays the same from version to version.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What to do.
    pub remedy: &'static str,
}

pub(crate) const fn note(code: &'static str, remedy: &'static str) -> Facts {
    Facts { code, severity: Severity::Note, remedy }
}

pub(crate) const fn repairable(code: &'static str, remedy: &'static str) -> Facts {
    Facts { code, severity: Severity::Repairable, remedy }
}

pub(crate) const fn lost(code: &'static str, remedy: &'static str) -> Facts {
    Facts { code, severity: Severity::DataLost, remedy }
}

pub(crate) const NEXT_IMPORT: &str = "nothing: the next import settles it";
pub(crate) const OTHER_COPIES: &str =
    "the other copies are used meanwhile; copy the volumes to another drive before more of this one fails";
pub(crate) const RESTORE: &str =
    "restore the volumes that are named from a copy or backup; what is not named is not touched by it";
pub(crate) const ORIGINAL: &str =
    "do not serve this drive: keep an image of it, and restore its volumes from a copy or backup";
pub(crate) const REPORT: &str =
    "do not serve this drive: keep an image of it and report this as a bug of the software";

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// With the superblocks and roots.
    #[error(transparent)]
    Home(#[from] HomeProblem),
    /// With the volume table.
    #[error(transparent)]
    Table(#[from] TableProblem),
    /// With what a volume carries for its owner.
    #[error(transparent)]
    Attributes(#[from] AttributesProblem),
    /// With the map of a volume, and the units in it.
    #[error(transparent)]
    Map(#[from] MapProblem),
    /// With the journal.
    #[error(transparent)]
    Journal(#[from] JournalProblem),
    /// With the checksums of data.
    #[error(transparent)]
    Sums(#[from] SumsProblem),
}

impl Problem {
    /// Name, severity and remedy.
    #[must_use]
    pub fn facts(&self) -> Facts {
        match self {
            Self::Home(problem) => problem.facts(),
            Self::Table(problem) => problem.facts(),
            Self::Attributes(problem) => problem.facts(),
            Self::Map(problem) => problem.facts(),
            Self::Journal(problem) => problem.facts(),
            Self::Sums(problem) => problem.facts(),
        }
    }
}

/// Where it was found, as far as there is a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Number of the volume or snapshot. Others may share what is damaged.
    pub volume: Option<u32>,
    /// Unit of 64 KiB within it, or the first one that is concerned.
    pub unit: Option<u64>,
    /// Block of the pool.
    pub at: Option<Address>,
}

impl Place {
    pub(crate) fn block(at: Address) -> Self {
        Self { at: Some(at), ..Self::default() }
    }

    pub(crate) fn volume(volume: u32) -> Self {
        Self { volume: Some(volume), ..Self::default() }
    }

    pub(crate) fn unit(volume: u32, unit: u64) -> Self {
        Self { volume: Some(volume), unit: Some(unit), at: None }
    }

    pub(crate) fn at(self, at: Address) -> Self {
        Self { at: Some(at), ..self }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let parts = [
            ("volume", self.volume.map(u64::from)),
            ("unit", self.unit),
            ("block", self.at.map(|at| at.lba.0)),
        ];
        for (what, number) in parts {
            if let Some(number) = number {
                write!(f, "{separator}{what} {number}")?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

/// A problem and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub problem: Problem,
    /// Where.
    pub place: Place,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.problem.facts().severity, self.problem, self.place)
    }
}
