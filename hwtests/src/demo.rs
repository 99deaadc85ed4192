//! The demo: first light once, slowly enough to watch, and a table of what was measured.

use crate::host::Host;
use crate::interrupt;
use crate::lab::{Lab, LabSpec};
use crate::limits::HOST_WORK;
use crate::manage::Operator;
use crate::parts::Parts;
use crate::scenario::first_light::{FirstLight, device};
use crate::steps::seconds;
use anyhow::{Context, Result};
use image::kit::Manifest;
use image::progress::human;
use serde_json::Value;
use sim::Random;
use std::path::Path;

/// What fio measured on the host.
#[derive(Debug, Clone, Copy)]
struct Measured {
    iops: f64,
    p50_us: f64,
    p99_us: f64,
}

/// Runs the demo; with `keep` everything stays on until Ctrl-C.
pub fn run(parts: &Parts, seed: u64, keep: bool) -> Result<()> {
    let mut light = FirstLight::set_up(&LabSpec::new("demo", seed), parts)?;
    light.boot()?;
    let boot_phases = boot_phases(&light)?;
    light.apply()?;
    light.connect()?;
    light.write_files()?;
    let cut = light.power_cut(&mut Random(seed))?;
    light.comes_back(&cut)?;
    light.everything_is_there()?;
    let measured = measure(&mut light)?;
    light.grow()?;
    if !keep {
        light.destroy()?;
    }
    print_table(&light, parts, &boot_phases, &measured)?;
    if keep {
        how_to_attach(&mut light)?;
        interrupt::wait();
        println!("switching off");
    }
    light.lab.passed();
    Ok(())
}

/// Names and milliseconds of the node's boot phases.
fn boot_phases(light: &FirstLight) -> Result<Vec<(String, u64)>> {
    let Lab { node, network, .. } = &light.lab;
    let answer = node.client(network, &["node"])?;
    let answer = answer.get("node").unwrap_or(&answer);
    let phases = answer.get("boot_phases").and_then(Value::as_array).cloned().unwrap_or_default();
    let number = |value: &Value, key: &str| {
        value.get(key).and_then(|v| v.as_u64().or_else(|| v.as_str()?.parse().ok())).unwrap_or_default()
    };
    Ok(phases
        .iter()
        .map(|p| (p.get("name").and_then(Value::as_str).unwrap_or("?").to_owned(), number(p, "took_ms")))
        .collect())
}

fn measure(light: &mut FirstLight) -> Result<Vec<(&'static str, Measured)>> {
    let uuid = light.volume("log")?.uuid.clone();
    let Lab { steps, host, .. } = &mut light.lab;
    let host = host.as_mut().context("the Linux host is off")?;
    let device = device(host, &uuid)?;
    let jobs = [
        ("4 KiB read, queue depth 1", "--rw=randread --iodepth=1"),
        ("4 KiB write, queue depth 1", "--rw=randwrite --iodepth=1"),
        ("4 KiB read, queue depth 32", "--rw=randread --iodepth=32"),
        ("4 KiB write, queue depth 32", "--rw=randwrite --iodepth=32"),
    ];
    let mut all = Vec::new();
    for (name, options) in jobs {
        let measured = steps.step(&format!("fio: {name}"), || {
            let measured = fio(host, &device, options)?;
            Ok((measured, format!("{:.0} IOPS, median {:.0} µs", measured.iops, measured.p50_us)))
        })?;
        all.push((name, measured));
    }
    Ok(all)
}

fn fio(host: &mut Host, device: &str, options: &str) -> Result<Measured> {
    let command = format!(
        "fio --name=demo --filename={device} --bs=4k --ioengine=libaio --direct=1 --runtime=5 --time_based --size=64m {options} \
         --output-format=json"
    );
    let text = host.ok(&command, HOST_WORK)?;
    let json = text.find('{').map_or("", |start| &text[start..]);
    let result: Value = serde_json::from_str(json).with_context(|| format!("fio answered {text:?}"))?;
    let side = if options.contains("randread") { "read" } else { "write" };
    let value = |path: &str| result.pointer(&format!("/jobs/0/{side}{path}")).and_then(Value::as_f64);
    let percentile = |p: &str| value(&format!("/clat_ns/percentile/{p}")).map(|ns| ns / 1000.0);
    Ok(Measured {
        iops: value("/iops").context("fio reports no IOPS")?,
        p50_us: percentile("50.000000").context("fio reports no median")?,
        p99_us: percentile("99.000000").context("fio reports no 99th percentile")?,
    })
}

fn print_table(
    light: &FirstLight,
    parts: &Parts,
    boot_phases: &[(String, u64)],
    measured: &[(&str, Measured)],
) -> Result<()> {
    let row = |name: &str, value: &str| println!("  {name:<40} {value}");
    let times = &light.times;
    println!("\nIronbay, first light (emulated processors and drives: compare with itself only)\n");
    for (name, size) in kit_sizes(&parts.kit)? {
        row(&name, &human(size));
    }
    row("power-on to API", &format!("{} s", seconds(times.api)));
    for (name, took_ms) in boot_phases {
        row(&format!("  boot phase {name}"), &format!("{took_ms} ms"));
    }
    row(
        &format!("{} apply", light.operator.name()),
        &format!("{} s, {}", seconds(times.apply), times.applied),
    );
    row("after the power cut: power-on to API", &format!("{} s", seconds(times.api_again)));
    row("after the power cut: power-on to first IO", &format!("{} s", seconds(times.first_io)));
    for (name, Measured { iops, p50_us, p99_us }) in measured {
        row(&format!("host, {name}"), &format!("{iops:.0} IOPS, p50 {p50_us:.0} µs, p99 {p99_us:.0} µs"));
    }
    println!();
    Ok(())
}

/// Sizes of what the node loads, if the kit says.
fn kit_sizes(kit: &Path) -> Result<Vec<(String, u64)>> {
    let path = kit.join("manifest.json");
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(Vec::new()) };
    let manifest: Manifest =
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
    let of = |name: &str| manifest.files.iter().find(|f| f.name == name).map_or(0, |f| f.size_bytes);
    let (kernel, initramfs) = (of("vmlinuz"), of("initramfs.zst"));
    Ok(vec![
        ("image: kernel and initramfs".to_owned(), kernel + initramfs),
        ("  kernel".to_owned(), kernel),
        ("  initramfs".to_owned(), initramfs),
    ])
}

/// Frees the console for somebody else and says how to look around.
fn how_to_attach(light: &mut FirstLight) -> Result<()> {
    let Lab { node, network, parts, dir, .. } = &mut light.lab;
    let machine = node.machine.as_mut().context("the node is off")?;
    machine.console = None;
    let name = network.name();
    let api = crate::node::Node::api();
    println!("The lab stays on. Logs, sockets and drives: {}", dir.display());
    println!("\nSerial console of the node (Enter wakes it, Ctrl-] leaves):");
    println!("  socat -,raw,echo=0,escape=0x1d UNIX-CONNECT:{}", machine.console_path.display());
    println!("\nManagement API, inside the lab's network:");
    println!("  ip netns exec {name} {} --endpoint {api} volume list", parts.ironbay.display());
    if let Operator::Terraform(terraform) = &light.operator {
        println!("\nTerraform, with the lab's state:");
        println!("  cd {}", terraform.dir.display());
        let settings = terraform.environment(crate::scenario::first_light::GROWN);
        let words = settings.iter().map(|(key, value)| format!("{key}='{value}'")).collect::<Vec<_>>();
        println!("  ip netns exec {name} env {} {} plan", words.join(" "), light.operator.name());
    } else {
        println!(
            "\nNeither terraform nor tofu is in PATH; with OpenTofu or Terraform installed, the demo uses it."
        );
    }
    println!("\nCtrl-C switches everything off.");
    Ok(())
}
