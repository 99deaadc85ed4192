//! Bounds of the engine.

/// Tasks that serve requests: what is under way together. Guessed: twice the queue depth at which a fast drive is busy.
pub const TASKS_MAX: usize = 64;

/// What units that are given up wait for: each request under way, and a checkpoint.
pub const ACTIVE_MAX: usize = TASKS_MAX + 1;

/// Nodes from the root of the largest map to a leaf.
const PATH_MAX: usize = 5;

/// Places for nodes that are kept beside those of the next checkpoint: what the requests under way may still add. A request
/// changes one path, and a new inner node counts twice (it may need a second place while the first one is needed).
pub const NODE_RESERVE: usize = (2 * PATH_MAX - 1) * TASKS_MAX;

/// Places for nodes that data leaves free beside the reserve, so that in a full pool not every change waits for a checkpoint.
/// Guessed: two for each request under way.
pub const NODE_WORK: usize = 2 * TASKS_MAX;

/// First writes that merge two layers together: each needs a buffer for a unit. Guessed: they are rare, only blocks below two
/// snapshots are merged.
pub const MERGES_MAX: u64 = 4;

/// Buffers of a block that the engine has at once, beside those of the requests: each request may load or store one page of
/// checksums, the journal writes one block, a checkpoint one.
pub const BLOCK_BUFFERS_MAX: usize = TASKS_MAX + 2;

/// Buffers of a unit, or shorter ones of several blocks: merges. An import reads the journal in buffers as long as one transfer, one
/// after the other, and nothing else is under way then.
#[expect(clippy::cast_possible_truncation, reason = "few")]
pub const UNIT_BUFFERS_MAX: usize = MERGES_MAX as usize;

/// Journal blocks that are kept for requests under way: each writes at most a dirty record, one empty block, and one record.
pub const JOURNAL_RESERVE: u64 = 3 * TASKS_MAX as u64;

/// The shortest journal: a checkpoint is due at half of it, and what is written meanwhile goes to the other half; beside the
/// reserve.
pub const JOURNAL_BLOCKS_MIN: u64 = 4 * JOURNAL_RESERVE;

const _: () = assert!(JOURNAL_BLOCKS_MIN.is_multiple_of(ondisk::thin::AU_BLOCKS));

/// Blocks that one command zeroes: 32 MiB. Guessed: short enough that no drive takes long for it.
pub const ZERO_BLOCKS_MAX: u64 = (32 << 20) / block::BLOCK_SIZE as u64;

/// Generations, epochs and sequence numbers at an import: half of what the 256-fold sequence numbers of records leave. A
/// million journal blocks each second take a thousand years to here, and as long again to the end.
pub const COUNTERS_MAX: u64 = u64::MAX / 256 / 2;

/// How often an import tries to read a block that it compares with its record. Guessed: drives retry for themselves, so what fails
/// three times stays unreadable.
pub const COMPARE_READS_MAX: usize = 3;

/// Pages of checksums in memory: 64 MiB, for 63 GiB of data. Guessed: what is read and written again and again fits; a read
/// beyond it costs one more command beside its own.
pub const PAGES_MAX: usize = 16_384;

/// Regions that one checkpoint cleans: so many pages it may have to read and write, one after the other. Guessed: 50 ms on a
/// fast drive; what is left waits for the next one.
pub const CLEAN_MAX: usize = 256;

/// Findings of a scrub that are kept; more are counted. Guessed: more than anybody reads.
pub const FINDINGS_MAX: usize = 1024;
