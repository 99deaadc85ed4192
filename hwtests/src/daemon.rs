//! A node without a machine: `ironbayd run` in the lab's network, with files as drives.
//!
//! It is the same daemon as on a booted node, reached over the bridge. Scenarios about the protocol use it: it is up in a second,
//! not in fifteen, and it can be killed and started again like any process. Boot, drives and power cuts are the
//! business of the scenarios with a booted [`Node`](crate::node::Node).

use crate::child::Tied;
use crate::client::Client;
use crate::limits::{DAEMON_READY, DAEMON_STOP, LOOK_AGAIN};
use crate::network::{Network, OPERATOR};
use crate::node::API_PORT;
use crate::parts::Parts;
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Port of the volumes.
pub const PORTAL: u16 = 4420;
/// Port of discovery.
pub const DISCOVERY: u16 = 8009;

/// The daemon, running or killed.
#[derive(Debug)]
pub struct Daemon {
    program: PathBuf,
    dir: PathBuf,
    drives: Vec<String>,
    client: Client,
    process: Option<Tied>,
}

impl Daemon {
    /// A daemon that does not run yet, with a file for each of these serial numbers.
    pub fn new(parts: &Parts, dir: &Path, drives: &[&str]) -> Self {
        let client =
            Client { program: parts.ironbay.clone(), endpoint: SocketAddr::from((OPERATOR, API_PORT)) };
        Self {
            program: parts.ironbayd.clone(),
            dir: dir.to_owned(),
            drives: drives.iter().map(|d| (*d).to_owned()).collect(),
            client,
            process: None,
        }
    }

    /// Starts it and waits until it serves. Returns the time that took. What it says goes to `ironbayd.log`.
    pub fn start(&mut self, network: &Network) -> Result<Duration> {
        let path = self.dir.join("ironbayd.log");
        let log = OpenOptions::new().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("cannot open {}", path.display()))?;
        let mut command = network.command(&self.program);
        // It shares two processors with the emulated host: it must not poll while there is nothing to do.
        command.args(["run", "--mode", "eco", "--insecure", "--output", "json"]);
        for serial in &self.drives {
            let file = self.dir.join(format!("{serial}.img"));
            command.arg("--drive").arg(format!("file:{},size=1GiB,serial={serial}", file.display()));
        }
        command.args(["--listen", &format!("{OPERATOR}:{PORTAL}")]);
        command.args(["--discovery", &format!("{OPERATOR}:{DISCOVERY}")]);
        command.args(["--api", &self.client.endpoint.to_string()]);
        command.stdout(log.try_clone().context("cannot share the daemon's log")?).stderr(log);
        let started = Instant::now();
        let process = self.process.insert(Tied::start(&mut command)?);
        loop {
            if network.answers(self.client.endpoint, Duration::from_millis(500))
                && self.client.ask(network, &["node"]).is_ok()
            {
                return Ok(started.elapsed());
            }
            process.alive().with_context(|| format!("{} tells why", path.display()))?;
            if started.elapsed() > DAEMON_READY {
                bail!("ironbayd does not serve within {} s; see {}", DAEMON_READY.as_secs(), path.display());
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// SIGKILL: no farewell to the hosts, no flush.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// SIGTERM, and an orderly end.
    pub fn stop(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the daemon does not run")?;
        let code = process.end(Signal::SIGTERM, DAEMON_STOP)?;
        anyhow::ensure!(code == 0, "ironbayd ended with code {code} after SIGTERM");
        Ok(())
    }

    /// Asks it something with the `ironbay` program.
    pub fn ask(&self, network: &Network, arguments: &[&str]) -> Result<Value> {
        self.client.ask(network, arguments)
    }

    /// Whether it still runs; otherwise how it ended.
    pub fn alive(&mut self) -> Result<()> {
        self.process.as_mut().context("the daemon does not run")?.alive()
    }
}
