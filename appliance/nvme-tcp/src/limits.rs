//! Bounds of this crate, and why.

use core::time::Duration;

/// In-capsule data on I/O queues: 16 KiB, announced as IOCCSZ. Most database writes then need no R2T round trip.
pub const IN_CAPSULE_MAX: u32 = 16 * 1024;

/// In-capsule data on the admin queue, and of fabrics commands on every queue (TCP 1.1 §3.5.1).
pub const IN_CAPSULE_ADMIN_MAX: u32 = 8 * 1024;
const _: () = assert!(IN_CAPSULE_ADMIN_MAX <= IN_CAPSULE_MAX);

/// Data in one H2CData PDU, announced in ICResp: big enough that headers do not count, small enough that one data digest
/// covers little. Linux refuses less than 4096 and what is no multiple of 4.
pub const H2C_DATA_MAX: u32 = 256 * 1024;
const _: () = assert!(H2C_DATA_MAX >= 4096 && H2C_DATA_MAX.is_multiple_of(4));

/// Data in one C2HData PDU: the same figure for the same reasons. Guessed, to be measured.
pub const C2H_DATA_MAX: u32 = 256 * 1024;

/// Data of one command in either direction: MDTS is 1 MiB. A longer R2T is never sent.
pub const TRANSFER_MAX: u32 = 1024 * 1024;

/// Entries of a queue: MQES + 1.
pub const QUEUE_ENTRIES_MAX: u16 = 1024;

/// Slots per queue entry. A host may reuse an entry as soon as it has the response, while the send that carried it still
/// holds the slot's buffer; with two slots per entry that never stalls a host which waits for nothing but responses.
pub const SLOTS_PER_ENTRY: u16 = 2;

/// Slots up to which command identifiers are looked for one by one. More have a bitmap of all identifiers, 8 KiB.
pub const FEW_SLOTS: u16 = 16;
// A slot's index plus one is a transfer tag of 16 bits.
const _: () = assert!(QUEUE_ENTRIES_MAX < u16::MAX / SLOTS_PER_ENTRY);

/// Refusals (duplicate CID, bad SGL) waiting to be sent, before nothing more is received: bounds what a host that sends
/// nonsense and does not read can make us keep.
pub const REFUSALS_MAX: usize = 16;

/// Longest head of a PDU up to its data: PDO is one byte.
pub const HEAD_MAX: usize = 256;

/// Time for the ICReq after the connection was accepted.
pub const IC_REQ_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for the Connect command after the ICReq.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(120);

/// Time for a PDU from its first byte to its last: the longest (256 KiB of data) takes 21 s at 100 kbit/s. Hosts
/// give up a command after 30 s themselves (Linux), so nobody loses anything who still works.
pub const PDU_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for all the data that an R2T asked for, counted from the R2T; the owner may choose another
/// ([`crate::controller::Config::data_timeout`]). The buffer is reserved meanwhile. Twice what Linux gives a whole command.
pub const DATA_TIMEOUT: Duration = Duration::from_secs(60);
const _: () = assert!(PDU_TIMEOUT.as_secs() < DATA_TIMEOUT.as_secs());

/// Time for the peer to close after a termination request (TCP 1.1 §3.5.2.1).
pub const TERMINATION_TIMEOUT: Duration = Duration::from_secs(30);

/// Commands in flight on a host-side connection: the command identifier has 12 bits of index and 4 of generation.
pub const HOST_DEPTH_MAX: u16 = 4096;
