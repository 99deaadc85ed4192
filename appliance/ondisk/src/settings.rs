//! What a volume is beside its name and space: the size of its blocks, who may use it, who reserved it, whether it may be
//! written.
//!
//! Invariants
//! - Only what has to survive a loss of power is here. "Write protected until power cycle" and reservations that do not
//!   persist are known to the running engine only.
//! - An empty list of hosts lets nobody in; "everybody" is a value of its own, so that taking the last host off a list
//!   never opens a volume to all.

use crate::HostNqn;
use crate::error::Inconsistency;
use crate::limits::REGISTRANTS_PER_VOLUME_MAX;
use uuid::Uuid;

/// Everything about a volume but its identity and space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of a logical block as hosts see it; never changes.
    pub lba_size: LbaSize,
    /// Which hosts may connect.
    pub access: Access,
    /// Whether hosts may write.
    pub write_protect: WriteProtect,
    /// Registrants and reservation, if they persist through power loss.
    pub reservation: Option<Box<Reservation>>,
}

impl Settings {
    /// A volume that every host may use, with these blocks.
    #[must_use]
    pub fn new(lba_size: LbaSize) -> Self {
        Self { lba_size, access: Access::Everybody, write_protect: WriteProtect::Off, reservation: None }
    }
}

/// Bytes of a logical block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LbaSize {
    /// 512, for hosts that know no other.
    B512,
    /// 4096.
    B4096,
}

impl LbaSize {
    /// As a power of two.
    #[must_use]
    pub const fn shift(self) -> u8 {
        match self {
            Self::B512 => 9,
            Self::B4096 => 12,
        }
    }

    /// By its bytes; `None` for a size that is not stored.
    #[must_use]
    pub const fn of_bytes(bytes: u32) -> Option<Self> {
        match bytes {
            512 => Some(Self::B512),
            4096 => Some(Self::B4096),
            _ => None,
        }
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        match self {
            Self::B512 => 512,
            Self::B4096 => 4096,
        }
    }
}

/// Which hosts may connect to a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// All.
    Everybody,
    /// These, in ascending order, each once; nobody if there are none.
    Hosts(Vec<HostNqn>),
}

/// Whether a volume may be written (Base 2.1 §8.1.16, the states that survive a loss of power).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteProtect {
    /// It may.
    Off,
    /// Not until a host allows it again.
    On,
    /// Never again.
    Permanent,
}

/// Registrants and reservation of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Counts the changes of registrants (Base 2.1 §7.8, GEN).
    pub generation: u32,
    /// Hosts that registered a key, each once, in the order of their registration.
    pub registrants: Vec<Registrant>,
    /// Nothing, if the volume is not reserved.
    pub reserved: Option<Reserved>,
}

/// A host that registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registrant {
    /// Host identifier.
    pub host: Uuid,
    /// Its key.
    pub key: u64,
}

/// A reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// Who may do what.
    pub kind: ReservationType,
    /// The place of the holder among the registrants; `None` exactly if all registrants hold it.
    pub holder: Option<u16>,
}

/// Types of reservations (Base 2.1 §8.1.22); the numbers are those of NVMe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ReservationType {
    /// Only the holder writes.
    WriteExclusive = 1,
    /// Only the holder reads and writes.
    ExclusiveAccess = 2,
    /// Only registrants write.
    WriteExclusiveRegistrants = 3,
    /// Only registrants read and write.
    ExclusiveAccessRegistrants = 4,
    /// Only registrants write, and all of them hold it.
    WriteExclusiveAll = 5,
    /// Only registrants read and write, and all of them hold it.
    ExclusiveAccessAll = 6,
}

impl ReservationType {
    /// By its number.
    #[must_use]
    pub const fn of(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::WriteExclusive,
            2 => Self::ExclusiveAccess,
            3 => Self::WriteExclusiveRegistrants,
            4 => Self::ExclusiveAccessRegistrants,
            5 => Self::WriteExclusiveAll,
            6 => Self::ExclusiveAccessAll,
            _ => return None,
        })
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::WriteExclusive => 1,
            Self::ExclusiveAccess => 2,
            Self::WriteExclusiveRegistrants => 3,
            Self::ExclusiveAccessRegistrants => 4,
            Self::WriteExclusiveAll => 5,
            Self::ExclusiveAccessAll => 6,
        }
    }

    /// Whether all registrants hold it.
    #[must_use]
    pub const fn is_held_by_all(self) -> bool {
        matches!(self, Self::WriteExclusiveAll | Self::ExclusiveAccessAll)
    }
}

impl Settings {
    /// Checks every rule; `nsid` is for the error.
    pub(crate) fn check(&self, nsid: u32) -> Result<(), Inconsistency> {
        if let Access::Hosts(hosts) = &self.access
            && !hosts.is_sorted_by(|a, b| a < b)
        {
            return Err(Inconsistency::Hosts);
        }
        self.reservation.as_ref().map_or(Ok(()), |reservation| reservation.check(nsid))
    }

    /// How many registrants are stored.
    pub(crate) fn registrant_count(&self) -> usize {
        self.reservation.as_ref().map_or(0, |r| r.registrants.len())
    }

    /// The hosts that are named.
    pub(crate) fn hosts(&self) -> &[HostNqn] {
        match &self.access {
            Access::Everybody => &[],
            Access::Hosts(hosts) => hosts,
        }
    }
}

impl Reservation {
    fn check(&self, nsid: u32) -> Result<(), Inconsistency> {
        let (what, count, max) =
            ("registrants of a volume", self.registrants.len(), REGISTRANTS_PER_VOLUME_MAX);
        if count > max {
            return Err(Inconsistency::TooMany { what, count, max });
        }
        if self.registrants.iter().any(|r| r.host.is_nil()) {
            return Err(Inconsistency::NilUuid);
        }
        let mut hosts: Vec<Uuid> = self.registrants.iter().map(|r| r.host).collect();
        hosts.sort_unstable();
        hosts.dedup();
        if hosts.len() != count {
            return Err(Inconsistency::Duplicate { what: "registrants", key: "host" });
        }
        let Some(Reserved { kind, holder }) = self.reserved else { return Ok(()) };
        let fits = match holder {
            None => kind.is_held_by_all() && count > 0,
            Some(holder) => !kind.is_held_by_all() && usize::from(holder) < count,
        };
        if fits { Ok(()) } else { Err(Inconsistency::Reservation(nsid)) }
    }
}
