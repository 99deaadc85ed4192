//! Fabrics commands (Base 2.1 §6) and what they carry.

use crate::{AdminOpcode, FabricsType, Sqe, entry::FLAGS_SGL, nqn_field};
use core::mem::{offset_of, size_of};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The NQN every discovery subsystem answers to (Base 2.1 §3.1.3.3).
pub const DISCOVERY_NQN: &str = "nqn.2014-08.org.nvmexpress.discovery";
/// Prefix of NQNs made from a UUID (Base 2.1 §4.7).
pub const UUID_NQN_PREFIX: &str = "nqn.2014-08.org.nvmexpress:uuid:";
/// Controller identifier that asks for any controller of the dynamic model (Base 2.1 §6.3).
pub const CNTLID_DYNAMIC: u16 = 0xffff;
/// Length of the data of Connect.
pub const CONNECT_DATA_LEN: usize = 1024;

/// Data of a Connect command (Base 2.1 figure 546).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ConnectData {
    /// Host identifier.
    pub hostid: [u8; 16],
    /// Controller identifier asked for.
    pub cntlid: U16,
    /// Reserved.
    pub reserved_18: [u8; 238],
    /// Subsystem NQN.
    pub subnqn: [u8; 256],
    /// Host NQN.
    pub hostnqn: [u8; 256],
    /// Reserved.
    pub reserved_768: [u8; 256],
}
const _: () = assert!(size_of::<ConnectData>() == CONNECT_DATA_LEN);
const _: () = assert!(offset_of!(ConnectData, subnqn) == 256 && offset_of!(ConnectData, hostnqn) == 512);

impl ConnectData {
    /// Data that asks for `cntlid` of `subnqn`; `None` if an NQN is too long.
    #[must_use]
    pub fn new(hostid: [u8; 16], cntlid: u16, nqns: Nqns<'_>) -> Option<Self> {
        let mut data = Self::new_zeroed();
        data.hostid = hostid;
        data.cntlid = U16::new(cntlid);
        data.subnqn = nqn_field(nqns.subsystem)?;
        data.hostnqn = nqn_field(nqns.host)?;
        Some(data)
    }
}

/// Who connects to whom.
#[derive(Clone, Copy, Debug)]
pub struct Nqns<'a> {
    /// The host.
    pub host: &'a str,
    /// The subsystem.
    pub subsystem: &'a str,
}

/// The command dwords of Connect (Base 2.1 figure 545), read from an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect {
    /// Record format, 0.
    pub recfmt: u16,
    /// Queue identifier; 0 is the admin queue.
    pub qid: u16,
    /// Submission queue size, 0's based.
    pub sqsize_z: u16,
    /// Connect attributes.
    pub cattr: u8,
    /// Keep alive timeout in ms.
    pub kato_ms: u32,
}

impl Connect {
    /// CATTR: submission queue flow control is disabled.
    pub const CATTR_DISSQFC: u8 = 1 << 2;

    /// The entry of this command; the transport adds the data pointer.
    #[must_use]
    pub fn to_sqe(self) -> Sqe {
        let mut sqe = command(FabricsType::CONNECT);
        let ([r0, r1], [q0, q1]) = (self.recfmt.to_le_bytes(), self.qid.to_le_bytes());
        let [s0, s1] = self.sqsize_z.to_le_bytes();
        sqe.cdw10 = U32::from_bytes([r0, r1, q0, q1]);
        sqe.cdw11 = U32::from_bytes([s0, s1, self.cattr, 0]);
        sqe.cdw12 = U32::new(self.kato_ms);
        sqe
    }
}

impl From<&Sqe> for Connect {
    fn from(sqe: &Sqe) -> Self {
        let [r0, r1, q0, q1] = sqe.cdw10.to_bytes();
        let [s0, s1, cattr, _] = sqe.cdw11.to_bytes();
        Self {
            recfmt: u16::from_le_bytes([r0, r1]),
            qid: u16::from_le_bytes([q0, q1]),
            sqsize_z: u16::from_le_bytes([s0, s1]),
            cattr,
            kato_ms: sqe.cdw12.get(),
        }
    }
}

/// Where in a Connect command or its data an invalid parameter was found (Base 2.1 figure 548): dword 0 of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidParameter {
    /// At this byte of the command.
    Command(u16),
    /// At this byte of the data.
    Data(u16),
}

impl InvalidParameter {
    /// Dword 0: IPO in bits 15:0, IATTR bit 16 set for the data.
    #[must_use]
    pub const fn dw0(self) -> u32 {
        match self {
            Self::Command(offset) => offset as u32,
            Self::Data(offset) => 1 << 16 | offset as u32,
        }
    }
}

/// Property Get or Property Set (Base 2.1 §6.6, §6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Property {
    /// Offset of the property.
    pub offset: u32,
    /// 8 bytes instead of 4.
    pub is_wide: bool,
}

impl Property {
    /// A Property Get command.
    #[must_use]
    pub fn get(self) -> Sqe {
        self.fill(command(FabricsType::PROPERTY_GET))
    }

    /// A Property Set command.
    #[must_use]
    pub fn set(self, value: u64) -> Sqe {
        let mut sqe = self.fill(command(FabricsType::PROPERTY_SET));
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        sqe.cdw12 = U32::from_bytes([a, b, c, d]);
        sqe.cdw13 = U32::from_bytes([e, f, g, h]);
        sqe
    }

    fn fill(self, mut sqe: Sqe) -> Sqe {
        sqe.cdw10 = U32::new(u32::from(self.is_wide));
        sqe.cdw11 = U32::new(self.offset);
        sqe
    }

    /// Reads the property that a command names; `None` if its size is neither 4 nor 8 bytes.
    #[must_use]
    pub fn of(sqe: &Sqe) -> Option<Self> {
        let is_wide = match sqe.cdw10.get() & 7 {
            0 => false,
            1 => true,
            _ => return None,
        };
        Some(Self { offset: sqe.cdw11.get(), is_wide })
    }

    /// The value that a Property Set carries.
    #[must_use]
    pub fn value(sqe: &Sqe) -> u64 {
        (u64::from(sqe.cdw13.get()) << 32) | u64::from(sqe.cdw12.get())
    }
}

/// A Disconnect command (Base 2.1 §6.4).
#[must_use]
pub fn disconnect() -> Sqe {
    command(FabricsType::DISCONNECT)
}

fn command(fctype: FabricsType) -> Sqe {
    let mut sqe = Sqe::new(AdminOpcode::FABRICS.0, u32::from(fctype.0));
    sqe.flags = FLAGS_SGL;
    sqe
}
