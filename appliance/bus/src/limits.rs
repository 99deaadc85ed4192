//! Bounds of the bus, and why they are what they are.

use std::time::Duration;

/// Connecting and the D-Bus handshake over a local socket take under a millisecond; two seconds cover a machine that boots.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A question about state is answered from memory; five seconds mean that the peer hangs.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A change waits for drives: a new volume is zeroed before it is announced, and a drive without a fast way to write zeroes
/// takes minutes for a large one (guessed; a repeated request with the same UUID finds the finished object).
pub const CHANGE_TIMEOUT: Duration = Duration::from_secs(600);

/// Connections that one server keeps at a time. The peers are agent, console, init and a person's tools; the bound keeps a
/// client that connects in a loop from eating the descriptors of PID 1. Further ones wait in the listen queue.
pub(crate) const CONNECTIONS_MAX: usize = 16;

/// Pause after the system refused to accept a connection, so that a server without descriptors does not spin.
pub(crate) const ACCEPT_RETRY: Duration = Duration::from_millis(100);

const _: () = assert!(CONNECT_TIMEOUT.as_millis() < CALL_TIMEOUT.as_millis());
const _: () = assert!(CALL_TIMEOUT.as_millis() < CHANGE_TIMEOUT.as_millis());
