//! The boot as a table of named, timed phases.
//!
//! ```text
//! [  2.093s] claim      done      12 ms  2 drives claimed: 0000:00:04.0, 0000:00:05.0
//! [  2.093s] claim      FAILED    12 ms  claim drive 0000:00:04.0: no IOMMU group
//! [  2.093s]                          -> enable VT-d or AMD-Vi in the firmware; …
//! ```
//!
//! Invariants
//! - Every phase is in the table from the start, so that an operator sees what is still to come.
//! - A phase that failed may become done later (a service that recovers, an address that arrives); the line of the
//!   later state is printed then. No phase has a time limit: the boot goes on beside it.

use crate::failure::Failure;
use crate::journal::{Journal, Level};
use std::sync::{Arc, Mutex, PoisonError};

/// The phases, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// File systems and settings of the kernel.
    Mounts,
    /// Kernel modules.
    Modules,
    /// Memory for the engine.
    Hugepages,
    /// NVMe controllers for `vfio-pci`.
    Claim,
    /// An address.
    Network,
    /// The engine answers.
    Engine,
    /// The agent answers.
    Agent,
    /// Hosts can connect.
    Serve,
}

/// All phases.
pub const PHASES: [Phase; 8] = [
    Phase::Mounts,
    Phase::Modules,
    Phase::Hugepages,
    Phase::Claim,
    Phase::Network,
    Phase::Engine,
    Phase::Agent,
    Phase::Serve,
];

impl Phase {
    /// The name that people see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mounts => "mounts",
            Self::Modules => "modules",
            Self::Hugepages => "hugepages",
            Self::Claim => "claim",
            Self::Network => "network",
            Self::Engine => "engine",
            Self::Agent => "agent",
            Self::Serve => "serve",
        }
    }
}

/// What a phase achieved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// One line: what there is now.
    pub summary: String,
    /// What is worse than asked for, while the phase did its work.
    pub warnings: Vec<Failure>,
    /// What could not be done; one entry makes the phase a failed one.
    pub failures: Vec<Failure>,
}

impl Outcome {
    /// Everything as it should be.
    #[must_use]
    pub fn done(summary: impl Into<String>) -> Self {
        Self { summary: summary.into(), ..Self::default() }
    }

    /// Failed for one reason.
    #[must_use]
    pub fn failed(failure: Failure) -> Self {
        Self { failures: vec![failure], ..Self::default() }
    }
}

/// How far a phase is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not begun, or waiting for something outside the node.
    Waiting,
    /// At work.
    Running,
    /// Reached its goal.
    Done,
    /// Did not reach its goal.
    Failed,
}

impl State {
    /// The word on the bus.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which phase.
    pub phase: Phase,
    /// How far it is.
    pub state: State,
    /// Uptime at its begin; 0 if it has not begun.
    pub started_ms: u64,
    /// From begin to the last change of state.
    pub took_ms: u64,
    /// What it says.
    pub outcome: Outcome,
    /// It was done and is begun anew: its time counts from the new begin.
    is_repeated: bool,
}

/// The table, shared by all that takes part in the boot.
#[derive(Debug)]
pub struct Timeline {
    journal: Arc<Journal>,
    records: Mutex<Vec<Record>>,
}

impl Timeline {
    /// A table in which nothing has begun.
    #[must_use]
    pub fn new(journal: Arc<Journal>) -> Self {
        let record = |phase| Record {
            phase,
            state: State::Waiting,
            started_ms: 0,
            took_ms: 0,
            outcome: Outcome::default(),
            is_repeated: false,
        };
        Self { journal, records: Mutex::new(PHASES.into_iter().map(record).collect()) }
    }

    /// The table as it is now.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The state of one phase.
    #[must_use]
    pub fn state(&self, phase: Phase) -> State {
        self.records().iter().find(|r| r.phase == phase).map_or(State::Waiting, |r| r.state)
    }

    /// Marks a phase as begun. Until it was done once, a second begin keeps the first time.
    pub fn begin(&self, phase: Phase) {
        let now = crate::clock::uptime_ms();
        self.change(phase, |record| {
            if record.started_ms == 0 || std::mem::take(&mut record.is_repeated) {
                record.started_ms = now;
            }
            record.state = State::Running;
        });
    }

    /// Runs a phase that has an end.
    pub fn run(&self, phase: Phase, work: impl FnOnce() -> Outcome) {
        self.begin(phase);
        let outcome = work();
        self.finish(phase, outcome);
    }

    /// Ends a phase, well or not, and prints its lines.
    pub fn finish(&self, phase: Phase, outcome: Outcome) {
        let state = if outcome.failures.is_empty() { State::Done } else { State::Failed };
        self.settle(phase, state, outcome);
    }

    /// Says that a phase waits for something outside the node, and prints why. It stays unfinished.
    pub fn wait(&self, phase: Phase, why: Failure) {
        self.settle(phase, State::Waiting, Outcome::failed(why));
    }

    /// Puts a phase back to waiting, without a line: what it needs has gone, and that was told already.
    pub fn reset(&self, phase: Phase) {
        self.change(phase, |record| {
            record.state = State::Waiting;
            record.outcome = Outcome::default();
        });
    }

    fn settle(&self, phase: Phase, state: State, outcome: Outcome) {
        let now = crate::clock::uptime_ms();
        let Some(record) = self.change(phase, |record| {
            record.is_repeated |= state == State::Done;
            record.state = state;
            record.took_ms = now.saturating_sub(record.started_ms);
            record.outcome = outcome;
        }) else {
            return;
        };
        for (level, text) in lines(&record) {
            self.journal.line(level, &text);
        }
    }

    fn change(&self, phase: Phase, apply: impl FnOnce(&mut Record)) -> Option<Record> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let record = records.iter_mut().find(|r| r.phase == phase)?;
        apply(record);
        Some(record.clone())
    }
}

/// The lines that a settled phase prints.
#[must_use]
pub fn lines(record: &Record) -> Vec<(Level, String)> {
    let mut lines = Vec::new();
    let name = record.phase.name();
    let took = record.took_ms;
    let mut add = |level, word: &str, failure: &Failure| {
        lines.push((level, format!("{name:<10} {word:<7} {took:>5} ms  {failure}")));
        if !failure.remedy.is_empty() {
            lines.push((level, remedy_line(&failure.remedy)));
        }
    };
    let outcome = &record.outcome;
    let word = if record.state == State::Waiting { "waiting" } else { "FAILED" };
    for failure in &outcome.failures {
        add(Level::Error, word, failure);
    }
    for warning in &outcome.warnings {
        add(Level::Warning, "warning", warning);
    }
    let summary = &outcome.summary;
    if record.state == State::Done {
        lines.push((Level::Info, format!("{name:<10} {:<7} {took:>5} ms  {summary}", "done")));
    } else if !summary.is_empty() {
        lines.push((Level::Info, format!("{name:<10} {:<7} {took:>5} ms  {summary}", "partly")));
    }
    lines
}

/// The line under a failure that says what to do.
#[must_use]
pub fn remedy_line(remedy: &str) -> String {
    format!("{:25}-> {remedy}", "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn text(state: State, outcome: Outcome) -> String {
        let record =
            Record { phase: Phase::Claim, state, started_ms: 2000, took_ms: 12, outcome, is_repeated: false };
        lines(&record).into_iter().map(|(level, line)| format!("{level:?}: {line}\n")).collect()
    }

    fn no_group() -> Failure {
        Failure::new("claim drive", "0000:00:04.0", "it is in no IOMMU group").remedy("enable VT-d")
    }

    /// Goal: a phase that worked is one line.
    #[test]
    fn done_is_one_line() {
        let outcome = Outcome::done("2 drives claimed: 0000:00:04.0, 0000:00:05.0");
        expect![[r#"
            Info: claim      done       12 ms  2 drives claimed: 0000:00:04.0, 0000:00:05.0
        "#]]
        .assert_eq(&text(State::Done, outcome));
    }

    /// Goal: a failure names object, reason and remedy, and what worked nevertheless is said.
    #[test]
    fn failed_says_what_to_do() {
        let outcome = Outcome {
            summary: "1 drive claimed: 0000:00:05.0".to_owned(),
            warnings: vec![Failure::new("reset", "0000:00:05.0", "slow")],
            failures: vec![no_group()],
        };
        expect![[r#"
            Error: claim      FAILED     12 ms  claim drive 0000:00:04.0: it is in no IOMMU group
            Error:                          -> enable VT-d
            Warning: claim      warning    12 ms  reset 0000:00:05.0: slow
            Info: claim      partly     12 ms  1 drive claimed: 0000:00:05.0
        "#]]
        .assert_eq(&text(State::Failed, outcome));
    }

    /// Goal: waiting for the outside is not called a failure.
    #[test]
    fn waiting_is_not_failed() {
        expect![[r#"
            Error: claim      waiting    12 ms  claim drive 0000:00:04.0: it is in no IOMMU group
            Error:                          -> enable VT-d
        "#]]
        .assert_eq(&text(State::Waiting, Outcome::failed(no_group())));
    }

    /// Goal: the table holds all phases from the start, and a phase may recover.
    #[test]
    fn a_phase_may_recover() {
        let timeline = Timeline::new(Arc::new(Journal::silent()));
        assert_eq!(timeline.records().len(), PHASES.len());
        timeline.begin(Phase::Claim);
        assert_eq!(timeline.state(Phase::Claim), State::Running);
        timeline.finish(Phase::Claim, Outcome::failed(no_group()));
        assert_eq!(timeline.state(Phase::Claim), State::Failed);
        timeline.finish(Phase::Claim, Outcome::done("1 drive"));
        assert_eq!(timeline.state(Phase::Claim), State::Done);
        assert_eq!(timeline.state(Phase::Serve), State::Waiting);
        // What is begun after it was done is timed anew, what is begun after a failure is not.
        let repeated = |phase| timeline.records().iter().any(|r| r.phase == phase && r.is_repeated);
        assert!(repeated(Phase::Claim));
        timeline.begin(Phase::Claim);
        assert!(!repeated(Phase::Claim));
    }
}
