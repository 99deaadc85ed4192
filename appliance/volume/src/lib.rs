//! The thin engine (layer 2): volumes, snapshots and clones over a journal and a copy-on-write map. `thin` serves it.
//!
//! ```text
//!  Engine ── read ─────────▶ map ─▶ drive                                            1 read
//!         ── write ─┬ owned ─▶ map ─▶ drive                                          1 write
//!                   └ first ─▶ space ─▶ drive ∥ journal ─▶ map                       2 writes together
//!         ── trim, snapshot, clone, delete ─▶ journal ─▶ map                         1 write
//!         ── attributes ─────▶ drive, then journal                                      2 writes, one after the other
//!         ── checkpoint: map ─▶ drive, then the root                  import: root ─▶ map ◀─ journal
//! ```
//!
//! Invariants
//! - What was confirmed is readable after a power cut: at once on drives without a volatile cache, else after a flush.
//! - A block is old or new; one that was never written is zero and never shows what another volume stored.
//! - A snapshot never changes, and making one takes the same time whatever its size.
//! - A unit is used again only after the record that freed it is durable and nobody reads it any more.
//! - A root names only nodes that are durable.
//! - A block that is not what was written is never returned; good data is not refused because of a power cut.
//!
//! Not here yet: several drives, quotas of bandwidth.
//! `docs/decisions/0009` says where these parts will live.
#![forbid(unsafe_code)]

mod attributes;
mod bitmap;
mod change;
mod checkpoint;
mod drives;
mod engine;
mod import;
mod io;
mod journal;
pub mod limits;
mod load;
mod map;
mod pages;
mod rules;
mod scrub;
mod space;
mod sums;

pub use change::NewVolume;
pub use engine::{Background, Engine, EngineError, Memory, VolumeInfo};
pub use import::{ImportError, NewPool, format, import};
pub use scrub::{Finding, Pace, Problem, ScrubReport};
pub use sums::SumCounts;

#[cfg(test)]
mod tests;
