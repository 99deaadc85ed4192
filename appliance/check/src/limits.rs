//! Bounds of the check.

/// Findings that a report keeps; more are counted. Guessed: nobody reads more, and damage in one place can give millions.
pub const FINDINGS_MAX: usize = 1000;
