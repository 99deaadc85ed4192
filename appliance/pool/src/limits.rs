//! Bounds of pools and of the work on them.

use block::{BLOCK_SIZE, Blocks};
use ondisk::{DATA_LBA, EXTENT_BLOCKS, TAIL_BLOCKS};

/// The smallest drive that may join a pool: 64 MiB. Below, the metadata would be an eighth of the drive or more.
pub const DRIVE_BLOCKS_MIN: Blocks = Blocks((64 << 20) / BLOCK_SIZE as u64);

/// The longest piece of one Write Zeroes: 32 MiB, so that a drive with 512-byte blocks can take it in one command
/// (65536 of its blocks, NVM command set 1.0 §3.2.8, NLB is 16 bits and 0's based).
pub const ZERO_BLOCKS_MAX: Blocks = Blocks((32 << 20) / BLOCK_SIZE as u64);

/// Operations that a job keeps in flight on one drive: enough to keep it busy, few enough not to delay hosts.
pub const JOB_DEPTH_MAX: usize = 4;

/// Pieces of a volume are at least this long, if space allows: 64 extents (64 MiB). Guessed: long enough that the run
/// table stays small, short enough that a small volume is spread over the drives.
pub const RUN_EXTENTS_MIN: u32 = 64;

/// Runs kept back for each volume that may still be created, so that early volumes cannot use up the run table.
pub const RUNS_RESERVED_PER_VOLUME: usize = 4;

/// Of the runs that are free beyond the reserve, one volume may take this part.
pub const RUNS_SHARE: usize = 32;

const _: () = assert!(
    DRIVE_BLOCKS_MIN.0 >= DATA_LBA.0 + TAIL_BLOCKS.0 + EXTENT_BLOCKS.0,
    "the smallest drive has an extent"
);
const _: () = assert!(
    RUNS_RESERVED_PER_VOLUME * ondisk::limits::VOLUMES_MAX < ondisk::limits::RUNS_MAX,
    "the reserve leaves runs to share"
);
const _: () =
    assert!(ZERO_BLOCKS_MAX.0.is_multiple_of(EXTENT_BLOCKS.0), "pieces of zeroing consist of whole extents");
