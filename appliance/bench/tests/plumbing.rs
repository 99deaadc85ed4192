//! The benchmark as a process, so short that its figures mean nothing: everything it measures is there.

use serde_json::Value;
use std::process::Command;

/// Goal: a node is started, checked and measured beside the floor; JSON has every figure of every workload asked for.
/// Method: windows of 20 ms, no judgement of times. The cores may be shared, so samples may have been dropped.
#[test]
fn every_figure_is_there() {
    let output = Command::new(env!("CARGO_BIN_EXE_ironbay-bench"))
        .arg("--ironbayd")
        .arg(test_node::daemon())
        .args(["--seconds", "0.02", "--samples", "1", "--volume-mib", "64", "--output", "json"])
        .args(["--only", "write-4k-4x32", "--only", "durable-16k", "--only", "idle", "--quick"])
        .output()
        .expect("the benchmark can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("MiB written and verified"), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let workloads = report["workloads"].as_array().expect("workloads");
    let named = |value: &Value, field: &str| value[field].as_str().expect("a name").to_owned();
    let names: Vec<_> = workloads.iter().map(|work| named(work, "workload")).collect();
    assert_eq!(names, ["durable-16k-qd1", "write-4k-4x32", "file-durable-16k-qd1"]);
    for work in workloads {
        let series = work["series"].as_array().expect("series");
        let systems: Vec<_> = series.iter().map(|one| named(one, "system")).collect();
        let is_file = named(work, "workload").starts_with("file-");
        assert_eq!(systems, if is_file { vec!["ironbay"] } else { vec!["ironbay", "floor"] });
        for one in series {
            let samples = one["samples"].as_array().expect("samples");
            let dropped = one["dropped"].as_array().expect("dropped");
            assert!(!samples.is_empty() || !dropped.is_empty(), "nothing was measured: {one}");
            for sample in samples {
                let figure = |name: &str| sample["figures"][name].as_f64().expect("a figure");
                assert!(figure("iops") > 0.0 && figure("p99_9_us") >= figure("p50_us"), "{sample}");
            }
        }
    }
    assert!(report["idle"]["share"].as_f64().is_some(), "{report}");
    assert!(report["machine"]["kernel"].is_string(), "{report}");
}
