//! Bounds of one core's target.

use crate::command::Command;
use crate::connection::Connection;
use core::time::Duration;
use nvme_subsystem::limits::{DISCOVERY_LOG_MEMORY_MAX, DISCOVERY_TRANSFER_MAX};

/// Bytes of one buffer, and the boundary of a volume's address space that no buffer's data crosses. It divides an
/// extent, so that a buffer's data lies in one piece on one drive.
pub const CHUNK_BYTES: usize = 128 * 1024;

/// Buffers of one command: MDTS is 1 MiB; one more where the first is cut short by the boundary.
pub const CHUNKS_MAX: usize = 9;

/// Buffers of one command that have a place from the start: 128 KiB, wherever it begins.
pub const CHUNKS_COMMON: usize = 2;

/// Longest data of one command.
pub const TRANSFER_BYTES_MAX: usize = 1024 * 1024;

/// Bytes received at once from a deep queue. One such piece of memory for the core, and some for each socket core.
pub const STAGING_BYTES: usize = net::limits::STAGING_BYTES;

/// Of those, for a queue with fewer entries than [`DEEP_QUEUE_ENTRIES`]: half of what a host sends that has 32 writes of 4 KiB
/// in flight. It prepares one half while we work on the other; with all of them at once the two would take turns.
pub const STAGING_SHALLOW_BYTES: usize = 64 * 1024;

/// Entries from which a queue is deep: three times as many writes of 4 KiB as the staging memory holds, and Linux asks for 128.
pub const DEEP_QUEUE_ENTRIES: u16 = 96;

/// Of those, while a host is sending data that it was asked for: the rest of the stream belongs into buffers, and what
/// lands before them is copied.
pub const BULK_STAGING_BYTES: usize = 4 * 1024;

/// Payload that is still missing is received into its own buffer from this length on; below, the copy is cheaper than
/// a second piece of memory in the system call.
pub const PLACED_BYTES_MIN: usize = 1024;

/// Pieces of one send that one command may need: its buffers, cut once more at PDU boundaries, with a header and a
/// digest for each PDU, and its response.
pub const COMMAND_PIECES_MAX: usize = 32;

/// Bytes of headers and digests that one command may need in a send: five PDUs with the widest alignment.
pub const COMMAND_HEADER_BYTES_MAX: usize = 1024;

/// Commands that wait for memory without a list that has to grow: a few hundred hosts with a queue of 32 each. (It grows to
/// what all queues hold, and stays.)
pub const WAITING_ROOM: usize = 8192;

/// Bytes that a drive has copied before they are sent on: most of a second cache, so that the network's copy still finds them
/// there. Measured with 128 KiB reads: a tenth less time for each than with a third of it, in fewer and longer sends.
pub const SEND_SOON_BYTES: usize = 768 * 1024;

/// Waiting commands that are looked at in one round.
pub const STARTS_PER_ROUND_MAX: usize = 64;

/// Completions taken from one drive in one round, so that sockets are looked at again soon.
pub const COMPLETIONS_PER_ROUND_MAX: usize = 256;

/// Write Zeroes goes to a drive in pieces of at most so many blocks (32 MiB, as the pool cuts its own).
pub const ZERO_BLOCKS_MAX: u64 = 8192;

/// Operations of one step through a list of ranges, about: the range that reaches it is finished. One command then never has
/// thousands of operations waiting at a drive.
pub const ZERO_OPS_PER_STEP_MAX: usize = 32;

/// Claims on blocks of all volumes of a core: commands that change blocks after having read them, and those that wait for
/// them. Guessed: a queue of 128 for each of 32 hosts. More are told to try again.
pub const CLAIMS_MAX: usize = 4096;

/// Halves of fused operations that a connection may have on the way, each with a block of data outside the arena: ESXi locks
/// one block at a time. More are told to try again.
pub const HALVES_MAX: usize = 16;

/// How often timers are looked at: every deadline of the protocol is seconds long, but for a Connect that waits for its queue.
pub const TIMER_PERIOD: Duration = Duration::from_millis(100);

const _: () = assert!(BULK_STAGING_BYTES <= STAGING_SHALLOW_BYTES && STAGING_SHALLOW_BYTES <= STAGING_BYTES);
const _: () = assert!((CHUNKS_MAX - 1) * CHUNK_BYTES >= TRANSFER_BYTES_MAX);
const _: () = assert!(CHUNK_BYTES <= dma::limits::BUFFER_BYTES_MAX);
const _: () = assert!(COMMAND_PIECES_MAX * 2 <= net::limits::PIECES_MAX);
const _: () = assert!(COMMAND_HEADER_BYTES_MAX * 2 <= net::limits::HEADER_BYTES_MAX);

/// Large buffers that only data in capsules may use: two such commands at a boundary of the volume,
/// or one Compare, which needs as many again for what is stored.
pub const RESERVE_BUFFERS: usize = 4;

/// The smallest arena: room for a few of the longest commands beside the reserve and what drives keep.
pub const ARENA_BYTES_MIN: usize = 8 << 20;

/// Looks at the clock ([`TIMER_PERIOD`]), made while others wait for memory, after which a connection is closed that keeps
/// some and does nothing with it: 15 seconds. Those that wait still get theirs before their hosts give up (Linux: 30 s).
pub const IDLE_MEMORY_LOOKS_MAX: u32 = 150;

/// Looks at the clock ([`TIMER_PERIOD`]) after which a connection that is to end is closed although its host does not
/// take what is queued: two seconds. A host that is gone would keep it for minutes.
pub const ENDING_LOOKS_MAX: u32 = 20;

/// Connections that are not of a host of some subsystem: not connected yet, or of the discovery subsystem. A host connects
/// its queues one after the other, so that a hundred hosts that come back together need two hundred; one more makes the
/// oldest of the source with most of them go.
pub const STRANGERS_MAX: usize = 256;

/// Of those, how many one source (IPv4 address, IPv6 /64) may have: some hosts behind one address, each with a persistent
/// discovery connection. One more makes its own oldest go.
pub const STRANGERS_PER_SOURCE_MAX: usize = 64;

/// Slots of a stranger's queue, however many entries it asks for: event requests that wait, and as many again. What a host
/// submits beyond that stays in its socket until some of its answers were sent.
pub const STRANGER_SLOTS_MAX: u16 = 16;

/// Bytes received at once from a stranger: a Connect with its data, or 28 commands.
pub const STRANGER_STAGING_BYTES: usize = 2048;

/// Strangers that get a turn in one round. In a turn one receives once, is answered what that brought, and at most one page; some
/// 50 µs with the system calls (guessed), so that hosts wait 0.4 ms for any number of strangers.
pub const STRANGER_TURNS_PER_ROUND_MAX: usize = 8;

/// Bytes of heap that one stranger makes us keep at most; of the arena it has nothing. In the order of the sum below: its
/// connection and commands; what it sent behind a page that it does not take; that page, or its Connect's data; the send that
/// the page is in; the discovery log as its controller keeps it; and its controller, its names, the transport's slots (guessed
/// as 4 KiB).
pub const STRANGER_BYTES_MAX: usize = 144 << 10;

/// All of them together: a small part of the 1 GiB that a node has at least.
pub const STRANGERS_BYTES_MAX: usize = STRANGERS_MAX * STRANGER_BYTES_MAX;

const _: () = assert!(
    size_of::<Connection>()
        + STRANGER_SLOTS_MAX as usize * size_of::<Command>()
        + STRANGER_STAGING_BYTES
        + DISCOVERY_TRANSFER_MAX as usize
        + net::limits::SEND_MEMORY_MAX
        + DISCOVERY_LOG_MEMORY_MAX
        + (4 << 10)
        <= STRANGER_BYTES_MAX
);
const _: () = assert!(STRANGERS_BYTES_MAX <= 36 << 20);
const _: () = assert!(STRANGER_SLOTS_MAX as usize >= 2 * nvme_subsystem::limits::AER_MAX);
const _: () = assert!(STRANGER_SLOTS_MAX <= nvme_tcp::limits::FEW_SLOTS);
const _: () =
    assert!(DISCOVERY_TRANSFER_MAX as usize + COMMAND_HEADER_BYTES_MAX <= net::limits::HEADER_BYTES_MAX);

/// Connections of hosts. The rest of the sockets is for strangers and for those that are being closed.
pub const HOST_CONNECTIONS_MAX: usize = net::limits::SOCKETS_MAX - STRANGERS_MAX - CLOSING_ROOM;

/// Sockets that are being closed while the kernel still holds what they were sending.
pub const CLOSING_ROOM: usize = 64;

const _: () = assert!(STRANGERS_PER_SOURCE_MAX * 4 <= STRANGERS_MAX);
const _: () = assert!(HOST_CONNECTIONS_MAX >= 512);
