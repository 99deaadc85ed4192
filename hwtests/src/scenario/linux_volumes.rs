//! Volumes under a connected Linux host: they come, grow and go without its asking, and every command does to their blocks what
//! it says.

use crate::host::HostSpec;
use crate::limits::{HOST_COMMAND, HOST_WORK};
use crate::parts::Parts;
use crate::scenario::first_light::{device, size_of};
use crate::scenario::linux::{Controller, EXPECT, Linux, MIB};
use crate::scenario::linux_blocks::blocks_of_512_bytes;
use anyhow::{Result, bail, ensure};
use sim::Random;

/// Blocks that the commands work on: the first of the volume.
const BLOCKS: u64 = 256;
/// Says what the volume should hold where a command makes it zero.
const ZERO: &str =
    "zero() { dd if=/dev/zero of=/run/want bs=4k seek=$1 count=$2 conv=notrunc 2>/dev/null; }\n";

/// The scenario `linux_volumes`.
pub fn run(parts: &Parts, seed: u64) -> Result<()> {
    let mut linux = Linux::set_up("linux_volumes", seed, parts, &HostSpec::new(parts))?;
    let mut random = Random(seed);
    linux.captured("namespaces", come_grow_and_go)?;
    linux.captured("commands", |linux| {
        let controller = linux.connect("data", "--hdr-digest --data-digest")?;
        fill(linux)?;
        for _ in 0..2 {
            zeroing(linux, &mut random)?;
        }
        comparing(linux, &mut random)?;
        copying(linux, &mut random)?;
        beyond_the_end(linux)?;
        linux.expect_no_complaints()?;
        linux.disconnect(&controller)
    })?;
    linux.captured("small_blocks", |linux| {
        let controller = linux.connect("data", "")?;
        linux.forget_kernel_log()?;
        blocks_of_512_bytes(linux, &mut random)?;
        linux.expect_no_complaints()?;
        linux.disconnect(&controller)
    })?;
    linux.passed()
}

/// A volume is made, grows and is deleted while its subsystem is connected. The host is not asked to look; it is told.
fn come_grow_and_go(linux: &mut Linux) -> Result<()> {
    let controller = linux.connect("data", "")?;
    linux.forget_kernel_log()?;
    let late = linux.step("a new volume appears on the host by itself", |linux| {
        let late = linux.create_volume("late", "fast", 32 * MIB)?;
        let device = device(linux.host()?, &late.uuid)?;
        ensure!(size_of(linux.host()?, &device)? == late.size_bytes, "{device} has another size");
        Ok((late, device))
    })?;
    let device = device(linux.host()?, &late.uuid)?;
    linux.step("it grows", |linux| {
        linux.grow("late", &device, 96)?;
        let end = format!("dd if=/dev/urandom of={device} bs=1M seek=95 count=1 oflag=direct 2>/dev/null");
        linux.host()?.ok(&end, HOST_COMMAND)?;
        Ok(((), "96 MiB, its last MiB takes data".to_owned()))
    })?;
    linux.step("it is deleted and disappears", |linux| {
        linux.ask(&["volume", "delete", "late", "--force"])?;
        let gone = format!("while [ -b {device} ]; do sleep 0.1; done");
        linux.host()?.ok(&gone, HOST_COMMAND)?;
        linux.expect_sessions(1)?;
        Ok(((), String::new()))
    })?;
    same_controller(linux, &controller)?;
    linux.disconnect(&controller)
}

/// The host did all that with the controller that it had: no reset, no new connection.
pub fn same_controller(linux: &mut Linux, controller: &Controller) -> Result<()> {
    let said = linux.host()?.run("dmesg | grep -E 'resetting|reconnect|new ctrl'", HOST_COMMAND)?;
    ensure!(said.code == 1, "{} was connected anew:\n{}", controller.name, said.text);
    Ok(())
}

/// Runs a script on the host with the helpers, `$D` being the volume.
fn script(linux: &mut Linux, text: &str) -> Result<String> {
    let device = linux.device("data")?;
    linux.host()?.ok(&format!("D={device}\n{EXPECT}{ZERO}{text}"), HOST_WORK)
}

/// The same for something that must be refused, with this word.
fn refused(linux: &mut Linux, text: &str, word: &str) -> Result<()> {
    let device = linux.device("data")?;
    let answer = linux.host()?.run(&format!("D={device}\n{EXPECT}{ZERO}{text}"), HOST_WORK)?;
    if answer.code == 0 || !answer.text.contains(word) {
        bail!("`{text}` should fail with {word:?}; exit code {}: {}", answer.code, answer.text.trim());
    }
    Ok(())
}

fn fill(linux: &mut Linux) -> Result<()> {
    linux.step("the first MiB is filled", |linux| {
        let fill = "dd if=/dev/urandom of=/run/want bs=4k count=256 2>/dev/null && dd if=/run/want of=$D bs=1M oflag=direct 2>/dev/null && expect";
        script(linux, fill)?;
        Ok(((), String::new()))
    })
}

/// Every way to make blocks zero: these and no others.
fn zeroing(linux: &mut Linux, random: &mut Random) -> Result<()> {
    let mut range = || {
        let start = random.below(BLOCKS - 1);
        (start, 1 + random.below((BLOCKS - start).min(40)))
    };
    let ((a, n), (b, m), (c, k), (d, l), (e, o)) = (range(), range(), range(), range(), range());
    linux.step("blocks are zeroed, their neighbours are not", |linux| {
        script(linux, &format!("nvme write-zeroes $D -s {a} -c {} && zero {a} {n} && expect", n - 1))?;
        script(linux, &format!("nvme write-zeroes $D -s {b} -c {} --deac && zero {b} {m} && expect", m - 1))?;
        script(
            linux,
            &format!("nvme dsm $D --ad -s {c},{d} -b {k},{l} && zero {c} {k} && zero {d} {l} && expect"),
        )?;
        let (start, len) = (e * 4096, o * 4096);
        script(linux, &format!("/bin/blkdiscard -z -o {start} -l {len} $D && zero {e} {o} && expect"))?;
        // The kernel may discard less than it is asked for, but nothing else; here every block is one of the device's.
        script(linux, &format!("/bin/blkdiscard -o {start} -l {len} $D && expect"))?;
        Ok(((), format!("write-zeroes {n} and {m}, dsm {k} and {l}, blkdiscard {o} blocks")))
    })?;
    fill(linux)
}

/// Commands that look at blocks without telling what is in them.
fn comparing(linux: &mut Linux, random: &mut Random) -> Result<()> {
    linux.step("nvme compare", |linux| {
        script(linux, "nvme compare $D -s 0 -c 255 -z 1048576 -d /run/want")?;
        let at = random.below(BLOCKS * 4096);
        let spoil = format!(
            "cp /run/want /run/other; printf x | dd of=/run/other bs=1 seek={at} conv=notrunc 2>/dev/null; \
             cmp -s /run/want /run/other && printf y | dd of=/run/other bs=1 seek={at} conv=notrunc 2>/dev/null; \
             nvme compare $D -s 0 -c 255 -z 1048576 -d /run/other"
        );
        refused(linux, &spoil, "ompare")?;
        Ok(((), format!("1 MiB is equal; byte {at} differs and is noticed")))
    })?;
    linux.step("nvme verify, nvme flush", |linux| {
        script(linux, "nvme verify $D -s 0 -c 255 && nvme flush $D && expect")?;
        Ok(((), String::new()))
    })
}

/// Blocks of three places are put together at a fourth.
fn copying(linux: &mut Linux, random: &mut Random) -> Result<()> {
    let half = BLOCKS / 2;
    // The sources lie in the first half and the copy in the second, so they never overlap.
    let sources = [0; 3].map(|_| (random.below(half - 20), 1 + random.below(20)));
    let to = half + random.below(half - 60);
    let list = |part: fn(&(u64, u64)) -> u64| {
        sources.iter().map(|s| part(s).to_string()).collect::<Vec<_>>().join(",")
    };
    linux.step("nvme copy", |linux| {
        let (starts, counts) = (list(|s| s.0), list(|s| s.1 - 1));
        let mut text = format!("nvme copy $D --sdlba={to} --slbs={starts} --blocks={counts} && cp /run/want /run/before");
        let mut at = to;
        for (start, count) in sources {
            text += &format!(
                " && dd if=/run/before of=/run/want bs=4k skip={start} seek={at} count={count} conv=notrunc 2>/dev/null"
            );
            at += count;
        }
        script(linux, &format!("{text} && expect"))?;
        Ok(((), format!("{} blocks from {starts} to {to}", at - to)))
    })
}

/// One block too far, for every command.
fn beyond_the_end(linux: &mut Linux) -> Result<()> {
    let blocks = linux.volume("data")?.size_bytes / 4096;
    linux.step("nothing goes beyond the end", |linux| {
        let last = blocks - 1;
        for command in ["verify $D -c 1", "write-zeroes $D -c 1", "read $D -c 1 -z 8192 -d /dev/null"] {
            refused(linux, &format!("nvme {command} -s {last}"), "LBA Out of Range")?;
        }
        refused(linux, &format!("nvme dsm $D --ad -s 0,{last} -b 1,2"), "LBA Out of Range")?;
        script(linux, "expect")?;
        Ok(((), "verify, write-zeroes, read, dsm".to_owned()))
    })
}
