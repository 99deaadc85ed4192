//! A host talks to a target, command by command, in simulated time: it gets what the standard and Linux expect.
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "tests may panic on what they made themselves"
)]

mod access;
mod admin;
mod ana;
mod cluster;
mod events;
mod fused;
mod golden;
mod host;
mod io;
mod life;
mod logs;
mod masking;
mod random;
mod reconnect;
mod reservation;
mod support;
mod write_protection;
