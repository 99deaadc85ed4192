//! The bytes: one struct per stored table, as `docs/ondisk.md` lists them.
//!
//! Invariants
//! - No padding: every byte has a name. All integers are little-endian.
//! - A struct never changes once released; a change is a new `...V2` beside it and a new version in the stamp.
//! - Structs of which only older versions of the software write are read by `record/legacy.rs`.

use crate::limits::{HOSTS_MAX, NQN_LEN_MAX, SERIAL_LEN_MAX};
use core::mem::offset_of;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First bytes of a drive label.
pub(crate) const LABEL_MAGIC: [u8; 16] = *b"IRONBAY DRIVE\0\0\0";

/// First bytes of a pool record.
pub(crate) const RECORD_MAGIC: [u8; 16] = *b"IRONBAY POOL\0\0\0\0";

/// The version of labels.
pub(crate) const LABEL_VERSION: u16 = 1;

/// The version of records that is written; version 1 is still read.
pub(crate) const RECORD_VERSION: u16 = 2;

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

/// The head of a record of version 1; members, volumes, runs follow.
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

/// The head of a record; the tables follow without gaps: members, volumes, runs, hosts, registrants; then zeroes up to
/// a whole block.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct RecordHeaderV2 {
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
    /// Entries in the host table.
    pub(crate) host_count: U16,
    /// Entries in the registrant table.
    pub(crate) registrant_count: U16,
    /// The pool's name, filled up with zeroes.
    pub(crate) name: [u8; NAME_FIELD],
    /// Zero.
    pub(crate) reserved: [u8; 104],
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

/// One volume of version 1: 4096-byte blocks, open to every host, not reserved, not protected.
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

/// One volume; the table is ordered by `nsid`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct VolumeV2 {
    /// Identity.
    pub(crate) uuid: [u8; 16],
    /// Name, filled up with zeroes.
    pub(crate) name: [u8; NAME_FIELD],
    /// Namespace identifier.
    pub(crate) nsid: U32,
    /// Length.
    pub(crate) extents: U32,
    /// The pool's generation that an operator changed it in last.
    pub(crate) revision: U64,
    /// Bytes of a logical block as a power of two: 9 or 12.
    pub(crate) lba_shift: u8,
    /// 0 off, 1 on, 2 permanent.
    pub(crate) write_protect: u8,
    /// 0 every host, 1 those in `hosts`.
    pub(crate) access: u8,
    /// 1 if registrants and reservation survive a loss of power; what follows is zero otherwise.
    pub(crate) persistence: u8,
    /// 0 none, 1–6 as in NVMe.
    pub(crate) reservation: u8,
    /// Zero.
    pub(crate) reserved0: u8,
    /// The registrant that holds it, counted within the volume; 0 where there is none, or all are.
    pub(crate) holder: U16,
    /// Counts the changes of registrants.
    pub(crate) reservation_generation: U32,
    /// Its entries in the registrant table.
    pub(crate) registrant_count: U16,
    /// Zero.
    pub(crate) reserved1: [u8; 2],
    /// Bit n of byte m: host 8 m + n of the host table may connect.
    pub(crate) hosts: [u8; HOSTS_MAX / 8],
    /// Zero.
    pub(crate) reserved2: [u8; 16],
}

/// A host that some volume names. The table is in ascending order.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct HostV2 {
    /// Filled up with zeroes, one at least.
    pub(crate) nqn: [u8; NQN_LEN_MAX + 1],
}

/// A host that registered a key. The table has the registrants of the first volume, then those of the second, and so on.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct RegistrantV2 {
    /// Host identifier.
    pub(crate) host: [u8; 16],
    /// Reservation key.
    pub(crate) key: U64,
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
const _: () = assert!(size_of::<RecordHeaderV2>() == 256);
const _: () = assert!(size_of::<MemberV1>() == 64);
const _: () = assert!(size_of::<VolumeV1>() == 128);
const _: () = assert!(size_of::<VolumeV2>() == 160);
const _: () = assert!(size_of::<HostV2>() == 224);
const _: () = assert!(size_of::<RegistrantV2>() == 24);
const _: () = assert!(
    offset_of!(RecordHeaderV1, record_bytes) == offset_of!(RecordHeaderV2, record_bytes),
    "the length is found before the version is known"
);
const _: () = assert!(size_of::<RunV1>() == 16);
