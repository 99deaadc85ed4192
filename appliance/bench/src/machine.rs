//! The machine under the measurement: cores, how far they are from one another, and who took time away.

use anyhow::{Context, Result, ensure};
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Barrier, OnceLock};
use std::time::{Duration, Instant};

/// The core of the initiator and that of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cores {
    pub(crate) initiator: usize,
    pub(crate) target: usize,
}

/// Binds a thread (0: the calling one) to a core.
pub(crate) fn pin(thread: i32, core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core).with_context(|| format!("there is no core {core}"))?;
    sched_setaffinity(Pid::from_raw(thread), &set).with_context(|| format!("cannot use core {core}"))
}

/// The threads of a process.
fn threads(pid: i32) -> Result<Vec<i32>> {
    let dir = format!("/proc/{pid}/task");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&dir).with_context(|| format!("there is no process {pid}"))? {
        if let Ok(thread) = entry?.file_name().to_string_lossy().parse() {
            found.push(thread);
        }
    }
    Ok(found)
}

/// Binds all threads of a process to a core.
pub(crate) fn pin_process(pid: i32, core: usize) -> Result<()> {
    threads(pid)?.into_iter().try_for_each(|thread| pin(thread, core))
}

/// Time that threads ran, and that they wanted to run and could not; and time that the host machine took away.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    /// By thread: ran and waited.
    threads: Vec<(i32, Duration, Duration)>,
    own_ran: Duration,
    own_wait: Duration,
    /// Time that the kernel's network work ran in threads of its own: on the core of the calling thread, and of the process.
    own_network: Duration,
    target_network: Duration,
    stolen: Duration,
    /// Time in which cores had nothing to do, all cores together.
    idle: Duration,
    cores: u32,
    /// Time since the first look of this process.
    at: Duration,
}

/// What passed between two looks at the clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Passed {
    /// Time that the process ran, all threads together.
    pub(crate) ran: Duration,
    /// Time that its busiest thread waited for its core, without the kernel's network work there: that belongs to the load.
    pub(crate) target_waited: Duration,
    /// Time that the calling thread waited for its core, without the kernel's network work there.
    pub(crate) own_waited: Duration,
    /// Time that the host machine took from all cores.
    pub(crate) stolen: Duration,
    /// Time that all cores were busy, without that of the calling thread: what a target costs whose time is in no process.
    pub(crate) machine: Duration,
}

/// Time that the kernel's network work ran on a core outside of the threads that cause it, as it does when there is much.
fn network_work(core: usize) -> Duration {
    static THREADS: OnceLock<Vec<(String, String)>> = OnceLock::new();
    let threads = THREADS.get_or_init(|| {
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let named = processes.filter_map(|process| {
            let directory = process.path().to_string_lossy().into_owned();
            Some((std::fs::read_to_string(format!("{directory}/comm")).ok()?.trim().to_owned(), directory))
        });
        named.filter(|(name, _)| name.starts_with(NETWORK_THREAD)).collect()
    });
    let wanted = format!("{NETWORK_THREAD}{core}");
    let thread = threads.iter().find(|(name, _)| *name == wanted);
    thread.and_then(|(_, directory)| schedstat(&format!("{directory}/schedstat"))).unwrap_or_default().0
}

/// The kernel's threads for what interrupts leave behind, one for each core.
const NETWORK_THREAD: &str = "ksoftirqd/";

/// The core on which a thread ran last: the 39th field of its line, the second of which, in brackets, may hold spaces.
fn last_core(stat: &str) -> Option<usize> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(36)?.parse().ok()
}

/// `ran waited slices`, in nanoseconds.
fn schedstat(path: &str) -> Option<(Duration, Duration)> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut words = text.split_whitespace().map(str::parse);
    let (ran, waited) = (words.next()?.ok()?, words.next()?.ok()?);
    Some((Duration::from_nanos(ran), Duration::from_nanos(waited)))
}

/// Time of all cores, and how many there are: the sums in the first line are hundredths of a second.
///
/// Of the sums the kernel counts only the idle ones to the nanosecond; busy time it guesses from who is at work when its clock
/// ticks. So busy is what is not idle.
fn all_cores(stat: &str) -> (Sums, u32) {
    let mut lines = stat.lines();
    let sums: Vec<u64> =
        lines.next().unwrap_or_default().split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let sum = |at: usize| Duration::from_millis(sums.get(at).copied().unwrap_or(0) * 10);
    let cores = lines.take_while(|line| line.starts_with("cpu")).fold(0, |count, _| count + 1);
    // user, nice, system, idle, iowait, irq, softirq, steal
    (Sums { idle: sum(3) + sum(4), stolen: sum(7) }, cores)
}

/// Time of all cores together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sums {
    idle: Duration,
    stolen: Duration,
}

impl Clock {
    /// A look at a process, if there is one, and at the calling thread.
    pub(crate) fn look(pid: Option<i32>) -> Self {
        let list = pid.and_then(|pid| Some((pid, threads(pid).ok()?)));
        let threads = list.map_or_else(Vec::new, |(pid, list)| {
            let time = |thread| schedstat(&format!("/proc/{pid}/task/{thread}/schedstat"));
            list.into_iter()
                .filter_map(|thread| time(thread).map(|(ran, waited)| (thread, ran, waited)))
                .collect()
        });
        let stat = pid.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok());
        let target_network = stat.as_deref().and_then(last_core).map_or(Duration::ZERO, network_work);
        let own_network = sched_getcpu().map_or(Duration::ZERO, network_work);
        static FIRST: OnceLock<Instant> = OnceLock::new();
        let first = FIRST.get_or_init(Instant::now);
        let (own_ran, own_wait) = schedstat("/proc/thread-self/schedstat").unwrap_or_default();
        let (Sums { idle, stolen }, cores) =
            all_cores(&std::fs::read_to_string("/proc/stat").unwrap_or_default());
        let at = first.elapsed();
        Self { threads, own_ran, own_wait, own_network, target_network, stolen, idle, cores, at }
    }

    /// What passed since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Passed {
        let mut passed = Passed {
            own_waited: (self.own_wait.saturating_sub(earlier.own_wait))
                .saturating_sub(self.own_network.saturating_sub(earlier.own_network)),
            stolen: self.stolen.saturating_sub(earlier.stolen),
            ..Passed::default()
        };
        let others = self.idle.saturating_sub(earlier.idle) + self.own_ran.saturating_sub(earlier.own_ran);
        passed.machine = (self.at.saturating_sub(earlier.at) * self.cores).saturating_sub(others);
        let mut busiest = Duration::ZERO;
        for (thread, ran, waited) in &self.threads {
            let before = earlier.threads.iter().find(|(known, ..)| known == thread);
            let (ran_before, waited_before) =
                before.map_or((Duration::ZERO, Duration::ZERO), |(_, ran, waited)| (*ran, *waited));
            let ran = ran.saturating_sub(ran_before);
            passed.ran += ran;
            if ran >= busiest {
                busiest = ran;
                passed.target_waited = waited.saturating_sub(waited_before);
            }
        }
        let network = self.target_network.saturating_sub(earlier.target_network);
        passed.target_waited = passed.target_waited.saturating_sub(network);
        passed
    }
}

/// Round trips in a batch of the ping-pong.
const ROUND_TRIPS: u32 = 500;
/// Batches; the median counts, so that a few may be disturbed.
const BATCHES: usize = 21;
/// Below, two cores are near: they share a cache. Measured on such machines: 50 to 70 ns, or 300 to 490 ns.
pub(crate) const NEAR_NS_MAX: f64 = 150.0;

/// Time of a cache line from one core to the other and back, in nanoseconds.
pub(crate) fn ping_pong(cores: Cores) -> Result<f64> {
    let ball = AtomicU32::new(0);
    let is_there = Barrier::new(2);
    let rounds = ROUND_TRIPS * u32::try_from(BATCHES)?;
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let pinned = pin(0, cores.target);
            // Until here it may be on our core, which is not to be spun on meanwhile.
            is_there.wait();
            for round in 0..rounds {
                while ball.load(Ordering::Acquire) != 2 * round + 1 {
                    spin_loop();
                }
                ball.store(2 * round + 2, Ordering::Release);
            }
            pinned
        });
        is_there.wait();
        let mut batches = [0.0; BATCHES];
        let mut round = 0;
        for batch in &mut batches {
            let began = Instant::now();
            for _ in 0..ROUND_TRIPS {
                ball.store(2 * round + 1, Ordering::Release);
                while ball.load(Ordering::Acquire) != 2 * round + 2 {
                    spin_loop();
                }
                round += 1;
            }
            *batch = began.elapsed().as_secs_f64() * 1e9 / f64::from(ROUND_TRIPS);
        }
        let joined = other.join();
        ensure!(joined.is_ok_and(|pinned| pinned.is_ok()), "cannot use core {}", cores.target);
        batches.sort_by(f64::total_cmp);
        Ok(batches[BATCHES / 2])
    })
}

/// Facts that whoever reads figures needs.
pub(crate) fn facts() -> serde_json::Value {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split(':').nth(1)).unwrap_or("unknown").trim().to_owned()
    };
    serde_json::json!({
        "processor": field("model name"),
        "cores": info.lines().filter(|line| line.starts_with("processor")).count(),
        "mhz": field("cpu MHz"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what two looks at the clock say is the difference, and the waiting is that of the busiest thread.
    #[test]
    fn clocks_differ_by_what_passed() {
        let ms = Duration::from_millis;
        let look = |threads: &[(i32, u64, u64)], own, stolen| Clock {
            threads: threads.iter().map(|(id, ran, waited)| (*id, ms(*ran), ms(*waited))).collect(),
            own_ran: ms(1000 * own),
            own_wait: ms(own),
            own_network: ms(own / 8),
            target_network: ms(own / 8 * 100),
            stolen: ms(stolen),
            idle: ms(10 * stolen),
            cores: 2,
            at: ms(500 * own),
        };
        let earlier = look(&[(1, 10, 5), (2, 100, 7)], 3, 0);
        let later = look(&[(1, 12, 9), (2, 600, 8), (3, 4, 90)], 5, 20);
        let passed = later.since(&earlier);
        assert_eq!(passed.ran, ms(2 + 500 + 4));
        assert_eq!(passed.target_waited, ms(1));
        assert_eq!((passed.own_waited, passed.stolen), (ms(2), ms(20)));
        // A second of two cores, of which 200 ms were idle and two seconds ours: the clocks may disagree a little.
        assert_eq!(passed.machine, Duration::ZERO);
        let network = look(&[(1, 500, 205)], 8, 0).since(&look(&[(1, 0, 0)], 3, 0));
        assert_eq!((network.own_waited, network.target_waited), (ms(5 - 1), ms(205 - 100)));
        let calm = look(&[], 5, 3).since(&Clock { own_ran: ms(4500), ..look(&[], 3, 1) });
        assert_eq!(calm.machine, ms(2000 - 20 - 500));
    }

    /// Goal: idle time and waiting for drives are idle, interrupts and stolen time are not; cores are counted.
    #[test]
    fn busy_is_what_is_not_idle() {
        let stat = "cpu  10 1 20 300 40 5 6 7 0 0\ncpu0 5 0 10 150 20 2 3 3 0 0\ncpu1 5 1 10 150 20 3 3 4 0 0\nintr 5\n";
        let ms = Duration::from_millis;
        assert_eq!(all_cores(stat), (Sums { idle: ms(3400), stolen: ms(70) }, 2));
    }

    /// Goal: a thread whose name looks like fields is on the core that the kernel says.
    #[test]
    fn the_core_of_a_thread_is_found() {
        let fields: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        assert_eq!(last_core(&format!("77 (a) b 1 2) {}", fields.join(" "))), Some(39));
        let line = std::fs::read_to_string("/proc/self/stat").expect("there is a process");
        assert!(last_core(&line).is_some());
    }

    /// Goal: this thread has run, and the kernel says how long.
    #[test]
    fn the_kernel_tells_how_long_a_process_ran() {
        let pid = i32::try_from(std::process::id()).expect("process numbers are small");
        let earlier = Clock::look(Some(pid));
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(30) {
            spin_loop();
        }
        assert!(Clock::look(Some(pid)).since(&earlier).ran > Duration::ZERO);
    }
}
