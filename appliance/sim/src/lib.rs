//! Simulated drives, oracles and seeds (tests layer; the tests of every storage crate use it).
//!
//! ```text
//!  submit ─▶ in flight ─ completes ─▶ cache ─ flush that was submitted after ─▶ durable
//!               │                       │
//!               └────── power cut: any subset, torn at the unit of the drive ──▶ durable
//! ```
//!
//! | part | what it gives |
//! |---|---|
//! | [`Drive`], [`SimDrive`] | a drive with a cache, virtual time and [`Faults`]; the code under test sees a `BlockDevice` |
//! | [`History`] | which contents of a block may be read now, and after a power cut; snapshots that stay as they were |
//! | [`Steps`] | counts what happens, and cuts the power at a chosen step |
//! | [`Trace`], [`every_seed`] | each seed is run twice with equal traces; a failure prints the line that repeats it |
//!
//! Invariants
//! - Nothing here knows the code under test, so the oracle cannot share a mistake with it.
//! - All randomness comes from [`Random`], all time from the commands: equal seeds give equal runs.
//!
//! Not here: networks, and which work a test does.
#![forbid(unsafe_code)]

mod device;
mod drive;
mod faults;
mod history;
mod random;
mod seeds;

pub use device::{Latency, SimDrive};
pub use drive::{Block, Drive};
pub use faults::{Faults, NextWrite};
pub use history::{History, Owner, Verdict, Version};
pub use random::Random;
pub use seeds::{PowerCut, Steps, Trace, every_seed};

#[cfg(test)]
mod tests;
