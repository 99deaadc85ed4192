//! The storage node: an emulated server that boots the kit from the network.

use crate::client::Client;
use crate::limits::{BOOT_TRIES, CONSOLE_ANSWER, LOOK_AGAIN, NODE_READY};
use crate::network::{NODE, NODE_MAC, Network};
use crate::parts::Parts;
use crate::qemu::{Boot, Machine, MachineSpec, Nic, NicModel, NvmeDrive};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Port of the management API.
pub const API_PORT: u16 = 7420;

/// A node, switched on or off.
#[derive(Debug)]
pub struct Node {
    /// What it is made of.
    pub spec: MachineSpec,
    /// The running machine; `None` while it is off.
    pub machine: Option<Machine>,
    client: Client,
    dir: PathBuf,
}

/// Writes the directory that the network serves: the kit with a boot script of these kernel arguments.
pub fn serve_kit(kit: &Path, tftp: &Path, arguments: &[String]) -> Result<()> {
    std::fs::create_dir_all(tftp).with_context(|| format!("cannot create {}", tftp.display()))?;
    for name in ["vmlinuz", "initramfs.zst"] {
        let (from, to) = (kit.join(name), tftp.join(name));
        std::fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    std::fs::write(tftp.join("boot.ipxe"), image::kit::boot_script(arguments))
        .context("cannot write the boot script")
}

impl Node {
    /// A node that is off.
    pub fn new(parts: &Parts, dir: &Path, drives: Vec<NvmeDrive>, nic: NicModel) -> Self {
        let spec = MachineSpec {
            name: "node".to_owned(),
            cpus: 1,
            has_thread_per_cpu: false,
            memory_mib: 1024,
            nic: Nic { model: nic, mac: NODE_MAC.to_owned() },
            boot: Boot::Network,
            drives,
            has_iommu: true,
            has_command_line: false,
        };
        let client = Client { program: parts.ironbay.clone(), endpoint: Self::api() };
        Self { spec, machine: None, client, dir: dir.to_owned() }
    }

    /// Switches the node on, without waiting for anything.
    pub fn power_on(&mut self, network: &Network) -> Result<Instant> {
        let machine = self.spec.power_on(network, &self.dir)?;
        let powered_on = machine.powered_on;
        self.machine = Some(machine);
        Ok(powered_on)
    }

    /// Switches the node on and waits for its API. Returns the time from power-on to the first answer.
    pub fn boot(&mut self, network: &Network) -> Result<Duration> {
        let mut tries = 0;
        loop {
            tries += 1;
            let powered_on = self.power_on(network)?;
            match self.wait_api(network) {
                Ok(()) => return Ok(powered_on.elapsed()),
                Err(error)
                    if tries < BOOT_TRIES && self.machine.as_mut().is_some_and(Machine::is_unlucky) =>
                {
                    eprintln!("lab: the node's boot fell to the emulation, once more: {error:#}");
                    self.cut_power();
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until the API answers to the `ironbay` program.
    pub fn wait_api(&mut self, network: &Network) -> Result<()> {
        let until = Instant::now() + NODE_READY;
        let address = Self::api();
        loop {
            if network.answers(address, Duration::from_millis(500)) && self.client(network, &["node"]).is_ok()
            {
                return Ok(());
            }
            let machine = self.machine.as_mut().context("the node is off")?;
            let said = |machine: &Machine| format!("its console said last:\n{}", machine.last_lines());
            if let Err(error) = machine.alive() {
                bail!("the node went off while booting ({error:#}); {}", said(machine));
            }
            if machine.has_panicked() {
                bail!("the node's kernel panicked; {}", said(machine));
            }
            if Instant::now() > until {
                bail!(
                    "the node's API at {address} does not answer within {} s; {}",
                    NODE_READY.as_secs(),
                    said(machine)
                );
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Address of the API.
    pub fn api() -> SocketAddr {
        SocketAddr::from((NODE, API_PORT))
    }

    /// Pulls the power.
    pub fn cut_power(&mut self) {
        if let Some(mut machine) = self.machine.take() {
            machine.cut_power();
        }
    }

    /// Asks the node something with the `ironbay` program; the answer is JSON.
    pub fn client(&self, network: &Network, arguments: &[&str]) -> Result<Value> {
        self.client.ask(network, arguments)
    }

    /// Types a command on the serial console and returns what came until the text appeared.
    pub fn console(&self, input: &str, until: &str) -> Result<String> {
        let console = self.machine.as_ref().context("the node is off")?.console()?;
        let position = console.position();
        console.send(&format!("{input}\r"))?;
        console
            .wait(position, until, CONSOLE_ANSWER)
            .with_context(|| format!("console command {input:?}"))?;
        Ok(console.since(position))
    }
}
