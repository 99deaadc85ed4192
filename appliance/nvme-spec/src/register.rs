//! Controller registers; over fabrics the same offsets are properties (Base 2.1 §3.1.4).

use bitfield_struct::bitfield;

/// Offsets of the registers and properties (Base 2.1 figure 33).
pub mod offset {
    /// Controller Capabilities, 8 bytes.
    pub const CAP: u32 = 0x00;
    /// Version.
    pub const VS: u32 = 0x08;
    /// Interrupt Mask Set (PCIe only).
    pub const INTMS: u32 = 0x0c;
    /// Interrupt Mask Clear (PCIe only).
    pub const INTMC: u32 = 0x10;
    /// Controller Configuration.
    pub const CC: u32 = 0x14;
    /// Controller Status.
    pub const CSTS: u32 = 0x1c;
    /// NVM Subsystem Reset.
    pub const NSSR: u32 = 0x20;
    /// Admin Queue Attributes (PCIe only).
    pub const AQA: u32 = 0x24;
    /// Admin Submission Queue Base Address, 8 bytes (PCIe only).
    pub const ASQ: u32 = 0x28;
    /// Admin Completion Queue Base Address, 8 bytes (PCIe only).
    pub const ACQ: u32 = 0x30;
    /// Controller Ready Timeouts.
    pub const CRTO: u32 = 0x68;
    /// First doorbell (PCIe 1.1 §3.1.2).
    pub const DOORBELLS: u32 = 0x1000;
}

/// Offset of the tail doorbell of submission queue `qid`; `dstrd` is CAP.DSTRD (PCIe 1.1 §3.1.2.1).
#[must_use]
pub const fn sq_tail_doorbell(qid: u16, dstrd: u8) -> u64 {
    doorbell(2u64.saturating_mul(qid as u64), dstrd)
}

/// Offset of the head doorbell of completion queue `qid`; `dstrd` is CAP.DSTRD (PCIe 1.1 §3.1.2.2).
#[must_use]
pub const fn cq_head_doorbell(qid: u16, dstrd: u8) -> u64 {
    doorbell(2u64.saturating_mul(qid as u64).saturating_add(1), dstrd)
}

// DSTRD has four bits, the index 17: the result fits easily.
const fn doorbell(index: u64, dstrd: u8) -> u64 {
    (offset::DOORBELLS as u64).saturating_add(index.saturating_mul(4 << (dstrd & 0xf)))
}

/// Controller Capabilities (Base 2.1 §3.1.4.1).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Cap {
    /// Maximum queue entries supported, 0's based.
    pub mqes_z: u16,
    /// Contiguous queues required.
    pub cqr: bool,
    /// Arbitration mechanisms supported.
    #[bits(2)]
    pub ams: u8,
    #[bits(5)]
    __: u8,
    /// Timeout for CSTS.RDY and shutdown in 500 ms units.
    pub to: u8,
    /// Doorbell stride: 4 << DSTRD bytes.
    #[bits(4)]
    pub dstrd: u8,
    /// Subsystem reset supported.
    pub nssrs: bool,
    /// Command sets supported: bit 0 NVM, bit 6 I/O command sets, bit 7 admin only.
    pub css: u8,
    /// Boot partition support.
    pub bps: bool,
    /// Controller power scope.
    #[bits(2)]
    pub cps: u8,
    /// Smallest memory page: 4096 << MPSMIN bytes.
    #[bits(4)]
    pub mpsmin: u8,
    /// Largest memory page.
    #[bits(4)]
    pub mpsmax: u8,
    /// Persistent memory region supported.
    pub pmrs: bool,
    /// Controller memory buffer supported.
    pub cmbs: bool,
    /// Subsystem shutdown supported.
    pub nsss: bool,
    /// Ready With Media support.
    pub crwms: bool,
    /// Ready Independent of Media support.
    pub crims: bool,
    /// Subsystem shutdown enhancements.
    pub nsses: bool,
    #[bits(2)]
    __: u8,
}

/// Controller Configuration (Base 2.1 §3.1.4.5).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Cc {
    /// Enable.
    pub en: bool,
    #[bits(3)]
    __: u8,
    /// Command set selected: 0 NVM, 6 all I/O command sets, 7 admin only.
    #[bits(3)]
    pub css: u8,
    /// Memory page size: 4096 << MPS.
    #[bits(4)]
    pub mps: u8,
    /// Arbitration mechanism.
    #[bits(3)]
    pub ams: u8,
    /// Shutdown notification: 1 normal, 2 abrupt.
    #[bits(2)]
    pub shn: u8,
    /// Submission entry size, as a power of two.
    #[bits(4)]
    pub iosqes: u8,
    /// Completion entry size, as a power of two.
    #[bits(4)]
    pub iocqes: u8,
    /// Ready independent of media enable.
    pub crime: bool,
    #[bits(7)]
    __: u8,
}

/// Controller Status (Base 2.1 §3.1.4.6).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Csts {
    /// Ready.
    pub rdy: bool,
    /// Controller fatal status.
    pub cfs: bool,
    /// Shutdown status: 0 none, 1 in progress, 2 complete.
    #[bits(2)]
    pub shst: u8,
    /// Subsystem reset occurred.
    pub nssro: bool,
    /// Processing paused.
    pub pp: bool,
    /// Shutdown type.
    pub st: bool,
    #[bits(25)]
    __: u32,
}

/// Admin Queue Attributes (Base 2.1 §3.1.4.8).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Aqa {
    /// Admin submission queue entries, 0's based.
    #[bits(12)]
    pub asqs_z: u16,
    #[bits(4)]
    __: u8,
    /// Admin completion queue entries, 0's based.
    #[bits(12)]
    pub acqs_z: u16,
    #[bits(4)]
    __: u8,
}

/// Version (Base 2.1 §3.1.4.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Vs {
    /// Tertiary version.
    pub ter: u8,
    /// Minor version.
    pub mnr: u8,
    /// Major version.
    pub mjr: u16,
}

/// Controller Ready Timeouts in 500 ms units (Base 2.1 §3.1.4.20).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Crto {
    /// Ready with media.
    pub crwmt: u16,
    /// Ready independent of media.
    pub crimt: u16,
}

/// Dword 10 of Create and Delete I/O queue commands (Base 2.1 §5.2.1, §5.2.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CreateQueueCdw10 {
    /// Queue identifier.
    pub qid: u16,
    /// Entries, 0's based.
    pub qsize_z: u16,
}

/// Dword 11 of Create I/O Completion Queue (Base 2.1 §5.2.1).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CreateCqCdw11 {
    /// Physically contiguous.
    pub pc: bool,
    /// Interrupts enabled.
    pub ien: bool,
    #[bits(14)]
    __: u16,
    /// Interrupt vector.
    pub iv: u16,
}

/// Dword 11 of Create I/O Submission Queue (Base 2.1 §5.2.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CreateSqCdw11 {
    /// Physically contiguous.
    pub pc: bool,
    /// Priority.
    #[bits(2)]
    pub qprio: u8,
    #[bits(13)]
    __: u16,
    /// Completion queue that takes the completions.
    pub cqid: u16,
}
