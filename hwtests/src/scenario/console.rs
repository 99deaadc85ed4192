//! The serial console: every page answers, on a line of which nobody knows the size.

use crate::lab::LabSpec;
use crate::limits::{CONSOLE_ANSWER, HOST_COMMAND};
use crate::manage::Operator;
use crate::network::{NODE, NODE_MAC};
use crate::parts::Parts;
use crate::qemu::NicModel;
use crate::scenario::first_light::FirstLight;
use anyhow::{Context, Result, ensure};

/// No page is wider: an old terminal has 80 columns.
const COLUMNS_MAX: usize = 79;

/// What is typed, and what the answer must contain.
fn pages() -> Vec<(&'static str, Vec<String>)> {
    let texts = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
    vec![
        ("status", vec![NODE.to_string(), "WITHOUT AUTHENTICATION".to_owned(), "4420".to_owned()]),
        ("drives", texts(&["LAB01", "LAB02", "LAB03", "member", "blank"])),
        ("volumes", texts(&["data", "log"])),
        ("pools", texts(&["tank"])),
        ("network", vec![NODE.to_string(), NODE_MAC.to_owned()]),
        ("phases", texts(&["network", "done"])),
        ("services", texts(&["engine", "agent"])),
        ("nonsense", texts(&["nonsense", "help"])),
        ("help", texts(&["reboot", "status"])),
    ]
}

/// The scenario `console`.
pub fn run(parts: &Parts, seed: u64) -> Result<()> {
    // The other scenarios use virtio; here the node has the emulation of a real card.
    let spec = LabSpec { nic: NicModel::E1000e, ..LabSpec::new("console", seed) };
    let mut light = FirstLight::set_up(&spec, parts)?;
    light.boot()?;
    light.apply()?;
    let FirstLight { lab, operator, .. } = &light;
    let node = &lab.node;
    let console = node.machine.as_ref().context("the node is off")?.console()?;
    lab.steps.step("the console opens on Enter", || {
        console.wait(0, "press Enter", CONSOLE_ANSWER)?;
        let position = console.position();
        // A program types faster than the console wakes.
        console.send("\rhelp\r")?;
        let position = console.wait(position, "ironbay> ", CONSOLE_ANSWER)?;
        console.wait(position, "reboot", CONSOLE_ANSWER)?;
        Ok(((), "and takes what was typed with it".to_owned()))
    })?;
    for (input, expected) in pages() {
        lab.steps.step(&format!("page {input}"), || {
            let position = console.position();
            console.send(&format!("{input}\r"))?;
            for text in &expected {
                console.wait(position, text, CONSOLE_ANSWER)?;
            }
            let answer = console.since(position);
            check_form(&answer)?;
            Ok(((), format!("{} lines", answer.lines().count())))
        })?;
    }
    remove_all(&light, operator)?;
    light.lab.passed();
    Ok(())
}

fn remove_all(light: &FirstLight, operator: &Operator) -> Result<()> {
    let lab = &light.lab;
    lab.steps.step("everything is removed", || {
        Ok(((), operator.destroy(&lab.network, &lab.node, crate::scenario::first_light::SIZES)?))
    })?;
    let console = lab.node.machine.as_ref().context("the node is off")?.console()?;
    lab.steps.step("the volumes page is empty again", || {
        let position = console.position();
        console.send("volumes\r")?;
        console.wait(position, "no volume;", HOST_COMMAND)?;
        Ok(((), String::new()))
    })
}

/// Lines that fit, and nothing that moves a cursor.
fn check_form(answer: &str) -> Result<()> {
    for line in answer.lines() {
        let line = line.trim_end_matches('\r');
        ensure!(line.chars().count() <= COLUMNS_MAX, "a line is wider than {COLUMNS_MAX} columns: {line:?}");
        ensure!(!line.contains('\x1b'), "a line steers the terminal: {line:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_form;

    /// Goal: wide lines and escape sequences are found.
    #[test]
    fn the_form_is_checked() {
        assert!(check_form("SERIAL  STATE\r\nLAB01   blank\r\n").is_ok());
        assert!(check_form(&"x".repeat(80)).is_err());
        assert!(check_form("\x1b[2J").is_err());
    }
}
