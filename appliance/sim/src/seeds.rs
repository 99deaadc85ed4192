//! Running seeds: each twice with equal traces, and a failing one prints the line that repeats it.
//!
//! | variable | meaning |
//! |---|---|
//! | `SIM_SEED=17` | only this seed |
//! | `SIM_MINUTES=480` | new seeds until so many minutes have passed (`make sim HOURS=8`) |
//! | `SIM_FIRST=1000000` | the first of the new seeds; otherwise the one behind those of the test |

use core::hash::{Hash, Hasher};
use core::ops::Range;
use core::time::Duration;
use std::hash::DefaultHasher;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// The hash of everything that happened in a run. Fixed keys: equal runs give equal traces.
#[derive(Clone, Debug, Default)]
pub struct Trace(DefaultHasher);

impl Trace {
    /// Something happened.
    pub fn note(&mut self, event: impl Hash) {
        event.hash(&mut self.0);
    }

    /// All of it.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.finish()
    }
}

/// The power failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerCut;

/// What happened so far, and how far it is to the power cut.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    /// Of everything that happened.
    pub trace: Trace,
    /// Steps until the power fails; `None` if it does not.
    pub cut_in: Option<u64>,
}

impl Steps {
    /// A step: something happens, unless the power fails before it.
    ///
    /// # Errors
    /// The power has failed; it is noted all the same.
    pub fn note(&mut self, event: impl Hash) -> Result<(), PowerCut> {
        self.trace.note(event);
        match &mut self.cut_in {
            Some(0) => return Err(PowerCut),
            Some(steps) => *steps -= 1,
            None => {}
        }
        Ok(())
    }
}

/// Lives each seed twice; `live` gives the trace. `test` is what `cargo test` calls this test, `package` its crate.
///
/// # Panics
/// If a life panics, or its two traces differ; the message repeats the seed.
pub fn every_seed(package: &str, test: &str, seeds: Range<u64>, live: impl Fn(u64) -> u64) {
    let variable = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let run = |seed| {
        let again = format!("SIM_SEED={seed} cargo test -p {package} {test}");
        match catch_unwind(AssertUnwindSafe(|| (live(seed), live(seed)))) {
            Ok((first, second)) => assert_eq!(first, second, "seed {seed} is not deterministic: {again}"),
            Err(_) => panic!("seed {seed} fails: {again}"),
        }
    };
    if let Some(seed) = variable("SIM_SEED") {
        return run(seed);
    }
    let first_new = variable("SIM_FIRST").unwrap_or(seeds.end);
    seeds.for_each(run);
    if let Some(minutes) = variable("SIM_MINUTES") {
        let begin = Instant::now();
        let mut seed = first_new;
        while begin.elapsed() < Duration::from_secs(minutes * 60) {
            run(seed);
            seed += 1;
        }
        println!("{package} {test}: seeds {first_new} to {}, no failure", seed.saturating_sub(1));
    }
}
