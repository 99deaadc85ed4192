//! Bounds of the manager, and why they are what they are.

use std::time::Duration;

/// Calls that run at a time, over all clients: each holds a few KiB and a place in the engine's mailbox. Terraform works
/// on ten resources at a time.
pub(crate) const CALLS_MAX: usize = 64;

/// Calls that run at a time on one connection; more wait.
pub(crate) const CALLS_PER_CONNECTION_MAX: u32 = 32;

/// A client that does not answer a ping for this long is gone, and its connection is closed (three Terraform retries).
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long a ping may take.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest handling of one call; a bit longer than the bus waits for the engine, so that the engine's reason is told.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(610);

/// How long calls may go on after the order to stop; init kills a service that does not end within a few seconds.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(3);

const _: () = assert!(CALL_TIMEOUT.as_secs() > bus::CHANGE_TIMEOUT.as_secs());
const _: () = assert!(api::limits::CHANGE_TIMEOUT.as_secs() > CALL_TIMEOUT.as_secs());
