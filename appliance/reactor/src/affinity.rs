//! On which processor a core runs.

use core::fmt;
use core::str::FromStr;
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::io;

/// Which processor a core keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Affinity {
    /// The last one that the process may use, if there are several: interrupts and everybody else prefer the first.
    Auto,
    /// This one.
    Processor(usize),
    /// None: the system moves the core around.
    Anywhere,
}

/// A text that is no affinity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\": a core runs on auto, none, or the number of a processor")]
pub struct UnknownAffinity(pub String);

impl FromStr for Affinity {
    type Err = UnknownAffinity;

    fn from_str(text: &str) -> Result<Self, UnknownAffinity> {
        match text {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::Anywhere),
            number => number.parse().map(Self::Processor).map_err(|_| UnknownAffinity(text.to_owned())),
        }
    }
}

impl fmt::Display for Affinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Anywhere => f.write_str("none"),
            Self::Processor(number) => write!(f, "{number}"),
        }
    }
}

/// Binds the calling thread; says to which processor, if it did.
///
/// # Errors
/// If there is no such processor, or the process may not use it.
pub fn bind(affinity: Affinity) -> io::Result<Option<usize>> {
    let number = match affinity {
        Affinity::Anywhere => return Ok(None),
        Affinity::Processor(number) => number,
        Affinity::Auto => match choose(&sched_getaffinity(THIS_THREAD)?) {
            Some(number) => number,
            None => return Ok(None),
        },
    };
    let mut set = CpuSet::new();
    set.set(number).map_err(|_| Errno::EINVAL)?;
    sched_setaffinity(THIS_THREAD, &set)?;
    Ok(Some(number))
}

/// As the system calls count.
const THIS_THREAD: Pid = Pid::from_raw(0);

/// The last of several.
fn choose(allowed: &CpuSet) -> Option<usize> {
    let is_allowed = |number: &usize| allowed.is_set(*number).unwrap_or(false);
    let mut numbers = (0..CpuSet::count()).filter(is_allowed);
    numbers.next()?;
    numbers.next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the last of several processors is chosen, and none if there is only one: it is everybody's.
    #[test]
    fn last_of_several_is_chosen() {
        let mut set = CpuSet::new();
        assert_eq!(choose(&set), None);
        set.set(2).expect("in range");
        assert_eq!(choose(&set), None);
        set.set(5).expect("in range");
        set.set(3).expect("in range");
        assert_eq!(choose(&set), Some(5));
    }

    /// Goal: a thread that is bound stays there; a processor that does not exist is an error, not a guess.
    #[test]
    fn thread_stays_where_it_is_bound() {
        let thread = std::thread::spawn(|| {
            let allowed = sched_getaffinity(THIS_THREAD).expect("an affinity");
            let bound = bind(Affinity::Auto).expect("allowed");
            assert_eq!(bound, choose(&allowed));
            if let Some(number) = bound {
                let now = sched_getaffinity(THIS_THREAD).expect("an affinity");
                assert_eq!((0..CpuSet::count()).filter(|n| now.is_set(*n) == Ok(true)).count(), 1);
                assert_eq!(now.is_set(number), Ok(true));
            }
            assert_eq!(bind(Affinity::Anywhere).expect("nothing to do"), None);
            assert!(bind(Affinity::Processor(CpuSet::count() - 1)).is_err());
            assert!(bind(Affinity::Processor(usize::MAX)).is_err());
        });
        thread.join().expect("the thread ends well");
    }

    /// Goal: what is shown is understood again, and nothing else is.
    #[test]
    fn text_and_back() {
        for affinity in [Affinity::Auto, Affinity::Anywhere, Affinity::Processor(3)] {
            assert_eq!(affinity.to_string().parse(), Ok(affinity));
        }
        let refused = "-1".parse::<Affinity>().expect_err("no processor");
        assert_eq!(refused.to_string(), "\"-1\": a core runs on auto, none, or the number of a processor");
    }
}
