//! The bytes of the thin format: one struct per stored table, as `docs/ondisk.md` lists them. See `wire.rs` for the rules.

use crate::error::{Inconsistency, LoadError};
use crate::stamp;
use crate::thin::layout::{LEAF_UNITS, NODE_POINTERS, REGION_BLOCKS};
use crate::thin::table::TABLE_ENTRIES;
use crate::wire::{NAME_FIELD, StampV1};
use block::{BLOCK_SIZE, Lba};
use uuid::Uuid;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(crate) const SUPERBLOCK_MAGIC: [u8; 16] = *b"IRONBAY SUPER\0\0\0";
pub(crate) const ROOT_MAGIC: [u8; 16] = *b"IRONBAY ROOT\0\0\0\0";
pub(crate) const TABLE_MAGIC: [u8; 16] = *b"IRONBAY VOLUMES\0";
pub(crate) const NODE_MAGIC: [u8; 16] = *b"IRONBAY NODE\0\0\0\0";
pub(crate) const LEAF_MAGIC: [u8; 16] = *b"IRONBAY LEAF\0\0\0\0";
pub(crate) const SUMS_MAGIC: [u8; 16] = *b"IRONBAY SUMS\0\0\0\0";
pub(crate) const DIRTY_MAGIC: [u8; 16] = *b"IRONBAY DIRTY\0\0\0";
pub(crate) const ATTRIBUTES_MAGIC: [u8; 16] = *b"IRONBAY ATTRS\0\0\0";
pub(crate) const JOURNAL_MAGIC: [u8; 16] = *b"IRONBAY JOURNAL\0";

/// The version of every struct of the thin format.
pub(crate) const THIN_VERSION: u16 = 1;

/// Bytes of records in a journal block.
pub(crate) const JOURNAL_ROOM: usize = BLOCK_SIZE - 128;

/// Bytes of attributes in a block.
pub(crate) const ATTRIBUTES_ROOM: usize = BLOCK_SIZE - 128;

/// Blocks of the volume table.
pub(crate) const TABLE_BLOCKS_MAX: usize = 128;

/// Pointers of a root to the bitmap of dirty regions: enough for the largest drive.
pub(crate) const DIRTY_INDEXES: usize = 18;

/// Bytes of a block of the bitmap of dirty regions.
pub(crate) const DIRTY_BYTES: usize = 3840;

/// Who a block belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThinIdentity {
    /// The pool.
    pub pool: Uuid,
    /// The drive.
    pub drive: Uuid,
}

/// The first and second block of each home: written when the drive joins.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct SuperblockV1 {
    pub(crate) stamp: StampV1,
    pub(crate) generation: U64,
    pub(crate) blocks: U64,
    pub(crate) journal_blocks: U64,
    pub(crate) member: U16,
    pub(crate) member_count: U16,
    pub(crate) lanes: U16,
    pub(crate) home: u8,
    pub(crate) reserved0: u8,
    pub(crate) name: [u8; NAME_FIELD],
    pub(crate) reserved1: [u8; 3936],
}

/// Where a node or table block lies, and what it is.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct PointerV1 {
    pub(crate) lba: U64,
    pub(crate) generation: U64,
    pub(crate) checksum: U32,
    pub(crate) member: u8,
    pub(crate) reserved: [u8; 3],
}

/// A checkpoint: everything that is reachable.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct RootV1 {
    pub(crate) stamp: StampV1,
    pub(crate) generation: U64,
    pub(crate) epoch: U64,
    pub(crate) journal_sequence: U64,
    pub(crate) next_volume: U32,
    pub(crate) volume_count: U32,
    pub(crate) table_count: U16,
    pub(crate) lane: U16,
    pub(crate) reserved0: [u8; 28],
    pub(crate) tables: [PointerV1; TABLE_BLOCKS_MAX],
    pub(crate) dirty: [PointerV1; DIRTY_INDEXES],
    pub(crate) reserved1: [u8; 464],
}

/// One volume or snapshot.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct VolumeEntryV1 {
    pub(crate) uuid: [u8; 16],
    pub(crate) origin: [u8; 16],
    pub(crate) number: U32,
    pub(crate) kind: u8,
    pub(crate) levels: u8,
    pub(crate) reserved0: [u8; 2],
    pub(crate) blocks: U64,
    pub(crate) root: PointerV1,
    pub(crate) name: [u8; NAME_FIELD],
    pub(crate) attributes: PointerV1,
}

/// A block of the volume table.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct VolumeTableV1 {
    pub(crate) stamp: StampV1,
    pub(crate) generation: U64,
    pub(crate) index: U16,
    pub(crate) count: U16,
    pub(crate) reserved: [u8; 180],
    pub(crate) entries: [VolumeEntryV1; TABLE_ENTRIES],
}

/// What a volume carries for its owner, or a part of it.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct AttributesV1 {
    pub(crate) stamp: StampV1,
    pub(crate) generation: U64,
    pub(crate) volume: U32,
    pub(crate) total: U32,
    pub(crate) index: U16,
    pub(crate) reserved0: [u8; 6],
    pub(crate) next: PointerV1,
    pub(crate) reserved1: [u8; 16],
    pub(crate) bytes: [u8; ATTRIBUTES_ROOM],
}

/// The head of a node or leaf of a map.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct NodeHeadV1 {
    pub(crate) stamp: StampV1,
    pub(crate) generation: U64,
    pub(crate) first_unit: U64,
    pub(crate) level: u8,
    pub(crate) reserved: [u8; 175],
}

/// An inner node.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct NodeV1 {
    pub(crate) head: NodeHeadV1,
    pub(crate) pointers: [PointerV1; NODE_POINTERS],
    pub(crate) reserved: [u8; 768],
}

/// What one unit of a volume maps to.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct EntryV1 {
    pub(crate) own: U32,
    pub(crate) base: U32,
    pub(crate) own_mask: U16,
    pub(crate) base_mask: U16,
    pub(crate) own_member: u8,
    pub(crate) base_member: u8,
    pub(crate) reserved: u8,
}

/// A leaf.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct LeafV1 {
    pub(crate) head: NodeHeadV1,
    pub(crate) entries: [EntryV1; LEAF_UNITS],
}

/// The checksums of a region.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct SumsV1 {
    pub(crate) stamp: StampV1,
    pub(crate) sums: [U32; REGION_BLOCKS],
}

/// The head of a block of the bitmap of dirty regions.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct DirtyHeadV1 {
    pub(crate) stamp: StampV1,
    pub(crate) generation: U64,
    pub(crate) first_region: U32,
    pub(crate) level: u8,
    pub(crate) reserved: [u8; 179],
}

/// A piece of the bitmap.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct DirtyBitsV1 {
    pub(crate) head: DirtyHeadV1,
    pub(crate) bits: [u8; DIRTY_BYTES],
}

/// Where pieces of the bitmap lie.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct DirtyIndexV1 {
    pub(crate) head: DirtyHeadV1,
    pub(crate) pointers: [PointerV1; NODE_POINTERS],
    pub(crate) reserved: [u8; 768],
}

/// The head of a journal block; records follow without gaps, then zeroes.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct JournalHeadV1 {
    pub(crate) stamp: StampV1,
    pub(crate) sequence: U64,
    pub(crate) epoch: U64,
    pub(crate) settled: U64,
    pub(crate) durable: U64,
    pub(crate) lane: U16,
    pub(crate) record_count: U16,
    pub(crate) record_bytes: U16,
    pub(crate) reserved: [u8; 26],
}

/// How every record begins.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct RecordHeadV1 {
    pub(crate) kind: u8,
    pub(crate) reserved: u8,
    pub(crate) bytes: U16,
    pub(crate) volume: U32,
}

/// Blocks of a unit were written for the first time; as many checksums follow as `mask` has bits.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct MapV1 {
    pub(crate) head: RecordHeadV1,
    pub(crate) unit: U64,
    pub(crate) own: U32,
    pub(crate) base: U32,
    pub(crate) mask: U16,
    pub(crate) base_mask: U16,
    pub(crate) own_member: u8,
    pub(crate) base_member: u8,
    pub(crate) is_fresh: u8,
    pub(crate) reserved: u8,
}

/// Blocks read as zeroes from now on; also the new length of a volume that grows (`first` is then zero), and regions
/// instead of blocks that become dirty.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct RangeV1 {
    pub(crate) head: RecordHeadV1,
    pub(crate) first: U64,
    pub(crate) blocks: U64,
}

/// A volume, snapshot or clone was created.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct CreateV1 {
    pub(crate) head: RecordHeadV1,
    pub(crate) origin: U32,
    pub(crate) volume_kind: u8,
    pub(crate) reserved: [u8; 3],
    pub(crate) blocks: U64,
    pub(crate) uuid: [u8; 16],
    pub(crate) name: [u8; NAME_FIELD],
    pub(crate) attributes: PointerV1,
}

/// A volume has other attributes.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct AttributesRecordV1 {
    pub(crate) head: RecordHeadV1,
    pub(crate) attributes: PointerV1,
}

const _: () = {
    assert!(size_of::<SuperblockV1>() == BLOCK_SIZE);
    assert!(size_of::<RootV1>() == BLOCK_SIZE);
    assert!(size_of::<VolumeTableV1>() == BLOCK_SIZE);
    assert!(size_of::<AttributesV1>() == BLOCK_SIZE);
    assert!(size_of::<NodeV1>() == BLOCK_SIZE);
    assert!(size_of::<LeafV1>() == BLOCK_SIZE);
    assert!(size_of::<SumsV1>() == BLOCK_SIZE);
    assert!(size_of::<DirtyBitsV1>() == BLOCK_SIZE);
    assert!(size_of::<DirtyIndexV1>() == BLOCK_SIZE);
    assert!(size_of::<JournalHeadV1>() + JOURNAL_ROOM == BLOCK_SIZE);
};

/// Stores a struct of one block, and seals it.
pub(crate) fn store(wire: &(impl IntoBytes + Immutable)) -> Box<[u8]> {
    let mut bytes: Box<[u8]> = wire.as_bytes().into();
    stamp::seal(&mut bytes);
    bytes
}

/// Checks the stamp of a block that was read at `lba`, and whose it is.
pub(crate) fn check(bytes: &[u8], magic: [u8; 16], lba: Lba) -> Result<ThinIdentity, LoadError> {
    let found = stamp::check(bytes, magic, THIN_VERSION, lba)?;
    Ok(ThinIdentity { pool: Uuid::from_bytes(found.pool), drive: Uuid::from_bytes(found.drive) })
}

/// The same for a block whose owner is known: another owner's block is not ours.
pub(crate) fn check_owned(
    bytes: &[u8],
    magic: [u8; 16],
    lba: Lba,
    owner: ThinIdentity,
) -> Result<(), LoadError> {
    if check(bytes, magic, lba)? == owner { Ok(()) } else { Err(LoadError::NotOurs) }
}

/// Sees a block as one of the structs above.
pub(crate) fn view<T: FromBytes + KnownLayout + Immutable + Unaligned>(
    bytes: &[u8],
) -> Result<&T, LoadError> {
    T::ref_from_bytes(bytes).map_err(|_| LoadError::Truncated { len: bytes.len() })
}

pub(crate) fn stamp_of(magic: [u8; 16], lba: Lba, owner: ThinIdentity) -> StampV1 {
    stamp::stamp(magic, THIN_VERSION, lba, owner.drive, owner.pool)
}

/// The checksum in a sealed block.
pub(crate) fn checksum_of(bytes: &[u8]) -> u32 {
    StampV1::read_from_prefix(bytes).map_or(0, |(stamp, _)| stamp.checksum.get())
}

/// A rule that stored contents break.
pub(crate) fn rule(holds: bool, otherwise: Inconsistency) -> Result<(), LoadError> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

/// The checksum of a block of data: CRC32C.
#[must_use]
pub fn data_checksum(block: &[u8]) -> u32 {
    // A 32-bit checksum in a wider type.
    u32::try_from(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, block)).unwrap_or(u32::MAX)
}
