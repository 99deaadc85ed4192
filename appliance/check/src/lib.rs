//! What is on drives, judged without writing to them (layer 2; the tests of `volume` and `ironbay check` use it).
//!
//! ```text
//!  Medium ──▶ homes: superblocks, roots ──▶ volume table ──▶ nodes and leaves ──▶ journal, replayed ──▶ attributes, who uses each unit
//!                 └──────────────┴────────────────┴─────────────────┴─────────────────┴───────▶ Finding, Summary
//! ```
//!
//! [`check_thin`] looks at a drive of the thin engine, as drawn above; [`check_served`] at those of the first pools, which are
//! what is served today: labels, both record slots, generations across the members.
//!
//! It shares the decoders of `ondisk` with the engine and nothing else: how the engine finds, loads and replays is written
//! again here, in another way (the checkpoint stays on the drive, the journal lies over it), so that the two cannot share a
//! mistake.
//!
//! | invariant of the thin engine | what one drive can show of it |
//! |---|---|
//! | what was confirmed stays | a root or journal block that must have been there, and is not: [`HomeProblem`], [`JournalProblem`] |
//! | blocks are old or new | data of unsettled records that do not agree with their checksums: the write did not happen |
//! | nobody sees what others stored | a unit at two places, or of volumes that are not related: [`MapProblem`] |
//! | units are free only after the record that frees them | the same, and units that hold both data and nodes |
//! | a root names only what is durable | nodes that are missing, older, newer, or elsewhere |
//! | references are counted right | nothing to find: they are not stored, but counted here again ([`Units`]) |
//! | snapshots never change | records that change one, and units whose base changed |
//! | the journal has no gap | a gap before blocks that prove it was written |
//! | a checksum that disagrees is damage | data that disagree in regions that are not dirty: [`SumsProblem`] |
//! | one writer | journal blocks of an epoch that the root does not know |
//!
//! Not noticed, because the format does not have it:
//! - data that changed on the drive in a region whose checksums may lag behind, or with a page that does not know them; and all
//!   data, unless [`Depth::Data`] is asked for;
//! - writes of the newest journal blocks that the drive confirmed and lost, when nothing that is left was written after them:
//!   it looks like a power cut before they were written;
//! - what lies in free units.
//!
//! Memory: 24 bytes for each unit of the segments that are in use (384 MiB for 1 TiB of data), some 100 for each node.
//!
//! Not here: opening drives, and what people see (`ironbay`); repair.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::arithmetic_side_effects
    )
)]

mod finding;
pub mod limits;
mod medium;
mod report;
mod served;
mod thin;

pub use finding::{
    AttributesProblem, Facts, Finding, HomeProblem, JournalProblem, MapProblem, Place, Problem,
    ServedProblem, Severity, SumsProblem, TableProblem,
};
pub use medium::{Fault, Medium};
pub use report::{JournalUse, Report, Summary, Units, VolumeSummary};
pub use served::{Kind, PoolSummary, ServedFinding, ServedReport, check_served, extents_in_bytes};
pub use thin::{Depth, check_thin};

#[cfg(test)]
mod tests;
