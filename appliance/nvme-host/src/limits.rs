//! Bounds of the host, and why they are what they are.

use std::time::Duration;

/// PDUs given to the socket at once: a queue of 128 needs four calls to be refilled, and the list of their pieces fits on
/// the stack.
pub const PDUS_MAX: usize = 64;

/// Bytes taken from the socket at once, while what comes is short: many responses in one call, and still in the second
/// level cache.
pub const IN_BYTES: usize = 256 << 10;

/// Payload of so many bytes and more goes straight into its command's buffer. Below, a call for itself costs more than
/// the copy. Guess.
pub const PLACED_BYTES_MIN: u32 = 16 << 10;

/// Bytes taken beyond placed payload: the next heads, and little of the payload behind them, which would be copied.
pub const BEYOND_BYTES: usize = 4 << 10;

/// Commands in flight on the admin queue; entries as Linux asks for them.
pub const ADMIN_DEPTH: u16 = 8;
/// Entries of the admin queue (Base 2.1 §3.1.4.8 allows 2 to 4096; fabrics wants 32 at least).
pub const ADMIN_ENTRIES: u16 = 32;

/// Commands in flight on an IO queue, at most.
pub const IO_DEPTH_MAX: u16 = 256;

/// IO queues of a session, at most: more than a benchmark of one target core needs.
pub const IO_QUEUES_MAX: u16 = 64;

/// Data of one command, at most (MDTS of our target).
pub const TRANSFER_BYTES_MAX: u32 = 1 << 20;

/// Keep alive timeout that is asked for, in milliseconds.
pub const KEEP_ALIVE_MS: u32 = 30_000;
/// A Keep Alive is sent when this much time has passed.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Pause between looks at CSTS.RDY.
pub const READY_INTERVAL: Duration = Duration::from_millis(5);

const _: () = assert!(ADMIN_DEPTH < ADMIN_ENTRIES);
const _: () = assert!(IO_DEPTH_MAX < nvme_tcp::limits::QUEUE_ENTRIES_MAX);
const _: () = assert!(KEEP_ALIVE_INTERVAL.as_millis() * 2 < KEEP_ALIVE_MS as u128);
const _: () = assert!(BEYOND_BYTES <= IN_BYTES);
