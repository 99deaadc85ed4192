//! The running of seeds.

use crate::{Random, Trace, every_seed};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

fn message_of(live: impl Fn(u64) -> u64) -> String {
    let failed = catch_unwind(AssertUnwindSafe(|| every_seed("sim", "a_story", 0..9, live)));
    let payload = failed.expect_err("a seed fails");
    payload.downcast_ref::<String>().expect("a message").clone()
}

/// Goal: each seed is lived twice, and equal lives are fine.
#[test]
fn every_seed_is_lived_twice() {
    let lives = Cell::new(0);
    every_seed("sim", "every_seed_is_lived_twice", 0..9, |seed| {
        lives.set(lives.get() + 1);
        let mut trace = Trace::default();
        trace.note(Random(seed).bits());
        trace.value()
    });
    assert_eq!(lives.get(), 18);
}

/// Goal: a seed that panics, and one that differs from itself, end the test with the line that repeats it.
#[test]
fn failures_say_how_to_repeat_them() {
    let panicking = message_of(|seed| if seed == 5 { panic!("on purpose") } else { 0 });
    assert_eq!(panicking, "seed 5 fails: SIM_SEED=5 cargo test -p sim a_story");
    let lives = Cell::new(0);
    let different = message_of(|_| {
        lives.set(lives.get() + 1);
        lives.get()
    });
    assert!(different.contains("seed 0 is not deterministic: SIM_SEED=0 cargo test -p sim a_story"));
}
