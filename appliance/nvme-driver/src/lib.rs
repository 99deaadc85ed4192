//! The user-space NVMe driver: polled, one I/O queue pair, no `unsafe` (layer 3; `vfio` supplies the hardware,
//! `engine` uses the drives).
//!
//! ```text
//!  NvmeDrive::open(platform, config)          bring_up   reset, admin queue, Identify, I/O queue pair
//!    submit(tag, op) ─ slot ─ PRPs ─ SQE      drive      the BlockDevice
//!    kick()          ─ one doorbell           queue      a pair of rings in shared memory
//!    poll()          ─ CQEs ─ slot ─ op       slot       CID -> what is in flight
//!    time, faults    ─ reset ─ drained        recovery   when buffers are ours again
//! ```
//!
//! Hardware is behind the traits of [`platform`]: registers, words of queue memory, and addresses of buffers. Real
//! devices implement them in `vfio`, `nvme-model` implements them in memory, with faults.
//!
//! Invariants
//! - Each accepted operation completes exactly once. After a fault all of them complete, with an error.
//! - A buffer leaves the driver only when the device cannot write it any more: after its completion, after CSTS.RDY
//!   dropped, or after the platform cut the device off. Where none of that can be had, the buffer is given up: losing
//!   128 KiB is better than a device writing into a stranger's data.
//! - A completion is believed only if its CID names a command in flight (slot and generation). Anything else stops the
//!   controller: from then on nothing that it says can be trusted.
//! - What a device reports is foreign: parsed once in `identify`, without assertion or unchecked arithmetic.
//! - No allocation after `open`.
//!
//! Not here: interrupts, several queue pairs, retry and re-initialisation after a reset, event requests.
#![forbid(unsafe_code)]

mod admin;
mod bring_up;
mod controller;
mod drive;
mod error;
mod identify;
pub mod limits;
pub mod platform;
mod prp;
mod queue;
mod recovery;
mod slot;
mod status;
mod zeroes;

pub use drive::{DriveConfig, NvmeDrive};
pub use error::{BringUpError, Failure};
pub use identify::DriveInfo;
pub use platform::{Platform, QueueMemory, Registers};
