//! Sealing and checking what every stored struct starts with: magic, checksum, version, own address.

use crate::error::{Inconsistency, LoadError};
use crate::wire::StampV1;
use block::{BLOCK_SIZE, Lba};
use core::mem::offset_of;
use crc_fast::{CrcAlgorithm, Digest};
use uuid::Uuid;
use zerocopy::FromBytes;

/// Where the checksum lies in every stored struct.
const CHECKSUM_AT: usize = offset_of!(StampV1, checksum);
const CHECKSUM_LEN: usize = 4;

/// The stamp of a struct that is about to be sealed.
pub(crate) fn stamp(magic: [u8; 16], version: u16, lba: Lba, drive: Uuid, pool: Uuid) -> StampV1 {
    StampV1 {
        magic,
        checksum: 0.into(),
        version: version.into(),
        reserved: [0; 2],
        lba: lba.0.into(),
        drive: drive.into_bytes(),
        pool: pool.into_bytes(),
    }
}

/// Fills in the checksum: the last step before the bytes are written.
pub(crate) fn seal(bytes: &mut [u8]) {
    let sum = checksum(bytes).to_le_bytes();
    for (to, from) in bytes.iter_mut().skip(CHECKSUM_AT).zip(sum) {
        *to = from;
    }
}

/// Looks at the magic only: blank, something else, or ours as far as one can tell.
pub(crate) fn magic_of(bytes: &[u8], magic: [u8; 16]) -> Result<(), LoadError> {
    if bytes.starts_with(&magic) {
        return Ok(());
    }
    if is_zero(bytes) { Err(LoadError::Blank) } else { Err(LoadError::NotOurs) }
}

/// Checks everything that a stamp promises about `bytes`, which must be the struct from its first to its last byte.
/// Versions 1 to `known` can be read.
pub(crate) fn check(bytes: &[u8], magic: [u8; 16], known: u16, found_at: Lba) -> Result<StampV1, LoadError> {
    magic_of(bytes, magic)?;
    let (stamp, _) =
        StampV1::read_from_prefix(bytes).map_err(|_| LoadError::Truncated { len: bytes.len() })?;
    let (found, computed) = (stamp.checksum.get(), checksum(bytes));
    // The checksum comes first: of bytes that changed, no other field deserves to be reported.
    if found != computed {
        return Err(LoadError::Checksum { found, computed });
    }
    if !(1..=known).contains(&stamp.version.get()) {
        return Err(LoadError::Version { version: stamp.version.get(), known });
    }
    if stamp.lba.get() != found_at.0 {
        return Err(LoadError::Misplaced { meant: stamp.lba.get(), found: found_at.0 });
    }
    zero(&stamp.reserved)?;
    identity(stamp.drive)?;
    identity(stamp.pool)?;
    Ok(stamp)
}

/// A UUID that identifies something.
pub(crate) fn identity(bytes: [u8; 16]) -> Result<Uuid, Inconsistency> {
    let uuid = Uuid::from_bytes(bytes);
    if uuid.is_nil() { Err(Inconsistency::NilUuid) } else { Ok(uuid) }
}

/// Reserved bytes.
pub(crate) fn zero(bytes: &[u8]) -> Result<(), Inconsistency> {
    if is_zero(bytes) { Ok(()) } else { Err(Inconsistency::Reserved) }
}

/// Whether all bytes are zero; compared block by block, which is fast in every profile.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    const ZERO: [u8; BLOCK_SIZE] = [0; BLOCK_SIZE];
    bytes.chunks(BLOCK_SIZE).all(|chunk| ZERO.starts_with(chunk))
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    let (before, rest) = bytes.split_at_checked(CHECKSUM_AT).unwrap_or((bytes, &[]));
    let (_, after) = rest.split_at_checked(CHECKSUM_LEN).unwrap_or((&[], &[]));
    digest.update(before);
    digest.update(&[0; CHECKSUM_LEN]);
    digest.update(after);
    // A 32-bit checksum in a wider type.
    u32::try_from(digest.finalize()).unwrap_or(u32::MAX)
}
