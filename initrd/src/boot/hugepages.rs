//! Phase `hugepages`: memory for the engine's arena, reserved while it is still in one piece.

use super::files;
use crate::failure::Failure;
use crate::limits::{HUGEPAGES_MAX_DEFAULT_MIB, HUGEPAGES_MIN_MIB, SYSTEM_MIB};
use crate::phase::Outcome;

const PAGES: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
const MIB_PER_PAGE: u64 = 2;

/// Reserves hugepages; the second value is the size of the arena in MiB.
#[must_use]
pub fn run(asked_mib: Option<u64>) -> (Outcome, u64) {
    let memory_mib = files::read("/proc/meminfo").ok().as_deref().and_then(memory_mib).unwrap_or(0);
    let wanted = asked_mib.unwrap_or_else(|| default_mib(memory_mib)).next_multiple_of(MIB_PER_PAGE);
    let mut outcome = Outcome::default();
    let granted = match reserve(wanted.min(most_mib(memory_mib)) / MIB_PER_PAGE) {
        Ok(pages) => pages.saturating_mul(MIB_PER_PAGE),
        Err(failure) => {
            outcome.failures.push(failure.remedy("the engine uses normal pages, which is slower"));
            0
        }
    };
    let arena = judge(wanted, granted, memory_mib, &mut outcome);
    if arena > granted {
        // Pages that the engine cannot use are memory that it lacks. They are few, and nobody waits for them.
        let _ = reserve(0);
    }
    (outcome, arena)
}

/// What may become hugepages at most: the kernel grants nearly all memory when asked, and then kills processes for it.
fn most_mib(memory_mib: u64) -> u64 {
    match memory_mib {
        0 => HUGEPAGES_MAX_DEFAULT_MIB,
        _ => memory_mib.saturating_sub(SYSTEM_MIB).max(memory_mib / 2),
    }
}

/// A quarter of RAM within the bounds.
fn default_mib(memory_mib: u64) -> u64 {
    (memory_mib / 4).clamp(HUGEPAGES_MIN_MIB, HUGEPAGES_MAX_DEFAULT_MIB)
}

fn reserve(pages: u64) -> Result<u64, Failure> {
    files::write(PAGES, &pages.to_string())?;
    let text = files::read(PAGES)?;
    text.parse().map_err(|_| Failure::new("read", PAGES, format!("\"{text}\" is not a number")))
}

/// Decides the arena's size and what is said about it.
fn judge(wanted: u64, granted: u64, memory_mib: u64, outcome: &mut Outcome) -> u64 {
    let remedy = format!(
        "the node has {memory_mib} MiB: give it more memory, or ask for less with ironbay.hugepages=<MiB>"
    );
    outcome.summary = format!("{granted} MiB of {memory_mib} MiB");
    let floor = wanted.min(HUGEPAGES_MIN_MIB);
    if granted >= wanted {
        return wanted;
    }
    let reason = format!("{wanted} MiB wanted, {granted} MiB granted");
    let failure = Failure::new("reserve hugepages", "", reason).remedy(remedy);
    if granted >= floor {
        outcome.warnings.push(failure);
        granted
    } else {
        outcome.failures.push(failure);
        // What was granted is too little to work with; the engine falls back to normal pages of the minimum size.
        floor
    }
}

/// `MemTotal` of `/proc/meminfo`.
fn memory_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(wanted: u64, granted: u64) -> (u64, usize, usize) {
        let mut outcome = Outcome::default();
        let arena = judge(wanted, granted, 1000, &mut outcome);
        (arena, outcome.warnings.len(), outcome.failures.len())
    }

    /// Goal: the default is a quarter of memory, within its bounds.
    #[test]
    fn default_is_a_quarter() {
        assert_eq!(default_mib(1000), 250);
        assert_eq!(default_mib(96), 64);
        assert_eq!(default_mib(0), 64);
        assert_eq!(default_mib(1 << 20), 1024);
    }

    /// Goal: whatever is asked for, the rest of the node keeps memory to live.
    #[test]
    fn the_node_keeps_memory() {
        assert_eq!(most_mib(1000), 872);
        assert_eq!(most_mib(210), 105);
        assert_eq!(most_mib(0), 1024);
    }

    /// Goal: fewer pages are a warning, too few are a failure, and the engine always gets a size to start with.
    #[test]
    fn fewer_pages_are_judged() {
        assert_eq!(judged(256, 256), (256, 0, 0));
        assert_eq!(judged(256, 300), (256, 0, 0));
        assert_eq!(judged(256, 128), (128, 1, 0));
        assert_eq!(judged(256, 10), (64, 0, 1));
        assert_eq!(judged(32, 32), (32, 0, 0));
        assert_eq!(judged(32, 0), (32, 0, 1));
    }

    /// Goal: the kernel's table is read, and anything else is not.
    #[test]
    fn memory_is_read() {
        assert_eq!(memory_mib("MemTotal:        1000448 kB\nMemFree: 1 kB\n"), Some(977));
        assert_eq!(memory_mib("MemFree: 1 kB\n"), None);
        assert_eq!(memory_mib("MemTotal: much kB\n"), None);
    }
}
