//! Who may do what while a namespace is reserved, as data (Base 2.1 §8.1.22.3, NVM 1.1 §2.4: the table "command behavior in
//! the presence of a reservation").
//!
//! | | WE | EA | WE registrants, WE all | EA registrants, EA all |
//! |---|---|---|---|---|
//! | holder reads, writes | yes | yes | yes | yes |
//! | registrant reads | yes | no | yes | yes |
//! | registrant writes | no | no | yes | yes |
//! | other reads | yes | no | yes | no |
//! | other writes | no | no | no | no |

use nvme_spec::NvmOpcode;
use nvme_spec::reservation::ReservationType;

/// What a host is with respect to a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It holds it, alone or with all others.
    Holder,
    /// It is registered.
    Registrant,
    /// It is not.
    Other,
}

/// What a command does with the namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// It tells what is stored.
    Read,
    /// It changes what is stored, or when it becomes durable.
    Write,
    /// Reservation commands, which have rules of their own, and what does not exist.
    Other,
}

/// The classes of the commands that have one. Copy reads and writes one namespace; who may write may read.
const CLASSES: [(NvmOpcode, Class); 9] = [
    (NvmOpcode::READ, Class::Read),
    (NvmOpcode::COMPARE, Class::Read),
    (NvmOpcode::VERIFY, Class::Read),
    (NvmOpcode::FLUSH, Class::Write),
    (NvmOpcode::WRITE, Class::Write),
    (NvmOpcode::WRITE_UNCORRECTABLE, Class::Write),
    (NvmOpcode::WRITE_ZEROES, Class::Write),
    (NvmOpcode::DATASET_MANAGEMENT, Class::Write),
    (NvmOpcode::COPY, Class::Write),
];

/// For each type, what a registrant and what another host may do: read, write. A holder may do everything.
const ACCESS: [(ReservationType, [bool; 2], [bool; 2]); 6] = [
    (ReservationType::WRITE_EXCLUSIVE, [true, false], [true, false]),
    (ReservationType::EXCLUSIVE_ACCESS, [false, false], [false, false]),
    (ReservationType::WRITE_EXCLUSIVE_REGISTRANTS_ONLY, [true, true], [true, false]),
    (ReservationType::EXCLUSIVE_ACCESS_REGISTRANTS_ONLY, [true, true], [false, false]),
    (ReservationType::WRITE_EXCLUSIVE_ALL_REGISTRANTS, [true, true], [true, false]),
    (ReservationType::EXCLUSIVE_ACCESS_ALL_REGISTRANTS, [true, true], [false, false]),
];

impl Class {
    pub(crate) fn of(opcode: NvmOpcode) -> Self {
        CLASSES.iter().find(|(known, _)| *known == opcode).map_or(Self::Other, |(_, class)| *class)
    }
}

/// Whether a reservation of this type lets a host with this role do something of this class.
pub(crate) fn allows(rtype: ReservationType, role: Role, class: Class) -> bool {
    let Some((_, registrant, other)) = ACCESS.iter().find(|(known, ..)| *known == rtype) else { return true };
    let [read, write] = match role {
        Role::Holder => return true,
        Role::Registrant => *registrant,
        Role::Other => *other,
    };
    match class {
        Class::Read => read,
        Class::Write => write,
        Class::Other => true,
    }
}

/// A type of which all registrants are holders.
pub(crate) fn is_held_by_all(rtype: ReservationType) -> bool {
    matches!(
        rtype,
        ReservationType::WRITE_EXCLUSIVE_ALL_REGISTRANTS | ReservationType::EXCLUSIVE_ACCESS_ALL_REGISTRANTS
    )
}

/// A type that lets registrants do what the holder may; they are told when such a reservation ends.
pub(crate) fn concerns_registrants(rtype: ReservationType) -> bool {
    ACCESS.iter().any(|(known, registrant, _)| *known == rtype && *registrant == [true, true])
}

pub(crate) fn is_known(rtype: ReservationType) -> bool {
    ACCESS.iter().any(|(known, ..)| *known == rtype)
}
