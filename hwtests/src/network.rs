//! The network of one lab: a namespace with a bridge, a tap for each machine, and dnsmasq for DHCP and TFTP.
//!
//! Invariants
//! - The name of the namespace contains our process id; namespaces of processes that are gone are removed at the next start.
//! - dnsmasq announces an IPv6 prefix, else iPXE waits 14 s for a router (measured).
//! - Addresses are bound to MAC addresses: a node that comes back after a power cut has the address that hosts know.

use crate::child::{Tied, run};
use crate::limits::SETUP;
use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Address of the operator's side: DHCP, TFTP, terraform.
pub const OPERATOR: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Address of the node.
pub const NODE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 10);
/// Address of the Linux host.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 20);
/// MAC address of the node.
pub const NODE_MAC: &str = "52:54:00:77:00:10";
/// MAC address of the Linux host.
pub const HOST_MAC: &str = "52:54:00:77:00:20";

const PREFIX: &str = "ironbay-";
/// The bridge, on which everything that machines say to one another passes.
pub(crate) const BRIDGE: &str = "lab0";

/// A namespace with what is in it; removed on drop.
#[derive(Debug)]
pub struct Network {
    name: String,
    dnsmasq: Option<Tied>,
    taps: AtomicU32,
}

impl Network {
    /// Makes the namespace and the bridge.
    pub fn create() -> Result<Self> {
        ensure!(
            nix::unistd::geteuid().is_root(),
            "the lab makes a network namespace and taps, which needs root: run it with `sudo -E`"
        );
        remove_leftovers()?;
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{count}", std::process::id());
        ip(&["netns", "add", &name])?;
        let network = Self { name, dnsmasq: None, taps: AtomicU32::new(0) };
        let name = network.name.as_str();
        let address = format!("{OPERATOR}/24");
        for arguments in [
            ["link", "set", "lo", "up"].as_slice(),
            &["link", "add", BRIDGE, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"],
            &["addr", "add", &address, "dev", BRIDGE],
            &["addr", "add", "fd77::1/64", "dev", BRIDGE, "nodad"],
            &["link", "set", BRIDGE, "up"],
        ] {
            ip(&[&["-n", name], arguments].concat())?;
        }
        Ok(network)
    }

    /// Name of the namespace, for `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A new tap on the bridge; returns its name.
    pub fn add_tap(&self) -> Result<String> {
        let tap = format!("tap{}", self.taps.fetch_add(1, Ordering::Relaxed));
        let name = self.name.as_str();
        ip(&["-n", name, "tuntap", "add", "dev", &tap, "mode", "tap", "vnet_hdr"])?;
        ip(&["-n", name, "link", "set", &tap, "master", BRIDGE, "up"])?;
        Ok(tap)
    }

    /// Starts DHCP and TFTP: a machine that boots from the network gets `boot.ipxe` of the directory.
    pub fn serve_boot(&mut self, tftp: &Path, log: &Path) -> Result<()> {
        let mut command = self.command("dnsmasq");
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--port=0",
            "--no-ping",
            "--user=root",
        ]);
        command.args(["--interface", BRIDGE, "--bind-interfaces", "--log-dhcp", "--leasefile-ro"]);
        command.args(["--dhcp-range=10.77.0.100,10.77.0.199,255.255.255.0,1h", "--dhcp-authoritative"]);
        command.args(["--enable-ra", "--dhcp-range=fd77::,ra-only"]);
        command.arg(format!("--dhcp-host={NODE_MAC},{NODE},ironbay-node"));
        command.arg(format!("--dhcp-host={HOST_MAC},{HOST},linux-host"));
        command.args(["--dhcp-boot=boot.ipxe", "--enable-tftp"]);
        command.arg(format!("--tftp-root={}", tftp.display()));
        command.arg(format!("--log-facility={}", log.display()));
        self.dnsmasq = Some(Tied::start(&mut command)?);
        Ok(())
    }

    /// Stops DHCP and TFTP.
    pub fn stop_boot(&mut self) {
        self.dnsmasq = None;
    }

    /// A command that runs inside the namespace.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Whether somebody listens at an address inside the namespace.
    pub fn answers(&self, address: SocketAddr, limit: Duration) -> bool {
        self.inside(|| TcpStream::connect_timeout(&address, limit).is_ok()).unwrap_or(false)
    }

    /// Runs something on a thread inside the namespace.
    pub fn inside<T: Send>(&self, what: impl FnOnce() -> T + Send) -> Result<T> {
        let path = namespace_path(&self.name);
        let file = File::open(&path).with_context(|| format!("the namespace {} is gone", self.name))?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                nix::sched::setns(&file, nix::sched::CloneFlags::CLONE_NEWNET)
                    .context("cannot enter the namespace")?;
                Ok(what())
            });
            match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.dnsmasq = None;
        if let Err(error) = ip(&["netns", "del", &self.name]) {
            eprintln!("lab: the namespace {} stays behind: {error:#}", self.name);
        }
    }
}

fn namespace_path(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

fn ip(arguments: &[&str]) -> Result<String> {
    run(Command::new("ip").args(arguments), SETUP)?.ok(&format!("ip {}", arguments.join(" ")))
}

/// Removes namespaces of labs whose process is gone (killed, or the machine was switched off).
fn remove_leftovers() -> Result<()> {
    for (name, owner) in namespaces() {
        if !Path::new("/proc").join(owner.to_string()).exists() {
            ip(&["netns", "del", &name])?;
        }
    }
    Ok(())
}

/// Removes the namespaces of this process, when there is no time to drop what is in them.
pub(crate) fn remove_own() {
    for (name, owner) in namespaces() {
        if owner == std::process::id() {
            // What cannot be removed now is removed at the next start.
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

/// Namespaces of labs, with the process that made each.
fn namespaces() -> Vec<(String, u32)> {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter_map(|name| {
            let owner = name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()?;
            Some((name, owner))
        })
        .collect()
}
