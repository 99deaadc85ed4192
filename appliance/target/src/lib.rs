//! Joins the NVMe/TCP protocol and storage on a core (layer 4; `engine` runs it).
//!
//! ```text
//!  net ─bytes─▶ receive ─▶ nvme-tcp ─▶ protocol ─▶ nvme-subsystem ─Io─▶ io ─▶ steps ─▶ pool.map, or thin ─▶ devices
//!  net ◀─send── connection ◀─ nvme-tcp ◀── answer ◀── on_io_done ◀───────┘ ◀── completions
//! ```
//!
//! Invariants
//! - A buffer is with a command, a drive or the network, never with two of them: it is moved.
//! - A request that finds no memory waits; nothing grows with what hosts send (see `memory`).
//! - When a connection dies, its commands at the drives come back before their buffers are given to anyone else, and before
//!   its host may connect to that pool again: an old write never lands on top of a newer one that was answered.
//! - On the path of reads and writes nothing is allocated, except the first time that a slot sees a large command.
//!
//! Not here: which drives and pools there are, and changes of them (`engine`).
#![forbid(unsafe_code)]

mod bits;
mod chunks;
mod claims;
mod command;
mod connection;
mod devices;
mod edges;
mod exports;
mod guards;
mod io;
pub mod limits;
mod lists;
mod memory;
mod pairs;
mod protocol;
mod ranges;
mod receive;
mod send;
mod steps;
mod strangers;
mod target;
#[cfg(test)]
mod tests;
mod thin;

pub use devices::{BoxedDevice, Devices};
pub use exports::nqn_of;
pub use guards::HostChange;
pub use io::JOB_TAG;
pub use target::{Counters, Target};
pub use thin::{Thin, memory};
