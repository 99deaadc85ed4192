//! Words of storage (layer 0; every crate may use it).
//!
//! Three things live here and nothing else: the units in which storage is counted ([`Lba`], [`Blocks`], [`Bytes`]) and
//! how people write and read them, the one interface to anything that stores blocks ([`BlockDevice`]), and the rule who
//! may touch a buffer when ([`IoBuf`]).
//!
//! Invariants
//! - Every block in Ironbay is [`BLOCK_SIZE`] bytes. A drive formatted with 512-byte logical blocks is translated by
//!   its driver; nobody above the driver sees another size.
//! - A buffer is owned by exactly one party. Submitting an [`Op`] moves it to the device, the [`Completion`] moves it
//!   back; so nobody can read or reuse memory that a device may still write.
//!
//! Not here: IO, clocks, allocation of buffers (`dma`), meaning of the blocks (`pool`).
#![forbid(unsafe_code)]

mod device;
mod size;
mod unit;

pub use device::{BlockDevice, Completion, Geometry, IoBuf, MediaError, Op, Tag, assert_cut};
pub use size::{InUnit, SizeError};
pub use unit::{BLOCK_SIZE, Blocks, Bytes, Lba, Tick};
