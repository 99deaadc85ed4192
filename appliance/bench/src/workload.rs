//! What is measured: a table of workloads, and the bars that a peer's figures set.

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Read,
    Write,
    /// A write with Force Unit Access.
    DurableWrite,
}

/// What the volume lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    Ram,
    File,
}

/// A figure that has a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    Iops,
    Mean,
    P999,
    /// Time of the machine for a command, without the initiator.
    Machine,
}

impl Metric {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Iops => "IOPS",
            Self::Mean => "mean",
            Self::P999 => "p99.9",
            Self::Machine => "mach/IO",
        }
    }
}

/// The ratio to a peer that is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bar {
    pub(crate) metric: Metric,
    pub(crate) ratio: f64,
}

impl Bar {
    /// Of rates more is better, of times less.
    pub(crate) fn is_met(self, ratio: f64) -> bool {
        match self.metric {
            Metric::Iops => ratio >= self.ratio,
            Metric::Mean | Metric::P999 | Metric::Machine => ratio <= self.ratio,
        }
    }

    pub(crate) fn sign(self) -> char {
        match self.metric {
            Metric::Iops => '≥',
            Metric::Mean | Metric::P999 | Metric::Machine => '≤',
        }
    }
}

const ONE_AT_A_TIME: &[Bar] =
    &[Bar { metric: Metric::Mean, ratio: 0.9 }, Bar { metric: Metric::P999, ratio: 0.9 }];
const MANY: &[Bar] = &[Bar { metric: Metric::Iops, ratio: 1.2 }];
const LARGE: &[Bar] = &[Bar { metric: Metric::Iops, ratio: 1.1 }];

/// The bar beside the kernel's own target. A target that polls is busy at any depth, so with one command at a time its time means
/// nothing.
const KERNEL: &[Bar] = &[Bar { metric: Metric::Machine, ratio: 0.8 }];

/// One workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) op: Op,
    pub(crate) bytes: u32,
    /// Commands in flight on each queue.
    pub(crate) depth: u16,
    pub(crate) queues: u16,
    pub(crate) digests: bool,
    pub(crate) in_capsule: bool,
    pub(crate) medium: Medium,
    pub(crate) bars: &'static [Bar],
}

impl Workload {
    /// The bars that a peer sets.
    pub(crate) fn bars_of(&self, is_kernel: bool) -> &'static [Bar] {
        match (is_kernel, self.depth) {
            (false, _) => self.bars,
            (true, 0 | 1) => &[],
            (true, _) => KERNEL,
        }
    }
}

const BASE: Workload = Workload {
    name: "",
    op: Op::Read,
    bytes: 4 << 10,
    depth: 1,
    queues: 1,
    digests: false,
    in_capsule: true,
    medium: Medium::Ram,
    bars: ONE_AT_A_TIME,
};

/// Four kibibytes with many in flight.
const DEEP: Workload = Workload { depth: 32, bars: MANY, ..BASE };
const WIDE: Workload = Workload { bytes: 128 << 10, depth: 32, bars: LARGE, ..BASE };
const DURABLE: Workload = Workload { op: Op::DurableWrite, bytes: 16 << 10, ..BASE };

/// All of them, in the order in which they run.
pub(crate) const ALL: &[Workload] = &[
    Workload { name: "read-4k-qd1", ..BASE },
    Workload { name: "write-4k-qd1", op: Op::Write, ..BASE },
    Workload { name: "write-4k-qd1-r2t", op: Op::Write, in_capsule: false, ..BASE },
    Workload { name: "durable-16k-qd1", ..DURABLE },
    Workload { name: "read-4k-qd32", ..DEEP },
    Workload { name: "write-4k-qd32", op: Op::Write, ..DEEP },
    Workload { name: "read-4k-qd128", depth: 128, ..DEEP },
    Workload { name: "write-4k-qd128", op: Op::Write, depth: 128, ..DEEP },
    Workload { name: "read-4k-4x32", queues: 4, ..DEEP },
    Workload { name: "write-4k-4x32", op: Op::Write, queues: 4, ..DEEP },
    Workload { name: "read-128k-qd32", ..WIDE },
    Workload { name: "write-128k-qd32", op: Op::Write, ..WIDE },
    Workload { name: "read-4k-qd1-digests", digests: true, ..BASE },
    Workload { name: "read-4k-qd32-digests", digests: true, ..DEEP },
    Workload { name: "write-4k-qd32-digests", op: Op::Write, digests: true, ..DEEP },
    Workload { name: "read-128k-qd32-digests", digests: true, ..WIDE },
    Workload { name: "write-128k-qd32-digests", op: Op::Write, digests: true, ..WIDE },
    Workload { name: "file-read-4k-qd1", medium: Medium::File, ..BASE },
    Workload { name: "file-read-4k-qd32", medium: Medium::File, ..DEEP },
    Workload { name: "file-write-4k-qd32", op: Op::Write, medium: Medium::File, ..DEEP },
    Workload { name: "file-durable-16k-qd1", medium: Medium::File, ..DURABLE },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Goal: a name means one workload, and what it says about size, depth and digests is what is done.
    #[test]
    fn names_tell_the_truth() {
        let names: BTreeSet<_> = ALL.iter().map(|work| work.name).collect();
        assert_eq!(names.len(), ALL.len());
        for work in ALL {
            let size = format!("-{}k-", work.bytes >> 10);
            let depth = match work.queues {
                1 => format!("qd{}", work.depth),
                queues => format!("{queues}x{}", work.depth),
            };
            assert!(work.name.contains(&size) && work.name.contains(&depth), "{}", work.name);
            assert_eq!(work.digests, work.name.ends_with("-digests"), "{}", work.name);
            assert_eq!(work.medium == Medium::File, work.name.starts_with("file-"), "{}", work.name);
            assert_eq!(work.op == Op::Read, work.name.contains("read-"), "{}", work.name);
            assert_eq!(work.op == Op::DurableWrite, work.name.contains("durable-"), "{}", work.name);
        }
    }

    /// Goal: a rate must reach its bar, a latency must stay below it.
    #[test]
    fn bars_have_a_direction() {
        let (rate, latency) = (MANY[0], ONE_AT_A_TIME[0]);
        assert!(rate.is_met(1.2) && !rate.is_met(1.19));
        assert!(latency.is_met(0.9) && !latency.is_met(0.91));
        assert!(DEEP.bars_of(true)[0].is_met(0.8) && !DEEP.bars_of(true)[0].is_met(0.81));
        assert!(BASE.bars_of(true).is_empty() && BASE.bars_of(false).len() == 2);
    }
}
