//! Bounds of the sockets of a node.

/// Sockets open together, listeners not counted. Guess: 64 hosts with 16 queues each. One more is closed at once.
pub const SOCKETS_MAX: usize = 1024;

/// Connections let in in one round. Each costs the core about 20 µs with what the target makes for it (guessed), so a round among
/// any number of newcomers stays below 0.2 ms; hosts that all come back together are let in at thousands a second.
pub const ACCEPTS_PER_ROUND_MAX: usize = 8;

/// Seconds of silence after which the other end of a connection is asked whether it is still there. Hosts may connect
/// without a keep alive of their own; one that lost its power would keep its socket for ever.
pub const PROBE_AFTER_S: u32 = 60;

/// Seconds between such questions.
pub const PROBE_PERIOD_S: u32 = 10;

/// Milliseconds after which a connection is dead whose other end does not answer such questions, confirms nothing of what
/// was sent, or takes nothing of it.
pub const UNCONFIRMED_MS_MAX: u32 = 120_000;

/// How connections share the network with others: what Linux does unless it is told otherwise.
pub const CONGESTION_CONTROL: &str = "cubic";

/// Entries of the submission queue: half of the sockets may start something in one round before an extra system call.
pub const SUBMISSIONS_MAX: u32 = 1024;

/// Entries of the completion queue: each socket has one poll and one send; listeners and the wake-up fit besides.
pub const COMPLETIONS_MAX: u32 = 4096;

/// Sockets that are tried in every round. Each try that finds nothing costs about as much as a tenth of an IO, so with
/// many connections the kernel's notice is cheaper.
pub const HOT_SOCKETS_MAX: usize = 16;

/// Tries in a row that find nothing, after which a socket is left to the kernel: about 50 µs of a core that has nothing
/// else to do, several times the pause of a host that has one command in flight.
pub const MISSES_MAX: u32 = 256;

/// Sends that have memory (about 50 KiB each) beside one for each socket: for the one that is being filled, and for those that hosts have
/// not confirmed while their sockets send the next. If that is not enough, more are made; they are kept until a connection ends.
pub const SPARE_SENDS: usize = 16;

/// Payload from this length on is sent without being copied, where the kernel can: below, the notice costs more.
pub const ZERO_COPY_PAYLOAD_MIN: usize = 16 * 1024;

/// Bytes that wait for hosts to confirm them. Several times what is on a fast wire, and a quarter of the smallest arena of a
/// node; what is more is copied.
pub const ZERO_COPY_BYTES_MAX: usize = 4 << 20;

/// Sends of that kind: one for each 16 KiB.
pub const ZERO_COPY_SENDS_MAX: usize = ZERO_COPY_BYTES_MAX / ZERO_COPY_PAYLOAD_MIN;

/// Pieces of memory in one send. The kernel takes 1024 (`UIO_MAXIOV`); 256 is a full round of 4 KiB reads at depth 128.
pub const PIECES_MAX: usize = 256;

/// Bytes of headers and digests in one send: 24 to 128 bytes for each of [`PIECES_MAX`] pieces.
pub const HEADER_BYTES_MAX: usize = 32 * 1024;

/// Memory of one send that a socket does not take: headers, and what names pieces and their buffers.
pub const SEND_MEMORY_MAX: usize = 64 * 1024;

/// Socket cores of one home core. The home core has about a fifth of the work of a command (a guess from profiles), so it is the
/// limit long before.
pub const CORES_MAX: usize = 63;

/// Messages between two cores that have a slot; what is more waits with the one who sends it. A few for each socket that is
/// busy, and little enough to stay in the second cache.
pub const LANE_SLOTS: usize = 256;

/// Bytes that are received at once, beside payload that has a place: thirty writes of 4 KiB, or several of 16 KiB. Measured with
/// 128 writes of 4 KiB in flight: a fifth less time for each than with half of it, and no less with twice as much.
pub const STAGING_BYTES: usize = 128 * 1024;

/// Pieces of memory of that length that a socket core has. The home core gives each back at once, so that is how many sockets
/// of a core may have bytes on their way to it; the others wait for the next round.
pub const STAGINGS_MAX: usize = 16;

/// Socket events that a socket core takes in one round, so that orders are looked at again soon.
pub const CORE_EVENTS_MAX: usize = 64;

/// Orders that a socket core takes in one round, so that sockets are looked at again soon.
pub const CORE_ORDERS_MAX: usize = 64;

/// Milliseconds after which a core that has messages for another one, which has no slot for them, looks again.
pub const LANE_WAIT_MS: u64 = 1;

/// Rounds of [`DROP_WAIT_MS`] in which a dropped `Net` waits for its buffers before it leaks them.
pub const DROP_ROUNDS_MAX: u32 = 50;

/// Milliseconds of one such round.
pub const DROP_WAIT_MS: u64 = 20;

const _: () = assert!(COMPLETIONS_MAX as usize >= 2 * SOCKETS_MAX + 64);
const _: () = assert!(PIECES_MAX <= 1024);
const _: () = assert!(LANE_SLOTS.is_power_of_two());
