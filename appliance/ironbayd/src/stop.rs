//! When to stop: SIGTERM from init, SIGINT from a terminal.

use crate::failure::Failure;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for signals; made early, so that none is missed.
#[derive(Debug)]
pub(crate) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    pub(crate) fn new() -> Result<Self, Failure> {
        let watch =
            |kind| signal(kind).map_err(|error| Failure::new(format!("cannot watch for signals: {error}")));
        Ok(Self { terminate: watch(SignalKind::terminate())?, interrupt: watch(SignalKind::interrupt())? })
    }

    /// Returns with the first signal.
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!("Stopping: SIGTERM"),
            _ = self.interrupt.recv() => tracing::info!("Stopping: SIGINT"),
        }
    }
}
