//! The loops of the home core and of socket cores, and the drives that the kernel or memory provide (layer 3; `engine` runs it).
//!
//! ```text
//!  poll devices → feed sockets → start requests → kick devices, flush sockets → one control message → timers → rest
//! ```
//!
//! UNSAFETY: [`FileDevice`] gives the kernel memory to fill while an operation is in flight; [`RamDevice`] maps its memory
//! itself, for large pages.
//!
//! Invariants
//! - One thread owns everything that the loop touches; other threads reach it through the [`Mailbox`] alone.
//! - A core sleeps only if something will wake it: a socket, a message, a timer, or a drive that said so
//!   ([`Device::prepare_sleep`]). Polled drives do not wake anybody, so with their work in flight the core stays awake.
//!
//! Not here: what the work is ([`App`]).
#![allow(unsafe_code, reason = "file drives share memory with the kernel, see UNSAFETY above")]

mod affinity;
mod device;
mod file;
mod idle;
pub mod limits;
mod mailbox;
mod pages;
mod ram;
mod run;
mod sockets;
#[cfg(test)]
mod tests;

pub use affinity::{Affinity, Cores, UnknownAffinity, UnknownCores, bind};
pub use device::{Device, Sleep};
pub use file::{FileConfig, FileDevice, FileError};
pub use idle::{Mode, Polling, UnknownMode};
pub use mailbox::{Mailbox, Refused, Sender, mailbox};
pub use ram::RamDevice;
pub use run::{App, Round, run};
pub use sockets::serve_sockets;
