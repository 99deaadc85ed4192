//! Serves a pool of the thin engine (layer 2; `target` and `engine` use it).
//!
//! ```text
//!  submit(tag, volume, op) ─▶ pieces, one for each unit ─▶ tasks ─▶ volume::Engine ─▶ lines ─▶ poll_op ─▶ drives
//!  poll ◀── the last piece has ended ◀─────────────────────┘            ▲  └◀───── on_completion ◀────────┘
//!  begin(change) ─▶ one task ─▶ poll_change                             run
//! ```
//!
//! Nothing here does IO: whoever owns the drives takes the operations that [`Server::poll_op`] gives, and brings their completions
//! back. A volume takes operations as a drive does, so those who have drives need nothing else to have volumes.
//!
//! Invariants
//! - Each operation that is accepted completes exactly once, also when the pool's drive fails.
//! - What is under way is bounded: by the tasks, and by places for operations. One that finds no place comes back and is given again.
//! - The memory that is taken beside that of the operations is bounded, too ([`limits::SLOTS`]): it is set aside before, so that no
//!   host's demand makes it fail.
//! - An operation is cut where units of 64 KiB end, and its buffer with it: nothing is copied.
//!
//! Not here: what volumes are for hosts (`target`), requests of operators (`engine`).
#![forbid(unsafe_code)]

mod erase;
pub mod limits;
mod line;
mod pieces;
mod server;
mod tasks;

pub use pieces::media_error;
pub use server::{Server, volume_extents, volume_extents_on};
pub use tasks::{Change, Changed};

#[cfg(test)]
mod tests;
