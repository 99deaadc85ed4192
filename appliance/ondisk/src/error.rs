//! Why stored bytes are not what was looked for.

use crate::TextError;
use thiserror::Error;

/// Why bytes could not be loaded as the stored struct that should be there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LoadError {
    /// Nothing was ever written here, or it was erased.
    #[error("it is blank")]
    Blank,
    /// Something else is here.
    #[error("it is not Ironbay's")]
    NotOurs,
    /// Fewer bytes than the struct has.
    #[error("it ends after {len} bytes")]
    Truncated {
        /// What there is.
        len: usize,
    },
    /// Written by another version of the software.
    #[error("it has format version {version}, this software knows version {known}")]
    Version {
        /// Found.
        version: u16,
        /// The newest that can be read.
        known: u16,
    },
    /// The bytes changed since they were written, or were written only in part.
    #[error("its checksum is {found:08x}, its contents give {computed:08x}")]
    Checksum {
        /// Stored.
        found: u32,
        /// Of the bytes as they are.
        computed: u32,
    },
    /// Meant for another place: a misdirected write.
    #[error("it was written for block {meant} and lies at block {found}")]
    Misplaced {
        /// The address inside.
        meant: u64,
        /// Where it was read.
        found: u64,
    },
    /// The checksum holds, but the contents break a rule: our fault, or written by a later version.
    #[error("it breaks a rule: {0}")]
    Inconsistent(#[from] Inconsistency),
}

/// A rule of the format that contents can break.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Inconsistency {
    /// Reserved for later.
    #[error("reserved bytes are not zero")]
    Reserved,
    /// See the source.
    #[error("a name or serial number is malformed: {0}")]
    Text(#[from] TextError),
    /// An identity is missing.
    #[error("a UUID is nil")]
    NilUuid,
    /// The tables do not fit the length of the record.
    #[error("the tables need {needed} bytes, the record has {len}")]
    Length {
        /// By the counts.
        needed: usize,
        /// By the header.
        len: usize,
    },
    /// More than the format allows.
    #[error("{count} {what}, at most {max} are allowed")]
    TooMany {
        /// Of these.
        what: &'static str,
        /// Found.
        count: usize,
        /// Allowed.
        max: usize,
    },
    /// No members, or the address names one that is not in the table, or under another number.
    #[error("the member table does not list the drive that holds the record")]
    NotAMember,
    /// Generation 0 is never written, and a generation belongs in one slot.
    #[error("generation {0} does not belong here")]
    Generation(u64),
    /// Two objects share what must be unique.
    #[error("two {what} have the same {key}")]
    Duplicate {
        /// Objects.
        what: &'static str,
        /// Key.
        key: &'static str,
    },
    /// Volumes are stored in the order of their namespace identifiers, which start at 1.
    #[error("the volumes are not in the order of their namespace identifiers")]
    VolumeOrder,
    /// A byte has no meaning that this version knows.
    #[error("volume {nsid} has {value} as {what}")]
    Meaning {
        /// Volume.
        nsid: u32,
        /// Field.
        what: &'static str,
        /// Found.
        value: u32,
    },
    /// The hosts of a volume are in ascending order; the host table has exactly those that volumes name.
    #[error("the hosts are not in order, or not those that volumes name")]
    Hosts,
    /// Registrants, holder and type of a reservation contradict one another.
    #[error("the reservation of volume {0} contradicts itself")]
    Reservation(u32),
    /// The runs of a volume must cover it without gap or overlap, in order.
    #[error("the runs of volume {0} do not cover it")]
    Coverage(u32),
    /// A run names a member or extent that does not exist.
    #[error("a run of volume {0} lies outside its drive")]
    OutOfBounds(u32),
    /// Two runs own the same extent.
    #[error("extent {extent} of member {member} has two owners")]
    Shared {
        /// Which member.
        member: u16,
        /// Which extent.
        extent: u32,
    },
    /// The places on a drive of the thin engine contradict its capacity, or another home is meant.
    #[error("the layout of the drive is impossible")]
    Layout,
    /// A pointer to metadata contradicts itself, or their number that of the volumes.
    #[error("a pointer is malformed")]
    Pointer,
    /// A good block, but not the one that the pointer means: a lost write, or an older copy.
    #[error("it is not the block that its pointer means")]
    OtherNode,
    /// See [`crate::thin::MapEntry`].
    #[error("an entry of the map is malformed")]
    MapEntry,
    /// See [`crate::thin::VolumeEntry`].
    #[error("an entry of the volume table is malformed")]
    VolumeEntry,
    /// See [`crate::thin::AttributesBlock`].
    #[error("a block of attributes is malformed")]
    Attributes,
    /// See [`crate::thin::JournalRecord`].
    #[error("a journal record is malformed")]
    Record,
}
