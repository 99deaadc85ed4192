//! Tests of the simulator: what a cut may leave, what each fault does, what the oracle allows, what a run of seeds reports.

mod drive;
mod history;
mod seeds;
