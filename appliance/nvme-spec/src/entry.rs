//! Queue entries: the 64 bytes a host submits and the 16 bytes it gets back (Base 2.1 §4.1, §4.2).

use crate::Status;
use crate::opcode::DataDirection;
use core::mem::size_of;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Submission queue entry, common command format (Base 2.1 figure 92).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Sqe {
    /// Opcode; its meaning depends on the queue.
    pub opc: u8,
    /// FUSE in bits 1:0, PSDT in bits 7:6.
    pub flags: u8,
    /// Command identifier.
    pub cid: U16,
    /// Namespace identifier. Fabrics commands keep their type in the lowest byte.
    pub nsid: U32,
    /// Command dword 2.
    pub cdw2: U32,
    /// Command dword 3.
    pub cdw3: U32,
    /// Metadata pointer.
    pub mptr: U64,
    /// Data pointer: two PRP entries, or one SGL descriptor.
    pub dptr: DataPointer,
    /// Command dword 10.
    pub cdw10: U32,
    /// Command dword 11.
    pub cdw11: U32,
    /// Command dword 12.
    pub cdw12: U32,
    /// Command dword 13.
    pub cdw13: U32,
    /// Command dword 14.
    pub cdw14: U32,
    /// Command dword 15.
    pub cdw15: U32,
}
const _: () = assert!(size_of::<Sqe>() == 64);

/// PSDT: the data pointer is an SGL, the metadata pointer a byte-aligned buffer. Fabrics requires an SGL (Base 2.1 §4.3.2).
pub const FLAGS_SGL: u8 = 0x40;
/// PSDT bits of the flags.
pub const FLAGS_PSDT_MASK: u8 = 0xc0;
/// FUSE bits of the flags.
pub const FLAGS_FUSE_MASK: u8 = 0x03;

impl Sqe {
    /// A command with everything else zero.
    #[must_use]
    pub fn new(opc: u8, nsid: u32) -> Self {
        Self { opc, nsid: U32::new(nsid), ..Self::new_zeroed() }
    }

    /// Which way the data of this command goes.
    #[must_use]
    pub fn direction(&self) -> DataDirection {
        DataDirection::of(if self.opc == crate::AdminOpcode::FABRICS.0 { self.fctype().0 } else { self.opc })
    }

    /// Whether it is a half of a fused operation.
    #[must_use]
    pub const fn fuse(&self) -> Fuse {
        Fuse(self.flags & FLAGS_FUSE_MASK)
    }

    /// Fabrics command type, if the opcode is [`AdminOpcode::FABRICS`](crate::AdminOpcode::FABRICS).
    #[must_use]
    pub fn fctype(&self) -> crate::FabricsType {
        let [fctype, ..] = self.nsid.to_bytes();
        crate::FabricsType(fctype)
    }

    /// Starting LBA of an NVM command (dwords 10 and 11).
    #[must_use]
    pub fn slba(&self) -> u64 {
        (u64::from(self.cdw11.get()) << 32) | u64::from(self.cdw10.get())
    }

    /// Sets the starting LBA.
    pub fn set_slba(&mut self, slba: u64) {
        let [a, b, c, d, e, f, g, h] = slba.to_le_bytes();
        self.cdw10 = U32::from_bytes([a, b, c, d]);
        self.cdw11 = U32::from_bytes([e, f, g, h]);
    }

    /// Number of logical blocks of an NVM command, as a real count (the field is 0's based).
    #[must_use]
    pub fn nlb(&self) -> u32 {
        u32::from(self.rw_flags().nlb_z()).saturating_add(1)
    }

    /// Dword 12 of Read, Write, Write Zeroes.
    #[must_use]
    pub fn rw_flags(&self) -> RwFlags {
        RwFlags::from_bits(self.cdw12.get())
    }
}

open_enum! {
    /// FUSE: two commands next to each other that are done as one (Base 2.1 figure 91).
    pub struct Fuse(u8) {
        /// A command by itself.
        NONE = 0,
        /// The first of two.
        FIRST = 1,
        /// The second of two.
        SECOND = 2,
    }
}

/// Dword 12 of Read, Write and Write Zeroes (NVM 1.1 §3.3.4, §3.3.6, §3.3.8).
#[bitfield_struct::bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct RwFlags {
    /// Number of logical blocks, 0's based.
    pub nlb_z: u16,
    /// Directive type or command extension.
    #[bits(8)]
    pub dtype: u8,
    /// Storage tag check.
    pub stc: bool,
    /// Write Zeroes: deallocate.
    pub deac: bool,
    /// Protection information field.
    #[bits(4)]
    pub prinfo: u8,
    /// Force unit access.
    pub fua: bool,
    /// Limited retry.
    pub lr: bool,
}

/// Dword 11 of Dataset Management (NVM 1.1 §3.3.3, figure 42).
#[bitfield_struct::bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct DatasetFlags {
    /// The ranges will be read together.
    pub integral_read: bool,
    /// The ranges will be written together.
    pub integral_write: bool,
    /// The ranges may be deallocated.
    pub deallocate: bool,
    #[bits(29)]
    __: u32,
}

/// Most ranges of one Dataset Management command: their number has eight bits, 0's based.
pub const DATASET_RANGES_MAX: u32 = 256;

/// A range of Dataset Management (NVM 1.1 figure 43).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct DatasetRange {
    /// Context attributes: hints.
    pub cattr: U32,
    /// Number of logical blocks; not 0's based.
    pub nlb: U32,
    /// First logical block.
    pub slba: U64,
}
const _: () = assert!(size_of::<DatasetRange>() == 16);

/// Dword 12 of Copy (NVM 1.1 §3.3.2).
#[bitfield_struct::bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CopyFlags {
    /// Number of ranges, 0's based.
    pub count_z: u8,
    /// Descriptor format.
    #[bits(4)]
    pub format: u8,
    /// Protection information field for reading.
    #[bits(4)]
    pub prinfo_read: u8,
    #[bits(4)]
    __: u8,
    /// Directive type.
    #[bits(4)]
    pub dtype: u8,
    /// Storage tag checks for writing and reading.
    #[bits(2)]
    pub storage_tag_checks: u8,
    /// Protection information field for writing.
    #[bits(4)]
    pub prinfo_write: u8,
    /// Force unit access.
    pub fua: bool,
    /// Limited retry.
    pub lr: bool,
}

/// A source range of Copy, format 0: of the namespace that is written (NVM 1.1 §3.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CopyRange {
    /// Reserved.
    pub reserved_0: U64,
    /// First logical block.
    pub slba: U64,
    /// Number of logical blocks, 0's based.
    pub nlb_z: U16,
    /// Reserved.
    pub reserved_18: U16,
    /// Fast copy and source options.
    pub options: U32,
    /// Protection information tags.
    pub tags: U64,
}
const _: () = assert!(size_of::<CopyRange>() == 32);

/// The data pointer of a command: 16 bytes that are PRPs or an SGL descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct DataPointer {
    /// First physical region page entry.
    pub prp1: U64,
    /// Second entry, or pointer to a list of entries.
    pub prp2: U64,
}

impl DataPointer {
    /// Two PRP entries (PCIe).
    #[must_use]
    pub const fn prp(prp1: u64, prp2: u64) -> Self {
        Self { prp1: U64::new(prp1), prp2: U64::new(prp2) }
    }

    /// One SGL descriptor.
    #[must_use]
    pub fn sgl(sgl: Sgl) -> Self {
        zerocopy::transmute!(sgl)
    }

    /// The same bytes read as an SGL descriptor.
    #[must_use]
    pub fn as_sgl(&self) -> Sgl {
        zerocopy::transmute!(*self)
    }
}

/// An SGL descriptor (Base 2.1 §4.3.2, figure 96).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Sgl {
    /// Address or offset.
    pub address: U64,
    /// Bytes.
    pub length: U32,
    /// Reserved.
    pub reserved: [u8; 3],
    /// Descriptor type in bits 7:4, subtype in bits 3:0.
    pub kind: SglKind,
}
const _: () = assert!(size_of::<Sgl>() == 16 && size_of::<DataPointer>() == 16);

impl Sgl {
    /// Data that follows the command in its capsule (TCP 1.1 §3.2.1.2).
    #[must_use]
    pub const fn in_capsule(len: u32) -> Self {
        Self {
            address: U64::new(0),
            length: U32::new(len),
            reserved: [0; 3],
            kind: SglKind::DATA_BLOCK_OFFSET,
        }
    }

    /// Data that the transport moves later (TCP 1.1 §3.2.1.1).
    #[must_use]
    pub const fn transport(len: u32) -> Self {
        Self {
            address: U64::new(0),
            length: U32::new(len),
            reserved: [0; 3],
            kind: SglKind::TRANSPORT_DATA_BLOCK,
        }
    }
}

open_enum! {
    /// Descriptor type and subtype of an SGL descriptor.
    #[derive(zerocopy::Unaligned)]
    pub struct SglKind(u8) {
        /// Data block with an address.
        DATA_BLOCK = 0x00,
        /// Data block with an offset: in-capsule data.
        DATA_BLOCK_OFFSET = 0x01,
        /// Transport data block with the transport's own subtype.
        TRANSPORT_DATA_BLOCK = 0x5a,
    }
}

/// Completion queue entry (Base 2.1 figure 98).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Cqe {
    /// Command specific result, low half.
    pub dw0: U32,
    /// Command specific result, high half.
    pub dw1: U32,
    /// Submission queue head pointer.
    pub sqhd: U16,
    /// Submission queue identifier; reserved over fabrics.
    pub sqid: U16,
    /// Command identifier.
    pub cid: U16,
    /// Status in bits 15:1, phase tag in bit 0 (PCIe only).
    pub status_phase: U16,
}
const _: () = assert!(size_of::<Cqe>() == 16);

impl Cqe {
    /// A completion with result 0; queue head and phase are filled in by the transport.
    #[must_use]
    pub const fn new(cid: u16, status: Status) -> Self {
        Self {
            dw0: U32::new(0),
            dw1: U32::new(0),
            sqhd: U16::new(0),
            sqid: U16::new(0),
            cid: U16::new(cid),
            status_phase: U16::new(status.to_field()),
        }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::from_field(self.status_phase.get())
    }

    /// The phase tag.
    #[must_use]
    pub fn phase(&self) -> bool {
        self.status_phase.get() & 1 != 0
    }

    /// Both result dwords as one number.
    #[must_use]
    pub fn result(&self) -> u64 {
        (u64::from(self.dw1.get()) << 32) | u64::from(self.dw0.get())
    }
}
