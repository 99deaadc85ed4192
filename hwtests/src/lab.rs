//! One lab: the network, the node and its drives, the Linux host, and the directory with all logs.

use crate::host::{Host, HostSpec};
use crate::network::Network;
use crate::node::{Node, serve_kit};
use crate::parts::Parts;
use crate::qemu::{NicModel, NvmeDrive};
use crate::steps::Steps;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// How a scenario wants its lab.
#[derive(Debug, Clone)]
pub struct LabSpec {
    /// Name of the scenario.
    pub scenario: String,
    /// Seed of the run.
    pub seed: u64,
    /// Serial numbers of the node's drives.
    pub drives: Vec<String>,
    /// Size of each drive.
    pub drive_bytes: u64,
    /// The node's network card.
    pub nic: NicModel,
    /// Kernel arguments of the node, besides those of the kit.
    pub arguments: Vec<String>,
}

impl LabSpec {
    /// A node with three drives that may be managed without authentication.
    pub fn new(scenario: &str, seed: u64) -> Self {
        Self {
            scenario: scenario.to_owned(),
            seed,
            drives: ["LAB01", "LAB02", "LAB03"].map(str::to_owned).to_vec(),
            drive_bytes: 1 << 30,
            nic: NicModel::Virtio,
            arguments: vec!["ironbay.insecure=1".to_owned()],
        }
    }
}

/// A lab. Dropping it switches everything off; the directory stays if the run failed.
pub struct Lab {
    /// Steps with their times.
    pub steps: Steps,
    /// Parts in use.
    pub parts: Parts,
    /// The node.
    pub node: Node,
    /// The Linux host, once it is on.
    pub host: Option<Host>,
    /// The network.
    pub network: Network,
    /// Logs, sockets, drives, terraform directory.
    pub dir: PathBuf,
    /// Scenario and seed, for what is kept of a failed run.
    name: String,
    keep_dir: bool,
}

impl Lab {
    /// Sets up everything and switches nothing on.
    pub fn set_up(spec: &LabSpec, parts: &Parts) -> Result<Self> {
        let dir = work_dir(&spec.scenario)?;
        let mut network = Network::create()?;
        let tftp = dir.join("tftp");
        serve_kit(&parts.kit, &tftp, &spec.arguments)?;
        network.serve_boot(&tftp, &dir.join("dnsmasq.log"))?;
        let drives = spec.drives.iter().map(|serial| NvmeDrive::create(&dir, serial, spec.drive_bytes));
        let node = Node::new(parts, &dir, drives.collect::<Result<_>>()?, spec.nic);
        let steps = Steps::new(format!("{} ", spec.scenario));
        let name = format!("{}-seed{}", spec.scenario, spec.seed);
        Ok(Self { name, steps, parts: parts.clone(), node, host: None, network, dir, keep_dir: true })
    }

    /// Switches the usual Linux host on.
    pub fn start_host(&mut self) -> Result<()> {
        self.start_host_as(&HostSpec::new(&self.parts))
    }

    /// Switches a Linux host on.
    pub fn start_host_as(&mut self, spec: &HostSpec) -> Result<()> {
        let host = self.steps.step("the Linux host starts", || {
            let mut host = Host::start(spec, &self.network, &self.dir)?;
            let kernel = host.ok("uname -r", crate::limits::HOST_COMMAND)?;
            Ok((host, format!("Linux {}", kernel.trim())))
        })?;
        self.host = Some(host);
        Ok(())
    }

    /// The Linux host.
    pub fn host(&mut self) -> Result<&mut Host> {
        self.host.as_mut().context("the Linux host is off")
    }

    /// Copies logs and captures of a failed run to where a build keeps what it made; drives are too large for that.
    fn keep_evidence(&self) -> Result<PathBuf> {
        let to = image::debian::workspace().join("out/lab").join(&self.name);
        let about = || format!("cannot keep logs in {}", to.display());
        if to.exists() {
            std::fs::remove_dir_all(&to).with_context(about)?;
        }
        std::fs::create_dir_all(&to).with_context(about)?;
        for entry in std::fs::read_dir(&self.dir).with_context(about)? {
            let path = entry.with_context(about)?.path();
            if path.extension().is_some_and(|e| e == "log" || e == "pcapng") {
                std::fs::copy(&path, to.join(path.file_name().unwrap_or_default())).with_context(about)?;
            }
        }
        Ok(to)
    }

    /// The run went well: its directory is not needed any more.
    pub fn passed(mut self) {
        self.keep_dir = false;
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.node.cut_power();
        self.host = None;
        self.network.stop_boot();
        if self.keep_dir {
            eprintln!("lab: logs, drives and sockets stay in {}", self.dir.display());
            match self.keep_evidence() {
                Ok(kept) => eprintln!("lab: logs and captures are also in {}", kept.display()),
                Err(error) => eprintln!("lab: {error:#}"),
            }
        } else if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            eprintln!("lab: cannot remove {}: {error}", self.dir.display());
        }
    }
}

/// A new directory. Paths of sockets have 107 characters at most, so it is not under the target directory.
fn work_dir(scenario: &str) -> Result<PathBuf> {
    let parent = std::env::temp_dir();
    for count in 0..1000 {
        let dir = parent.join(format!("ironbay-{scenario}-{}-{count}", std::process::id()));
        match std::fs::create_dir(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot create {}", dir.display())),
        }
    }
    anyhow::bail!("{} is full of labs that stayed behind; remove ironbay-*", show(&parent))
}

fn show(path: &Path) -> String {
    path.display().to_string()
}
