//! Bounds of one core.

use core::time::Duration;

/// Control messages that may wait for a core. People and the agent make them one by one; more is a runaway client.
pub const MESSAGES_MAX: usize = 1024;

/// Socket events taken in one round, so that devices are looked at again soon.
pub const EVENTS_PER_ROUND_MAX: usize = 256;

/// The time after which accepting is tried again that had failed for want of descriptors or memory. Nobody says when there are some.
pub const REOPEN_PERIOD: Duration = Duration::from_millis(100);

/// How long a balanced core spins after its last work. Guess: several times a fast drive's latency.
pub const SPIN: Duration = Duration::from_micros(50);

/// A polled drive that has been silent for so long is slow (emulated, busy with an erase): it is then looked at by
/// timer, because a core that spins on it may take the processor from whoever does the work.
pub const PATIENCE: Duration = Duration::from_micros(300);

/// The period of that timer.
pub const SLOW_POLL: Duration = Duration::from_micros(50);

/// The longest sleep. Everything that matters wakes the core earlier; this is for the busy figure.
pub const SLEEP_MAX: Duration = Duration::from_secs(1);

/// The window of the busy figure.
pub const LOAD_WINDOW: Duration = Duration::from_secs(1);

/// A machine with so many processors or fewer shares them between the polled core and everybody else: rounds without
/// work give the processor away.
pub const SHARED_CPUS_MAX: usize = 2;

/// How long such a core keeps the second processor to itself after its last work: twice the round trip of a host that has
/// one command in flight (measured over loopback: 10 µs).
pub const SELFISH: Duration = Duration::from_micros(20);

/// The most cores of an engine: the home core and its socket cores.
pub const CORES_MAX: usize = net::limits::CORES_MAX + 1;

/// A machine with so many processors or fewer gives all but one of them to cores, unless told otherwise; larger ones a quarter, and
/// never less than this one. Guessed: one home core keeps about so many socket cores busy.
pub const SMALL_MACHINE_CPUS_MAX: usize = 8;

/// Operations of a file or memory drive in flight together.
pub const FILE_DEPTH_MAX: u32 = 256;

/// Blocks of one transfer of a file or memory drive: 1 MiB.
pub const FILE_TRANSFER_BLOCKS_MAX: u64 = 256;

/// Bytes of zeroes written at once where the file system cannot make zeroes itself.
pub const ZERO_BYTES: usize = 128 * 1024;

/// Rounds of 20 ms in which a dropped file drive waits for its operations before it leaks their buffers.
pub const DROP_ROUNDS_MAX: u32 = 250;
