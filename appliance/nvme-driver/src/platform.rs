//! What the driver needs from the world: registers, memory that the device reaches, and time.
//!
//! `vfio` implements these traits for PCI devices, `nvme-model` for a controller in memory.
//!
//! Rule for implementers: a device sees memory at addresses of its own. [`QueueMemory::address`] and
//! [`Platform::address`] are such addresses; they stay valid as long as the memory or the buffer lives, and each buffer
//! is contiguous for the device and starts at a page boundary.

use block::{IoBuf, Tick};
use core::fmt;

/// The registers of a controller: BAR 0.
pub trait Registers {
    /// Bytes that can be reached.
    fn bytes(&self) -> u64;
    /// Reads 32 bits; all ones if the device is gone.
    fn read32(&self, offset: u64) -> u32;
    /// Reads 64 bits; all ones if the device is gone.
    fn read64(&self, offset: u64) -> u64;
    /// Writes 32 bits, after everything stored to queue memory before.
    fn write32(&self, offset: u64, value: u32);
    /// Writes 64 bits, after everything stored to queue memory before.
    fn write64(&self, offset: u64, value: u64);
}

/// Memory for queues, lists and Identify data. The device may write it at any time, so it is seen as words only.
pub trait QueueMemory: fmt::Debug {
    /// Where the device sees its first byte; a multiple of a page.
    fn address(&self) -> u64;
    /// Reads a little-endian word; words read afterwards are at least as new.
    fn load_u32(&self, at: usize) -> u32;
    /// Reads a little-endian word; words read afterwards are at least as new.
    fn load_u64(&self, at: usize) -> u64;
    /// Writes a little-endian word.
    fn store_u64(&self, at: usize, value: u64);
    /// Copies a submission queue entry in.
    fn store_entry(&self, at: usize, entry: &[u8; 64]);
}

/// A controller and what belongs to it.
pub trait Platform: fmt::Debug {
    /// Its registers.
    type Registers: Registers;
    /// Memory for its queues.
    type Queue: QueueMemory;
    /// Memory for payload.
    type Buf: IoBuf;

    /// The registers.
    fn registers(&self) -> &Self::Registers;

    /// Zeroed queue memory at a page boundary; `None` if there is none left. It is never used for anything else
    /// afterwards, not even when it was dropped.
    fn alloc_queue(&self, bytes: usize) -> Option<Self::Queue>;

    /// Where the device sees a buffer; `None` if it cannot reach it.
    fn address(&self, buf: &Self::Buf) -> Option<u64>;

    /// The device takes a buffer over. Nothing to do where it reaches the memory itself.
    fn hand_over(&self, _buf: &mut Self::Buf) {}

    /// The device is done with a buffer. Nothing to do where it reached the memory itself.
    fn take_back(&self, _buf: &mut Self::Buf) {}

    /// Cuts the device off from memory, for a controller that does not stop by itself. True if it certainly cannot
    /// write any more; then, and only then, buffers it owned are ours again.
    fn isolate(&self) -> bool;

    /// The time now. Cheap; asked once per round.
    fn now(&self) -> Tick;

    /// Lets a little time pass; between looks at a register during bring-up and shutdown.
    fn pause(&self);
}
