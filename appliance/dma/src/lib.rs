//! Arenas: the memory that drives and sockets may reach (layer 3; used by every crate that moves payload).
//!
//! ```text
//!  Arena (one memfd, one mapping, all memory faulted in at creation)
//!  ├ queue area    alloc_queue()  submission and completion queues, PRP lists   -> DmaQueue, words only
//!  ├ 128 KiB slots alloc()        payload of reads and writes                   -> DmaBuf, bytes
//!  ├  16 KiB slots
//!  └   4 KiB slots
//! ```
//!
//! UNSAFETY: memory that a device writes cannot be expressed in safe Rust: it needs one mapping shared by the kernel,
//! the IOMMU and us. This crate is the only place that turns it into slices ([`DmaBuf`]) or atomics ([`DmaQueue`]).
//!
//! Invariants
//! - A slot belongs to at most one [`DmaBuf`]; slots never overlap each other or the queue area.
//! - While a device owns a transfer its [`DmaBuf`] is moved into the driver, which never looks into it. So no Rust
//!   reference to memory exists that a device writes at that moment.
//! - Queue memory, which a device may write at any time, is only read and written as whole words through atomics, and
//!   is never given out twice: a device that was not stopped could still write it.
//! - Arena, buffers and queues stay on the thread that made them (they share an `Rc`); so no lock and no atomic count
//!   is needed to return a slot.
//!
//! A buffer may come back with what its last owner left in it; [`Arena::alloc_zeroed`] clears it first. Code that sends
//! a buffer out must have filled all of it, or data of one host would reach another.
//!
//! Not here: addresses as a device sees them (`vfio` decides them; see [`DmaBuf::offset`]), and who waits when no slot
//! is free.
#![allow(unsafe_code, reason = "memory shared with devices, see UNSAFETY above")]

mod arena;
mod buf;
mod carve;
pub mod limits;
mod mapping;
mod queue;
#[cfg(test)]
mod tests;

pub use arena::{Arena, ArenaConfig, ArenaId, Region, Usage};
pub use buf::DmaBuf;
pub use mapping::{ArenaError, Pages};
pub use queue::DmaQueue;
