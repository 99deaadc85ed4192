//! On which processors cores run.

use crate::limits::{CORES_MAX, SMALL_MACHINE_CPUS_MAX};
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

/// The cores of an engine: the home core, then socket cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cores {
    /// So many for this machine: one on up to 3 processors, all but one of up to 8, a quarter of more, but at
    /// least 7; they are the last ones.
    Auto,
    /// So many, on the last processors that the process may use.
    Count(usize),
    /// One for each of these.
    On(Vec<Affinity>),
}

/// A text that does not say where cores run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\": cores run on auto, none, or processors with commas between them, each on another one or all on none; x4 stands for four \
     cores, of which there are at most {CORES_MAX}"
)]
pub struct UnknownCores(pub String);

impl FromStr for Cores {
    type Err = UnknownCores;

    fn from_str(text: &str) -> Result<Self, UnknownCores> {
        let unknown = || UnknownCores(text.to_owned());
        if text == "auto" {
            return Ok(Self::Auto);
        }
        if let Some(count) = text.strip_prefix('x') {
            let count = count.parse().ok().filter(|count| (1..=CORES_MAX).contains(count));
            return count.map(Self::Count).ok_or_else(unknown);
        }
        let places: Vec<Affinity> =
            text.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| unknown())?;
        // Two that share a processor would wait for one another. A thread inherits its processor from the one that makes it, so
        // some with and some without is nothing that could be kept.
        let is_doubled = |(index, place): (usize, &Affinity)| {
            *place != Affinity::Anywhere && places[..index].contains(place)
        };
        let free = places.iter().filter(|place| **place == Affinity::Anywhere).count();
        let is_wrong = places.len() > CORES_MAX
            || (free > 0 && free < places.len())
            || (places.len() > 1 && places.contains(&Affinity::Auto))
            || places.iter().enumerate().any(is_doubled);
        if is_wrong { Err(unknown()) } else { Ok(Self::On(places)) }
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Count(count) => write!(f, "x{count}"),
            Self::On(places) => {
                let texts: Vec<String> = places.iter().map(ToString::to_string).collect();
                f.write_str(&texts.join(","))
            }
        }
    }
}

impl Cores {
    /// Where each core runs on this machine, the home core first; at least one.
    ///
    /// # Errors
    /// If there are fewer processors than cores.
    pub fn places(&self) -> io::Result<Vec<Affinity>> {
        let allowed = sched_getaffinity(THIS_THREAD)?;
        let is_allowed = |number: &usize| allowed.is_set(*number).unwrap_or(false);
        self.places_among(&(0..CpuSet::count()).filter(is_allowed).collect::<Vec<_>>())
    }

    fn places_among(&self, processors: &[usize]) -> io::Result<Vec<Affinity>> {
        let count = match self {
            Self::On(places) => return Ok(places.clone()),
            Self::Auto => default_count(processors.len()),
            Self::Count(count) => *count,
        };
        if count == 1 {
            return Ok(vec![Affinity::Auto]);
        }
        if count > processors.len() {
            let why = format!("{count} cores need as many processors; there are {}", processors.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        Ok(processors.iter().rev().take(count).copied().map(Affinity::Processor).collect())
    }
}

/// Cores on a machine with so many processors, where nobody says: what is left serves interrupts and the control plane. Two
/// would be a home core that has little to do and one socket core: hardly faster than one that does both, and slower for a
/// single command.
fn default_count(processors: usize) -> usize {
    match processors {
        0..=3 => 1,
        4..=SMALL_MACHINE_CPUS_MAX => processors - 1,
        _ => (processors / 4).clamp(SMALL_MACHINE_CPUS_MAX - 1, CORES_MAX),
    }
}

/// Binds the calling thread; says to which processor, if it did.
///
/// # Errors
/// If there is no such processor, or the process may not use it; the text says that.
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
    match set.set(number).and_then(|()| sched_setaffinity(THIS_THREAD, &set)) {
        Ok(()) => Ok(Some(number)),
        Err(Errno::EINVAL) => {
            let why = "there is no such processor, or this process may not use it";
            Err(io::Error::new(io::ErrorKind::InvalidInput, why))
        }
        Err(errno) => Err(errno.into()),
    }
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
            for number in [CpuSet::count() - 1, usize::MAX] {
                let refused = bind(Affinity::Processor(number)).expect_err("no such processor");
                assert_eq!(refused.to_string(), "there is no such processor, or this process may not use it");
            }
        });
        thread.join().expect("the thread ends well");
    }

    /// Goal: cores get processors of their own from the end; small machines give all but one, big ones a quarter, and those on which
    /// a socket core gains nothing have one core.
    #[test]
    fn cores_have_processors() {
        let processors = |count: usize| (0..count).collect::<Vec<_>>();
        let counts = [1, 2, 3, 4, 8, 16, 28, 32, 64, 1024].map(default_count);
        assert_eq!(counts, [1, 1, 1, 3, 7, 7, 7, 8, 16, CORES_MAX]);
        assert_eq!(Cores::Auto.places_among(&processors(2)).expect("one"), [Affinity::Auto]);
        let places = Cores::Auto.places_among(&[0, 2, 4, 6]).expect("three");
        assert_eq!(places, [6, 4, 2].map(Affinity::Processor));
        let few = Cores::Count(3).places_among(&processors(2)).expect_err("too few");
        assert_eq!(few.to_string(), "3 cores need as many processors; there are 2");
        let anywhere = Cores::On(vec![Affinity::Anywhere; 3]);
        assert_eq!(anywhere.places_among(&processors(1)).expect("as said").len(), 3);
    }

    /// Goal: what says where cores run is understood, and nothing that would put two on one processor.
    #[test]
    fn cores_and_back() {
        for text in ["auto", "none", "3", "x4", "1,2,3", "none,none"] {
            assert_eq!(text.parse::<Cores>().map(|cores| cores.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "x0", "x1000", "4x", "1,1", "auto,1", "1,,2", "-1", "1-3", "0,none"] {
            assert_eq!(text.parse::<Cores>(), Err(UnknownCores(text.to_owned())));
        }
        let refused = "x65".parse::<Cores>().expect_err("too many").to_string();
        let rules = "cores run on auto, none, or processors with commas between them, each on another one or all on none";
        let bound = "x4 stands for four cores, of which there are at most 64";
        assert_eq!(refused, format!("\"x65\": {rules}; {bound}"));
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
