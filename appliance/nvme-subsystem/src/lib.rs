//! Subsystems, controllers, namespaces and discovery, without IO (layer 1; `target` uses it).
//!
//! ```text
//!   transport ──Command──▶ on_command ─┬─ Done(answer) ─────────────────────────────────▶ transport
//!                                      ├─ NeedsData ── data arrives ──▶ on_data ────────▶ Done, Connected
//!                                      ├─ Page ── there is room ──▶ on_page ────────────▶ answer
//!                                      ├─ Io ── storage ──▶ on_io_done ─────────────────▶ completion
//!                                      ├─ Abort ── what the owner can still stop ──────▶ completion
//!                                      └─ Held … something happens ──▶ poll_action ─────▶ Complete, Close
//! ```
//!
//! | file | what |
//! |---|---|
//! | `target` | all of it: configuration, connections, the way of a command |
//! | `connect`, `property` | fabrics commands |
//! | `controller` | life cycle, keep alive, events |
//! | `admin`, `identify`, `page`, `feature`, `discovery` | admin commands |
//! | `access`, `view`, `ana` | what a host may use and sees, and whether this node serves it |
//! | `guard`, `reservation`, `inbox` | reservations and write protection |
//! | `nvm` | I/O commands: checked, turned into [`Io`] |
//! | `fused` | Compare and Write: two commands that are one |
//! | `span`, `range_list` | which bytes of a volume a command means |
//!
//! Invariants
//! - A command that reaches the storage is valid: its namespace exists, its range lies within, its data has its length.
//! - Every command is answered exactly once: here, by `on_io_done`, or by an action; unless its connection is closed.
//! - After an action `Close`, or any other end of a connection, the owner calls `on_close`; a controller lives until all its
//!   connections are closed.
//!
//! Not here: transport (`nvme-tcp`), storage (`pool`), buffers. On the path of reads and writes nothing is allocated.
//!
//! ```
//! use block::{Blocks, Tick};
//! use nvme_spec::Sqe;
//! use nvme_subsystem::{
//!     Action, Command, Endpoints, Hosts, NamespaceConfig, Outcome, SubsystemConfig, Target, TargetConfig,
//! };
//!
//! let mut target = Target::new(TargetConfig {
//!     discovery_nqn: "nqn.2014-08.org.nvmexpress.discovery".into(),
//!     node: 0,
//!     io_port: 4420,
//!     firmware: "0.1.0".into(),
//! });
//! let nqn = "nqn.2014-08.org.nvmexpress:uuid:6c2c6f0b-7a5b-4a0e-9a57-2a4cf4c1f2b1";
//! target.add_subsystem(SubsystemConfig {
//!     nqn: nqn.into(),
//!     serial: "6c2c6f0b7a5b4a0e9a57".into(),
//!     model: "Ironbay".into(),
//!     is_volatile: false,
//!     is_open: true,
//! })?;
//! let uuid = uuid::Uuid::from_u128(1);
//! let hosts = Hosts::Any;
//! target.add_namespace(nqn, NamespaceConfig { nsid: 1, uuid, blocks: Blocks(256), lba_shift: 12, volume: 7, hosts })?;
//!
//! // Per accepted connection:
//! let local = "10.0.0.5:4420".parse()?;
//! let endpoints = Endpoints { local, peer: "10.0.0.7:51234".parse()?, is_discovery_only: false };
//! let connection = target.on_accept(endpoints).expect("room for a connection");
//! // Per command from the transport:
//! let (sqe, data_len) = (Sqe::new(0x18, 0), 0);
//! let outcome = target.on_command(connection, &Command { tag: 0, sqe: &sqe, data_len }, Tick(0));
//! if let Some(_status) = target.poll_abort() {
//!     // The first half of a fused operation that this connection had is answered with it.
//! }
//! match outcome {
//!     Outcome::Done(answer) => assert!(!answer.cqe.status().is_success()), // Connect must come first
//!     Outcome::NeedsData { .. } => {}      // receive `len` bytes, then target.on_data(…)
//!     Outcome::Page { .. } => {}           // find room for `len` bytes, then target.on_page(…), and answer
//!     Outcome::Connected { .. } => {}      // transport.set_queue(…), then answer
//!     Outcome::Io(_) => {}                 // volume, range; then target.on_io_done(…)
//!     Outcome::First(_) | Outcome::Second(_) => {} // the same, but both are one
//!     Outcome::Held => {}
//!     Outcome::Abort { .. } => {}          // end that command if it only waits; answer with bit 0 set if not
//! }
//! // After every call:
//! while let Some(action) = target.poll_action() {
//!     match action {
//!         Action::Complete { .. } => {}    // transport.respond(tag, cqe)
//!         Action::Connected { .. } => {}   // transport.set_queue(…), then respond
//!         Action::Close { connection } => target.on_close(connection), // after what is queued has been sent
//!         Action::Persist { volume } => target.on_persisted(volume, true), // after to_persist(volume) is durable
//!         Action::Quiesce { volume } => target.on_quiet(volume), // after what recheck(…) refuses has ended
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::arithmetic_side_effects)]

mod access;
mod admin;
mod ana;
mod config;
mod connect;
mod controller;
mod discovery;
mod feature;
mod fused;
mod guard;
mod identify;
mod inbox;
pub mod limits;
mod nvm;
mod outcome;
mod page;
mod property;
mod range_list;
mod reservation;
mod slab;
mod span;
mod target;
mod view;

pub use config::{
    ConfigError, Endpoints, Hosts, NamespaceConfig, Referral, Session, SubsystemConfig, TargetConfig,
};
pub use guard::Durable;
pub use outcome::{Action, Answer, Command, ConnectionId, Io, IoKind, Outcome, Queue};
pub use range_list::{CopyRanges, Copying, Dataset, DatasetRanges};
pub use reservation::{HostId, Registrant, Reservation};
pub use span::Span;
pub use target::Target;

#[cfg(test)]
mod tests;
