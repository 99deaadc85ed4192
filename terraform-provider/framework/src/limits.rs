//! Bounds of the framework, each with its reason.

use std::time::Duration;

/// Largest message in either direction: what Terraform itself allows for its plugins.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How deep a value may nest. Our schemas nest three levels; the bound keeps hostile bytes off the stack's end.
pub const VALUE_DEPTH_MAX: usize = 32;

/// Terraform gives a plugin 60 s to start. If nobody connected by then, nobody will.
pub const FIRST_CONNECTION: Duration = Duration::from_secs(60);

/// How long the process waits for the peer to close after `Shutdown`; Terraform kills after 2 s.
pub const SHUTDOWN_GRACE: Duration = Duration::from_millis(1000);

/// How long SIGTERM lets operations under way end before the process leaves anyway. They are told to stop at once, so
/// this covers the answer's way back and the bookkeeping of Terraform (guessed).
pub const TERMINATE_GRACE: Duration = Duration::from_secs(8);

const _: () = assert!(SHUTDOWN_GRACE.as_millis() < 2000);
