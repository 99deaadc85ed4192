//! Bounds of the format, and how they fit together.

use crate::layout::{DATA_LBA, Slot};
use crate::wire::{HostV2, MemberV1, RecordHeaderV2, RegistrantV2, RunV1, VolumeV2};
use block::BLOCK_SIZE;

/// Drives in one pool. A record has room for all of them; more drives make more pools.
pub const MEMBERS_MAX: usize = 16;

/// Volumes in one pool.
pub const VOLUMES_MAX: usize = 256;

/// Pieces of which all volumes of a pool consist together: 16 for each of the most volumes.
pub const RUNS_MAX: usize = 4096;

/// Characters in the name of a pool or volume: what a DNS label may have, so that names can become host names.
pub const NAME_LEN_MAX: usize = 63;

/// Characters in a serial number (NVMe base 2.0 §5.17.2.1, SN).
pub const SERIAL_LEN_MAX: usize = 20;

/// Bytes of an NQN (Base 2.1 §4.7).
pub const NQN_LEN_MAX: usize = 223;

/// Different hosts that the volumes of a pool name together. As many as a node has associations for (four for each host);
/// each volume has one bit for each of them, so a long list costs no more than a short one.
pub const HOSTS_MAX: usize = 256;

/// Hosts that have registered a key with one volume: the largest clusters that share a volume (Windows Server, 64 nodes).
pub const REGISTRANTS_PER_VOLUME_MAX: usize = 64;

/// Registrants of all volumes of a pool whose registrations survive a loss of power: eight for each of the most volumes.
pub const REGISTRANTS_MAX: usize = 2048;

/// Bytes of attributes that a volume of the thin engine carries for its owner. The NQNs of as many hosts as a node has
/// associations for ([`HOSTS_MAX`] of [`NQN_LEN_MAX`] bytes) fit, with room for their reservations.
pub const ATTRIBUTES_MAX: usize = 64 * 1024;

/// Room of one record slot. The later engine may use it for more than this version needs.
pub const SLOT_BYTES: usize = 256 * 1024;

/// The longest record: 212 KiB. A record has the length of what is in it; that of a pool with a few volumes is 4 KiB.
pub const RECORD_BYTES_MAX: usize = (size_of::<RecordHeaderV2>()
    + MEMBERS_MAX * size_of::<MemberV1>()
    + VOLUMES_MAX * size_of::<VolumeV2>()
    + RUNS_MAX * size_of::<RunV1>()
    + HOSTS_MAX * size_of::<HostV2>()
    + REGISTRANTS_MAX * size_of::<RegistrantV2>())
.next_multiple_of(BLOCK_SIZE);

/// The longest transfer by which records and labels are read and written: the largest slot of an IO arena. A longer record
/// takes two.
pub const TRANSFER_BYTES_MAX: usize = 128 * 1024;

const _: () =
    assert!(HOSTS_MAX * (NQN_LEN_MAX + 1) <= ATTRIBUTES_MAX, "the hosts of a volume fit its attributes");
const _: () = assert!(RECORD_BYTES_MAX <= SLOT_BYTES, "a record fits its slot");
const _: () = assert!(RECORD_BYTES_MAX == 212 * 1024, "the number in the documents");
const _: () =
    assert!(HOSTS_MAX.is_multiple_of(8) && HOSTS_MAX < u16::MAX as usize, "hosts are bits of a mask");
const _: () = assert!(REGISTRANTS_PER_VOLUME_MAX <= REGISTRANTS_MAX && REGISTRANTS_MAX < u16::MAX as usize);
const _: () = assert!(RUNS_MAX < u16::MAX as usize, "run counts fit their field");
const _: () = assert!(MEMBERS_MAX <= VOLUMES_MAX && VOLUMES_MAX <= RUNS_MAX, "so do the other counts");
const _: () = {
    let slot_blocks = (SLOT_BYTES / BLOCK_SIZE) as u64;
    assert!(Slot::A.lba().0 + slot_blocks <= Slot::B.lba().0, "the slots are disjoint");
    assert!(Slot::B.lba().0 + slot_blocks <= DATA_LBA.0, "the slots end before the data");
};
