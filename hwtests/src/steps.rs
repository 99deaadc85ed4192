//! What the lab is doing, one line for each step with its time: on the screen while it runs.

use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// Prints steps; time counts from its creation.
#[derive(Debug, Clone)]
pub struct Steps {
    started: Instant,
    prefix: String,
}

impl Steps {
    /// Starts the clock. The prefix tells runs apart.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { started: Instant::now(), prefix: prefix.into() }
    }

    /// Does one step. Its result, and a word about it, come from the closure; an error gets the step's name.
    pub fn step<T>(&self, name: &str, what: impl FnOnce() -> Result<(T, String)>) -> Result<T> {
        let begun = Instant::now();
        let result = what();
        let took = seconds(begun.elapsed());
        match result {
            Ok((value, word)) => {
                let colon = if word.is_empty() { "" } else { ": " };
                self.line(&format!("{took:>6} s  {name}{colon}{word}"));
                Ok(value)
            }
            Err(error) => {
                self.line(&format!("{took:>6} s  {name}: FAILED"));
                Err(error).with_context(|| name.to_owned())
            }
        }
    }

    /// Says something between two steps.
    pub fn line(&self, text: &str) {
        println!("[{}{:>6} s] {text}", self.prefix, seconds(self.started.elapsed()));
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Seconds with one digit.
pub fn seconds(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64())
}
