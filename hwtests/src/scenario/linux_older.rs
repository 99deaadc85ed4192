//! Debian 12's own kernel as the host: kernels of that age stay in use for years.

use crate::fio;
use crate::limits::{HOST_COMMAND, HOST_WORK};
use crate::parts::{OLDER_SERIES, Parts, older_host};
use crate::scenario::linux::Linux;
use crate::scenario::linux_restart::{kill_once, reset};
use anyhow::{Result, ensure};
use sim::Random;

/// The scenario `linux_older`.
pub fn run(parts: &Parts, seed: u64) -> Result<()> {
    let host = older_host()?;
    let mut linux = Linux::set_up("linux_older", seed, parts, &host)?;
    linux.step("the kernel is the older one", |linux| {
        let release = linux.host()?.ok("uname -r", HOST_COMMAND)?;
        ensure!(release.starts_with(&format!("{OLDER_SERIES}.")), "the kernel is {release}");
        Ok(((), String::new()))
    })?;
    linux.forget_kernel_log()?;
    linux.captured("connect", |linux| {
        let controller = linux.connect("data", "--hdr-digest --data-digest")?;
        let device = linux.device("data")?;
        linux.step("fio with digests", |linux| {
            let said = linux.host()?.ok(&fio::verify(&device, 16, seed), HOST_WORK)?;
            Ok(((), fio::verified(&said)?))
        })?;
        linux.disconnect(&controller)
    })?;
    linux.expect_no_complaints()?;
    linux.captured("reset", |linux| reset(linux, seed))?;
    linux.captured("killed", |linux| {
        let controller = linux.connect("data", "")?;
        let device = linux.device("data")?;
        linux.host()?.start_job("fio", &fio::verify(&device, 24, seed))?;
        kill_once(linux, &controller, &mut Random(seed))?;
        linux.step("fio ends with every block verified", |linux| {
            let said = linux.host()?.finish("fio", HOST_WORK)?.ok("fio")?;
            Ok(((), fio::verified(&said)?))
        })?;
        linux.disconnect(&controller)
    })?;
    linux.passed()
}
