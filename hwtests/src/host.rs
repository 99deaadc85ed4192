//! The Linux host: Debian's kernel and programs, used the way an administrator would.
//!
//! Commands go over a line of their own (`/dev/hvc0`), so that kernel messages never mix with answers; the protocol is in
//! `guest-init.sh`. The serial console shows every command with its output.

use crate::limits::{BOOT_TRIES, HOST_COMMAND, HOST_READY};
use crate::network::{HOST, HOST_MAC, Network};
use crate::parts::Parts;
use crate::qemu::{Boot, Machine, MachineSpec, Nic, NicModel};
use crate::serial::{Serial, Silence};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The host's NQN; its form is the one of nvme-cli.
pub const HOST_NQN: &str = "nqn.2014-08.org.nvmexpress:uuid:0d5bcb6c-6b0c-4e55-8f0e-9a5c1f6f7710";

/// What a Linux host is made of.
#[derive(Debug, Clone)]
pub struct HostSpec {
    /// Kernel.
    pub kernel: PathBuf,
    /// First file system, with the modules of that kernel.
    pub initrd: PathBuf,
    /// Processors: Linux makes no more I/O queues of a kind than it has processors.
    pub cpus: u32,
    /// Memory.
    pub memory_mib: u32,
    /// Whether the processors are at work at the same time.
    pub has_thread_per_cpu: bool,
    /// Kernel arguments beside the usual ones. `MODULE.OPTION=VALUE` reaches a module.
    pub arguments: Vec<String>,
}

impl HostSpec {
    /// The usual host: the kernel of the image, one processor.
    pub fn new(parts: &Parts) -> Self {
        Self::with(parts.kernel.clone(), parts.host.clone())
    }

    /// The usual host with another kernel.
    pub fn with(kernel: PathBuf, initrd: PathBuf) -> Self {
        Self { kernel, initrd, cpus: 1, memory_mib: 768, has_thread_per_cpu: false, arguments: Vec::new() }
    }
}

/// A running Linux host.
#[derive(Debug)]
pub struct Host {
    /// The machine.
    pub machine: Machine,
    commands: u64,
}

/// How a command on the host ended.
#[derive(Debug)]
pub struct Answer {
    /// Exit code.
    pub code: i32,
    /// What it printed, complaints included.
    pub text: String,
}

impl Host {
    /// Switches the host on and waits until it takes commands.
    pub fn start(host: &HostSpec, network: &Network, dir: &Path) -> Result<Self> {
        let spec = MachineSpec {
            name: "host".to_owned(),
            cpus: host.cpus,
            has_thread_per_cpu: host.has_thread_per_cpu,
            memory_mib: host.memory_mib,
            nic: Nic { model: NicModel::Virtio, mac: HOST_MAC.to_owned() },
            boot: Boot::Direct {
                kernel: host.kernel.clone(),
                initrd: host.initrd.clone(),
                arguments: format!(
                    "console=ttyS0 no_timer_check panic=-1 random.trust_cpu=on net.ifnames=0 lab.address={HOST}/24 {}",
                    host.arguments.join(" ")
                ),
            },
            drives: Vec::new(),
            has_iommu: false,
            has_command_line: true,
        };
        let mut tries = 0;
        loop {
            tries += 1;
            let mut host = Self { machine: spec.power_on(network, dir)?, commands: 0 };
            match host.wait_ready() {
                Ok(()) => return Ok(host),
                Err(error) if tries < BOOT_TRIES && host.machine.is_unlucky() => {
                    eprintln!("lab: the host's boot fell to the emulation, once more: {error:#}");
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn wait_ready(&mut self) -> Result<()> {
        self.line()?.wait(0, "READY", HOST_READY).with_context(|| {
            format!(
                "the Linux host does not take commands; its console said last:\n{}",
                self.machine.last_lines()
            )
        })?;
        self.run("echo $PATH", HOST_COMMAND)?.ok("a first command")?;
        Ok(())
    }

    fn line(&self) -> Result<&Serial> {
        self.machine.commands.as_ref().context("the host has no command line")
    }

    /// Runs a shell command to its end.
    pub fn run(&mut self, command: &str, limit: Duration) -> Result<Answer> {
        let position = self.line()?.position();
        let id = self.send(command)?;
        self.answer(id, position, command, limit)
    }

    /// Runs a command that must end well, and returns what it printed.
    pub fn ok(&mut self, command: &str, limit: Duration) -> Result<String> {
        self.run(command, limit)?.ok(command)
    }

    /// Runs a command that must end well and print JSON; lines before it (warnings of nvme-cli) are skipped.
    pub fn json(&mut self, command: &str, limit: Duration) -> Result<Value> {
        let text = self.ok(command, limit)?;
        let start = text.find(['{', '[']).unwrap_or(0);
        serde_json::from_str(&text[start..])
            .with_context(|| format!("on the Linux host, `{command}` did not answer with JSON:\n{text}"))
    }

    /// Starts a command in the background; [`Host::finish`] waits for it.
    pub fn start_job(&mut self, name: &str, command: &str) -> Result<()> {
        let script = base64(command.as_bytes());
        let job = format!(
            "rm -f /run/{name}.code; echo {script} | base64 -d >/run/{name}.sh; \
             (sh /run/{name}.sh >/run/{name}.out 2>&1; echo $? >/run/{name}.code) </dev/null >/dev/null 2>&1 &"
        );
        self.ok(&job, HOST_COMMAND).map(|_| ())
    }

    /// Waits for the end of a background command.
    pub fn finish(&mut self, name: &str, limit: Duration) -> Result<Answer> {
        let wait = format!(
            "while ! [ -s /run/{name}.code ]; do sleep 0.2; done; cat /run/{name}.out; exit $(cat /run/{name}.code)"
        );
        self.run(&wait, limit).with_context(|| format!("the background command {name:?} on the host"))
    }

    /// Whether a background command has ended.
    pub fn has_finished(&mut self, name: &str) -> Result<bool> {
        Ok(self.run(&format!("[ -s /run/{name}.code ]"), HOST_COMMAND)?.code == 0)
    }

    fn send(&mut self, command: &str) -> Result<u64> {
        self.commands += 1;
        let id = self.commands;
        self.line()?.send(&format!("{id} {}\n", base64(command.as_bytes())))?;
        Ok(id)
    }

    fn answer(&self, id: u64, from: usize, command: &str, limit: Duration) -> Result<Answer> {
        let line = self.line()?;
        let (begin, end) = (format!("BEGIN {id}\n"), format!("END {id} "));
        let wait = |from: usize, text: &str, limit: Duration| match line.wait_any(from, &[text], limit) {
            Ok((_, position)) => Ok(position),
            Err(silence) => {
                let how = match silence {
                    Silence::Late => format!("did not end within {} s", limit.as_secs()),
                    Silence::Closed => "did not end: the host is gone".to_owned(),
                };
                bail!(
                    "on the Linux host, `{command}` {how}; its console said last:\n{}",
                    self.machine.last_lines()
                )
            }
        };
        let start = wait(from, &begin, limit)?;
        let stop = wait(start, &end, HOST_COMMAND)?;
        let after = wait(stop, "\n", HOST_COMMAND)?;
        let text = line.since(start);
        let encoded = &text[..stop - start - end.len()];
        let code = text[stop - start..after - start].trim();
        Ok(Answer {
            code: code.parse().with_context(|| format!("the host answered with the exit code {code:?}"))?,
            text: String::from_utf8_lossy(&unbase64(encoded)).into_owned(),
        })
    }
}

impl Answer {
    /// What a command that ended well printed; otherwise an error with all it said.
    pub fn ok(self, what: &str) -> Result<String> {
        if self.code == 0 {
            return Ok(self.text);
        }
        bail!("on the Linux host, `{what}` failed with exit code {}:\n{}", self.code, self.text.trim())
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |g, b| g << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = ALPHABET[(group >> (18 - 6 * place)) as usize & 63];
            text.push(if place > chunk.len() { '=' } else { char::from(digit) });
        }
    }
    text
}

/// Everything that is no digit (line ends, padding) is skipped.
fn unbase64(text: &str) -> Vec<u8> {
    let digits = text.bytes().filter_map(|c| ALPHABET.iter().position(|a| *a == c));
    let mut bytes = Vec::new();
    let (mut group, mut bits) = (0usize, 0);
    for digit in digits {
        group = (group << 6 | digit) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((group >> bits) & 0xff).unwrap_or_default());
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::{base64, unbase64};

    /// Goal: commands and answers survive the line, whatever is in them.
    #[test]
    fn base64_round_trip() {
        // RFC 4648 §10.
        for (plain, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(plain.as_bytes()), encoded);
            assert_eq!(unbase64(encoded), plain.as_bytes());
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unbase64(&base64(&all).replace('A', "A\r\n")), all);
    }
}
