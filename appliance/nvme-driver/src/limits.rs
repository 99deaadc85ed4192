//! Bounds of this crate.

use core::time::Duration;

/// Bytes of a memory page as the controller is told (CC.MPS = 0).
pub const PAGE: usize = 4096;
/// Bytes of a submission queue entry.
pub const SQE_BYTES: usize = 64;
/// Bytes of a completion queue entry.
pub const CQE_BYTES: usize = 16;

/// Entries of the admin queues: one command at a time is in flight, the rest is room for late completions.
pub const ADMIN_ENTRIES: u16 = 64;
/// The most entries of the I/O queues. 256 commands of 4 KiB keep a drive of one million operations per second busy for
/// 250 µs, several rounds of a core.
pub const IO_ENTRIES_MAX: u16 = 256;
/// The fewest entries: one command in flight.
pub const IO_ENTRIES_MIN: u16 = 2;
/// Bits of a CID that name the slot; the rest is the slot's generation.
pub const CID_SLOT_BITS: u32 = 10;

/// The longest transfer of one command: a PRP list of one page would hold 513 pages, half of it is used.
pub const TRANSFER_BYTES_MAX: usize = 1 << 20;
/// The transfer a drive is opened for unless said otherwise: the longest buffer of `dma`.
pub const TRANSFER_BYTES_DEFAULT: usize = 128 << 10;

/// Write Zeroes operations in progress at a time. They come from volume creation and from hosts that trim.
pub const ZERO_JOBS_MAX: usize = 8;
/// Commands in flight for one Write Zeroes operation, so that it leaves slots for reads and writes.
pub const ZERO_PARTS_MAX: u32 = 2;
/// The most one Write Zeroes command clears. Guessed: a drive that has to write the zeroes does 32 MiB in well under a
/// second, so neighbours wait little and the timeout is far away.
pub const ZEROES_BYTES_MAX: u64 = 32 << 20;

/// A command older than this is given up and the controller reset. The Linux host waits as long before its own reset.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// A command older than this makes the driver look whether the controller is still there.
pub const SUSPICION_AFTER: Duration = Duration::from_secs(1);
/// How often commands in flight are checked for their age.
pub const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// An admin command of the bring-up takes no longer. Guessed: real drives answer within a second.
pub const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Waits for CSTS.RDY are at least this long, whatever CAP.TO says: some controllers report zero.
pub const READY_TIMEOUT_MIN: Duration = Duration::from_secs(2);
/// An orderly shutdown is waited for at least this long, whatever RTD3E says; the specification's example is one second.
pub const SHUTDOWN_TIMEOUT_MIN: Duration = Duration::from_secs(5);
/// And at most this long: a drive with a larger RTD3E is cut off.
pub const SHUTDOWN_TIMEOUT_MAX: Duration = Duration::from_secs(30);

const _: () = assert!(IO_ENTRIES_MAX as usize <= 1 << CID_SLOT_BITS);
const _: () = assert!(TRANSFER_BYTES_MAX / PAGE <= PAGE / 8 + 1, "one list page per command");
const _: () = assert!(TRANSFER_BYTES_DEFAULT <= TRANSFER_BYTES_MAX);
const _: () = assert!(SUSPICION_AFTER.as_nanos() < COMMAND_TIMEOUT.as_nanos());
