//! The peer-to-peer D-Bus between init, engine, agent and console (layer 5; init and `ironbayd` use it).
//!
//! ```text
//!  agent ────┐ one connection each      ┌── EngineService (ironbayd engine)
//!  console ──┼──▶ /run/ironbay/engine.sock
//!  init ─────┘
//!  agent, console ──▶ /run/ironbay/init.sock ── InitService (PID 1)
//! ```
//!
//! There is no bus daemon: whoever connects to the socket talks to its owner. Clients poll; there are no signals, because a
//! stream of signals that is not drained blocks its connection.
//!
//! Invariants
//! - A client never hangs: connecting and every call have a limit, and a peer that is away gives
//!   [`control::ErrorKind::Unavailable`] with a remedy. The next call connects again.
//! - A [`control::ControlError`] arrives with every field that it left with.
//! - Peers share nothing: a client that comes, goes or misbehaves is noticed by its own connection only.
//!
//! Not here: what the calls do; who may connect (the permissions of the socket's directory).
#![forbid(unsafe_code)]

mod engine;
mod init;
mod limits;
mod link;
mod refusal;
mod socket;
#[cfg(test)]
mod tests;

pub use engine::{Answer, ENGINE_PATH, EngineClient, EngineService, publish_engine};
pub use init::{BootPhase, INIT_PATH, InitClient, InitService, Interface, ServiceStatus, publish_init};
pub use limits::{CALL_TIMEOUT, CHANGE_TIMEOUT, CONNECT_TIMEOUT};
pub use socket::{connect, connect_stream, listen, serve, serve_stream};
pub use zbus::Connection;

/// Where the engine of a node serves `org.ironbay.Engine1`.
pub const ENGINE_SOCKET: &str = "/run/ironbay/engine.sock";
/// Where the init of a node serves `org.ironbay.Init1`.
pub const INIT_SOCKET: &str = "/run/ironbay/init.sock";
