//! Says on standard error what the builder is doing, each step with its time.

use std::time::Instant;

/// A step that is going on; [`Step::done`] prints the line.
pub struct Step {
    name: String,
    started: Instant,
}

impl Step {
    /// Starts a step. Steps that take long are announced at once.
    pub fn start(name: impl Into<String>) -> Self {
        Self { name: name.into(), started: Instant::now() }
    }

    /// Ends the step with what came of it.
    pub fn done(self, result: impl AsRef<str>) {
        let took = self.started.elapsed();
        eprintln!("{:>7.1} s  {}: {}", took.as_secs_f64(), self.name, result.as_ref());
    }
}

/// Bytes for people.
pub fn human(bytes: u64) -> String {
    if bytes >= 1 << 20 {
        format!("{}.{} MiB", bytes >> 20, ((bytes % (1 << 20)) * 10) >> 20)
    } else if bytes >= 1 << 10 {
        format!("{}.{} KiB", bytes >> 10, ((bytes % (1 << 10)) * 10) >> 10)
    } else {
        format!("{bytes} B")
    }
}
