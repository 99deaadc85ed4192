//! What the scenarios with a Linux host and a daemon without a machine have in common: two pools with volumes, connections,
//! captures that Wireshark judges.

use crate::capture::Capture;
use crate::daemon::{Daemon, PORTAL};
use crate::host::{Host, HostSpec};
use crate::lab::{Lab, LabSpec};
use crate::limits::{CAPTURE_MIB, HOST_COMMAND, LOOK_AGAIN};
use crate::manage::{Volume, volumes_of_api};
use crate::network::OPERATOR;
use crate::parts::Parts;
use crate::scenario::first_light::{device, size_of};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::Instant;

/// A mebibyte.
pub const MIB: u64 = 1 << 20;

/// The pools, which are subsystems, each with the serial number of its drive.
pub const POOLS: [(&str, &str); 2] = [("fast", "LAB01"), ("slow", "LAB02")];
/// A drive that belongs to no pool.
pub const SPARE_DRIVE: &str = "LAB03";
/// The volumes at first: name, pool, size.
pub const VOLUMES: [(&str, &str, u64); 2] = [("data", "fast", 256 * MIB), ("log", "slow", 64 * MIB)];

/// For scripts on the host that change the volume `$D`: `expect` compares its first MiB with what it should hold.
pub const EXPECT: &str = "expect() { dd if=$D of=/run/found bs=64k count=16 iflag=direct 2>/dev/null && cmp /run/want /run/found; }\n";

/// What a kernel says when it met something that it did not expect of a controller.
const COMPLAINTS: &str =
    "nvme.*(bug|timeout|error|fail|invalid|mismatch|bogus|bad|unsupported|duplicate)|WARNING:|BUG:|Oops";

/// A Linux host, and a daemon that serves it.
pub struct Linux {
    /// The lab; its node stays off.
    pub lab: Lab,
    /// The daemon.
    pub daemon: Daemon,
    /// Volumes as they were at first.
    pub volumes: Vec<Volume>,
}

/// A connection of the host to one subsystem.
#[derive(Debug, Clone)]
pub struct Controller {
    /// Name on the host, such as "nvme0".
    pub name: String,
    /// The subsystem.
    pub nqn: String,
}

impl Linux {
    /// Starts the daemon, makes pools and volumes, starts the host.
    pub fn set_up(scenario: &str, seed: u64, parts: &Parts, host: &HostSpec) -> Result<Self> {
        let mut spec = LabSpec::new(scenario, seed);
        spec.drives.clear();
        let lab = Lab::set_up(&spec, parts)?;
        let [first, second] = POOLS.map(|(_, serial)| serial);
        let daemon = Daemon::new(parts, &lab.dir, &[first, second, SPARE_DRIVE]);
        let mut linux = Self { lab, daemon, volumes: Vec::new() };
        linux.step("ironbayd starts, with two pools and a volume in each", |linux| {
            let took = linux.daemon.start(&linux.lab.network)?;
            for (pool, serial) in POOLS {
                linux.ask(&["pool", "create", pool, "--drive", serial])?;
            }
            for (name, pool, size) in VOLUMES {
                linux.create_volume(name, pool, size)?;
            }
            linux.volumes = volumes_of_api(&linux.ask(&["volume", "list"])?)?;
            Ok(((), format!("serves after {:.1} s", took.as_secs_f64())))
        })?;
        linux.lab.start_host_as(host)?;
        Ok(linux)
    }

    /// The run went well.
    pub fn passed(mut self) -> Result<()> {
        self.step("ironbayd ends in order", |linux| {
            linux.daemon.stop()?;
            Ok(((), String::new()))
        })?;
        self.lab.passed();
        Ok(())
    }

    /// One step that is printed with its time.
    pub fn step<T>(&mut self, name: &str, what: impl FnOnce(&mut Self) -> Result<(T, String)>) -> Result<T> {
        let steps = self.lab.steps.clone();
        steps.step(name, || what(self))
    }

    /// Steps during which the network is captured; then Wireshark has its say.
    pub fn captured(&mut self, name: &str, what: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let capture = Capture::start(&self.lab.network, &self.lab.dir, name, CAPTURE_MIB)?;
        what(self)?;
        self.step(&format!("Wireshark reads what was said ({name})"), |_| {
            Ok(((), capture.finish()?.good(name)?))
        })
    }

    /// The Linux host.
    pub fn host(&mut self) -> Result<&mut Host> {
        self.lab.host()
    }

    /// Asks the daemon.
    pub fn ask(&self, arguments: &[&str]) -> Result<Value> {
        self.daemon.ask(&self.lab.network, arguments)
    }

    /// Makes a volume.
    pub fn create_volume(&self, name: &str, pool: &str, size_bytes: u64) -> Result<Volume> {
        let size = size_bytes.to_string();
        let made = self.ask(&["volume", "create", name, "--pool", pool, "--size", &size])?;
        let mut volumes = volumes_of_api(&Value::Array(vec![made]))?;
        volumes.pop().context("the daemon made no volume")
    }

    /// A volume by name.
    pub fn volume(&self, name: &str) -> Result<Volume> {
        let found = self.volumes.iter().find(|v| v.name == name);
        found.cloned().with_context(|| format!("there is no volume {name:?}"))
    }

    /// Connects to the subsystem of a volume.
    pub fn connect(&mut self, volume: &str, options: &str) -> Result<Controller> {
        let nqn = self.volume(volume)?.nqn;
        let command = format!(
            "nvme connect -t tcp -a {OPERATOR} -s {PORTAL} -n {nqn} --reconnect-delay=1 --ctrl-loss-tmo=600 -o json {options}"
        );
        let answer = self.host()?.json(&command, HOST_COMMAND)?;
        let name = answer.get("device").and_then(Value::as_str);
        let name = name.with_context(|| format!("`{command}` names no device: {answer}"))?.to_owned();
        Ok(Controller { name, nqn })
    }

    /// Disconnects, and waits until the daemon has no session left.
    pub fn disconnect(&mut self, controller: &Controller) -> Result<()> {
        self.host()?.ok(&format!("nvme disconnect -d {}", controller.name), HOST_COMMAND)?;
        self.expect_sessions(0).map(|_| ())
    }

    /// Waits until the daemon has so many sessions, and returns them.
    pub fn expect_sessions(&mut self, wanted: usize) -> Result<Vec<Value>> {
        let until = Instant::now() + HOST_COMMAND;
        loop {
            let answer = self.ask(&["session", "list"])?;
            let list = answer.get("sessions").unwrap_or(&answer).as_array().cloned();
            let list = list.with_context(|| format!("not a list of sessions: {answer}"))?;
            if list.len() == wanted {
                return Ok(list);
            }
            ensure!(Instant::now() < until, "the daemon has {} sessions, not {wanted}: {answer}", list.len());
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// The block device of a volume on the host.
    pub fn device(&mut self, volume: &str) -> Result<String> {
        let uuid = self.volume(volume)?.uuid;
        device(self.host()?, &uuid)
    }

    /// Makes a volume larger; the host sees it without being asked to look.
    pub fn grow(&mut self, volume: &str, device: &str, mib: u64) -> Result<()> {
        self.ask(&["volume", "resize", volume, "--size", &format!("{mib}MiB")])?;
        let until = Instant::now() + HOST_COMMAND;
        while size_of(self.host()?, device)? != mib * MIB {
            ensure!(Instant::now() < until, "{device} does not grow");
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Forgets what the kernel has said so far.
    pub fn forget_kernel_log(&mut self) -> Result<()> {
        self.host()?.ok("dmesg -c >/dev/null", HOST_COMMAND).map(|_| ())
    }

    /// Checks that the host's kernel has not complained since [`Self::forget_kernel_log`].
    pub fn expect_no_complaints(&mut self) -> Result<()> {
        self.step("the host's kernel has no complaints", |linux| {
            let found = linux.host()?.run(&format!("dmesg | grep -iE '{COMPLAINTS}'"), HOST_COMMAND)?;
            ensure!(found.code == 1, "the host's kernel says:\n{}", found.text);
            Ok(((), String::new()))
        })
    }
}

/// A number of an answer in JSON, which may stand there as text.
pub fn number(value: &Value, key: &str) -> Result<u64> {
    let found = value.get(key).and_then(|v| v.as_u64().or_else(|| v.as_str()?.parse().ok()));
    found.with_context(|| format!("no number {key:?} in {value}"))
}

/// A text of an answer in JSON, without the spaces at its end.
pub fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    let found = value.get(key).and_then(Value::as_str);
    Ok(found.with_context(|| format!("no text {key:?} in {value}"))?.trim_end())
}
