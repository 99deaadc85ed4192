//! Pairs of a host and a controller in simulated time, golden dumps of the wire, and everything that a peer can get wrong.
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::semicolon_if_nothing_returned,
    reason = "tests may panic on what they made themselves"
)]

mod alignment;
mod malformed;
mod pair;
mod random;
mod time;
mod transfer;
mod wire;
