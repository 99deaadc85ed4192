//! NVMe/TCP without sockets: PDU codec and connections, controller side and host side (layer 1; `target` uses it, and
//! `ironbay`, tests and benchmarks use the host side).
//!
//! ```text
//!   socket ──bytes──▶ want() ─┬─ Header ──▶ on_header(bytes)             ┌─▶ Event::Command, Event::Data
//!                             ├─ Payload ─▶ into the owner's buffer,     │
//!                             │             on_payload(those bytes) ─────┴─▶ poll_event()
//!                             └─ Discard ─▶ on_payload(bytes)
//!   request_data(slot), respond(slot, reply) ──▶ poll_transmit() ──▶ head ‖ payload from the owner's buffer ‖ digest
//! ```
//!
//! Invariants
//! - A connection holds no payload. It names a [`Slot`] and a range; whoever owns the buffers places the bytes there and
//!   shows them once for the digest. So payload lands in device memory with one copy, and the protocol needs no arena.
//! - Everything a connection needs per command is allocated when its queue size is known ([`controller::Connection::set_queue`]).
//! - Whatever arrives, in whatever pieces, a connection answers with an event, a refusal of that command, or a termination
//!   request; it never panics. Wrong calls by its owner do (they are our bugs).
//!
//! Not here: sockets, clocks, buffers; the meaning of commands (`nvme-subsystem`).
//!
//! The loop around a controller-side connection, for bytes that lie in `input` already:
//!
//! ```
//! use block::Tick;
//! use nvme_tcp::controller::{Config, Connection, Event, Reply};
//! use nvme_tcp::{ConnectionError, Want};
//!
//! fn feed(
//!     connection: &mut Connection,
//!     mut input: &[u8],
//!     buffers: &mut [Vec<u8>], // by slot
//!     output: &mut Vec<u8>,
//!     now: Tick,
//! ) -> Result<(), ConnectionError> {
//!     while !input.is_empty() {
//!         let used = match connection.want() {
//!             Want::Header { .. } => connection.on_header(input, now)?,
//!             Want::Payload { slot, offset, len } => {
//!                 let len = input.len().min(len as usize);
//!                 let (data, offset) = (&input[..len], offset as usize);
//!                 buffers[slot.index()][offset..offset + len].copy_from_slice(data);
//!                 connection.on_payload(data, now)?;
//!                 len
//!             }
//!             Want::Discard { len } => {
//!                 let len = input.len().min(len as usize);
//!                 connection.on_payload(&input[..len], now)?;
//!                 len
//!             }
//!             Want::Nothing => break, // release slots or send first
//!         };
//!         input = &input[used..];
//!         while let Some(event) = connection.poll_event() {
//!             match event {
//!                 // A buffer for the slot, then `request_data` for a write, or the IO, or `respond`.
//!                 Event::Command { slot, sqe, data } => {
//!                     let _ = (sqe, data);
//!                     connection.respond(slot, Reply::status(nvme_spec::Status::INVALID_OPCODE.dnr()));
//!                 }
//!                 // The host is told already.
//!                 Event::Refused { .. } => {}
//!                 // All data of the write lies in the slot's buffer, or its digest was wrong.
//!                 Event::Data { slot, result } => {
//!                     let status = result.err().unwrap_or(nvme_spec::Status::SUCCESS);
//!                     connection.respond(slot, Reply::status(status));
//!                 }
//!             }
//!         }
//!         while let Some(transmit) = connection.poll_transmit() {
//!             output.extend_from_slice(transmit.head());
//!             if let Some(part) = transmit.payload {
//!                 let data = &buffers[part.slot.index()][part.offset as usize..][..part.len as usize];
//!                 output.extend_from_slice(data);
//!                 if transmit.has_digest {
//!                     output.extend_from_slice(&nvme_tcp::data_digest([data]));
//!                 }
//!             }
//!             if let Some(slot) = transmit.done {
//!                 connection.release(slot); // with zero-copy sends: when they are finished
//!             }
//!         }
//!     }
//!     Ok(())
//! }
//! # let mut c = Connection::new(Config::default(), Tick(0));
//! # assert!(feed(&mut c, &[0; 8], &mut [], &mut Vec::new(), Tick(0)).is_err());
//! ```
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::arithmetic_side_effects)]

pub mod controller;
mod digest;
pub mod host;
pub mod limits;
mod receive;
mod side;
mod transmit;
mod wire;

pub use digest::data_digest;
pub use transmit::{Payload, Transmit};
pub use wire::{ConnectionError, Digests, Fault, Slot, Waiting, Want};

#[cfg(test)]
mod tests;
