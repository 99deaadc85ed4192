//! `ironbay-bench`: the target measured over loopback, alone or side by side with foreign ones (layer 7; `make bench`).
//!
//! ```text
//!  args ─▶ systems: ironbayd (ram, file), peers, floor ─▶ check ─▶ run: for each workload, samples in turn ─▶ report
//!                      one core, the same for all               initiator on another core (sample, floor)
//! ```
//!
//! Invariants
//! - All systems are measured by the same initiator (`nvme-host`) in the same run, alternating; figures of different runs are
//!   not compared.
//! - What was written is read back and verified before anything is measured.
//!
//! Not here: how a foreign target is built or started; it is an address, a subsystem and perhaps a process.
#![forbid(unsafe_code)]

mod args;
mod check;
mod floor;
mod idle;
mod machine;
mod node;
mod report;
mod run;
mod sample;
mod system;
mod workload;

use crate::args::{Arguments, Output};
use crate::machine::Cores;
use crate::node::{Node, NodeConfig};
use crate::run::Effort;
use crate::sample::Times;
use crate::system::System;
use crate::workload::{ALL, Medium, Workload};
use anyhow::{Result, ensure};
use clap::Parser;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// The name by which `--only` means the idle measurement.
const IDLE: &str = "idle";

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let selected: Vec<&Workload> = ALL.iter().filter(|work| is_wanted(&arguments, work.name)).collect();
    if arguments.list {
        selected.iter().for_each(|work| println!("{}", work.name));
        println!("{IDLE}");
        return Ok(());
    }
    ensure!(
        !selected.is_empty() || is_wanted(&arguments, IDLE),
        "no workload has such a name; --list shows them"
    );
    let cores = Cores { initiator: arguments.cores.0, target: arguments.cores.1 };
    machine::pin(0, cores.target).and_then(|()| machine::pin(0, cores.initiator))?;
    let temporary = TempDir::new()?;
    let lab = Lab { arguments: &arguments, cores, temporary: &temporary };
    let (outcomes, idle) = lab.measure(&selected)?;
    if arguments.output == Output::Json {
        println!("{}", json!({ "machine": machine::facts(), "workloads": outcomes, "idle": idle }));
    }
    Ok(())
}

fn is_wanted(arguments: &Arguments, name: &str) -> bool {
    let fits = |part: &String| {
        part.strip_prefix('=').map_or_else(|| name.contains(part.as_str()), |whole| name == whole)
    };
    arguments.only.is_empty() || arguments.only.iter().any(fits)
}

/// What a run is made with.
struct Lab<'a> {
    arguments: &'a Arguments,
    cores: Cores,
    temporary: &'a TempDir,
}

impl Lab<'_> {
    /// Everything that was selected; the figures as JSON, and as text on the way.
    fn measure(&self, selected: &[&Workload]) -> Result<(Vec<Value>, Value)> {
        let mut nodes = Vec::new();
        let mut systems = Vec::new();
        for medium in [Medium::Ram, Medium::File] {
            if selected.iter().any(|work| work.medium == medium) {
                let node = self.start(medium)?;
                systems.push(System::node(node.target.clone(), medium, node.pid()?, self.cores)?);
                nodes.push(node);
            }
        }
        for peer in &self.arguments.peer {
            systems.push(System::peer(peer.clone())?);
        }
        if !self.arguments.no_floor {
            systems.push(System::floor(self.cores));
        }
        for system in &systems {
            if let Some(bytes) = system.check()? {
                eprintln!("{}: {} MiB written and verified", system.name, bytes >> 20);
            }
        }
        let mut outcomes = Vec::new();
        for (at, work) in selected.iter().enumerate() {
            eprintln!("[{}/{}] {}", at + 1, selected.len(), work.name);
            let takers: Vec<&System> = systems.iter().filter(|system| system.takes(work)).collect();
            let outcome = run::measure(work, &takers, self.effort())?;
            self.say(&report::text(&outcome));
            outcomes.push(report::json(&outcome));
        }
        // While the peers still stand: one that polls would take the core of the node.
        let idle = if is_wanted(self.arguments, IDLE) { self.idle()? } else { Value::Null };
        Ok((outcomes, idle))
    }

    /// An idle node, in the mode that nodes have unless told otherwise.
    fn idle(&self) -> Result<Value> {
        let time = if self.arguments.quick { Duration::from_secs(2) } else { Duration::from_secs(10) };
        let node = self.start(Medium::Ram)?;
        let share = idle::measure(&node, self.cores.target, time)?;
        let is_reached = share <= report::IDLE_SHARE_MAX;
        let (bar, verdict) = (report::IDLE_SHARE_MAX * 100.0, if is_reached { "reached" } else { "MISSED" });
        self.say(&format!(
            "idle, {} hosts connected, mode {}: {:.2} % of a core   bar ≤ {bar} %: {verdict}\n",
            idle::HOSTS,
            self.arguments.mode,
            share * 100.0
        ));
        Ok(
            json!({ "hosts": idle::HOSTS, "mode": self.arguments.mode, "share": share, "reached": is_reached }),
        )
    }

    fn start(&self, medium: Medium) -> Result<Node> {
        let daemon = match &self.arguments.ironbayd {
            Some(daemon) => daemon.clone(),
            None => beside_us()?,
        };
        Node::start(NodeConfig {
            daemon: &daemon,
            mode: &self.arguments.mode,
            medium,
            dir: self.arguments.dir.as_deref().unwrap_or_else(|| self.temporary.path()),
            volume_bytes: self.arguments.volume_mib << 20,
            address: self.arguments.address,
        })
    }

    fn effort(&self) -> Effort {
        let (window, samples) = if self.arguments.quick { (0.5, 2) } else { (2.0, 5) };
        let window = self.arguments.seconds.unwrap_or_else(|| Duration::from_secs_f64(window));
        let samples = usize::from(self.arguments.samples.unwrap_or(samples));
        let times = Times { warm_up: window / 5, window };
        Effort {
            times,
            samples,
            cores: self.cores,
            is_emulated: self.arguments.emulated,
            lost_max: f64::from(self.arguments.lost_max) / 100.0,
        }
    }

    /// Tables go to standard output, unless that is for programs.
    fn say(&self, text: &str) {
        match self.arguments.output {
            Output::Text => print!("{text}"),
            Output::Json => eprint!("{text}"),
        }
    }
}

fn beside_us() -> Result<PathBuf> {
    let daemon = std::env::current_exe()?.with_file_name("ironbayd");
    ensure!(daemon.exists(), "{} is not there: build it, or name it with --ironbayd", daemon.display());
    Ok(daemon)
}
