//! Sockets of a node: those of its home core, or of socket cores (layer 3; `reactor` runs it, `target` speaks NVMe/TCP through it).
//!
//! ```text
//!  listen ─▶ Accepted{socket}          watch(socket) ─▶ Readable{socket} ─ receive(socket, memory) ─▶ bytes
//!  send(socket, outgoing) ─▶ ended at once, or later Sent{socket}         close(socket) ─▶ Closed
//! ```
//! Receiving and sending are plain system calls that never wait; io_uring watches the listeners and the sockets that are
//! silent, sends the rest of what a socket does not take at once, and is what the core sleeps in (docs/decisions/0006 has the
//! figures behind that).
//!
//! With socket cores (docs/decisions/0008) that happens on their threads. The home core, which owns the [`Net`] and alone knows what the
//! bytes mean, lends them memory and hears from them over bounded lanes:
//!
//! ```text
//!  Net ── Spread ── lane of orders ──▶ SocketCore ── Sockets ── ring, recv, send
//!                ◀── lane of news ────┘
//! ```
//!
//! UNSAFETY: the kernel reads and writes memory while an operation is in flight; safe Rust has no word for that. Here
//! the memory is moved into the [`Net`] for exactly that time. Slots of a lane are shared by two threads.
//!
//! Invariants
//! - Buffers given to [`Net::send`] are nobody's until the kernel is done with them; then they return to their arena.
//! - A socket has at most one send in flight; so bytes keep their order without any care above.
//! - [`Event::Closed`] is the last event of a socket. Buffers that the network still reads then (`zero_copy`) are kept until
//!   it does not any more.
//! - Dropping a [`Net`] waits for the kernel to let go of the buffers, and leaks those that it does not release in time:
//!   memory that the kernel still writes is never given to anyone else.
//!
//! Not here: bytes that mean something (`nvme-tcp`), time, and who is served first (`target`).
#![allow(unsafe_code, reason = "operations in flight share memory with the kernel, see UNSAFETY above")]

mod cargo;
mod input;
mod lane;
pub mod limits;
mod listener;
mod net;
mod outgoing;
mod output;
mod ring;
mod slab;
mod socket_core;
mod sockets;
mod spread;
#[cfg(test)]
mod tests;
mod wake;
mod zero_copy;

pub use input::Received;
pub use listener::ListenerId;
pub use net::{Ahead, Event, Net, SocketId};
pub use outgoing::Outgoing;
pub use ring::{Finished, Ring, RingKind};
pub use slab::{Key, Slab};
pub use socket_core::{CoreLoad, CoreSeed, SocketCore};
pub use wake::Waker;
