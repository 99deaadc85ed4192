//! Log pages (Base 2.1 §5.1.12).

use crate::Sqe;
use core::mem::size_of;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

open_enum! {
    /// Log page identifiers (Base 2.1 figure 202).
    pub struct LogPage(u8) {
        /// Supported log pages.
        SUPPORTED = 0x00,
        /// Error information.
        ERROR = 0x01,
        /// SMART and health information.
        SMART = 0x02,
        /// Firmware slot information.
        FIRMWARE_SLOT = 0x03,
        /// Changed attached namespaces.
        CHANGED_NAMESPACES = 0x04,
        /// Commands supported and effects.
        COMMAND_EFFECTS = 0x05,
        /// Asymmetric namespace access.
        ANA = 0x0c,
        /// Feature identifiers supported and effects.
        FEATURE_EFFECTS = 0x12,
        /// Discovery.
        DISCOVERY = 0x70,
        /// Reservation notification.
        RESERVATION = 0x80,
    }
}

/// The parameters of Get Log Page, read from all of its dwords (Base 2.1 §5.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetLogPage {
    /// Which page.
    pub lid: LogPage,
    /// Log specific parameter.
    pub lsp: u8,
    /// Retain asynchronous event: do not re-arm it.
    pub rae: bool,
    /// Bytes to transfer.
    pub len: u64,
    /// First byte.
    pub offset: u64,
    /// Command set identifier.
    pub csi: u8,
    /// The offset is an index instead of bytes.
    pub is_index: bool,
}

impl From<&Sqe> for GetLogPage {
    fn from(sqe: &Sqe) -> Self {
        let [lid, lsp, nl0, nl1] = sqe.cdw10.to_bytes();
        let [nu0, nu1, ..] = sqe.cdw11.to_bytes();
        let dwords_z = u32::from_le_bytes([nl0, nl1, nu0, nu1]);
        let [uuid, _, _, csi] = sqe.cdw14.to_bytes();
        Self {
            lid: LogPage(lid),
            lsp: lsp & 0x7f,
            rae: lsp & 0x80 != 0,
            len: u64::from(dwords_z).saturating_add(1).saturating_mul(4),
            offset: (u64::from(sqe.cdw13.get()) << 32) | u64::from(sqe.cdw12.get()),
            csi,
            is_index: uuid & 0x80 != 0,
        }
    }
}

/// Error information log entry (Base 2.1 figure 205).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ErrorEntry {
    /// Number of this error since the start; 0 marks an unused entry.
    pub error_count: U64,
    /// Queue.
    pub sqid: U16,
    /// Command.
    pub cid: U16,
    /// Status field of the completion, with the phase bit.
    pub status: U16,
    /// Byte and bit of the parameter in error.
    pub parameter: U16,
    /// First LBA.
    pub lba: U64,
    /// Namespace.
    pub nsid: U32,
    /// Vendor specific information available.
    pub vendor: u8,
    /// Transport type.
    pub trtype: u8,
    /// Command set and opcode.
    pub csi_opc: [u8; 2],
    /// Command specific information.
    pub command_specific: U64,
    /// Transport specific information.
    pub transport_specific: U16,
    /// Reserved, log page version.
    pub reserved: [u8; 22],
}
const _: () = assert!(size_of::<ErrorEntry>() == 64);

/// SMART / health information (Base 2.1 figure 206).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SmartLog {
    /// Critical warnings.
    pub critical_warning: u8,
    /// Composite temperature in K.
    pub temperature: U16,
    /// Available spare in percent.
    pub available_spare: u8,
    /// Threshold of the spare in percent.
    pub spare_threshold: u8,
    /// Percentage of life used.
    pub percentage_used: u8,
    /// Endurance group summary.
    pub endurance_warning: u8,
    /// Reserved.
    pub reserved_7: [u8; 25],
    /// Data units read: thousands of 512 bytes.
    pub data_units_read: [u8; 16],
    /// Data units written.
    pub data_units_written: [u8; 16],
    /// Host read commands.
    pub host_reads: [u8; 16],
    /// Host write commands.
    pub host_writes: [u8; 16],
    /// Controller busy time in minutes.
    pub busy_minutes: [u8; 16],
    /// Power cycles.
    pub power_cycles: [u8; 16],
    /// Power on hours.
    pub power_on_hours: [u8; 16],
    /// Unsafe shutdowns.
    pub unsafe_shutdowns: [u8; 16],
    /// Media errors.
    pub media_errors: [u8; 16],
    /// Error log entries written.
    pub error_entries: [u8; 16],
    /// Temperature times, sensors, thermal transitions, reserved.
    pub reserved_192: [u8; 320],
}
const _: () = assert!(size_of::<SmartLog>() == 512);

/// Firmware slot information (Base 2.1 figure 207).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FirmwareSlotLog {
    /// Active slot in bits 2:0.
    pub afi: u8,
    /// Reserved.
    pub reserved_1: [u8; 7],
    /// Revision in each of the slots 1 to 7.
    pub frs: [[u8; 8]; 7],
    /// Reserved.
    pub reserved_64: [u8; 448],
}
const _: () = assert!(size_of::<FirmwareSlotLog>() == 512);

/// Namespaces that the Changed Attached Namespace log can name (Base 2.1 §5.1.12.1.5).
pub const CHANGED_NAMESPACES_MAX: usize = 1024;

/// Commands supported and effects (Base 2.1 figure 210): one dword per opcode.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct EffectsLog {
    /// Admin commands.
    pub admin: [U32; 256],
    /// I/O commands.
    pub io: [U32; 256],
    /// Reserved.
    pub reserved: [u8; 2048],
}
const _: () = assert!(size_of::<EffectsLog>() == 4096);

impl EffectsLog {
    /// The command is supported.
    pub const CSUPP: u32 = 1 << 0;
    /// It may change logical block content.
    pub const LBCC: u32 = 1 << 1;
}

open_enum! {
    /// ANA states (Base 2.1 §8.1.1).
    pub struct AnaState(u8) {
        /// Optimized.
        OPTIMIZED = 0x1,
        /// Works, slower.
        NON_OPTIMIZED = 0x2,
        /// Use another path.
        INACCESSIBLE = 0x3,
        /// Gone on this path for good.
        PERSISTENT_LOSS = 0x4,
        /// In transition.
        CHANGE = 0xf,
    }
}

/// Header of the ANA log (Base 2.1 figure 221).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct AnaHeader {
    /// Change count.
    pub chgcnt: U64,
    /// Number of group descriptors.
    pub ngrps: U16,
    /// Reserved.
    pub reserved: [u8; 6],
}
const _: () = assert!(size_of::<AnaHeader>() == 16);

/// ANA group descriptor; its namespace identifiers follow (Base 2.1 figure 222).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct AnaGroup {
    /// Group identifier.
    pub grpid: U32,
    /// Namespace identifiers that follow.
    pub nnsids: U32,
    /// Change count.
    pub chgcnt: U64,
    /// State in bits 3:0.
    pub state: u8,
    /// Reserved.
    pub reserved: [u8; 15],
}
const _: () = assert!(size_of::<AnaGroup>() == 32);

/// ANA log, log specific parameter bit 0: return groups only, without their namespaces.
pub const ANA_LSP_GROUPS_ONLY: u8 = 1;

/// Header of the discovery log (Base 2.1 figure 296).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct DiscoveryHeader {
    /// Generation counter.
    pub genctr: U64,
    /// Number of records.
    pub numrec: U64,
    /// Record format, 0.
    pub recfmt: U16,
    /// Reserved.
    pub reserved: [u8; 1006],
}
const _: () = assert!(size_of::<DiscoveryHeader>() == 1024);

/// A record of the discovery log (Base 2.1 figure 297).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct DiscoveryEntry {
    /// Transport type: 3 is TCP.
    pub trtype: u8,
    /// Address family: 1 IPv4, 2 IPv6.
    pub adrfam: u8,
    /// Subsystem type: 1 referral, 2 NVM subsystem, 3 current discovery subsystem.
    pub subtype: u8,
    /// Transport requirements: 1 secure channel required, 2 not required.
    pub treq: u8,
    /// Port identifier.
    pub portid: U16,
    /// Controller identifier, FFFFh for dynamic controllers.
    pub cntlid: U16,
    /// Admin submission queue size.
    pub asqsz: U16,
    /// Entry flags.
    pub eflags: U16,
    /// Reserved.
    pub reserved_12: [u8; 20],
    /// Transport service identifier: the TCP port in decimal, ASCII padded with spaces.
    pub trsvcid: [u8; 32],
    /// Reserved.
    pub reserved_64: [u8; 192],
    /// NQN.
    pub subnqn: [u8; 256],
    /// Transport address, ASCII padded with spaces.
    pub traddr: [u8; 256],
    /// Transport specific address: for TCP byte 0 is the security type.
    pub tsas: [u8; 256],
}
const _: () = assert!(size_of::<DiscoveryEntry>() == 1024);

impl DiscoveryEntry {
    /// TRTYPE: TCP.
    pub const TRTYPE_TCP: u8 = 3;
    /// ADRFAM: IPv4.
    pub const ADRFAM_IPV4: u8 = 1;
    /// ADRFAM: IPv6.
    pub const ADRFAM_IPV6: u8 = 2;
    /// SUBTYPE: another discovery subsystem.
    pub const SUBTYPE_REFERRAL: u8 = 1;
    /// SUBTYPE: an NVM subsystem.
    pub const SUBTYPE_NVM: u8 = 2;
    /// SUBTYPE: the discovery subsystem that answers.
    pub const SUBTYPE_CURRENT: u8 = 3;
    /// TREQ: a secure channel is not required.
    pub const TREQ_NOT_REQUIRED: u8 = 2;
    /// EFLAGS: the same information is returned by all ports.
    pub const EFLAGS_DUPRETINFO: u16 = 1 << 0;
    /// EFLAGS: explicit persistent connections are supported.
    pub const EFLAGS_EPCSD: u16 = 1 << 1;
}
