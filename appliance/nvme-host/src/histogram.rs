//! Latencies in a fixed amount of memory: buckets that grow with the value, 128 to a power of two, so within 0.8 %.

use std::time::Duration;

const STEPS_BITS: u32 = 7;
const STEPS: usize = 1 << STEPS_BITS;
const BUCKETS: usize = (64 - STEPS_BITS as usize + 1) * STEPS;

/// Counted latencies.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    sum_ns: u128,
    max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, sum_ns: 0, max_ns: 0 }
    }
}

/// Values below 128 have a bucket each; above, the top seven bits below the leading one choose.
fn bucket(ns: u64) -> usize {
    let power = ns.checked_ilog2().unwrap_or(0);
    let shift = power.saturating_sub(STEPS_BITS);
    let above = if power < STEPS_BITS { 0 } else { shift as usize + 1 };
    let low = usize::try_from((ns >> shift) & (STEPS as u64 - 1)).unwrap_or(0);
    above * STEPS + low
}

/// The largest value of a bucket.
fn top(bucket: usize) -> u64 {
    let (above, low) = (bucket / STEPS, (bucket % STEPS) as u64);
    if above == 0 {
        return low;
    }
    let shift = above - 1;
    ((STEPS as u64 + low) << shift) + ((1 << shift) - 1)
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(ns)] += 1;
        self.count += 1;
        self.sum_ns += u128::from(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their mean.
    #[must_use]
    pub fn mean(&self) -> Duration {
        let mean = self.sum_ns.checked_div(u128::from(self.count)).unwrap_or(0);
        Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
    }

    /// The largest.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns)
    }

    /// A latency that this share of them, in thousandths, did not exceed; never too small, at most 0.8 % too large.
    #[must_use]
    pub fn percentile(&self, permille: u64) -> Duration {
        let wanted = u128::from(self.count) * u128::from(permille.min(1000));
        let mut seen = 0u128;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += u128::from(*count);
            if *count > 0 && seen * 1000 >= wanted {
                return Duration::from_nanos(top(index).min(self.max_ns));
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: every value falls into a bucket whose top is not below it and not far above.
    #[test]
    fn buckets_cover_everything() {
        for ns in (0..2000).chain([1 << 20, (1 << 20) + 12345, u64::MAX / 3, u64::MAX]) {
            let top = top(bucket(ns));
            assert!(top >= ns, "{ns}");
            assert!(top - ns <= ns / 128 + 1, "{ns} in a bucket up to {top}");
        }
    }

    /// Goal: percentiles of a known set.
    #[test]
    fn percentiles() {
        let mut histogram = Histogram::default();
        for us in 1..=1000 {
            histogram.record(Duration::from_micros(us));
        }
        assert_eq!(histogram.count(), 1000);
        assert_eq!(histogram.mean(), Duration::from_nanos(500_500));
        let near = |permille: u64, us: u64| {
            let found = histogram.percentile(permille).as_nanos() as f64 / 1000.0;
            assert!((us as f64..us as f64 * 1.01).contains(&found), "p{permille}: {found} µs");
        };
        near(500, 500);
        near(990, 990);
        assert_eq!(histogram.percentile(1000), Duration::from_millis(1));
        assert_eq!(Histogram::default().percentile(500), Duration::ZERO);
    }
}
