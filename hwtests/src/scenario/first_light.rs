//! First light: a server boots from the network, terraform makes volumes, a Linux host uses them, the power fails, and
//! everything is as it was.
//!
//! What it proves, in the order of our goals: no acknowledged write is lost in the power cut (fio verifies every block it
//! wrote before, during and after), names and identities survive (NQN, UUID, terraform's plan is empty), a drive
//! that nobody named is never written.

use crate::capture::Capture;
use crate::fio;
use crate::host::Host;
use crate::lab::{Lab, LabSpec};

use crate::limits::{CAPTURE_MIB, HOST_COMMAND, HOST_WORK, LOOK_AGAIN};
use crate::manage::{Operator, Sizes, Volume};
use crate::network::NODE;
use crate::parts::Parts;
use crate::steps::seconds;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use sim::Random;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// Sizes at first.
pub const SIZES: Sizes = Sizes { data: 256 * MIB, log: 128 * MIB };
/// Sizes after growing.
pub const GROWN: Sizes = Sizes { data: 384 * MIB, log: 128 * MIB };
/// Drives of the pool; the node has one more.
pub const POOL_DRIVES: [&str; 2] = ["LAB01", "LAB02"];
/// The drive that nobody names.
pub const UNTOUCHED_DRIVE: &str = "LAB03";

/// The power fails at a moment between the start of fio and this long after it. fio needs about 10 s on a quiet machine: most
/// cuts hit it writing or verifying, some an idle node.
const CUT_WITHIN_MS: u64 = 16_000;

/// What was measured on the way, for the demo's table.
#[derive(Debug, Default, Clone)]
pub struct Times {
    /// First power-on to API.
    pub api: Duration,
    /// Terraform's first apply.
    pub apply: Duration,
    /// Power-on after the cut to API.
    pub api_again: Duration,
    /// Power-on after the cut to the first read that the host finished.
    pub first_io: Duration,
    /// Terraform's words.
    pub applied: String,
}

/// What was begun before the power cut, and waits for the node.
pub struct Cut {
    /// Device of the volume "data".
    device: String,
}

/// The scenario under way.
pub struct FirstLight {
    /// The lab.
    pub lab: Lab,
    /// Terraform, or what stands in for it.
    pub operator: Operator,
    /// The volumes as the operator sees them.
    pub volumes: Vec<Volume>,
    /// Measured times.
    pub times: Times,
}

/// The scenario `first_light`.
pub fn run(parts: &Parts, seed: u64) -> Result<()> {
    let mut light = FirstLight::set_up(&LabSpec::new("first_light", seed), parts)?;
    light.boot()?;
    light.apply()?;
    light.captured("connected", |light| {
        light.connect()?;
        light.write_files()
    })?;
    let cut = light.power_cut(&mut Random(seed))?;
    // Only of connections that begin in it, so those after the power cut.
    light.captured("again", |light| light.comes_back(&cut))?;
    light.everything_is_there()?;
    light.grow()?;
    light.destroy()?;
    light.lab.passed();
    Ok(())
}

impl FirstLight {
    /// Lab and operator; nothing is on yet.
    pub fn set_up(spec: &LabSpec, parts: &Parts) -> Result<Self> {
        let lab = Lab::set_up(spec, parts)?;
        let operator = Operator::find(parts, &lab.dir, &POOL_DRIVES)?;
        if let Operator::Client { .. } = operator {
            lab.steps.line("neither terraform nor tofu is in PATH: the ironbay program does their steps");
        }
        Ok(Self { lab, operator, volumes: Vec::new(), times: Times::default() })
    }

    /// Steps during which the network is captured; then Wireshark has its say.
    fn captured(&mut self, name: &str, what: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let capture = Capture::start(&self.lab.network, &self.lab.dir, name, CAPTURE_MIB)?;
        what(self)?;
        self.lab.steps.step(&format!("Wireshark reads what was said ({name})"), || {
            Ok(((), capture.finish()?.good(name)?))
        })
    }

    /// The node boots from the network and claims its drives; the host starts.
    pub fn boot(&mut self) -> Result<()> {
        let Lab { steps, node, network, .. } = &mut self.lab;
        self.times.api = steps.step("the node boots from the network", || {
            let took = node.boot(network)?;
            Ok((took, format!("power-on to API {} s", seconds(took))))
        })?;
        steps.step("drives are claimed", || {
            let answer = node.client(network, &["drive", "list"])?;
            let states = drive_states(&answer)?;
            let expected: Vec<_> =
                node.spec.drives.iter().map(|d| (d.serial.clone(), "blank".to_owned())).collect();
            ensure!(states == expected, "the node sees the drives {states:?}, not {expected:?}");
            Ok(((), format!("{} blank", states.len())))
        })?;
        self.lab.start_host()
    }

    /// The operator makes a pool of two drives and two volumes; a second plan is empty.
    pub fn apply(&mut self) -> Result<()> {
        let Lab { steps, node, network, .. } = &self.lab;
        let name = self.operator.name();
        let begun = Instant::now();
        self.times.applied = steps.step(&format!("{name} apply"), || {
            let said = self.operator.apply(network, node, SIZES)?;
            Ok((said.clone(), said))
        })?;
        self.times.apply = begun.elapsed();
        self.volumes = self.operator.volumes(network, node)?;
        ensure!(self.volumes.len() == 2, "there should be two volumes: {:?}", self.volumes);
        steps.step(&format!("{name} plan"), || {
            Ok(((), self.operator.expect_no_changes(network, node, SIZES)?))
        })
    }

    /// The host discovers the subsystem and connects to it.
    pub fn connect(&mut self) -> Result<()> {
        let nqn = self.volume("data")?.nqn.clone();
        let uuids: Vec<(String, u64)> = self.volumes.iter().map(|v| (v.uuid.clone(), v.size_bytes)).collect();
        let (steps, host) = parts(&mut self.lab)?;
        steps.step("the host discovers", || {
            let text = host.ok(&format!("nvme discover -t tcp -a {NODE} -s 8009"), HOST_COMMAND)?;
            ensure!(text.contains(&nqn), "discovery does not name {nqn}:\n{text}");
            Ok(((), nqn.clone()))
        })?;
        steps.step("the host connects", || {
            host.ok(
                &format!(
                    "nvme connect -t tcp -a {NODE} -s 4420 -n {nqn} \
                     --reconnect-delay=1 --ctrl-loss-tmo=600 --keep-alive-tmo=5"
                ),
                HOST_COMMAND,
            )?;
            for (uuid, size) in &uuids {
                let device = device(host, uuid)?;
                let seen = size_of(host, &device)?;
                ensure!(seen == *size, "{device} has {seen} bytes on the host, not {size}");
            }
            Ok(((), format!("{} volumes with the right UUID and size", uuids.len())))
        })
    }

    /// A file system with files, and their checksums.
    pub fn write_files(&mut self) -> Result<()> {
        let uuid = self.volume("data")?.uuid.clone();
        let (steps, host) = parts(&mut self.lab)?;
        steps.step("mkfs.ext4", || {
            let device = device(host, &uuid)?;
            host.ok(&format!("mkfs.ext4 -q {device} && mount {device} /mnt"), HOST_WORK)?;
            Ok(((), device))
        })?;
        steps.step("files with checksums", || {
            // The checksums stay in the host's memory, where the power cut cannot reach them.
            let text = host.ok(
                "for i in $(seq 1 40); do dd if=/dev/urandom of=/mnt/file$i bs=64k count=$((i % 8 + 1)) 2>/dev/null || exit 1; done; \
                 sync && cd /mnt && sha256sum file* >/run/sums && wc -l </run/sums && du -sk /mnt",
                HOST_WORK,
            )?;
            Ok(((), text.split_whitespace().take(2).collect::<Vec<_>>().join(" files, ") + " KiB"))
        })
    }

    /// fio writes and verifies; at a moment that the seed chooses the node's power fails.
    pub fn power_cut(&mut self, random: &mut Random) -> Result<Cut> {
        let (log, data) = (self.volume("log")?.uuid.clone(), self.volume("data")?.uuid.clone());
        let after = Duration::from_millis(random.below(CUT_WITHIN_MS));
        let (steps, host) = parts(&mut self.lab)?;
        let cut = Cut { device: device(host, &data)? };
        let begun = steps.step("fio starts with crc32c verification", || {
            let target = device(host, &log)?;
            host.start_job("fio", &fio::verify(&target, 112, 77))?;
            Ok((Instant::now(), target))
        })?;
        std::thread::sleep(after.saturating_sub(begun.elapsed()));
        let is_over = host.has_finished("fio")?;
        self.lab.node.cut_power();
        self.lab.steps.line(&format!(
            "power cut {} s after the start of fio, which {}",
            seconds(begun.elapsed()),
            if is_over { "had ended" } else { "was at work" }
        ));
        Ok(cut)
    }

    /// The node boots again, the host connects by itself, and fio ends well.
    pub fn comes_back(&mut self, cut: &Cut) -> Result<()> {
        let Lab { steps, node, network, host, .. } = &mut self.lab;
        let host = host.as_mut().context("the Linux host is off")?;
        // A read of its own, started while the node is off: its end is the first IO after power-on.
        let first = &cut.device;
        host.start_job("first", &format!("dd if={first} of=/dev/null bs=4k count=1 iflag=direct"))?;
        let times = &mut self.times;
        times.api_again = steps.step("the node boots again", || {
            let took = node.boot(network)?;
            Ok((took, format!("power-on to API {} s", seconds(took))))
        })?;
        let powered_on = node.machine.as_ref().context("the node is off")?.powered_on;
        times.first_io = steps.step("the host's IO goes on", || {
            host.finish("first", HOST_WORK)?.ok("dd")?;
            let took = powered_on.elapsed();
            Ok((took, format!("power-on to first IO {} s", seconds(took))))
        })?;
        steps.step("fio ends with every block verified", || {
            let said = host.finish("fio", HOST_WORK)?.ok("fio")?;
            Ok(((), fio::verified(&said)?))
        })
    }

    /// After the power cut: same identities, same data, and nothing for terraform to do.
    pub fn everything_is_there(&mut self) -> Result<()> {
        let Lab { steps, node, network, .. } = &self.lab;
        let name = self.operator.name();
        steps.step("same names and identities", || {
            let answer = node.client(network, &["volume", "list"])?.to_string();
            for volume in &self.volumes {
                for fact in [&volume.uuid, &volume.nqn, &volume.name] {
                    ensure!(answer.contains(fact.as_str()), "{fact} is gone after the power cut: {answer}");
                }
            }
            Ok(((), String::new()))
        })?;
        steps.step(&format!("{name} plan"), || {
            Ok(((), self.operator.expect_no_changes(network, node, SIZES)?))
        })?;
        let uuids: Vec<String> = self.volumes.iter().map(|v| v.uuid.clone()).collect();
        let uuid = self.volume("data")?.uuid.clone();
        let (steps, host) = parts(&mut self.lab)?;
        steps.step("the host reads its files back", || {
            for uuid in &uuids {
                device(host, uuid)?;
            }
            let device = device(host, &uuid)?;
            let text = host.ok(
                &format!(
                    "echo 3 >/proc/sys/vm/drop_caches; (cd /mnt && sha256sum -c /run/sums | grep -c OK$) && \
                     umount /mnt && e2fsck -fn {device} && mount {device} /mnt && cd /mnt && sha256sum -c /run/sums >/dev/null"
                ),
                HOST_WORK,
            )?;
            let files = text.lines().next().unwrap_or_default().to_owned();
            ensure!(files == "40", "{files} of 40 files have the right checksum");
            Ok(((), "40 checksums right, e2fsck finds nothing".to_owned()))
        })
    }

    /// A volume grows in place, and the host sees it without being told.
    pub fn grow(&mut self) -> Result<()> {
        let uuid = self.volume("data")?.uuid.clone();
        let name = self.operator.name();
        let Lab { steps, node, network, .. } = &self.lab;
        steps.step(&format!("{name} apply with a larger volume"), || {
            Ok(((), self.operator.apply(network, node, GROWN)?))
        })?;
        let (steps, host) = parts(&mut self.lab)?;
        steps.step("the host sees the new size", || {
            let device = device(host, &uuid)?;
            let until = Instant::now() + HOST_COMMAND;
            while size_of(host, &device)? != GROWN.data {
                ensure!(
                    Instant::now() < until,
                    "{device} has still {} bytes after {} s, not {}",
                    size_of(host, &device)?,
                    HOST_COMMAND.as_secs(),
                    GROWN.data
                );
                std::thread::sleep(LOOK_AGAIN);
            }
            host.ok(
                &format!("resize2fs {device} 2>&1 && cd /mnt && sha256sum -c /run/sums >/dev/null"),
                HOST_WORK,
            )?;
            Ok(((), format!("{} MiB, the file system grew with it", GROWN.data / MIB)))
        })
    }

    /// The host lets go, the operator removes everything, and the drive that nobody named is as it was.
    pub fn destroy(&mut self) -> Result<()> {
        let nqn = self.volume("data")?.nqn.clone();
        let (steps, host) = parts(&mut self.lab)?;
        steps.step("the host disconnects", || {
            host.ok(&format!("cd / && umount /mnt && nvme disconnect -n {nqn}"), HOST_COMMAND)?;
            Ok(((), String::new()))
        })?;
        let Lab { steps, node, network, .. } = &self.lab;
        let name = self.operator.name();
        steps.step(&format!("{name} destroy"), || Ok(((), self.operator.destroy(network, node, GROWN)?)))?;
        steps.step("all drives are blank again", || {
            let states = drive_states(&node.client(network, &["drive", "list"])?)?;
            ensure!(states.iter().all(|(_, state)| state == "blank"), "after destroy: {states:?}");
            Ok(((), String::new()))
        })?;
        steps.step("the drive that nobody named was never written", || {
            let drive = node.spec.drives.iter().find(|d| d.serial == UNTOUCHED_DRIVE).context("the drive")?;
            let blocks = std::fs::metadata(&drive.file)?.blocks();
            ensure!(blocks == 0, "{} has {blocks} blocks of data", drive.file.display());
            Ok(((), UNTOUCHED_DRIVE.to_owned()))
        })
    }

    /// A volume by name.
    pub fn volume(&self, name: &str) -> Result<&Volume> {
        let found = self.volumes.iter().find(|v| v.name == name);
        found.with_context(|| format!("the operator knows no volume {name:?}: {:?}", self.volumes))
    }
}

/// The steps and the Linux host of a lab.
pub fn parts(lab: &mut Lab) -> Result<(&crate::steps::Steps, &mut Host)> {
    Ok((&lab.steps, lab.host.as_mut().context("the Linux host is off")?))
}

/// Serial numbers and states, in order.
fn drive_states(answer: &Value) -> Result<Vec<(String, String)>> {
    let list = answer.get("drives").unwrap_or(answer).as_array().context("a list of drives")?;
    let word =
        |drive: &Value, key: &str| drive.get(key).and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let mut states: Vec<_> = list
        .iter()
        .map(|d| (word(d, "serial").to_uppercase(), word(d, "state").replace("drive_state_", "")))
        .collect();
    states.sort();
    Ok(states)
}

/// The block device with a UUID. A device node that is a plain file would take the data and forget it, so it is looked at.
pub fn device(host: &mut Host, uuid: &str) -> Result<String> {
    let find = format!(
        "for d in /sys/block/nvme*n*; do [ \"$(cat $d/uuid 2>/dev/null)\" = {uuid} ] && [ -b /dev/${{d##*/}} ] && echo /dev/${{d##*/}}; done"
    );
    let until = Instant::now() + HOST_COMMAND;
    loop {
        let text = host.run(&find, HOST_COMMAND)?.text;
        match text.split_whitespace().collect::<Vec<_>>().as_slice() {
            [device] => return Ok((*device).to_owned()),
            [] if Instant::now() < until => std::thread::sleep(LOOK_AGAIN),
            [] => {
                let seen = host.run("cat /sys/block/nvme*/uuid; nvme list-subsys", HOST_COMMAND)?.text;
                bail!("the host has no block device with the UUID {uuid}; it has:\n{seen}");
            }
            several => bail!("the host has several devices with the UUID {uuid}: {several:?}"),
        }
    }
}

/// Size of a block device on the host.
pub fn size_of(host: &mut Host, device: &str) -> Result<u64> {
    let text = host.ok(&format!("blockdev --getsize64 {device}"), HOST_COMMAND)?;
    text.trim().parse().with_context(|| format!("blockdev answered {text:?}"))
}
