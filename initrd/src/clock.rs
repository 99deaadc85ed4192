//! Time since the kernel started.

use nix::time::{ClockId, clock_gettime};

/// Milliseconds since the kernel started, sleep included.
#[must_use]
pub fn uptime_ms() -> u64 {
    let Ok(time) = clock_gettime(ClockId::CLOCK_BOOTTIME) else { return 0 };
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let millis = u64::try_from(time.tv_nsec() / 1_000_000).unwrap_or(0);
    seconds.saturating_mul(1000).saturating_add(millis)
}

/// `[  2.093s]`, the stamp of every line.
#[must_use]
pub fn stamp(ms: u64) -> String {
    format!("[{:>3}.{:03}s]", ms / 1000, ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: stamps of the first quarter of an hour have one width.
    #[test]
    fn stamps_align() {
        assert_eq!(stamp(2093), "[  2.093s]");
        assert_eq!(stamp(999_001), "[999.001s]");
        assert_eq!(stamp(1_000_000), "[1000.000s]");
    }
}
