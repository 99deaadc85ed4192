//! The command line client of Ironbay, and its NVMe/TCP host (layer 5; people, the lab and benchmarks use it).
//!
//! ```text
//!  main ── cli ──▶ api::Client ── gRPC ──▶ node
//!            └──▶ io ──▶ host::Session ── NVMe/TCP ──▶ node          (no kernel support needed)
//! ```
//!
//! As a library it offers [`host`], which is all that is needed to read and write a volume from a program, and [`io`] for
//! whole ranges of it.
//!
//! Not here: what a call means (`manager`), the protocol (`nvme-tcp`).
#![forbid(unsafe_code)]

pub mod histogram;
pub mod host;
pub mod io;
pub mod pattern;
