//! Tables for people and JSON for programs: medians of the samples that count, and ratios with their bars.

use crate::run::{Distance, Kept, Outcome, Series};
use crate::sample::Figures;
use crate::workload::Metric;
use serde_json::{Value, json};
use std::fmt::Write;

/// The bar for an idle node: share of a core (issue 3).
pub(crate) const IDLE_SHARE_MAX: f64 = 0.02;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().saturating_sub(1) / 2), values.get(values.len() / 2));
    low.zip(high).map_or(f64::NAN, |(low, high)| f64::midpoint(*low, *high))
}

/// The median of each figure over the samples at one distance, if there are any; and how many there are.
fn medians(series: &Series, distance: Distance) -> Option<(Figures, usize)> {
    let kept: Vec<&Kept> = series.kept.iter().filter(|kept| kept.distance == distance).collect();
    let first = kept.first()?.figures;
    let of = |get: &dyn Fn(&Figures) -> f64| median(kept.iter().map(|kept| get(&kept.figures)).collect());
    let figures = Figures {
        iops: of(&|f| f.iops),
        mean: of(&|f| f.mean),
        p50: of(&|f| f.p50),
        p99: of(&|f| f.p99),
        p995: of(&|f| f.p995),
        p999: of(&|f| f.p999),
        cpu: first.cpu.map(|_| of(&|f| f.cpu.unwrap_or(f64::NAN))),
        machine: of(&|f| f.machine),
        initiator_idle: of(&|f| f.initiator_idle),
        depth: first.depth,
    };
    Some((figures, kept.len()))
}

fn value(figures: &Figures, metric: Metric) -> f64 {
    match metric {
        Metric::Iops => figures.iops,
        Metric::Mean => figures.mean,
        Metric::P999 => figures.p999,
        Metric::Machine => figures.machine,
    }
}

/// A ratio of ours to a peer's.
struct Ratio {
    peer: String,
    metric: Metric,
    ratio: f64,
    /// The bar as text, and whether it is met.
    bar: Option<(String, bool)>,
}

fn ratios(outcome: &Outcome, distance: Distance) -> Vec<Ratio> {
    let mut found = Vec::new();
    let Some((ours, _)) = outcome.series.first().and_then(|series| medians(series, distance)) else {
        return found;
    };
    for peer in outcome.series.iter().skip(1).filter(|series| !series.is_floor) {
        let Some((theirs, _)) = medians(peer, distance) else { continue };
        for metric in [Metric::Iops, Metric::Mean, Metric::P999, Metric::Machine] {
            if metric == Metric::Machine && !peer.is_kernel {
                continue;
            }
            let ratio = value(&ours, metric) / value(&theirs, metric);
            let bar = outcome.work.bars_of(peer.is_kernel).iter().find(|bar| bar.metric == metric);
            let bar = bar.map(|bar| (format!("{} {}", bar.sign(), bar.ratio), bar.is_met(ratio)));
            found.push(Ratio { peer: peer.system.clone(), metric, ratio, bar });
        }
    }
    found
}

/// One workload as text: a table for each distance at which something was measured.
pub(crate) fn text(outcome: &Outcome) -> String {
    let mut text = String::new();
    for distance in Distance::ALL {
        let rows: Vec<_> = outcome
            .series
            .iter()
            .filter_map(|series| Some((&series.system, medians(series, distance)?)))
            .collect();
        if rows.is_empty() {
            continue;
        }
        let _ = writeln!(
            text,
            "{:<26} {:>9} {:>8} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>9} {:>7}",
            format!("{} ({})", outcome.work.name, distance.name()),
            "IOPS",
            "MB/s",
            "mean",
            "p50",
            "p99",
            "p99.5",
            "p99.9",
            "CPU/IO",
            "mach/IO",
            "host idle",
            "samples"
        );
        for (system, (figures, count)) in rows {
            let rate = figures.iops * f64::from(outcome.work.bytes) / 1e6;
            let cpu = figures.cpu.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.2}"));
            let _ = writeln!(
                text,
                "  {:<24} {:>9.0} {:>8.0} {:>7.1} {:>7.1} {:>7.1} {:>7.1} {:>7.1} {:>7} {:>7.2} {:>8.0}% {:>7}",
                system,
                figures.iops,
                rate,
                figures.mean,
                figures.p50,
                figures.p99,
                figures.p995,
                figures.p999,
                cpu,
                figures.machine,
                figures.initiator_idle * 100.0,
                count
            );
        }
        for ratio in ratios(outcome, distance) {
            let bar = match &ratio.bar {
                Some((bar, true)) => format!("   bar {bar}: reached"),
                Some((bar, false)) => format!("   bar {bar}: MISSED"),
                None => String::new(),
            };
            let _ = writeln!(
                text,
                "  {:<24} {:>9.3}{bar}",
                format!("{} to {}", ratio.metric.name(), ratio.peer),
                ratio.ratio
            );
        }
    }
    for series in &outcome.series {
        for (reason, count) in &series.dropped {
            let _ = writeln!(text, "  {}: {count} dropped: {}", series.system, reason.reason());
        }
    }
    text
}

/// One workload as JSON, with every sample that counts.
pub(crate) fn json(outcome: &Outcome) -> Value {
    let work = &outcome.work;
    let series = |series: &Series| {
        let samples: Vec<Value> = series
            .kept
            .iter()
            .map(|kept| {
                json!({
                    "distance": kept.distance.name(), "ping_pong_ns": kept.ping_ns, "figures": kept.figures.json(),
                })
            })
            .collect();
        let dropped: Vec<Value> = series
            .dropped
            .iter()
            .map(|(reason, count)| json!({ "reason": reason.reason(), "count": count }))
            .collect();
        json!({ "system": series.system, "samples": samples, "dropped": dropped })
    };
    let mut compared = Vec::new();
    for distance in Distance::ALL {
        compared.extend(ratios(outcome, distance).into_iter().map(|ratio| {
            let (bar, is_reached) = ratio.bar.unzip();
            json!({
                "distance": distance.name(), "peer": ratio.peer, "metric": ratio.metric.name(),
                "ratio": ratio.ratio, "bar": bar, "reached": is_reached,
            })
        }));
    }
    json!({
        "workload": work.name, "bytes": work.bytes, "depth": work.depth, "queues": work.queues,
        "digests": work.digests, "in_capsule": work.in_capsule,
        "series": outcome.series.iter().map(series).collect::<Vec<_>>(), "ratios": compared,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::ALL;
    use std::collections::BTreeMap;

    fn series(system: &str, samples: &[(Distance, f64)]) -> Series {
        let kept = samples.iter().map(|&(distance, mean)| {
            let figures = Figures {
                iops: 1e6 / mean,
                mean,
                p50: mean,
                p99: mean,
                p995: mean,
                p999: 2.0 * mean,
                cpu: Some(1.0),
                machine: mean / 2.0,
                initiator_idle: 0.5,
                depth: 1,
            };
            Kept { distance, ping_ns: 60.0, figures }
        });
        Series {
            system: system.to_owned(),
            is_floor: system == "floor",
            is_kernel: system == "kernel",
            kept: kept.collect(),
            dropped: BTreeMap::new(),
        }
    }

    /// Goal: ratios compare medians of the same distance, never near with far, and the floor is no peer.
    #[test]
    fn near_and_far_are_never_mixed() {
        let (near, far) = (Distance::Near, Distance::Far);
        let outcome = Outcome {
            work: ALL[0],
            series: vec![
                series("ironbay", &[(near, 8.0), (far, 30.0), (near, 9.0), (near, 100.0)]),
                series("other", &[(near, 10.0)]),
                series("floor", &[(near, 5.0), (far, 10.0)]),
            ],
        };
        let found: Vec<_> = ratios(&outcome, near)
            .into_iter()
            .map(|r| (r.peer, r.metric, (r.ratio * 1000.0).round(), r.bar.map(|(_, is_met)| is_met)))
            .collect();
        let of = |metric, ratio, bar| ("other".to_owned(), metric, ratio, bar);
        assert_eq!(
            found,
            [
                of(Metric::Iops, 1111.0, None),
                of(Metric::Mean, 900.0, Some(true)),
                of(Metric::P999, 900.0, Some(true)),
            ]
        );
        assert!(ratios(&outcome, far).is_empty(), "the peer was not measured far");
        let text = text(&outcome);
        assert!(
            text.contains("(near)") && text.contains("(far)") && text.contains("bar ≤ 0.9: reached"),
            "{text}"
        );
    }

    /// Goal: beside the kernel's target the time of the machine is compared and has the bar, not the rate.
    #[test]
    fn the_kernel_is_compared_by_the_time_of_the_machine() {
        let work = *ALL.iter().find(|work| work.name == "read-4k-qd32").expect("a deep workload");
        let there = |name, mean| series(name, &[(Distance::Emulated, mean)]);
        let outcome = Outcome { work, series: vec![there("ironbay", 7.0), there("kernel", 10.0)] };
        let found = ratios(&outcome, Distance::Emulated);
        let bars: Vec<_> = found.iter().filter_map(|r| Some((r.metric, r.bar.clone()?))).collect();
        assert_eq!(bars, [(Metric::Machine, ("≤ 0.8".to_owned(), true))]);
        assert!(text(&outcome).contains("(emulated)") && text(&outcome).contains("mach/IO to kernel"));
    }

    /// Goal: the median of an even number of samples lies between the middle ones.
    #[test]
    fn medians_of_few() {
        assert!((median(vec![3.0, 1.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![9.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!(median(vec![]).is_nan());
    }
}
