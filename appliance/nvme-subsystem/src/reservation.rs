//! Reservations of one namespace (Base 2.1 §8.1.22): registrants, holder, and what a command changes, as values.
//!
//! | file | what |
//! |---|---|
//! | `matrix` | who may do what while a namespace is reserved |
//! | `rules` | Register, Acquire, Release: from one state to the next |
//! | `report` | Reservation Report |
//!
//! Invariants
//! - A host is told apart by its 128-bit host identifier alone; it is registered at most once.
//! - A reservation is held by a registrant, or by all of them and then there is at least one.
//! - Nothing here has an effect: `guard` applies the next state, after it is durable where it must be.

pub(crate) mod matrix;
pub(crate) mod report;
pub(crate) mod rules;

pub(crate) use matrix::{Class, Role};
pub(crate) use rules::{Change, Request};

use nvme_spec::reservation::{ReservationEvent, ReservationType};

/// A host identifier.
pub type HostId = [u8; 16];

/// A host that registered a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registrant {
    /// Host identifier.
    pub host: HostId,
    /// Its key.
    pub key: u64,
}

/// Registrants and reservation of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reservation {
    /// Counts the changes of registrants (GEN); wraps.
    pub generation: u32,
    /// All of this survives a loss of power (PTPLS).
    pub is_persistent: bool,
    /// In the order of registration; at most [`crate::limits::REGISTRANTS_MAX`].
    pub registrants: Vec<Registrant>,
    /// The type of the reservation, and the holder's place among the registrants if not all hold it.
    pub held: Option<(ReservationType, Option<usize>)>,
}

impl Reservation {
    /// The type, [`ReservationType::NONE`] without reservation.
    pub(crate) fn rtype(&self) -> ReservationType {
        self.held.map_or(ReservationType::NONE, |(rtype, _)| rtype)
    }

    /// The place of a host among the registrants.
    pub(crate) fn place(&self, host: &HostId) -> Option<usize> {
        self.registrants.iter().position(|registrant| registrant.host == *host)
    }

    /// What a host is with respect to the reservation.
    pub(crate) fn role(&self, host: &HostId) -> Role {
        match (self.place(host), self.held) {
            (None, _) => Role::Other,
            (Some(_), Some((_, None))) => Role::Holder,
            (Some(place), Some((_, Some(holder)))) if place == holder => Role::Holder,
            (Some(_), _) => Role::Registrant,
        }
    }
}

/// Something that hosts are told by log page 80h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Notification {
    pub(crate) host: HostId,
    pub(crate) event: ReservationEvent,
}
