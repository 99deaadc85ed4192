//! The bytes: one struct per stored table, as `docs/ondisk.md` lists them.
//!
//! Invariants
//! - No padding: every byte has a name. All integers are little-endian.
//! - A struct never changes once released; a change is a new `...V2` beside it and a new version in the stamp.

use crate::limits::SERIAL_LEN_MAX;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First bytes of a drive label.
pub(crate) const LABEL_MAGIC: [u8; 16] = *b"IRONBAY DRIVE\0\0\0";

/// First bytes of a pool record.
pub(crate) const RECORD_MAGIC: [u8; 16] = *b"IRONBAY POOL\0\0\0\0";

/// The version that is written, and the only one that is read.
pub(crate) const VERSION: u16 = 1;

/// Room of a name: the longest one and a zero byte.
pub(crate) const NAME_FIELD: usize = 64;

/// The start of every stored struct.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct StampV1 {
    /// Which struct this is.
    pub(crate) magic: [u8; 16],
    /// CRC32C over the whole struct, this field taken as zero.
    pub(crate) checksum: U32,
    /// Version of the struct.
    pub(crate) version: U16,
    /// Zero.
    pub(crate) reserved: [u8; 2],
    /// The block at which it is stored.
    pub(crate) lba: U64,
    /// The drive on which it is stored.
    pub(crate) drive: [u8; 16],
    /// The pool to which it belongs.
    pub(crate) pool: [u8; 16],
}

/// Who a drive is: one block, written when the drive joins a pool.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct LabelV1 {
    pub(crate) stamp: StampV1,
    /// Its number in the pool.
    pub(crate) member: U16,
    /// Zero.
    pub(crate) reserved0: [u8; 6],
    /// Its serial number when it joined; filled up with zeroes.
    pub(crate) serial: [u8; SERIAL_LEN_MAX],
    /// Zero.
    pub(crate) reserved1: [u8; 4004],
}

/// The head of a record; the tables follow without gaps: members, volumes, runs; then zeroes up to a whole block.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct RecordHeaderV1 {
    pub(crate) stamp: StampV1,
    /// Grows by one with each change of the pool.
    pub(crate) generation: U64,
    /// Length of the whole record, a multiple of the block size.
    pub(crate) record_bytes: U32,
    /// The number of the member that holds this copy.
    pub(crate) member: U16,
    /// Entries in the member table.
    pub(crate) member_count: U16,
    /// Entries in the volume table.
    pub(crate) volume_count: U16,
    /// Entries in the run table.
    pub(crate) run_count: U16,
    /// Zero.
    pub(crate) reserved0: [u8; 4],
    /// The pool's name, filled up with zeroes.
    pub(crate) name: [u8; NAME_FIELD],
    /// Zero.
    pub(crate) reserved1: [u8; 104],
}

/// One drive of the pool; its place in the table is its number.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct MemberV1 {
    /// Identity of the drive.
    pub(crate) drive: [u8; 16],
    /// Its serial number when it joined, filled up with zeroes.
    pub(crate) serial: [u8; SERIAL_LEN_MAX],
    /// Extents that it gives to the pool.
    pub(crate) extents: U32,
    /// Zero.
    pub(crate) reserved: [u8; 24],
}

/// One volume; the table is ordered by `nsid`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct VolumeV1 {
    /// Identity.
    pub(crate) uuid: [u8; 16],
    /// Name, filled up with zeroes.
    pub(crate) name: [u8; NAME_FIELD],
    /// Namespace identifier.
    pub(crate) nsid: U32,
    /// Length.
    pub(crate) extents: U32,
    /// The pool's generation that changed it last.
    pub(crate) revision: U64,
    /// Zero.
    pub(crate) reserved: [u8; 32],
}

/// A piece of a volume: extents that lie one after the other on one member. The table is ordered by volume, position.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct RunV1 {
    /// Place of its volume in the volume table.
    pub(crate) volume: U16,
    /// Place of its drive in the member table.
    pub(crate) member: U16,
    /// First extent on the drive.
    pub(crate) first: U32,
    /// Extents.
    pub(crate) count: U32,
    /// Extents of the volume before this piece.
    pub(crate) position: U32,
}

const _: () = assert!(size_of::<StampV1>() == 64);
const _: () = assert!(size_of::<LabelV1>() == 4096);
const _: () = assert!(size_of::<RecordHeaderV1>() == 256);
const _: () = assert!(size_of::<MemberV1>() == 64);
const _: () = assert!(size_of::<VolumeV1>() == 128);
const _: () = assert!(size_of::<RunV1>() == 16);
