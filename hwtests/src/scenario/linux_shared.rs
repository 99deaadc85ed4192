//! One volume and two hosts: reservations of every type, who may read and write under each, what survives a restart, and
//! write protection.
//!
//! Both hosts are connections of one Linux machine with host NQNs of their own. Its kernel would see two paths to one disk, so
//! it runs without multipath and each has its own block device.

use crate::daemon::PORTAL;
use crate::host::{Answer, HostSpec};
use crate::limits::HOST_COMMAND;
use crate::network::OPERATOR;
use crate::parts::Parts;
use crate::scenario::linux::{Linux, number, text};
use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Identifier of the second host, also in its NQN; the first is the machine itself.
const SECOND: &str = "5f0c3b3e-5d6f-4b0e-9c56-3d1b7a0d9e11";
/// Reservation keys of the two.
const KEYS: [u64; 2] = [0xa11ce, 0xb0b];

/// What somebody who does not hold the reservation may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct May {
    read: bool,
    write: bool,
}

const NOTHING: May = May { read: false, write: false };
const READ: May = May { read: true, write: false };
const ALL: May = May { read: true, write: true };

/// Types of reservations, what a host may do that is not registered, and one that is (Base 2.1 §8.1.22, NVM 1.1 §3.2.3).
const TYPES: [(u64, &str, May, May); 6] = [
    (1, "Write Exclusive", READ, READ),
    (2, "Exclusive Access", NOTHING, NOTHING),
    (3, "Write Exclusive - Registrants Only", READ, ALL),
    (4, "Exclusive Access - Registrants Only", NOTHING, ALL),
    (5, "Write Exclusive - All Registrants", READ, ALL),
    (6, "Exclusive Access - All Registrants", NOTHING, ALL),
];

/// Both hosts, by their block devices.
struct Hosts<'a> {
    linux: &'a mut Linux,
    devices: [String; 2],
}

/// The scenario `linux_shared`.
pub fn run(parts: &Parts, seed: u64) -> Result<()> {
    let arguments = vec!["nvme_core.multipath=N".to_owned()];
    let spec = HostSpec { arguments, ..HostSpec::new(parts) };
    let mut linux = Linux::set_up("linux_shared", seed, parts, &spec)?;
    linux.captured("shared", |linux| {
        let mut hosts = Hosts::connect(linux)?;
        for (kind, name, stranger, registrant) in TYPES {
            hosts.reserve(kind, name, stranger, registrant)?;
        }
        hosts.preempt()?;
        hosts.survives_a_restart()?;
        hosts.write_protection()?;
        linux.host()?.ok("nvme disconnect-all", HOST_COMMAND)?;
        linux.expect_sessions(0).map(|_| ())
    })?;
    linux.passed()
}

impl<'a> Hosts<'a> {
    /// Connects both.
    fn connect(linux: &'a mut Linux) -> Result<Self> {
        let first = linux.connect("data", "-i 1")?.name;
        // nvme-cli 2.3 takes a second connection to one subsystem for a mistake, whoever it is for; the kernel does not.
        let nqn = linux.volume("data")?.nqn;
        let second = linux.host()?.ok(
            &format!(
                "N=nqn.2014-08.org.nvmexpress:uuid:{SECOND}; echo nqn={nqn},transport=tcp,traddr={OPERATOR},trsvcid={PORTAL},\
                 hostnqn=$N,hostid={SECOND},nr_io_queues=1,reconnect_delay=1,ctrl_loss_tmo=600 >/dev/nvme-fabrics && \
                 cd /sys/class/nvme && for c in *; do [ \"$(cat $c/hostnqn)\" != $N ] || echo $c; done"
            ),
            HOST_COMMAND,
        )?;
        let devices = [first.as_str(), second.trim()].map(|host| format!("/dev/{host}n1"));
        for device in &devices {
            linux.host()?.ok(&format!("until [ -b {device} ]; do sleep 0.1; done"), HOST_COMMAND)?;
        }
        linux.host()?.ok("dd if=/dev/urandom of=/run/block bs=4k count=1 2>/dev/null", HOST_COMMAND)?;
        Ok(Self { linux, devices })
    }

    /// Runs an nvme command on one host's device.
    fn run(&mut self, host: usize, command: &str, options: &str) -> Result<Answer> {
        let device = &self.devices[host];
        self.linux.host()?.run(&format!("nvme {command} {device} {options}"), HOST_COMMAND)
    }

    fn ok(&mut self, host: usize, command: &str, options: &str) -> Result<String> {
        self.run(host, command, options)?.ok(&format!("nvme {command} {options}"))
    }

    /// What a host may do now, found out by doing it; a refusal must be the one that is expected.
    fn may(&mut self, host: usize, refusal: &str) -> Result<May> {
        let mut tried = [false; 2];
        for (may, command, file) in [(0, "read", "/run/other"), (1, "write", "/run/block")] {
            let answer = self.run(host, command, &format!("-s 0 -c 0 -z 4096 -d {file}"))?;
            tried[may] = answer.code == 0;
            ensure!(
                answer.code == 0 || answer.text.contains(refusal),
                "{command} by host {host} was refused with another reason than {refusal:?}: {}",
                answer.text.trim()
            );
        }
        let [read, write] = tried;
        Ok(May { read, write })
    }

    fn expect(&mut self, host: usize, who: &str, wanted: May) -> Result<()> {
        let found = self.may(host, "Reservation Conflict")?;
        ensure!(found == wanted, "{who} may {found:?}, should be {wanted:?}");
        Ok(())
    }

    fn register(&mut self, host: usize, options: &str) -> Result<()> {
        let key = KEYS[host];
        self.ok(host, "resv-register", &format!("-n 1 --nrkey={key:#x} --rrega=0 {options}")).map(|_| ())
    }

    /// Type, generation and registrants of the reservation, as a host reads them.
    fn report(&mut self, host: usize) -> Result<Value> {
        let device = &self.devices[host];
        self.linux.host()?.json(&format!("nvme resv-report {device} -n 1 -e -o json"), HOST_COMMAND)
    }

    fn expect_report(&mut self, kind: u64, keys: &[u64]) -> Result<Value> {
        let report = self.report(1)?;
        ensure!(number(&report, "rtype")? == kind, "the type is not {kind}: {report}");
        ensure!(number(&report, "regctl")? == keys.len() as u64, "not {} registrants: {report}", keys.len());
        let list = report.get("regctlext").or_else(|| report.get("regctls"));
        let list = list.and_then(Value::as_array).cloned().unwrap_or_default();
        let mut found = list.iter().map(|entry| number(entry, "rkey")).collect::<Result<Vec<_>>>()?;
        found.sort_unstable();
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        ensure!(found == keys, "the keys are {found:x?}, not {keys:x?}");
        Ok(report)
    }

    /// One type of reservation, from its first registration to its last.
    fn reserve(&mut self, kind: u64, name: &str, stranger: May, registrant: May) -> Result<()> {
        let (holder, other) = (KEYS[0], KEYS[1]);
        self.step(&format!("reservation {kind}, {name}"), |hosts| {
            let before = number(&hosts.expect_report(0, &[])?, "gen")?;
            hosts.register(0, "")?;
            hosts.ok(0, "resv-acquire", &format!("-n 1 --crkey={holder:#x} --rtype={kind} --racqa=0"))?;
            hosts.expect_report(kind, &[holder])?;
            hosts.expect(1, "a stranger", stranger)?;
            hosts.register(1, "")?;
            hosts.expect_report(kind, &[holder, other])?;
            hosts.expect(1, "a registrant", registrant)?;
            hosts.expect(0, "the holder", ALL)?;
            let wrong =
                hosts.run(1, "resv-acquire", &format!("-n 1 --crkey=0x777 --rtype={kind} --racqa=0"))?;
            ensure!(wrong.text.contains("Reservation Conflict"), "a wrong key was taken: {}", wrong.text);
            hosts.ok(0, "resv-release", &format!("-n 1 --crkey={holder:#x} --rtype={kind} --rrela=0"))?;
            hosts.expect(1, "anybody, after the release,", ALL)?;
            for host in [1, 0] {
                let key = KEYS[host];
                hosts.ok(host, "resv-register", &format!("-n 1 --crkey={key:#x} --rrega=1"))?;
            }
            let after = number(&hosts.expect_report(0, &[])?, "gen")?;
            ensure!(after > before, "the generation went from {before} to {after}");
            Ok(((), format!("stranger {stranger:?}, registrant {registrant:?}")))
        })
    }

    /// A registrant takes the reservation away, and the former holder is a stranger; then everything is cleared.
    fn preempt(&mut self) -> Result<()> {
        let (holder, other) = (KEYS[0], KEYS[1]);
        self.step("preempt and clear", |hosts| {
            hosts.register(0, "")?;
            hosts.register(1, "")?;
            hosts.ok(0, "resv-acquire", &format!("-n 1 --crkey={holder:#x} --rtype=1 --racqa=0"))?;
            hosts.ok(
                1,
                "resv-acquire",
                &format!("-n 1 --crkey={other:#x} --prkey={holder:#x} --rtype=2 --racqa=1"),
            )?;
            hosts.expect_report(2, &[other])?;
            hosts.expect(0, "the former holder", NOTHING)?;
            hosts.expect(1, "the new holder", ALL)?;
            hosts.ok(1, "resv-release", &format!("-n 1 --crkey={other:#x} --rrela=1"))?;
            hosts.expect_report(0, &[])?;
            hosts.expect(0, "anybody, after the clearing,", ALL)?;
            Ok(((), String::new()))
        })
    }

    /// A reservation that shall survive the loss of power survives the end of the daemon.
    fn survives_a_restart(&mut self) -> Result<()> {
        let holder = KEYS[0];
        self.step("a persistent reservation survives the daemon", |hosts| {
            hosts.register(0, "--cptpl=3")?;
            hosts.ok(0, "resv-acquire", &format!("-n 1 --crkey={holder:#x} --rtype=2 --racqa=0"))?;
            hosts.restart()?;
            let report = hosts.expect_report(2, &[holder])?;
            ensure!(number(&report, "ptpls")? == 1, "{report}");
            hosts.expect(0, "the holder", ALL)?;
            hosts.expect(1, "a stranger", NOTHING)?;
            hosts.ok(0, "resv-release", &format!("-n 1 --crkey={holder:#x} --rrela=1"))?;
            hosts.expect_report(0, &[])?;
            Ok(((), String::new()))
        })
    }

    /// A protected volume takes no write from anybody, also after a restart.
    fn write_protection(&mut self) -> Result<()> {
        self.step("write protection", |hosts| {
            hosts.ok(0, "set-feature", "-n 1 -f 0x84 -v 1")?;
            for host in [0, 1] {
                let may = hosts.may(host, "Write Protected")?;
                ensure!(may == READ, "host {host} may {may:?} on a protected volume");
            }
            let device = &hosts.devices[1];
            let id = hosts.linux.host()?.json(&format!("nvme id-ns {device} -n 1 -o json"), HOST_COMMAND)?;
            ensure!(number(&id, "nsattr")? & 1 == 1, "Identify does not tell: {id}");
            hosts.restart()?;
            let may = hosts.may(1, "Write Protected")?;
            ensure!(may == READ, "after a restart host 1 may {may:?}");
            hosts.ok(1, "set-feature", "-n 1 -f 0x84 -v 0")?;
            for host in [0, 1] {
                let may = hosts.may(host, "Write Protected")?;
                ensure!(may == ALL, "host {host} may {may:?} when the protection is off");
            }
            Ok(((), String::new()))
        })
    }

    /// Kills the daemon, starts it, and waits until both hosts are back.
    fn restart(&mut self) -> Result<()> {
        self.linux.daemon.kill();
        self.linux.daemon.start(&self.linux.lab.network)?;
        let sessions = self.linux.expect_sessions(2)?;
        let mut names = sessions.iter().map(|s| text(s, "host_nqn")).collect::<Result<Vec<_>>>()?;
        names.dedup();
        ensure!(names.len() == 2, "both sessions are of {names:?}");
        let wait = "until [ $(cat /sys/class/nvme/nvme*/state | grep -c live) = 2 ]; do sleep 0.1; done";
        self.linux.host()?.ok(wait, HOST_COMMAND).context("both hosts connect again").map(|_| ())
    }

    fn step(&mut self, name: &str, what: impl FnOnce(&mut Self) -> Result<((), String)>) -> Result<()> {
        let steps = self.linux.lab.steps.clone();
        steps.step(name, || what(self))
    }
}
