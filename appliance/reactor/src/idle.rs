//! How a core rests: spin, give the processor away, look by timer, or sleep.
//!
//! ```text
//!             work in the last 50 µs     no polled IO in flight      polled IO in flight
//!  latency    spin                       spin                        spin
//!  balanced   spin                       sleep                       spin 300 µs, then look every 50 µs
//!  eco        -                          sleep                       spin 300 µs, then look every 50 µs
//! ```
//! On a small machine a core that spins without success gives the processor away: with one processor at once, with two
//! after 20 µs, in which a host that has one command in flight sends the next.

use crate::Sleep;
use crate::limits::{LOAD_WINDOW, PATIENCE, SELFISH, SHARED_CPUS_MAX, SLEEP_MAX, SLOW_POLL, SPIN};
use block::Tick;
use core::fmt;
use core::str::FromStr;
use core::time::Duration;
use std::thread::available_parallelism;

/// How eagerly a core polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Never sleeps.
    Latency,
    /// Spins for a short time after the last work, then sleeps.
    Balanced,
    /// Sleeps as soon as there is nothing to do.
    Eco,
}

/// A text that is no mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\": a mode is latency, balanced or eco")]
pub struct UnknownMode(pub String);

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        match text {
            "latency" => Ok(Self::Latency),
            "balanced" => Ok(Self::Balanced),
            "eco" => Ok(Self::Eco),
            _ => Err(UnknownMode(text.to_owned())),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Latency => "latency",
            Self::Balanced => "balanced",
            Self::Eco => "eco",
        })
    }
}

/// What decides how a core rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Polling {
    /// How eagerly it polls.
    pub mode: Mode,
    /// Processors that it shares with everybody else.
    pub processors: usize,
}

impl Polling {
    /// With the processors that the calling thread may use. So it is asked before that thread is bound to one of them: a core that
    /// has a processor of its own is not on a machine that has no other.
    #[must_use]
    pub fn before_bind(mode: Mode) -> Self {
        Self { mode, processors: available_parallelism().map_or(1, usize::from) }
    }
}

/// What to do until the next round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Look again at once.
    Spin,
    /// Let others run, then look again.
    Yield,
    /// Wait for sockets and messages, at most so long.
    Wait(Duration),
    /// Sleep, at most so long.
    Sleep(Duration),
}

/// Decides how to rest, and measures how busy the core is.
#[derive(Debug)]
pub(crate) struct Idle {
    mode: Mode,
    /// How long it spins before it gives the processor away between rounds; `None`: it never does.
    selfish: Option<Duration>,
    last_work: Tick,
    load: Load,
}

#[derive(Debug, Default)]
struct Load {
    window_start: Tick,
    busy: Duration,
    permille: u32,
}

impl Idle {
    pub(crate) fn new(polling: Polling, now: Tick) -> Self {
        let Polling { mode, processors } = polling;
        let selfish = match processors {
            0 | 1 => Some(Duration::ZERO),
            2..=SHARED_CPUS_MAX => Some(SELFISH),
            _ => None,
        };
        Self { mode, selfish, last_work: now, load: Load { window_start: now, ..Load::default() } }
    }

    /// A round is over that began at `start`.
    pub(crate) fn on_round(&mut self, did_work: bool, start: Tick, end: Tick) {
        if did_work {
            self.last_work = end;
            self.load.busy += end.since(start);
        }
        let window = end.since(self.load.window_start);
        if window >= LOAD_WINDOW {
            let share = self.load.busy.as_micros() * 1000 / window.as_micros().max(1);
            self.load.permille = u32::try_from(share.min(1000)).unwrap_or(1000);
            self.load.busy = Duration::ZERO;
            self.load.window_start = end;
        }
    }

    /// Thousandths of the time in which rounds had work, over the last full window.
    pub(crate) fn busy_permille(&self) -> u32 {
        self.load.permille
    }

    /// True if the core would sleep now were nothing in flight; asked before devices are bothered.
    pub(crate) fn wants_sleep(&self, now: Tick) -> bool {
        match self.mode {
            Mode::Latency => false,
            Mode::Balanced => now.since(self.last_work) >= SPIN,
            Mode::Eco => true,
        }
    }

    /// How to rest after a round without work. `sleep` is what the devices said, if they were asked.
    pub(crate) fn rest(&self, now: Tick, deadline: Option<Tick>, sleep: Option<Sleep>) -> Rest {
        let until_deadline = deadline.map_or(SLEEP_MAX, |at| at.since(now)).min(SLEEP_MAX);
        match sleep {
            None => self.spin(now),
            Some(Sleep::Fine) => Rest::Sleep(until_deadline),
            Some(Sleep::Poll) if now.since(self.last_work) >= PATIENCE => {
                Rest::Wait(SLOW_POLL.min(until_deadline))
            }
            Some(Sleep::Poll) => self.spin(now),
        }
    }

    fn spin(&self, now: Tick) -> Rest {
        let is_over = self.selfish.is_some_and(|limit| now.since(self.last_work) >= limit);
        if is_over { Rest::Yield } else { Rest::Spin }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: u64 = 1000;

    /// Goal: the table in the module header, row by row.
    #[test]
    fn rests_as_the_table_says() {
        let at = |micros: u64| Tick(micros * MICRO);
        let idle = |mode| Idle::new(Polling { mode, processors: 8 }, at(0));
        assert!(!idle(Mode::Latency).wants_sleep(at(1_000_000)));
        assert!(!idle(Mode::Balanced).wants_sleep(at(49)));
        assert!(idle(Mode::Balanced).wants_sleep(at(50)));
        assert!(idle(Mode::Eco).wants_sleep(at(0)));
        let balanced = idle(Mode::Balanced);
        assert_eq!(balanced.rest(at(10), None, None), Rest::Spin);
        assert_eq!(balanced.rest(at(60), None, Some(Sleep::Fine)), Rest::Sleep(SLEEP_MAX));
        assert_eq!(balanced.rest(at(60), None, Some(Sleep::Poll)), Rest::Spin);
        assert_eq!(balanced.rest(at(300), None, Some(Sleep::Poll)), Rest::Wait(SLOW_POLL));
    }

    /// Goal: a sleep never passes a deadline, also one that lies behind.
    #[test]
    fn deadline_bounds_the_sleep() {
        let idle = Idle::new(Polling { mode: Mode::Eco, processors: 8 }, Tick(0));
        let rest = |now, deadline| idle.rest(Tick(now), Some(Tick(deadline)), Some(Sleep::Fine));
        assert_eq!(rest(0, 5000), Rest::Sleep(Duration::from_nanos(5000)));
        assert_eq!(rest(9000, 5000), Rest::Sleep(Duration::ZERO));
    }

    /// Goal: processors that are shared are given away while nothing happens; of two, not before a host could answer.
    #[test]
    fn small_machines_yield() {
        let idle = |processors| Idle::new(Polling { mode: Mode::Latency, processors }, Tick(0));
        let rest = |processors, now| idle(processors).rest(Tick(now), None, None);
        assert_eq!(rest(1, 0), Rest::Yield);
        assert_eq!((rest(2, 19_999), rest(2, 20_000)), (Rest::Spin, Rest::Yield));
        assert_eq!(rest(3, 1_000_000), Rest::Spin);
    }

    /// Goal: the busy figure counts rounds with work only.
    #[test]
    fn busy_figure_counts_work() {
        let mut idle = Idle::new(Polling { mode: Mode::Balanced, processors: 8 }, Tick(0));
        idle.on_round(true, Tick(0), Tick(250_000_000));
        idle.on_round(false, Tick(250_000_000), Tick(1_000_000_000));
        assert_eq!(idle.busy_permille(), 250);
    }
}
