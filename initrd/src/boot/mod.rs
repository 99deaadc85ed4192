//! The steps of the boot that touch the kernel: each is a function that returns an [`Outcome`](crate::phase::Outcome).
//!
//! ```text
//!  mounts → modules → hugepages → claim → engine → agent → serve
//!               └──→ network (in parallel)
//! ```

pub mod claim;
pub mod files;
pub mod hugepages;
pub mod index;
pub mod modules;
pub mod mounts;
pub mod network;
