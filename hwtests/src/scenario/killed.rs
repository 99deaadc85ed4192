//! The engine is killed under PID 1 while a Linux host writes: the node starts it again, and nothing is lost.
//!
//! An appliance has no shell, so the kill comes from its kernel: over the serial line one may ask it to end every process but PID 1
//! (a break, then `i`; `Documentation/admin-guide/sysrq.rst`). That takes engine, agent, DHCP client and console at once.

use crate::fio;
use crate::lab::{Lab, LabSpec};
use crate::limits::{CONSOLE_ANSWER, HOST_WORK};
use crate::parts::Parts;
use crate::qemu::Machine;
use crate::scenario::first_light::{FirstLight, device, parts as steps_and_host};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use sim::Random;
use std::time::Duration;

/// How often. PID 1 waits longer before each start while a service does not stay.
const KILLS: u32 = 2;
/// A kill comes so long after the start of fio at most, or after the host was back. fio has to be at work then, so it pauses:
/// it takes 20 s at least, not counting the time without a target.
const KILL_WITHIN_MS: u64 = 4000;

/// The scenario `killed`.
pub fn run(parts: &Parts, seed: u64) -> Result<()> {
    let mut spec = LabSpec::new("killed", seed);
    spec.arguments.push("sysrq_always_enabled=1".to_owned());
    let mut light = FirstLight::set_up(&spec, parts)?;
    light.boot()?;
    light.apply()?;
    light.connect()?;
    light.write_files()?;
    let log = light.volume("log")?.uuid.clone();
    let (steps, host) = steps_and_host(&mut light.lab)?;
    steps.step("fio starts with crc32c verification", || {
        let target = device(host, &log)?;
        host.start_job("fio", &fio::verify_slowly(&target, 32, seed))?;
        Ok(((), target))
    })?;
    let mut random = Random(seed);
    for _ in 0..KILLS {
        std::thread::sleep(Duration::from_millis(random.below(KILL_WITHIN_MS)));
        kill(&mut light.lab)?;
        comes_back(&mut light)?;
    }
    let (steps, host) = steps_and_host(&mut light.lab)?;
    steps.step("fio ends with every block verified", || {
        let said = host.finish("fio", HOST_WORK)?.ok("fio")?;
        Ok(((), fio::verified(&said)?))
    })?;
    light.everything_is_there()?;
    light.destroy()?;
    light.lab.passed();
    Ok(())
}

/// Kills every process of the node but PID 1, which says that the engine ended by this signal.
fn kill(lab: &mut Lab) -> Result<()> {
    let Lab { steps, node, host, .. } = lab;
    let is_over = host.as_mut().context("the Linux host is off")?.has_finished("fio")?;
    let machine = node.machine.as_mut().context("the node is off")?;
    steps.step("the engine is killed", || {
        let position = machine.console()?.position();
        ensure!(!is_over, "fio had ended before: nobody was writing");
        sysrq(machine, 'i')?;
        machine.console()?.wait(position, "run engine: signal 9 (SIGKILL)", CONSOLE_ANSWER)?;
        Ok(((), "fio was at work".to_owned()))
    })
}

/// A command to the kernel of a machine, over its serial line.
fn sysrq(machine: &mut Machine, key: char) -> Result<()> {
    machine.qmp.execute("chardev-send-break", &json!({ "id": "ser0" }))?;
    machine.console()?.send(&key.to_string())
}

/// PID 1 starts everything again, and a read of the host ends.
fn comes_back(light: &mut FirstLight) -> Result<()> {
    let data = light.volume("data")?.uuid.clone();
    let Lab { steps, node, network, .. } = &mut light.lab;
    steps.step("PID 1 starts everything again", || Ok((node.wait_api(network)?, String::new())))?;
    let (steps, host) = steps_and_host(&mut light.lab)?;
    steps.step("the host's IO goes on", || {
        let device = device(host, &data)?;
        host.ok(&format!("dd if={device} of=/dev/null bs=4k count=1 iflag=direct"), HOST_WORK)?;
        Ok(((), String::new()))
    })
}
