//! Our target beside the kernel's own, in one machine: what does a command cost each of them?
//!
//! ```text
//!  emulated machine, Debian's kernel, two processors
//!  ┌──────────────────────────────┬───────────────────────────────────────────┐
//!  │ processor 0                  │ processor 1                               │
//!  │ namespace of the initiator   │ namespace of the targets                  │
//!  │ ironbay-bench   veth 10.88.0.2 ═══ 10.88.0.1   ironbayd run, RAM drive   │
//!  │                              │            or   nvmet-tcp, RAM drive      │
//!  └──────────────────────────────┴───────────────────────────────────────────┘
//! ```
//!
//! The kernel's target works on the processor on which its packets are received. Over the loopback device that would be the
//! initiator's; two namespaces whose packets are received on their own processor are what two machines would be.
//!
//! Invariants
//! - Nothing looks into the machine while it measures: what the benchmark says arrives over the console.
//! - There is no IOMMU, so each processor may have a thread of its own in QEMU (see [`MachineSpec`](crate::qemu::MachineSpec)).
//!
//! Not here: what is measured and how it is judged; that is the benchmark's (`appliance/bench`).

use crate::guest;
use crate::host::HostSpec;
use crate::lab::{Lab, LabSpec};
use crate::limits::{HOST_COMMAND, KERNEL_BENCH, LOOK_AGAIN};
use crate::parts::{Given, Parts, prepare_with_kernel};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Length of a sample in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    seconds: f64,
    /// Samples of each target that must count.
    #[arg(long, value_name = "N", default_value_t = 8)]
    samples: u16,
    /// Only workloads with this name, as `ironbay-bench --list` shows them; may be repeated.
    #[arg(long, value_name = "NAME", default_values = WORKLOADS)]
    only: Vec<String>,
    /// How eagerly our target polls: latency, balanced, eco.
    #[arg(long, default_value = "balanced")]
    mode: String,
    /// What to print on standard output.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// The `ironbay-bench` program, instead of building it.
    #[arg(long, value_name = "PATH")]
    bench: Option<PathBuf>,
    #[command(flatten)]
    given: Given,
}

/// Forms of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Tables for people.
    Text,
    /// JSON, with every sample.
    Json,
}

const WORKLOADS: [&str; 6] =
    ["read-4k-qd1", "write-4k-qd1", "read-4k-qd32", "write-4k-qd32", "read-128k-qd32", "write-128k-qd32"];

/// Size of both RAM drives. Both have all their memory before anything is measured.
const VOLUME_MIB: u32 = 256;
const MEMORY_MIB: u32 = 2048;
const MODULES: &[&str] = &["null_blk", "nvmet_tcp", "veth"];
const NQN: &str = "nqn.2014-08.org.nvmexpress:kernel-bench";
/// What stands on the console when it is over, before the exit code.
const ENDED: &str = "bench ended: ";

/// Addresses, the drive, and the kernel's target.
const PREPARE: &str = "set -e
while read -r module; do
    grep -q \"^${module%.ko} \" /proc/modules && continue
    case $module in null_blk.ko) options=nr_devices=0 ;; *) options= ;; esac
    insmod /lib/modules/$module $options
done </lib/modules/more

unshare -n sleep 1000000 &
echo $! >/run/initiator
in_initiator() { nsenter -t $(cat /run/initiator) -n \"$@\"; }
# The namespace is there when it differs from ours.
while [ \"$(readlink /proc/$(cat /run/initiator)/ns/net)\" = \"$(readlink /proc/1/ns/net)\" ]; do sleep 0.1; done
ip link add name targets type veth
ip link set veth0 netns $(cat /run/initiator)
ip addr add 10.88.0.1/24 dev targets
ip link set targets up
in_initiator ip addr add 10.88.0.2/24 dev veth0
in_initiator ip link set lo up
in_initiator ip link set veth0 up
mkdir -p /run/initiator-sys
in_initiator mount -t sysfs sysfs /run/initiator-sys
echo 2 >/sys/class/net/targets/queues/rx-0/rps_cpus
echo 1 >/run/initiator-sys/class/net/veth0/queues/rx-0/rps_cpus

mount -t configfs configfs /sys/kernel/config
drive=/sys/kernel/config/nullb/nullb0
mkdir $drive
echo VOLUME_MIB >$drive/size
echo 4096 >$drive/blocksize
echo 1 >$drive/memory_backed
echo 0 >$drive/irqmode
echo 0 >$drive/completion_nsec
echo 2 >$drive/submit_queues
echo 1 >$drive/power
dd if=/dev/zero of=/dev/nullb0 bs=1M oflag=direct 2>/dev/null || true
subsystem=/sys/kernel/config/nvmet/subsystems/NQN
mkdir $subsystem
echo 1 >$subsystem/attr_allow_any_host
mkdir $subsystem/namespaces/1
printf /dev/nullb0 >$subsystem/namespaces/1/device_path
echo 1 >$subsystem/namespaces/1/enable
port=/sys/kernel/config/nvmet/ports/1
mkdir $port
echo tcp >$port/addr_trtype
echo ipv4 >$port/addr_adrfam
echo 10.88.0.1 >$port/addr_traddr
echo 4430 >$port/addr_trsvcid
ln -s $subsystem $port/subsystems/NQN

cat >/run/ironbayd <<'END'
#!/bin/sh
exec nsenter -n/proc/1/ns/net /bin/ironbayd \"$@\"
END
chmod +x /run/ironbayd
uname -r
";

/// Measures and prints.
pub fn run(options: &Options) -> Result<()> {
    let (parts, kernel) = prepare_with_kernel(&options.given)?;
    let bench = match &options.bench {
        Some(path) => path.clone(),
        None => image::binaries::build_bench()?,
    };
    let mut spec = LabSpec::new("kernel_bench", 0);
    spec.drives.clear();
    let mut lab = Lab::set_up(&spec, &parts)?;
    let more = guest::more(
        &kernel,
        MODULES,
        &[("bin/ironbayd", parts.ironbayd.as_path()), ("bin/ironbay-bench", &bench)],
    )?;
    let host = machine(&parts, more, &lab.dir)?;
    let result = lab.start_host_as(&host).and_then(|()| measure(&mut lab, options));
    let result = result?;
    if options.output == Output::Json {
        println!("{result}");
    }
    lab.passed();
    Ok(())
}

/// The Linux host of the lab with more modules and programs, and with two processors that are at work at the same time.
fn machine(parts: &Parts, more: Vec<u8>, dir: &Path) -> Result<HostSpec> {
    // A kernel unpacks any number of archives, one after the other.
    let mut archive = std::fs::read(&parts.host).context("the Linux host's first file system")?;
    archive.extend(more);
    let initrd = dir.join("bench-initrd.zst");
    std::fs::write(&initrd, archive).with_context(|| format!("cannot write {}", initrd.display()))?;
    Ok(HostSpec { initrd, cpus: 2, memory_mib: MEMORY_MIB, has_thread_per_cpu: true, ..HostSpec::new(parts) })
}

fn measure(lab: &mut Lab, options: &Options) -> Result<Value> {
    let Lab { steps, host, .. } = lab;
    let host = host.as_mut().context("the machine is off")?;
    steps.step("the kernel's target", || {
        let script = PREPARE.replace("VOLUME_MIB", &VOLUME_MIB.to_string()).replace("NQN", NQN);
        let release = host.ok(&script, HOST_COMMAND)?;
        Ok(((), format!("nvmet-tcp of Linux {}", release.trim())))
    })?;
    let only: Vec<String> = options.only.iter().map(|name| format!("--only ={name}")).collect();
    let command = format!(
        "nsenter -t $(cat /run/initiator) -n ironbay-bench --ironbayd /run/ironbayd --address 10.88.0.1 --emulated --no-floor \
         --volume-mib {VOLUME_MIB} --mode {} --seconds {} --samples {} --output json --peer kernel=10.88.0.1:4430,{NQN},kernel {} \
         >/run/figures.json 2>/dev/console; echo \"{ENDED}$?\" >/dev/console",
        options.mode,
        options.seconds,
        options.samples,
        only.join(" ")
    );
    let mut position = host.machine.console()?.position();
    host.start_job("bench", &command)?;
    let begun = Instant::now();
    let code = loop {
        std::thread::sleep(LOOK_AGAIN);
        host.machine.alive()?;
        let text = host.machine.console()?.since(position);
        let Some((whole, _)) = text.rsplit_once('\n') else { continue };
        position += whole.len() + 1;
        let lines = whole.lines().map(|line| line.trim_end_matches('\r'));
        let code = lines.clone().find_map(|line| line.strip_prefix(ENDED));
        lines.filter(|line| is_of_bench(line)).for_each(|line| say(options.output, line));
        if let Some(code) = code {
            break code.to_owned();
        }
        ensure!(
            begun.elapsed() < KERNEL_BENCH,
            "the benchmark does not end within {} s",
            KERNEL_BENCH.as_secs()
        );
    };
    if code != "0" {
        bail!(
            "the benchmark ended with exit code {code}; the console said last:\n{}",
            host.machine.last_lines()
        );
    }
    host.json("cat /run/figures.json", HOST_COMMAND)
}

/// Tables go to standard output, unless that is for programs.
fn say(output: Output, line: &str) {
    match output {
        Output::Text => println!("{line}"),
        Output::Json => eprintln!("{line}"),
    }
}

/// What is neither the kernel's, which begins with a time, nor the lab's own.
fn is_of_bench(line: &str) -> bool {
    let time = line.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let is_kernel = time.is_some_and(|(time, _)| time.trim().parse::<f64>().is_ok());
    !is_kernel && !line.starts_with("lab: ") && !line.starts_with(ENDED)
}

#[cfg(test)]
mod tests {
    use super::is_of_bench;

    /// Goal: what the benchmark says is shown, what the kernel says meanwhile is not.
    #[test]
    fn lines_are_told_apart() {
        for line in ["[2/6] read-4k-qd32", "  ironbay   88000", "kernel: 40 MiB written and verified", ""] {
            assert!(is_of_bench(line), "{line}");
        }
        for line in
            ["[   52.117545] null_blk: module loaded", "bench ended: 0", "lab: + rm -f /run/bench.code"]
        {
            assert!(!is_of_bench(line), "{line}");
        }
    }
}
