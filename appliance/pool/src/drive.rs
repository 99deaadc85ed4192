//! The drives of a node as a pool sees them.

use block::Geometry;
use control::DriveState;
use ondisk::Signature;
use uuid::Uuid;

/// The engine's number for a drive; constant while the engine runs, never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DriveId(pub u32);

/// The number of a drive within its pool, stored in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberIndex(pub u16);

impl MemberIndex {
    /// As an index of a table of members.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A drive that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drive {
    /// The engine's number.
    pub id: DriveId,
    /// Serial number: how people name it.
    pub serial: String,
    /// Capacity and limits.
    pub geometry: Geometry,
}

/// What a drive is to Ironbay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nothing on it.
    Blank,
    /// Labelled by a creation or deletion of a pool that a power cut ended; holds nothing, as good as blank.
    Leftover,
    /// A member of a pool on this node, online or not.
    Member(Uuid),
    /// Data that is not ours.
    Foreign(Signature),
    /// Ours, but damaged beyond recognition of its pool, or not wanted by the pool that it names.
    Damaged(String),
    /// It cannot be read.
    Failed(String),
}

impl Role {
    /// The state for people.
    #[must_use]
    pub fn state(&self) -> DriveState {
        match self {
            Self::Blank | Self::Leftover => DriveState::Blank,
            Self::Member(_) => DriveState::Member,
            Self::Foreign(_) | Self::Damaged(_) => DriveState::Foreign,
            Self::Failed(_) => DriveState::Failed,
        }
    }

    /// The pool of a member, else nil.
    #[must_use]
    pub fn pool(&self) -> Uuid {
        match self {
            Self::Member(pool) => *pool,
            Self::Blank | Self::Leftover | Self::Foreign(_) | Self::Damaged(_) | Self::Failed(_) => {
                Uuid::nil()
            }
        }
    }

    /// Evidence or reason; may be empty.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Blank | Self::Member(_) => String::new(),
            Self::Leftover => "left by an unfinished creation or deletion of a pool".to_owned(),
            Self::Foreign(signature) => signature.to_string(),
            Self::Damaged(why) | Self::Failed(why) => why.clone(),
        }
    }
}

/// A drive and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownDrive {
    /// The drive.
    pub drive: Drive,
    /// What it is to Ironbay; kept up to date by the engine when pools come and go.
    pub role: Role,
}
