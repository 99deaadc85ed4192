//! The lab checks itself: when this fails, no other scenario's failure means anything.

use crate::lab::{Lab, LabSpec};
use crate::limits::{HOST_COMMAND, HOST_WORK};
use crate::parts::Parts;
use anyhow::{Result, ensure};

/// The Linux host boots, its programs run, answers keep their bytes and exit codes.
pub fn run(parts: &Parts, seed: u64) -> Result<()> {
    let mut lab = Lab::set_up(&LabSpec::new("self_test", seed), parts)?;
    lab.start_host()?;
    let Lab { steps, host, .. } = &mut lab;
    let Some(host) = host else { anyhow::bail!("the Linux host is off") };
    steps.step("answers keep bytes and codes", || {
        let answer = host.run("printf 'a\\tb\\n\\303\\244'; exit 7", HOST_COMMAND)?;
        ensure!((answer.code, answer.text.as_str()) == (7, "a\tb\nä"), "the answer was {answer:?}");
        Ok(((), String::new()))
    })?;
    let version = steps.step("nvme-cli", || Ok((host.ok("nvme version", HOST_COMMAND)?, String::new())))?;
    steps.line(version.trim());
    steps.step("fio in memory", || {
        let command = "fio --name=memory --filename=/tmp/fio --size=4m --rw=randwrite --bs=4k --verify=crc32c --minimal";
        host.ok(command, HOST_WORK)?;
        Ok(((), "4 MiB written and verified".to_owned()))
    })?;
    lab.passed();
    Ok(())
}
