//! Bounds of a pool that is served.

use volume::limits::{BLOCK_BUFFERS_MAX, NODE_RESERVE, NODE_WORK, TASKS_MAX, UNIT_BUFFERS_MAX};

/// Tasks that work on operations of volumes. One more makes changes.
pub const SERVING_TASKS: usize = TASKS_MAX - 1;

/// Operations of volumes that the pool has at once: twice as many as tasks, so that none is idle while the next is fetched.
pub const OPERATIONS_MAX: usize = 2 * TASKS_MAX;

/// Blocks of one operation: as many as a buffer of `target` holds.
pub const TRANSFER_BLOCKS_MAX: u64 = 32;

/// Units that one operation touches, wherever it begins.
pub const PIECES_MAX: usize = 3;

/// Commands that one drive has at once: a request has two at the most (its data, and a page of checksums); the journal and a
/// checkpoint have one each.
pub const DEPTH_MAX: u32 = 130;

/// Buffers that a pool takes beside those of operations: of one block, and of up to [`TRANSFER_BLOCKS_MAX`].
pub const SLOTS: (usize, usize) = (BLOCK_BUFFERS_MAX, UNIT_BUFFERS_MAX);

/// Blocks of the journal for each 64 blocks of a drive: a full journal takes seconds to replay, whatever the size.
pub const JOURNAL_PART: u64 = 64;

/// The longest journal: 256 MiB. Guessed: some 4 million records.
pub const JOURNAL_BLOCKS_MAX: u64 = 65_536;

/// Of so many units one is not promised to volumes: it is for their maps. These take a node of 4 KiB for 256 units, twice while
/// a checkpoint is written; this is eight times as much. Guessed, with room for what some hundred volumes carry.
pub const METADATA_PART: u32 = 256;

/// Units beside these that are not promised: 6 MiB, twice what the engine keeps for requests under way.
pub const METADATA_UNITS_MIN: u32 = 96;

const _: () = assert!(METADATA_UNITS_MIN as usize * 16 >= 2 * (NODE_RESERVE + NODE_WORK));

const _: () = assert!(DEPTH_MAX as usize == 2 * TASKS_MAX + 2);
const _: () = assert!(TRANSFER_BLOCKS_MAX <= (PIECES_MAX as u64 - 1) * ondisk::thin::AU_BLOCKS);
const _: () = assert!(JOURNAL_BLOCKS_MAX.is_multiple_of(ondisk::thin::AU_BLOCKS));
const _: () = assert!(JOURNAL_BLOCKS_MAX > volume::limits::JOURNAL_BLOCKS_MIN);
// An import takes a buffer of a transfer, and ends before anything else takes one.
const _: () = assert!(SLOTS.1 >= 1 && SLOTS.0 >= 1);
