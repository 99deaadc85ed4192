//! A boot in which much is wrong: an unknown kernel argument, a bad value, no drive, and no DHCP server when the kernel asks.
//!
//! Each gets a line on the serial console that names the object and the remedy, the boot goes on, and when the DHCP
//! server is back the node comes up by itself.

use crate::lab::{Lab, LabSpec};
use crate::limits::{CONSOLE_ANSWER, NODE_READY};
use crate::network::NODE;
use crate::parts::Parts;
use anyhow::{Context, Result};

/// What must appear on the console while nothing is right.
const COMPLAINTS: &[(&str, &[&str])] = &[
    ("the unknown argument is named, with the known ones", &["ironbay.nonsense", "ironbay.hugepages"]),
    ("the bad value is named", &["ironbay.mode", "sometimes"]),
    ("the missing drives are named", &["no NVMe controller"]),
    ("the missing DHCP server is named", &["no DHCP"]),
];

/// The scenario `bad_boot`.
pub fn run(parts: &Parts, seed: u64) -> Result<()> {
    let mut spec = LabSpec::new("bad_boot", seed);
    spec.drives.clear();
    spec.arguments.extend(["ironbay.nonsense=1", "ironbay.mode=sometimes"].map(str::to_owned));
    let mut lab = Lab::set_up(&spec, parts)?;
    let Lab { steps, node, network, dir, .. } = &mut lab;
    node.power_on(network)?;
    steps.step("the kernel starts; the DHCP server is stopped", || {
        let console = node.machine.as_ref().context("the node is off")?.console()?;
        console.wait(0, "Linux version", NODE_READY)?;
        network.stop_boot();
        Ok(((), String::new()))
    })?;
    let console = node.machine.as_ref().context("the node is off")?.console()?;
    for (name, texts) in COMPLAINTS {
        steps.step(name, || {
            for text in *texts {
                console.wait(0, text, NODE_READY)?;
            }
            Ok(((), String::new()))
        })?;
    }
    steps.step("the DHCP server is back, and the node comes up by itself", || {
        network.serve_boot(&dir.join("tftp"), &dir.join("dnsmasq.log"))?;
        node.wait_api(network)?;
        Ok(((), NODE.to_string()))
    })?;
    let console = node.machine.as_ref().context("the node is off")?.console()?;
    steps.step("the console tells what is missing, with the remedy", || {
        let position = console.position();
        console.send("\r")?;
        let position = console.wait(position, "ironbay> ", CONSOLE_ANSWER)?;
        console.send("drives\r")?;
        console.wait(position, "no drive; ", CONSOLE_ANSWER)?;
        Ok(((), String::new()))
    })?;
    lab.passed();
    Ok(())
}
