//! What a volume carries in its attributes: everything about it that hosts meet, but for its length and name. The engine does not
//! look into it.
//!
//! Invariants
//! - Decoding is total, and what was decoded encodes to the same bytes.
//! - The rules of [`Settings`] hold for what was decoded, and are asserted before encoding.

use crate::error::{Inconsistency, LoadError};
use crate::limits::{ATTRIBUTES_MAX, HOSTS_MAX, NQN_LEN_MAX, REGISTRANTS_PER_VOLUME_MAX};
use crate::wire::RegistrantV2;
use crate::{
    Access, HostNqn, LbaSize, Registrant, Reservation, ReservationType, Reserved, Settings, WriteProtect,
};
use uuid::Uuid;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The version that is written.
const VERSION: u16 = 1;

/// In the place of a holder: there is none.
const NO_HOLDER: u16 = u16::MAX;

/// What a volume is to hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Namespace identifier; not 0.
    pub nsid: u32,
    /// Grows with what operators change.
    pub revision: u64,
    /// All else.
    pub settings: Settings,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
struct ExportedV1 {
    version: U16,
    lba_shift: u8,
    write_protect: u8,
    nsid: U32,
    revision: U64,
    has_list: u8,
    has_reservation: u8,
    reservation: u8,
    reserved0: u8,
    holder: U16,
    registrant_count: U16,
    generation: U32,
    host_count: U16,
    reserved1: [u8; 2],
}

const _: () = assert!(size_of::<ExportedV1>() == 32 && size_of::<RegistrantV2>() == 24);
const _: () = assert!(
    size_of::<ExportedV1>()
        + REGISTRANTS_PER_VOLUME_MAX * size_of::<RegistrantV2>()
        + HOSTS_MAX * (NQN_LEN_MAX + 1)
        <= ATTRIBUTES_MAX,
    "whatever hosts and operators decide fits"
);

fn meaning<T>(
    value: Option<T>,
    what: &'static str,
    found: impl Into<u32>,
    nsid: u32,
) -> Result<T, LoadError> {
    value.ok_or_else(|| Inconsistency::Meaning { nsid, what, value: found.into() }.into())
}

impl Exported {
    fn check(&self) -> Result<(), Inconsistency> {
        let hosts = self.settings.hosts().len();
        if hosts > HOSTS_MAX {
            return Err(Inconsistency::TooMany { what: "hosts", count: hosts, max: HOSTS_MAX });
        }
        if self.nsid == 0 {
            return Err(Inconsistency::VolumeOrder);
        }
        self.settings.check(self.nsid)
    }

    /// The bytes that the volume carries; at most [`ATTRIBUTES_MAX`].
    ///
    /// # Panics
    /// If it breaks a rule: that must not reach a disk.
    #[must_use]
    pub fn encode(&self) -> Box<[u8]> {
        assert_eq!(self.check(), Ok(()), "settings that break a rule are never stored");
        let Settings { lba_size, access, write_protect, reservation } = &self.settings;
        let registrants = reservation.as_ref().map_or(&[][..], |r| &r.registrants);
        let reserved = reservation.as_ref().and_then(|r| r.reserved);
        let count = |len: usize| U16::new(u16::try_from(len).unwrap_or(u16::MAX));
        let head = ExportedV1 {
            version: VERSION.into(),
            lba_shift: lba_size.shift(),
            write_protect: match write_protect {
                WriteProtect::Off => 0,
                WriteProtect::On => 1,
                WriteProtect::Permanent => 2,
            },
            nsid: self.nsid.into(),
            revision: self.revision.into(),
            has_list: u8::from(matches!(access, Access::Hosts(_))),
            has_reservation: u8::from(reservation.is_some()),
            reservation: reserved.map_or(0, |r| r.kind.number()),
            reserved0: 0,
            holder: reserved.and_then(|r| r.holder).unwrap_or(NO_HOLDER).into(),
            registrant_count: count(registrants.len()),
            generation: reservation.as_ref().map_or(0, |r| r.generation).into(),
            host_count: count(self.settings.hosts().len()),
            reserved1: [0; 2],
        };
        let mut bytes = head.as_bytes().to_vec();
        for registrant in registrants {
            let entry = RegistrantV2 { host: registrant.host.into_bytes(), key: registrant.key.into() };
            bytes.extend_from_slice(entry.as_bytes());
        }
        for host in self.settings.hosts() {
            let nqn = host.as_str().as_bytes();
            bytes.push(u8::try_from(nqn.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(nqn);
        }
        bytes.into()
    }

    /// Reads what a volume carries.
    ///
    /// # Errors
    /// If it is nothing of this kind, or of a later version, or breaks a rule.
    pub fn decode(bytes: &[u8]) -> Result<Self, LoadError> {
        let truncated = || LoadError::Truncated { len: bytes.len() };
        let (head, rest) = ExportedV1::read_from_prefix(bytes).map_err(|_| truncated())?;
        if head.version.get() != VERSION {
            return Err(LoadError::Version { version: head.version.get(), known: VERSION });
        }
        let nsid = head.nsid.get();
        let count = usize::from(head.registrant_count.get());
        let (entries, mut rest) =
            <[RegistrantV2]>::ref_from_prefix_with_elems(rest, count).map_err(|_| truncated())?;
        let mut hosts = Vec::new();
        for _ in 0..head.host_count.get() {
            let (len, after) = rest.split_first().ok_or_else(truncated)?;
            let (nqn, after) = after.split_at_checked(usize::from(*len)).ok_or_else(truncated)?;
            let nqn = core::str::from_utf8(nqn).map_err(|_| Inconsistency::Hosts)?;
            hosts.push(HostNqn::new(nqn).map_err(Inconsistency::from)?);
            rest = after;
        }
        let lba_size =
            [LbaSize::B512, LbaSize::B4096].into_iter().find(|size| size.shift() == head.lba_shift);
        let write_protect = match head.write_protect {
            0 => Some(WriteProtect::Off),
            1 => Some(WriteProtect::On),
            2 => Some(WriteProtect::Permanent),
            _ => None,
        };
        let kind = match head.reservation {
            0 => None,
            number => Some(meaning(ReservationType::of(number), "reservation", number, nsid)?),
        };
        let holder = Some(head.holder.get()).filter(|holder| *holder != NO_HOLDER);
        let registrant =
            |entry: &RegistrantV2| Registrant { host: Uuid::from_bytes(entry.host), key: entry.key.get() };
        let reservation = (head.has_reservation == 1).then(|| {
            Box::new(Reservation {
                generation: head.generation.get(),
                registrants: entries.iter().map(registrant).collect(),
                reserved: kind.map(|kind| Reserved { kind, holder }),
            })
        });
        let settings = Settings {
            lba_size: meaning(lba_size, "block size", head.lba_shift, nsid)?,
            access: if head.has_list == 1 { Access::Hosts(hosts) } else { Access::Everybody },
            write_protect: meaning(write_protect, "write protection", head.write_protect, nsid)?,
            reservation,
        };
        let found = Self { nsid, revision: head.revision.get(), settings };
        found.check()?;
        // Whatever else it says has no meaning.
        if *found.encode() == *bytes { Ok(found) } else { Err(Inconsistency::Reserved.into()) }
    }
}
