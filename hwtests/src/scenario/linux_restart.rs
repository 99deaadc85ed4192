//! Connections that end and begin: resets, hundreds of rounds, and a daemon that is killed while a host writes.

use crate::fio;
use crate::host::HostSpec;
use crate::limits::{HOST_COMMAND, HOST_WORK};
use crate::parts::Parts;
use crate::scenario::linux::{Controller, Linux};
use anyhow::{Result, ensure};
use sim::Random;
use std::time::{Duration, Instant};

/// Rounds of connecting and disconnecting.
const ROUNDS: u64 = 200;
/// Rounds in one command on the host, between which the daemon is looked at.
const ROUNDS_AT_ONCE: u64 = 50;
/// Resets while fio writes.
const RESETS: u32 = 3;
/// The daemon is killed between the start of fio and this long after it; fio needs 10 s or more.
const KILL_WITHIN_MS: u64 = 5000;
/// It is away for up to so long. Linux tries to connect again each second.
const AWAY_MS: u64 = 3000;
/// How often it is killed.
const KILLS: u32 = 2;

/// The scenario `linux_restart`.
pub fn run(parts: &Parts, seed: u64) -> Result<()> {
    let mut random = Random(seed);
    let mut linux =
        Linux::set_up("linux_restart", seed, parts, &HostSpec { cpus: 2, ..HostSpec::new(parts) })?;
    linux.captured("reset", |linux| reset(linux, seed))?;
    linux.captured("rounds", |linux| rounds(linux, &mut random))?;
    linux.captured("killed", |linux| killed(linux, &mut random))?;
    linux.passed()
}

/// Resets of the controller while fio writes: no write is lost or fails.
pub fn reset(linux: &mut Linux, seed: u64) -> Result<()> {
    let controller = linux.connect("data", "--hdr-digest --data-digest")?;
    let device = linux.device("data")?;
    linux.step(&format!("nvme reset, {RESETS} times while fio writes"), |linux| {
        let host = linux.host()?;
        host.start_job("fio", &fio::verify(&device, 16, seed))?;
        for _ in 0..RESETS {
            host.ok(&format!("sleep 0.5; nvme reset /dev/{}", controller.name), HOST_COMMAND)?;
        }
        let said = host.finish("fio", HOST_WORK)?.ok("fio")?;
        linux.expect_sessions(1)?;
        Ok(((), fio::verified(&said)?))
    })?;
    linux.disconnect(&controller)
}

/// Rounds of connecting and disconnecting; the daemon remembers none of them.
fn rounds(linux: &mut Linux, random: &mut Random) -> Result<()> {
    let nqn = linux.volume("data")?.nqn;
    linux.step(&format!("{ROUNDS} rounds of nvme connect and nvme disconnect"), |linux| {
        let begun = Instant::now();
        for _ in 0..ROUNDS / ROUNDS_AT_ONCE {
            let digests = ["", "--hdr-digest", "--data-digest", "--hdr-digest --data-digest"];
            let digests = digests[usize::try_from(random.below(4))?];
            let command = format!(
                "for i in $(seq {ROUNDS_AT_ONCE}); do nvme connect -t tcp -a 10.77.0.1 -s 4420 -n {nqn} -i $((i % 2 + 1)) {digests} >/dev/null && \
                 nvme disconnect -n {nqn} >/dev/null || {{ echo \"round $i\"; exit 1; }}; done"
            );
            linux.host()?.ok(&command, HOST_WORK)?;
            linux.expect_sessions(0)?;
        }
        let each = begun.elapsed().as_secs_f64() / ROUNDS as f64;
        Ok(((), format!("{each:.2} s each, no session is left")))
    })
}

/// The daemon is killed under fio and started again: the host connects by itself, and fio notices nothing.
fn killed(linux: &mut Linux, random: &mut Random) -> Result<()> {
    let controller = linux.connect("data", "")?;
    let device = linux.device("data")?;
    linux.step("fio starts with crc32c verification", |linux| {
        linux.host()?.start_job("fio", &fio::verify(&device, 48, random.bits() >> 33))?;
        Ok(((), String::new()))
    })?;
    for _ in 0..KILLS {
        kill_once(linux, &controller, random)?;
    }
    linux.step("fio ends with every block verified", |linux| {
        let said = linux.host()?.finish("fio", HOST_WORK)?.ok("fio")?;
        Ok(((), fio::verified(&said)?))
    })?;
    linux.disconnect(&controller)
}

/// Kills the daemon at a moment of the seed, starts it again, and waits until the host is back.
pub fn kill_once(linux: &mut Linux, controller: &Controller, random: &mut Random) -> Result<()> {
    std::thread::sleep(Duration::from_millis(random.below(KILL_WITHIN_MS)));
    let away = Duration::from_millis(random.below(AWAY_MS));
    let is_over = linux.host()?.has_finished("fio")?;
    linux.step("ironbayd is killed and started again", |linux| {
        linux.daemon.kill();
        std::thread::sleep(away);
        linux.daemon.start(&linux.lab.network)?;
        let fio = if is_over { "had ended" } else { "was at work" };
        Ok(((), format!("fio {fio}; away for {:.1} s and its start", away.as_secs_f64())))
    })?;
    linux.step("the host connects again", |linux| {
        linux.expect_sessions(1)?;
        let wait = format!(
            "until [ \"$(cat /sys/class/nvme/{}/state)\" = live ]; do sleep 0.1; done",
            controller.name
        );
        linux.host()?.ok(&wait, HOST_WORK)?;
        linux.daemon.alive()?;
        let volumes = linux.ask(&["volume", "list"])?.to_string();
        for volume in &linux.volumes {
            ensure!(volumes.contains(&volume.uuid), "{} is gone: {volumes}", volume.name);
        }
        Ok(((), String::new()))
    })
}
