//! An NVMe/TCP host in user space: a controller of a subsystem, one of its namespaces, several IO queues, over plain sockets
//! (layer 3; `ironbay`, tests and benchmarks use it).
//!
//! ```text
//!  Session::connect ── admin Queue: Connect, CC.EN, Identify ──┐
//!                  └── IO Queues: Connect                       ├─▶ begin_read / begin_write / begin_flush
//!                                                               └─▶ wait, or turn and poll (never sleeps)
//!  Queue: nvme_tcp::host::Connection + a non-blocking socket
//!    out: heads and the commands' buffers in one vectored write; in: long payload straight into the command's buffer
//! ```
//!
//! ```no_run
//! use nvme_host::{Session, SessionConfig, Target};
//!
//! # fn main() -> Result<(), nvme_host::HostError> {
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
//! - Nothing waits without a limit: no progress for the configured time is an error. `turn` never waits.
//! - Reading goes on while sending is blocked, so neither side can starve the other.
//! - What the controller sends is checked by `nvme-tcp`; data only ever lands in the buffer of the command that asked.
//! - After a session is connected, nothing is allocated for a command.
//!
//! Also here, for whoever measures or verifies through it: [`histogram`] and [`pattern`].
//!
//! Not here: reconnecting, multipath: the kernel's host does those.
#![forbid(unsafe_code)]

mod error;
pub mod histogram;
pub mod limits;
mod outgoing;
pub mod pattern;
mod queue;
mod session;

pub use error::HostError;
pub use queue::{Completion, Queue, QueueConfig};
pub use session::{IoQueue, Namespace, Session, SessionConfig, Target, WriteOptions};
