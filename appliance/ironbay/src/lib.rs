//! The command line client of Ironbay (layer 5; people and the lab use it).
//!
//! ```text
//!  main ── cli ──▶ api::Client ── gRPC ──▶ node
//!            ├──▶ io ──▶ nvme_host::Session ── NVMe/TCP ──▶ node     (no kernel support needed)
//!            └──▶ check ──▶ drives and images, read only            (no node needed)
//! ```
//!
//! As a library it offers [`io`]: reads, writes and verifies whole ranges of a volume.
//!
//! Not here: what a call means (`manager`), the host (`nvme-host`).
#![forbid(unsafe_code)]

pub mod io;
