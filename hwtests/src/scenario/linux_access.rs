//! Who may use which volume, and who is told: lists of allowed hosts that change under a connected Linux host, and a discovery
//! controller that stays and hears of every change.
//!
//! Not here: that a host is disconnected and no longer told of a subsystem when it may use nothing of it any more. The daemon of the
//! lab is in insecure mode, where everybody may connect; `engine/src/tests/access.rs` has it.

use crate::daemon::DISCOVERY;
use crate::host::{HOST_NQN, HostSpec};
use crate::limits::HOST_COMMAND;
use crate::network::OPERATOR;
use crate::parts::Parts;
use crate::scenario::first_light::device;
use crate::scenario::linux::{Controller, Linux, MIB, SPARE_DRIVE, text};
use crate::scenario::linux_volumes::same_controller;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeSet;

/// Somebody else.
const OTHER: &str = "nqn.2014-08.org.nvmexpress:uuid:5f0c3b3e-5d6f-4b0e-9c56-3d1b7a0d9e11";
/// The event "discovery log page change" as Linux tells it to user space: log page, information, type (Base 2.1 §5.1.2.1).
const DISCOVERY_CHANGED: &str = "NVME_AEN=0x70f002";

/// The scenario `linux_access`.
pub fn run(parts: &Parts, seed: u64) -> Result<()> {
    let mut linux = Linux::set_up("linux_access", seed, parts, &HostSpec::new(parts))?;
    linux.captured("lists", lists)?;
    linux.captured("discovery", |linux| {
        let staying = stay(linux)?;
        pools_are_announced(linux, &staying)?;
        linux.disconnect(&staying)
    })?;
    linux.passed()
}

/// A volume of others in a subsystem that the host uses: it is not there, comes when it is granted, and goes when it is taken away.
fn lists(linux: &mut Linux) -> Result<()> {
    let controller = linux.connect("data", "")?;
    linux.forget_kernel_log()?;
    let shared = linux.step("a volume of another host does not exist for this one", |linux| {
        let size = (32 * MIB).to_string();
        let made = linux.ask(&[
            "volume",
            "create",
            "shared",
            "--pool",
            "fast",
            "--size",
            &size,
            "--allow-host",
            OTHER,
        ])?;
        let shared = crate::manage::volumes_of_api(&Value::Array(vec![made]))?.pop().context("a volume")?;
        // What is told later has been told before: when this one is seen, the other one would have been.
        let seen = linux.create_volume("seen", "fast", 32 * MIB)?;
        device(linux.host()?, &seen.uuid)?;
        let listed = namespaces(linux, &controller)?;
        ensure!(
            !listed.contains(&shared.nsid) && listed.contains(&seen.nsid),
            "the host sees the namespaces {listed:?}; {} is not for it",
            shared.nsid
        );
        let identify = format!("nvme id-ns /dev/{} -n {} -o json", controller.name, shared.nsid);
        let answer = linux.host()?.run(&identify, HOST_COMMAND)?;
        ensure!(
            answer.code != 0 || answer.text.contains("\"nsze\":0"),
            "the host can identify it: {}",
            answer.text
        );
        Ok((shared, format!("namespaces {listed:?}")))
    })?;
    let device_of_shared = linux.step("granted, it appears by itself", |linux| {
        linux.ask(&["volume", "hosts", "shared", "--allow-host", OTHER, "--allow-host", HOST_NQN])?;
        let device = device(linux.host()?, &shared.uuid)?;
        let write = format!(
            "dd if=/dev/urandom of=/run/mine bs=1M count=2 2>/dev/null && dd if=/run/mine of={device} bs=1M oflag=direct 2>/dev/null"
        );
        linux.host()?.ok(&write, HOST_COMMAND)?;
        Ok((device.clone(), device))
    })?;
    linux.step("taken away, it disappears", |linux| {
        linux.ask(&["volume", "hosts", "shared", "--allow-host", OTHER])?;
        linux.host()?.ok(&format!("while [ -b {device_of_shared} ]; do sleep 0.1; done"), HOST_COMMAND)?;
        let listed = namespaces(linux, &controller)?;
        ensure!(!listed.contains(&shared.nsid), "it is still listed: {listed:?}");
        linux.expect_sessions(1)?;
        Ok(((), String::new()))
    })?;
    linux.step("granted again, it holds what the host wrote", |linux| {
        linux.ask(&["volume", "hosts", "shared", "--allow-host", HOST_NQN])?;
        let device = device(linux.host()?, &shared.uuid)?;
        linux.host()?.ok(
            &format!("dd if={device} bs=1M count=2 iflag=direct 2>/dev/null | cmp - /run/mine"),
            HOST_COMMAND,
        )?;
        Ok(((), device))
    })?;
    same_controller(linux, &controller)?;
    for volume in ["shared", "seen"] {
        linux.ask(&["volume", "delete", volume, "--force"])?;
    }
    linux.disconnect(&controller)
}

/// Active namespaces of a controller, asked anew.
fn namespaces(linux: &mut Linux, controller: &Controller) -> Result<BTreeSet<u64>> {
    let list = linux.host()?.json(&format!("nvme list-ns /dev/{} -o json", controller.name), HOST_COMMAND)?;
    let entries = list.get("nsid_list").and_then(Value::as_array).context("no list of namespaces")?;
    entries.iter().map(|entry| crate::scenario::linux::number(entry, "nsid")).collect()
}

/// A discovery controller that stays connected, and a listener for what the kernel tells user space.
fn stay(linux: &mut Linux) -> Result<Controller> {
    linux.step("nvme discover --persistent", |linux| {
        // The program is started for every event, with what the kernel says of it in its environment.
        linux.host()?.start_job("uevent", ">/run/uevents; uevent sh -c 'env | grep ^NVME_AEN >>/run/uevents'")?;
        let command = format!("nvme discover -t tcp -a {OPERATOR} -s {DISCOVERY} --persistent -o json");
        linux.host()?.ok(&command, HOST_COMMAND)?;
        let find = "cd /sys/class/nvme && for c in nvme*; do [ \"$(cat $c/cntrltype)\" = discovery ] && echo $c; done";
        let name = linux.host()?.ok(find, HOST_COMMAND)?.trim().to_owned();
        let nqn = linux.host()?.ok(&format!("cat /sys/class/nvme/{name}/subsysnqn"), HOST_COMMAND)?;
        Ok((Controller { name: name.clone(), nqn: nqn.trim().to_owned() }, name))
    })
}

/// The subsystems that the staying controller tells.
fn told(linux: &mut Linux, staying: &Controller) -> Result<BTreeSet<String>> {
    let command = format!("nvme discover -t tcp -a {OPERATOR} -s {DISCOVERY} -d {} -o json", staying.name);
    let answer = linux.host()?.json(&command, HOST_COMMAND)?;
    // nvme-cli 2.3 retains the event to the end of a log of more than 4 KiB, and a retained event is not told again
    // (Base 2.1 §5.1.12).
    let release = format!("nvme get-log /dev/{} -i 0x70 -l 1024 -b >/dev/null", staying.name);
    linux.host()?.ok(&release, HOST_COMMAND)?;
    let records = answer.get("records").and_then(Value::as_array).context("no records")?;
    records.iter().map(|record| Ok(text(record, "subnqn")?.to_owned())).collect()
}

/// Makes a change, waits until the host's kernel has heard of it, and reads the log.
fn announced(
    linux: &mut Linux,
    staying: &Controller,
    change: impl FnOnce(&mut Linux) -> Result<()>,
) -> Result<BTreeSet<String>> {
    let count = format!("grep -c {DISCOVERY_CHANGED} /run/uevents || true");
    let before: u64 = linux.host()?.ok(&count, HOST_COMMAND)?.trim().parse()?;
    change(linux)?;
    let wait =
        format!("until [ $(grep -c {DISCOVERY_CHANGED} /run/uevents) -gt {before} ]; do sleep 0.1; done");
    linux.host()?.ok(&wait, HOST_COMMAND).context("no event arrived")?;
    told(linux, staying)
}

/// A new pool is a new subsystem.
fn pools_are_announced(linux: &mut Linux, staying: &Controller) -> Result<()> {
    let first = told(linux, staying)?;
    linux.step("a new pool is announced", |linux| {
        let now = announced(linux, staying, |linux| {
            linux.ask(&["pool", "create", "third", "--drive", SPARE_DRIVE])?;
            linux.create_volume("third", "third", 32 * MIB).map(|_| ())
        })?;
        // The event may come between pool and volume; the record is there when the subsystem is.
        let new: Vec<_> = now.difference(&first).cloned().collect();
        ensure!(now.len() == first.len() + 1, "after {first:?} the log names {now:?}");
        Ok(((), new.join(" ")))
    })?;
    linux.step("it is deleted, and that is announced", |linux| {
        let now = announced(linux, staying, |linux| {
            linux.ask(&["volume", "delete", "third", "--force"])?;
            linux.ask(&["pool", "delete", "third"]).map(|_| ())
        })?;
        ensure!(now == first, "the log names {now:?}, not {first:?}");
        Ok(((), String::new()))
    })
}
