//! Bounds of the engine.

use core::time::Duration;

/// Drives of a node. Guess: more than fit into two units; and no more pools than subsystems come of it.
pub(crate) const DRIVES_MAX: usize = 64;
const _: () = assert!(DRIVES_MAX <= nvme_subsystem::limits::SUBSYSTEMS_MAX);

/// Memory of the arena that a drive may keep: a file drive has a buffer of zeroes of 128 KiB, and large buffers are two
/// thirds of an arena.
pub(crate) const ARENA_BYTES_PER_DRIVE: usize = 256 << 10;

/// Changes that work on drives together: one for each pool of a large node. Others wait.
pub(crate) const JOBS_MAX: usize = 64;

/// Changes that may wait for others. People and the agent make them one by one; more is a runaway client.
pub(crate) const WAITING_MAX: usize = 256;

/// How long an orderly stop waits for commands, answers and changes; whatever is left then is cut off, as in a crash.
pub(crate) const DRAIN_TIME: Duration = Duration::from_secs(3);

/// How long it waits then for sockets to close and drives to give everything back. Drives bound their own time.
pub(crate) const CLOSE_TIME: Duration = Duration::from_secs(30);

/// A pool that could not be brought up to date is tried again after so long.
pub(crate) const SETTLE_PERIOD: Duration = Duration::from_secs(5);

/// Room in a tag for the number of an operation within its job; the job's number is above.
pub(crate) const JOB_TAG_BITS: u32 = 40;

const _: () = assert!(JOBS_MAX < 1 << (63 - JOB_TAG_BITS));
