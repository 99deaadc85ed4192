//! One supervised process as a state machine: when it is started, when again, when it is given up. No process is started
//! here, and time is an argument.
//!
//! ```text
//!            start            exit                    time
//!  Stopped ────────→ Running ──────→ Waiting(pause) ─────────→ (due) → Running
//!     ↑                 │ stop
//!     └───── exit ── Stopping
//! ```
//!
//! Invariants
//! - A pause follows every end, so a service that dies at once cannot take the processor from the others.
//! - Pauses double from 0.1 s to 30 s; a run of 10 s makes the next one short again.

use crate::limits::{RESTART_FIRST_MS, RESTART_MAX_MS, STABLE_RUN_MS};
use std::fmt;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With a code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => match nix::sys::signal::Signal::try_from(*signal) {
                Ok(name) => write!(f, "signal {signal} ({name})"),
                Err(_) => write!(f, "signal {signal}"),
            },
        }
    }
}

/// Where a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitState {
    /// Not wanted.
    Stopped,
    /// Runs.
    Running {
        /// Process number.
        pid: i32,
        /// Since when.
        since: u64,
    },
    /// Wanted, and started again at this time.
    Waiting {
        /// When.
        until: u64,
    },
    /// Runs, and is asked to end.
    Stopping {
        /// Process number.
        pid: i32,
    },
}

/// A supervised process.
#[derive(Clone, Debug)]
pub struct Unit {
    state: UnitState,
    /// The next pause.
    pause_ms: u64,
    starts: u32,
    last_exit: String,
}

impl Default for Unit {
    fn default() -> Self {
        Self { state: UnitState::Stopped, pause_ms: RESTART_FIRST_MS, starts: 0, last_exit: String::new() }
    }
}

impl Unit {
    /// Where it is.
    #[must_use]
    pub fn state(&self) -> UnitState {
        self.state
    }

    /// Starts after the first one.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.starts.saturating_sub(1)
    }

    /// How it ended last; empty if it never did.
    #[must_use]
    pub fn last_exit(&self) -> &str {
        &self.last_exit
    }

    /// The process, if there is one.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        match self.state {
            UnitState::Running { pid, .. } | UnitState::Stopping { pid } => Some(pid),
            UnitState::Stopped | UnitState::Waiting { .. } => None,
        }
    }

    /// It is wanted from now on.
    pub fn want(&mut self, now: u64) {
        if self.state == UnitState::Stopped {
            self.state = UnitState::Waiting { until: now };
        }
    }

    /// When [`Unit::is_due`] changes.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<u64> {
        match self.state {
            UnitState::Waiting { until } => Some(until),
            UnitState::Stopped | UnitState::Running { .. } | UnitState::Stopping { .. } => None,
        }
    }

    /// Whether it must be started now.
    #[must_use]
    pub fn is_due(&self, now: u64) -> bool {
        self.poll_deadline().is_some_and(|until| until <= now)
    }

    /// It was started.
    pub fn on_started(&mut self, pid: i32, now: u64) {
        self.starts = self.starts.saturating_add(1);
        self.state = UnitState::Running { pid, since: now };
    }

    /// It could not be started. Returns the pause before the next try.
    pub fn on_start_failed(&mut self, why: &str, now: u64) -> u64 {
        why.clone_into(&mut self.last_exit);
        self.pause(now)
    }

    /// It ended. Returns the pause before the next start, or `None` if it is not wanted any more.
    pub fn on_exit(&mut self, exit: Exit, now: u64) -> Option<u64> {
        self.last_exit = exit.to_string();
        match self.state {
            UnitState::Running { since, .. } => {
                if now.saturating_sub(since) >= STABLE_RUN_MS {
                    self.pause_ms = RESTART_FIRST_MS;
                }
                Some(self.pause(now))
            }
            UnitState::Stopping { .. } | UnitState::Stopped => {
                self.state = UnitState::Stopped;
                None
            }
            UnitState::Waiting { until } => Some(until.saturating_sub(now)),
        }
    }

    /// It is not wanted any more. Returns the process to ask, if there is one.
    pub fn stop(&mut self) -> Option<i32> {
        let pid = self.pid();
        self.state = match pid {
            Some(pid) => UnitState::Stopping { pid },
            None => UnitState::Stopped,
        };
        pid
    }

    fn pause(&mut self, now: u64) -> u64 {
        let pause = self.pause_ms;
        self.pause_ms = pause.saturating_mul(2).min(RESTART_MAX_MS);
        self.state = UnitState::Waiting { until: now.saturating_add(pause) };
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a service that dies at once is started again after pauses that double up to the bound.
    #[test]
    fn pauses_double() {
        let mut unit = Unit::default();
        unit.want(0);
        let mut now = 0;
        let mut pauses = Vec::new();
        for pid in 1..=12 {
            assert!(unit.is_due(now));
            unit.on_started(pid, now);
            assert!(!unit.is_due(now + 1_000_000));
            let pause = unit.on_exit(Exit::Code(1), now + 5).unwrap();
            assert!(!unit.is_due(now + 5 + pause - 1));
            pauses.push(pause);
            now += 5 + pause;
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000]);
        assert_eq!(unit.restarts(), 11);
        assert_eq!(unit.last_exit(), "exit code 1");
    }

    /// Goal: after a healthy run the next restart is quick again.
    #[test]
    fn a_healthy_run_is_rewarded() {
        let mut unit = Unit::default();
        unit.want(0);
        for n in 0..6 {
            unit.on_started(1, n);
            unit.on_exit(Exit::Signal(11), n);
        }
        unit.on_started(2, 100_000);
        assert_eq!(unit.on_exit(Exit::Signal(9), 100_000 + STABLE_RUN_MS), Some(RESTART_FIRST_MS));
        assert_eq!(unit.last_exit(), "signal 9 (SIGKILL)");
    }

    /// Goal: what is stopped stays stopped, whatever state it was in.
    #[test]
    fn stopped_stays_stopped() {
        let mut unit = Unit::default();
        assert_eq!(unit.stop(), None);
        unit.want(0);
        assert_eq!(unit.stop(), None);
        assert!(!unit.is_due(u64::MAX));
        unit.want(0);
        unit.on_started(7, 0);
        assert_eq!(unit.stop(), Some(7));
        assert_eq!(unit.pid(), Some(7));
        assert_eq!(unit.on_exit(Exit::Signal(15), 1), None);
        assert_eq!(unit.state(), UnitState::Stopped);
    }

    /// Goal: a program that cannot be started is tried again like one that died.
    #[test]
    fn a_missing_program_is_tried_again() {
        let mut unit = Unit::default();
        unit.want(0);
        assert_eq!(unit.on_start_failed("no such file", 0), 100);
        assert_eq!(unit.on_start_failed("no such file", 100), 200);
        assert_eq!(unit.last_exit(), "no such file");
        assert_eq!(unit.restarts(), 0);
    }
}
