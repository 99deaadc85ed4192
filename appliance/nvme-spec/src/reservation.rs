//! Reservations (Base 2.1 §7.5 to §7.8, §8.1.22): commands, their data, the report, the notification log page; and
//! namespace write protection (Base 2.1 §8.1.16).

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

open_enum! {
    /// Types of reservations (Base 2.1 §8.1.22.3).
    pub struct ReservationType(u8) {
        /// There is no reservation.
        NONE = 0,
        /// Only the holder writes.
        WRITE_EXCLUSIVE = 1,
        /// Only the holder reads and writes.
        EXCLUSIVE_ACCESS = 2,
        /// Only registrants write.
        WRITE_EXCLUSIVE_REGISTRANTS_ONLY = 3,
        /// Only registrants read and write.
        EXCLUSIVE_ACCESS_REGISTRANTS_ONLY = 4,
        /// Only registrants write, all of them hold it.
        WRITE_EXCLUSIVE_ALL_REGISTRANTS = 5,
        /// Only registrants read and write, all of them hold it.
        EXCLUSIVE_ACCESS_ALL_REGISTRANTS = 6,
    }
}

/// RESCAP of a namespace (Base 2.1 §5.1.13.2.1): reservations persist through power loss, all six types.
pub const RESCAP_ALL: u8 = 0x7f;

/// Dword 10 of Reservation Register, Acquire and Release. The actions of each are numbered by themselves.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ReservationCdw10 {
    /// RREGA, RACQA, RRELA.
    #[bits(3)]
    pub action: u8,
    /// Ignore existing key.
    pub iekey: bool,
    #[bits(4)]
    __: u8,
    /// RTYPE of Acquire and Release.
    pub rtype: u8,
    #[bits(14)]
    __: u16,
    /// Register: change persist through power loss state; see [`cptpl`].
    #[bits(2)]
    pub cptpl: u8,
}

/// Values of [`ReservationCdw10::cptpl`].
pub mod cptpl {
    /// Leave it.
    pub const NO_CHANGE: u8 = 0;
    /// Released and cleared by a loss of power.
    pub const CLEAR: u8 = 2;
    /// Kept.
    pub const PERSIST: u8 = 3;
}

/// Actions of Reservation Register.
pub mod rrega {
    /// Register a key.
    pub const REGISTER: u8 = 0;
    /// Take the registration back.
    pub const UNREGISTER: u8 = 1;
    /// Replace the key.
    pub const REPLACE: u8 = 2;
}

/// Actions of Reservation Acquire.
pub mod racqa {
    /// Acquire.
    pub const ACQUIRE: u8 = 0;
    /// Preempt.
    pub const PREEMPT: u8 = 1;
    /// Preempt, and abort what the preempted hosts have sent.
    pub const PREEMPT_AND_ABORT: u8 = 2;
}

/// Actions of Reservation Release.
pub mod rrela {
    /// Release.
    pub const RELEASE: u8 = 0;
    /// Clear: release, and unregister everybody.
    pub const CLEAR: u8 = 1;
}

/// Data of Register (CRKEY, NRKEY) and Acquire (CRKEY, PRKEY); Release has the first half only.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct ReservationKeys {
    /// Current key of the host.
    pub crkey: U64,
    /// Its new key, or the one to preempt.
    pub other: U64,
}

/// The start of what Reservation Report tells, with 128-bit host identifiers (Base 2.1 figure 582).
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct ReservationStatus {
    /// Generation.
    pub generation: U32,
    /// Type of the reservation.
    pub rtype: u8,
    /// Number of registrants; not aligned.
    pub regstrnt: [u8; 2],
    /// Reserved.
    pub reserved0: [u8; 2],
    /// Persist through power loss state.
    pub ptpls: u8,
    /// Reserved.
    pub reserved1: [u8; 54],
}

/// One registrant in it (Base 2.1 figure 584).
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct RegistrantStatus {
    /// Controller identifier; FFFFh for dynamic controllers.
    pub cntlid: [u8; 2],
    /// Bit 0: it holds the reservation.
    pub rcsts: u8,
    /// Reserved.
    pub reserved0: [u8; 5],
    /// Its key.
    pub rkey: U64,
    /// Host identifier.
    pub hostid: [u8; 16],
    /// Reserved.
    pub reserved1: [u8; 32],
}

open_enum! {
    /// Kinds of reservation notifications (Base 2.1 §5.1.12.1.32).
    pub struct ReservationEvent(u8) {
        /// The page is empty.
        EMPTY = 0,
        /// The host was unregistered by another one.
        REGISTRATION_PREEMPTED = 1,
        /// The reservation was released.
        RESERVATION_RELEASED = 2,
        /// The reservation was cleared.
        RESERVATION_PREEMPTED = 3,
    }
}

/// Reservation Notification log page.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct ReservationNotification {
    /// Counts notifications; a gap tells of lost ones.
    pub count: U64,
    /// Which [`ReservationEvent`].
    pub event: u8,
    /// Pages that are available after this one.
    pub available: u8,
    /// Reserved.
    pub reserved0: [u8; 2],
    /// Namespace.
    pub nsid: U32,
    /// Reserved.
    pub reserved1: [u8; 48],
}

open_enum! {
    /// States of write protection: what feature 84h sets.
    pub struct WriteProtection(u8) {
        /// None.
        OFF = 0,
        /// Protected.
        ON = 1,
        /// Protected until the power is cycled.
        UNTIL_POWER_CYCLE = 2,
        /// Protected for ever.
        PERMANENT = 3,
    }
}

/// NWPC of a controller: all of [`WriteProtection`].
pub const NWPC_ALL: u8 = 0b111;

const _: () = assert!(size_of::<ReservationKeys>() == 16);
const _: () = assert!(size_of::<ReservationStatus>() == 64);
const _: () = assert!(size_of::<RegistrantStatus>() == 64);
const _: () = assert!(size_of::<ReservationNotification>() == 64);
