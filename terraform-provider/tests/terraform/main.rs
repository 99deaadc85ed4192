//! The provider under the real Terraform: every scenario a user goes through, and every value that is wrong.
//!
//! ```text
//!  cli      one working directory, `terraform` run in it, its answers
//!  fake     a node in this process, where errors can be injected
//!  real     `ironbayd run` on file drives
//!  lifecycle, refusals, process   the tests
//! ```
//! Needs `terraform` (or `tofu`) in PATH. Without it every test fails with a message that says how to get it;
//! IRONBAY_SKIP_TERRAFORM=1 skips them all instead, and says so.
#![forbid(unsafe_code)]

mod cli;
mod fake;
mod lifecycle;
mod process;
mod real;
mod refusals;
