//! Desired state to engine primitives: the gRPC server (layer 5; `ironbayd` starts it).
//!
//! ```text
//!  client ── ironbay.v1 ──▶ service ── validate ──▶ Manager ── Engine1 over the bus ──▶ engine
//!                                                      └────── Init1: phases, host name
//! ```
//!
//! Invariants
//! - What reaches the engine is well-formed: names, sizes, UUIDs and serial numbers were checked here, and a refusal names
//!   the field. Whether it is possible (space, state, conflicts) the engine decides, in one place.
//! - A request that brought its own id can be repeated; one without gets a random one.
//! - Every call ends: the bus has limits, and so has the number of calls at a time.
//!
//! Not here: authentication (the daemon listens only when told that the lab is insecure), storage.
#![forbid(unsafe_code)]

mod limits;
mod manager;
mod portals;
mod server;
mod service;
#[cfg(test)]
mod tests;
mod validate;

pub use manager::Manager;
pub use server::{Server, bind};
