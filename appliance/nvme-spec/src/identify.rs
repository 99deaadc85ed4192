//! Identify data structures (Base 2.1 §5.1.13, NVM 1.1 §4.1.5).

use core::mem::{offset_of, size_of};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Every Identify data structure has this size.
pub const IDENTIFY_LEN: usize = 4096;

open_enum! {
    /// Controller or Namespace Structure: what Identify asks for (Base 2.1 figure 310).
    pub struct Cns(u8) {
        /// Identify Namespace, NVM command set.
        NAMESPACE = 0x00,
        /// Identify Controller.
        CONTROLLER = 0x01,
        /// Active namespace identifiers.
        ACTIVE_NAMESPACES = 0x02,
        /// Namespace Identification Descriptors.
        NAMESPACE_DESCRIPTORS = 0x03,
        /// Identify Namespace of an I/O command set.
        IO_NAMESPACE = 0x05,
        /// Identify Controller of an I/O command set.
        IO_CONTROLLER = 0x06,
        /// Active namespace identifiers of an I/O command set.
        IO_ACTIVE_NAMESPACES = 0x07,
        /// Identify Namespace, independent of command sets.
        INDEPENDENT_NAMESPACE = 0x08,
        /// Allocated namespace identifiers.
        ALLOCATED_NAMESPACES = 0x10,
        /// Identify an allocated namespace.
        ALLOCATED_NAMESPACE = 0x11,
        /// I/O command sets.
        IO_COMMAND_SETS = 0x1c,
    }
}

open_enum! {
    /// Controller types (CNTRLTYPE).
    #[derive(zerocopy::Unaligned)]
    pub struct ControllerType(u8) {
        /// Not reported.
        NOT_REPORTED = 0,
        /// I/O controller.
        IO = 1,
        /// Discovery controller.
        DISCOVERY = 2,
        /// Administrative controller.
        ADMINISTRATIVE = 3,
    }
}

/// Identify Controller (Base 2.1 figure 312).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct IdentifyController {
    /// PCI vendor identifier.
    pub vid: U16,
    /// PCI subsystem vendor identifier.
    pub ssvid: U16,
    /// Serial number, ASCII.
    pub sn: [u8; 20],
    /// Model number, ASCII.
    pub mn: [u8; 40],
    /// Firmware revision, ASCII.
    pub fr: [u8; 8],
    /// Recommended arbitration burst.
    pub rab: u8,
    /// IEEE OUI identifier.
    pub ieee: [u8; 3],
    /// Multi-path and sharing: bit 0 ports, 1 controllers, 3 ANA.
    pub cmic: u8,
    /// Maximum data transfer size as a power of two of CAP.MPSMIN pages; 0 no limit.
    pub mdts: u8,
    /// Controller identifier.
    pub cntlid: U16,
    /// Version.
    pub ver: U32,
    /// Resume latency in µs.
    pub rtd3r: U32,
    /// Shutdown latency in µs.
    pub rtd3e: U32,
    /// Optional asynchronous events supported.
    pub oaes: U32,
    /// Controller attributes.
    pub ctratt: U32,
    /// Read recovery levels supported.
    pub rrls: U16,
    /// Boot partition capabilities and reserved.
    pub reserved_102: [u8; 9],
    /// Controller type.
    pub cntrltype: ControllerType,
    /// FRU globally unique identifier.
    pub fguid: [u8; 16],
    /// Command retry delay times in 100 ms.
    pub crdt: [U16; 3],
    /// Reserved, and management interface fields.
    pub reserved_134: [u8; 122],
    /// Optional admin command support.
    pub oacs: U16,
    /// Abort command limit, 0's based.
    pub acl_z: u8,
    /// Asynchronous event request limit, 0's based.
    pub aerl_z: u8,
    /// Firmware updates.
    pub frmw: u8,
    /// Log page attributes.
    pub lpa: u8,
    /// Error log entries, 0's based.
    pub elpe_z: u8,
    /// Power states, 0's based.
    pub npss_z: u8,
    /// Admin vendor specific command configuration.
    pub avscc: u8,
    /// Autonomous power state transition attributes.
    pub apsta: u8,
    /// Warning temperature in K.
    pub wctemp: U16,
    /// Critical temperature in K.
    pub cctemp: U16,
    /// Maximum time for firmware activation.
    pub mtfa: U16,
    /// Host memory buffer preferred size.
    pub hmpre: U32,
    /// Host memory buffer minimum size.
    pub hmmin: U32,
    /// Total NVM capacity in bytes.
    pub tnvmcap: [u8; 16],
    /// Unallocated NVM capacity in bytes.
    pub unvmcap: [u8; 16],
    /// Replay protected memory block support.
    pub rpmbs: U32,
    /// Extended device self-test time.
    pub edstt: U16,
    /// Device self-test options.
    pub dsto: u8,
    /// Firmware update granularity.
    pub fwug: u8,
    /// Keep alive granularity in 100 ms.
    pub kas: U16,
    /// Host controlled thermal management attributes.
    pub hctma: U16,
    /// Minimum thermal management temperature.
    pub mntmt: U16,
    /// Maximum thermal management temperature.
    pub mxtmt: U16,
    /// Sanitize capabilities.
    pub sanicap: U32,
    /// Host memory buffer minimum descriptor entry size.
    pub hmminds: U32,
    /// Host memory maximum descriptor entries.
    pub hmmaxd: U16,
    /// NVM set identifier maximum.
    pub nsetidmax: U16,
    /// Endurance group identifier maximum.
    pub endgidmax: U16,
    /// ANA transition time in s.
    pub anatt: u8,
    /// ANA capabilities.
    pub anacap: u8,
    /// Largest ANA group identifier.
    pub anagrpmax: U32,
    /// Number of ANA groups.
    pub nanagrpid: U32,
    /// Persistent event log size.
    pub pels: U32,
    /// Domain identifier.
    pub domainid: U16,
    /// Reserved, key per I/O, capacity fields.
    pub reserved_358: [u8; 154],
    /// Submission entry size: minimum in bits 3:0, maximum in bits 7:4.
    pub sqes: u8,
    /// Completion entry size.
    pub cqes: u8,
    /// Most commands outstanding.
    pub maxcmd: U16,
    /// Largest namespace identifier.
    pub nn: U32,
    /// Optional NVM command support.
    pub oncs: U16,
    /// Fused operation support.
    pub fuses: U16,
    /// Format NVM attributes.
    pub fna: u8,
    /// Volatile write cache: bit 0 present, bits 2:1 flush behaviour.
    pub vwc: u8,
    /// Atomic write unit normal, 0's based.
    pub awun_z: U16,
    /// Atomic write unit power fail, 0's based.
    pub awupf_z: U16,
    /// I/O vendor specific command configuration.
    pub icsvscc: u8,
    /// Namespace write protection capabilities.
    pub nwpc: u8,
    /// Atomic compare and write unit, 0's based.
    pub acwu_z: U16,
    /// Copy descriptor formats supported.
    pub cdfs: U16,
    /// SGL support.
    pub sgls: U32,
    /// Maximum number of allowed namespaces.
    pub mnan: U32,
    /// Reserved, domain and migration fields.
    pub reserved_544: [u8; 224],
    /// NVM subsystem NQN.
    pub subnqn: [u8; 256],
    /// Reserved.
    pub reserved_1024: [u8; 768],
    /// I/O queue command capsule size in 16 bytes.
    pub ioccsz: U32,
    /// I/O queue response capsule size in 16 bytes.
    pub iorcsz: U32,
    /// In-capsule data offset in 16 bytes.
    pub icdoff: U16,
    /// Fabrics controller attributes: bit 0 static controllers.
    pub fcatt: u8,
    /// Maximum SGL data block descriptors.
    pub msdbd: u8,
    /// Optional fabrics commands: bit 0 Disconnect.
    pub ofcs: U16,
    /// Discovery controller type.
    pub dctype: u8,
    /// Reserved.
    pub reserved_1807: [u8; 241],
    /// Power state descriptors.
    pub psd: [[u8; 32]; 32],
    /// Vendor specific.
    pub vendor: [u8; 1024],
}
const _: () = assert!(size_of::<IdentifyController>() == IDENTIFY_LEN);
const _: () = assert!(offset_of!(IdentifyController, cntrltype) == 111);
const _: () = assert!(offset_of!(IdentifyController, oacs) == 256);
const _: () = assert!(offset_of!(IdentifyController, kas) == 320);
const _: () = assert!(offset_of!(IdentifyController, anatt) == 342);
const _: () = assert!(offset_of!(IdentifyController, sqes) == 512);
const _: () = assert!(offset_of!(IdentifyController, sgls) == 536);
const _: () = assert!(offset_of!(IdentifyController, subnqn) == 768);
const _: () = assert!(offset_of!(IdentifyController, ioccsz) == 1792);
const _: () = assert!(offset_of!(IdentifyController, psd) == 2048);

impl IdentifyController {
    /// OACS: Doorbell Buffer Config supported.
    pub const OACS_DBBUF: u16 = 1 << 8;
    /// ONCS: Compare.
    pub const ONCS_COMPARE: u16 = 1 << 0;
    /// ONCS: Dataset Management.
    pub const ONCS_DSM: u16 = 1 << 2;
    /// ONCS: Write Zeroes.
    pub const ONCS_WRITE_ZEROES: u16 = 1 << 3;
    /// ONCS: reservations.
    pub const ONCS_RESERVATIONS: u16 = 1 << 5;
    /// ONCS: Verify.
    pub const ONCS_VERIFY: u16 = 1 << 7;
    /// ONCS: Copy.
    pub const ONCS_COPY: u16 = 1 << 8;
    /// FUSES: Compare and Write.
    pub const FUSES_COMPARE_AND_WRITE: u16 = 1 << 0;
    /// VWC: a volatile write cache is present.
    pub const VWC_PRESENT: u8 = 1 << 0;
    /// VWC: Flush to all namespaces is not supported.
    pub const VWC_NO_BROADCAST: u8 = 2 << 1;
    /// CTRATT: 128-bit host identifier.
    pub const CTRATT_HIDS: u32 = 1 << 0;
    /// CTRATT: traffic based keep alive.
    pub const CTRATT_TBKAS: u32 = 1 << 6;
}

/// Identify Namespace, NVM command set (NVM 1.1 figure 114).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct IdentifyNamespace {
    /// Size in logical blocks.
    pub nsze: U64,
    /// Capacity in logical blocks.
    pub ncap: U64,
    /// Logical blocks in use.
    pub nuse: U64,
    /// Features.
    pub nsfeat: u8,
    /// Number of LBA formats, 0's based.
    pub nlbaf_z: u8,
    /// Format in use: index in bits 3:0 and 6:5.
    pub flbas: u8,
    /// Metadata capabilities.
    pub mc: u8,
    /// Protection capabilities.
    pub dpc: u8,
    /// Protection settings.
    pub dps: u8,
    /// Sharing: bit 0, several controllers.
    pub nmic: u8,
    /// Reservation capabilities.
    pub rescap: u8,
    /// Format progress.
    pub fpi: u8,
    /// Deallocation behaviour.
    pub dlfeat: u8,
    /// Atomic write unit normal, 0's based.
    pub nawun_z: U16,
    /// Atomic write unit power fail, 0's based.
    pub nawupf_z: U16,
    /// Atomic compare and write unit, 0's based.
    pub nacwu_z: U16,
    /// Atomic boundary size normal.
    pub nabsn: U16,
    /// Atomic boundary offset.
    pub nabo: U16,
    /// Atomic boundary size power fail.
    pub nabspf: U16,
    /// Optimal I/O boundary.
    pub noiob: U16,
    /// Capacity in bytes.
    pub nvmcap: [u8; 16],
    /// Preferred write granularity, 0's based.
    pub npwg_z: U16,
    /// Preferred write alignment, 0's based.
    pub npwa_z: U16,
    /// Preferred deallocate granularity, 0's based.
    pub npdg_z: U16,
    /// Preferred deallocate alignment, 0's based.
    pub npda_z: U16,
    /// Optimal write size, 0's based.
    pub nows_z: U16,
    /// Maximum single source range length.
    pub mssrl: U16,
    /// Maximum copy length.
    pub mcl: U32,
    /// Maximum source range count, 0's based.
    pub msrc_z: u8,
    /// Reserved, key per I/O fields.
    pub reserved_81: [u8; 11],
    /// ANA group identifier.
    pub anagrpid: U32,
    /// Reserved.
    pub reserved_96: [u8; 3],
    /// Attributes: bit 0 write protected.
    pub nsattr: u8,
    /// NVM set identifier.
    pub nvmsetid: U16,
    /// Endurance group identifier.
    pub endgid: U16,
    /// Globally unique identifier.
    pub nguid: [u8; 16],
    /// IEEE extended unique identifier.
    pub eui64: [u8; 8],
    /// LBA formats.
    pub lbaf: [LbaFormat; 64],
    /// Vendor specific.
    pub vendor: [u8; 3712],
}
const _: () = assert!(size_of::<IdentifyNamespace>() == IDENTIFY_LEN);
const _: () = assert!(offset_of!(IdentifyNamespace, anagrpid) == 92);
const _: () = assert!(offset_of!(IdentifyNamespace, nguid) == 104);
const _: () = assert!(offset_of!(IdentifyNamespace, lbaf) == 128);

impl IdentifyNamespace {
    /// NSFEAT: the atomicity fields of this namespace count, not those of the controller.
    pub const NSFEAT_ATOMICS: u8 = 1 << 1;
    /// NSFEAT: the preferred granularities are given.
    pub const NSFEAT_OPTIMAL: u8 = 1 << 4;

    /// The LBA format in use.
    #[must_use]
    pub fn format(&self) -> Option<LbaFormat> {
        let index = (self.flbas & 0xf) | ((self.flbas >> 1) & 0x30);
        self.lbaf.get(usize::from(index)).copied()
    }
}

/// LBA format (NVM 1.1 figure 116).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct LbaFormat {
    /// Metadata bytes per block.
    pub ms: U16,
    /// Block size as a power of two.
    pub lbads: u8,
    /// Relative performance.
    pub rp: u8,
}

/// Identify Namespace independent of command sets, CNS 08h (Base 2.1 figure 320).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct IdentifyIndependentNamespace {
    /// Features.
    pub nsfeat: u8,
    /// Sharing.
    pub nmic: u8,
    /// Reservation capabilities.
    pub rescap: u8,
    /// Format progress.
    pub fpi: u8,
    /// ANA group identifier.
    pub anagrpid: U32,
    /// Attributes.
    pub nsattr: u8,
    /// Reserved.
    pub reserved_9: u8,
    /// NVM set identifier.
    pub nvmsetid: U16,
    /// Endurance group identifier.
    pub endgid: U16,
    /// Status: bit 0 ready.
    pub nstat: u8,
    /// Reserved.
    pub reserved_15: [u8; 4081],
}
const _: () = assert!(size_of::<IdentifyIndependentNamespace>() == IDENTIFY_LEN);

/// Identify Controller of the NVM command set, CNS 06h (NVM 1.1 figure 120).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct IdentifyNvmController {
    /// Verify size limit, as a power of two of CAP.MPSMIN pages.
    pub vsl: u8,
    /// Write Zeroes size limit.
    pub wzsl: u8,
    /// Write Uncorrectable size limit.
    pub wusl: u8,
    /// Dataset Management ranges limit.
    pub dmrl: u8,
    /// Dataset Management range size limit.
    pub dmrsl: U32,
    /// Dataset Management size limit.
    pub dmsl: U64,
    /// Reserved.
    pub reserved_16: [u8; 4080],
}
const _: () = assert!(size_of::<IdentifyNvmController>() == IDENTIFY_LEN);

/// Namespace identifier types of CNS 03h (Base 2.1 figure 315).
pub mod nidt {
    /// EUI-64, 8 bytes.
    pub const EUI64: u8 = 1;
    /// NGUID, 16 bytes.
    pub const NGUID: u8 = 2;
    /// UUID, 16 bytes.
    pub const UUID: u8 = 3;
    /// Command set identifier, 1 byte.
    pub const CSI: u8 = 4;
}

/// A namespace identification descriptor with a 16-byte identifier (Base 2.1 figure 315).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct NamespaceDescriptor {
    /// Identifier type.
    pub nidt: u8,
    /// Identifier length.
    pub nidl: u8,
    /// Reserved.
    pub reserved: [u8; 2],
    /// The identifier.
    pub nid: [u8; 16],
}
const _: () = assert!(size_of::<NamespaceDescriptor>() == 20);
