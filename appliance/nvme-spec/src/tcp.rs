//! Headers of NVMe/TCP PDUs (TCP 1.1 §3.6). Each begins with the 8-byte [`CommonHeader`].

use crate::{Cqe, Sqe};
use core::mem::size_of;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

open_enum! {
    /// PDU types (TCP 1.1 figure 14).
    #[derive(zerocopy::Unaligned)]
    pub struct PduType(u8) {
        /// Initialize Connection Request.
        IC_REQ = 0x00,
        /// Initialize Connection Response.
        IC_RESP = 0x01,
        /// Host to Controller Terminate Connection Request.
        H2C_TERM_REQ = 0x02,
        /// Controller to Host Terminate Connection Request.
        C2H_TERM_REQ = 0x03,
        /// Command Capsule.
        CAPSULE_CMD = 0x04,
        /// Response Capsule.
        CAPSULE_RESP = 0x05,
        /// Host to Controller Data Transfer.
        H2C_DATA = 0x06,
        /// Controller to Host Data Transfer.
        C2H_DATA = 0x07,
        /// Ready to Transfer.
        R2T = 0x09,
    }
}

/// Flags of the common header.
pub mod flag {
    /// A header digest follows the header.
    pub const HDGST: u8 = 1 << 0;
    /// A data digest follows the data.
    pub const DDGST: u8 = 1 << 1;
    /// Data PDUs: the last of this transfer.
    pub const LAST: u8 = 1 << 2;
    /// C2HData: the command succeeded and no response capsule follows.
    pub const SUCCESS: u8 = 1 << 3;
}

/// Common header (TCP 1.1 figure 13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CommonHeader {
    /// PDU type.
    pub kind: PduType,
    /// Flags.
    pub flags: u8,
    /// Length of the header without digest.
    pub hlen: u8,
    /// Offset of the data from the start of the PDU; 0 without data.
    pub pdo: u8,
    /// Length of the whole PDU.
    pub plen: U32,
}
const _: () = assert!(size_of::<CommonHeader>() == 8);

/// ICReq (TCP 1.1 figure 15).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct IcReq {
    /// Common header.
    pub ch: CommonHeader,
    /// PDU format version, 0.
    pub pfv: U16,
    /// Host PDU data alignment, 0's based in dwords.
    pub hpda_z: u8,
    /// Digests: bit 0 header, bit 1 data.
    pub dgst: u8,
    /// R2Ts outstanding per command, 0's based.
    pub maxr2t_z: U32,
    /// Reserved.
    pub reserved: [u8; 112],
}
const _: () = assert!(size_of::<IcReq>() == 128);

/// ICResp (TCP 1.1 figure 16).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct IcResp {
    /// Common header.
    pub ch: CommonHeader,
    /// PDU format version, 0.
    pub pfv: U16,
    /// Controller PDU data alignment, 0's based in dwords.
    pub cpda_z: u8,
    /// Digests: bit 0 header, bit 1 data.
    pub dgst: u8,
    /// Most data in one H2CData PDU.
    pub maxh2cdata: U32,
    /// Reserved.
    pub reserved: [u8; 112],
}
const _: () = assert!(size_of::<IcResp>() == 128);

/// H2CTermReq and C2HTermReq (TCP 1.1 figures 17, 19); up to 128 bytes of the header in error follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct TermReq {
    /// Common header.
    pub ch: CommonHeader,
    /// Fatal error status.
    pub fes: U16,
    /// Fatal error information.
    pub fei: U32,
    /// Reserved.
    pub reserved: [u8; 10],
}
const _: () = assert!(size_of::<TermReq>() == 24);

open_enum! {
    /// Fatal error status of a termination request (TCP 1.1 figures 18, 20).
    pub struct Fes(u16) {
        /// Invalid PDU header field; FEI is the byte offset of the field.
        INVALID_HEADER_FIELD = 1,
        /// PDU sequence error.
        SEQUENCE_ERROR = 2,
        /// Header digest error; FEI is the digest that was received.
        HEADER_DIGEST_ERROR = 3,
        /// Data transfer out of range.
        DATA_OUT_OF_RANGE = 4,
        /// Data transfer limit exceeded (H2C: R2T limit exceeded).
        LIMIT_EXCEEDED = 5,
        /// Unsupported parameter; FEI is the byte offset of the field.
        UNSUPPORTED_PARAMETER = 6,
    }
}

/// CapsuleCmd (TCP 1.1 figure 21).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CapsuleCmd {
    /// Common header.
    pub ch: CommonHeader,
    /// The command.
    pub sqe: Sqe,
}
const _: () = assert!(size_of::<CapsuleCmd>() == 72);

/// CapsuleResp (TCP 1.1 figure 22).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CapsuleResp {
    /// Common header.
    pub ch: CommonHeader,
    /// The completion.
    pub cqe: Cqe,
}
const _: () = assert!(size_of::<CapsuleResp>() == 24);

/// H2CData and C2HData (TCP 1.1 figures 23, 24).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct DataPdu {
    /// Common header.
    pub ch: CommonHeader,
    /// Command identifier.
    pub cccid: U16,
    /// Transfer tag of the R2T (H2CData only).
    pub ttag: U16,
    /// Offset of this data within the data of the command.
    pub datao: U32,
    /// Bytes of data in this PDU.
    pub datal: U32,
    /// Reserved.
    pub reserved: [u8; 4],
}
const _: () = assert!(size_of::<DataPdu>() == 24);

/// R2T (TCP 1.1 figure 25).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct R2t {
    /// Common header.
    pub ch: CommonHeader,
    /// Command identifier.
    pub cccid: U16,
    /// Transfer tag to be returned in H2CData.
    pub ttag: U16,
    /// Offset within the data of the command.
    pub r2to: U32,
    /// Bytes asked for.
    pub r2tl: U32,
    /// Reserved.
    pub reserved: [u8; 4],
}
const _: () = assert!(size_of::<R2t>() == 24);
