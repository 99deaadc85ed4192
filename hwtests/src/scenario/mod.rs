//! The scenarios: each boots the real image and uses it as a customer would.

pub mod self_test;

use crate::parts::Parts;
use anyhow::Result;

/// A scenario by name.
pub struct Scenario {
    /// Name on the command line.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// Runs it once with a seed.
    pub run: fn(&Parts, u64) -> Result<()>,
}

/// All scenarios, cheapest first.
pub const ALL: &[Scenario] = &[Scenario {
    name: "self_test",
    about: "the lab itself: the Linux host boots, moves data in its memory, and keeps its tongue",
    run: self_test::run,
}];
