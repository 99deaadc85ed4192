//! Rules of the house that a test can check: one pass over the files that git tracks.
//!
//! ```text
//!  tests/layers.rs    the arrows between crates, against the table in docs/ARCHITECTURE.md
//!  tests/sources.rs   headers, lengths, unsafe code, left-over work in Rust files
//!  tests/documents.rs links in docs/, every dependency explained and used
//!  tests/mutations.rs docs/mutations.txt fits the code; `src/bin/mutations.rs` (`make mutations`) proves it
//! ```
//!
//! A rule that has to bend for a file names that file in the test, with the reason; those lists only shrink.
#![forbid(unsafe_code)]

mod manifest;
mod mutations;
mod tree;

pub use manifest::{Crate, crates};
pub use mutations::{LIST, Mutation, mutations};
pub use tree::{Source, functions, root, rust_sources, tracked, tracked_and_new};
