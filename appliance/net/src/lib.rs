//! Sockets of one core over io_uring (layer 3; `reactor` runs it, `target` speaks NVMe/TCP through it).
//!
//! ```text
//!  listen ─▶ Accepted{socket}          recv(socket, landing, range) ─▶ Received{landing, n}
//!  send(socket, outgoing) ─▶ Sent{outgoing}          close(socket) ─▶ (what is in flight comes back) ─▶ Closed
//! ```
//!
//! UNSAFETY: the kernel reads and writes memory while an operation is in flight; safe Rust has no word for that. Here
//! the memory is moved into the [`Net`] for exactly that time.
//!
//! Invariants
//! - A buffer given to [`Net::recv`] or [`Net::send`] comes back in exactly one event, and nobody can look at it before.
//! - A socket has at most one receive and one send in flight; so bytes keep their order without any care above.
//! - [`Event::Closed`] is the last event of a socket, after all its buffers have come back.
//! - Dropping a [`Net`] waits for the kernel to let go of the buffers, and leaks those that it does not release in time:
//!   memory that the kernel still writes is never given to anyone else.
//!
//! Not here: bytes that mean something (`nvme-tcp`), time, and who is served first (`target`).
#![allow(unsafe_code, reason = "operations in flight share memory with the kernel, see UNSAFETY above")]

pub mod limits;
mod listener;
mod outgoing;
mod ring;
mod slab;
mod sockets;
#[cfg(test)]
mod tests;
mod wake;

pub use listener::ListenerId;
pub use outgoing::Outgoing;
pub use ring::{Finished, Ring, RingKind};
pub use slab::{Key, Slab};
pub use sockets::{Event, Landing, Net, SocketId};
pub use wake::Waker;
