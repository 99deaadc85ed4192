//! Bounds of the API, and why they are what they are.

use std::time::Duration;

/// Largest request that a node reads: a pool creation with 16 serial numbers needs under 1 KiB.
pub const REQUEST_BYTES_MAX: usize = 64 << 10;

/// Largest answer that a client reads: 16 pools of 256 volumes at about 1 KiB each, with room for the hosts' names.
pub const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Longest text in an error. All of them travel in HTTP/2 headers, of which peers accept 16 KiB in total.
pub const ERROR_TEXT_MAX: usize = 1 << 10;

/// A question is answered from memory; a node that takes longer is taken as unreachable.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// A change waits for drives: a new volume is zeroed first. A bit more than the node's own limit, so that the node's reason
/// arrives.
pub const CHANGE_TIMEOUT: Duration = Duration::from_secs(620);

// Object, remedy, field and twice the message in base64 (4/3), the message once more beside it: below 16 KiB.
const _: () = assert!(ERROR_TEXT_MAX * 6 * 4 / 3 < 16 << 10);
