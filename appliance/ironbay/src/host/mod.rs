//! An NVMe/TCP host in user space: one admin queue, one IO queue, one namespace, over plain sockets.
//!
//! ```text
//!  Session::connect ── admin Queue: Connect, CC.EN, Identify ──┐
//!                  └── IO Queue: Connect                        ├─▶ begin_read / begin_write / begin_flush, wait
//!  Queue: nvme_tcp::host::Connection + a non-blocking socket ───┘
//! ```
//!
//! ```no_run
//! use ironbay::host::{Session, SessionConfig, Target};
//!
//! # fn main() -> Result<(), ironbay::host::HostError> {
//! let target = Target::new("10.0.0.5:4420".parse().expect("an address"), "nqn.2014-08.org.nvmexpress:uuid:…", 1);
//! let mut session = Session::connect(&target, SessionConfig::default())?;
//! session.begin_write(0, 4096, |data| data.fill(7))?;
//! session.wait()?.into_result()?;
//! session.close();
//! # Ok(())
//! # }
//! ```
//!
//! Invariants
//! - Nothing waits without a limit: no progress for the configured time is an error.
//! - Reading goes on while sending is blocked, so neither side can starve the other.
//! - What the controller sends is checked by `nvme-tcp`; data only ever lands in the buffer of the command that asked.
//!
//! Not here: reconnecting, several IO queues, multipath: the kernel's host does those.

mod error;
pub mod limits;
mod queue;
mod session;

pub use error::HostError;
pub use queue::{Completion, Queue, QueueConfig};
pub use session::{Namespace, Session, SessionConfig, Target};
