//! A volume with 512-byte blocks on a Linux host: what the kernel makes of it, a file system, fio in single blocks, and commands
//! that start and end within the drives' blocks of 4 KiB. A part of `linux_volumes`.

use crate::fio;
use crate::limits::{HOST_COMMAND, HOST_WORK};
use crate::manage::{Volume, volumes_of_api};
use crate::scenario::first_light::{device, size_of};
use crate::scenario::linux::{EXPECT, Linux, MIB};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sim::Random;

/// Blocks of 512 bytes that the commands work on: the first MiB.
const BLOCKS: u64 = 2048;

/// Says what the volume should hold where a command puts something.
const PUT: &str =
    "put() { dd if=$1 of=/run/want bs=512 skip=$2 seek=$3 count=$4 conv=notrunc 2>/dev/null; }\n";

/// The host is connected to the pool "fast"; the volume comes and goes.
pub fn blocks_of_512_bytes(linux: &mut Linux, random: &mut Random) -> Result<()> {
    let (volume, device) = appears(linux)?;
    linux.step("mkfs.ext4 on it, files, e2fsck", |linux| {
        let files = format!(
            "mkfs.ext4 -q {device} && mount {device} /mnt && dd if=/dev/urandom of=/mnt/a bs=1000 count=3000 2>/dev/null && \
             sum=$(sha256sum </mnt/a) && umount /mnt && e2fsck -fn {device} >/dev/null && mount {device} /mnt && \
             [ \"$sum\" = \"$(sha256sum </mnt/a)\" ] && umount /mnt"
        );
        linux.host()?.ok(&files, HOST_WORK)?;
        Ok(((), String::new()))
    })?;
    linux.step("fio writes and verifies pieces of 512 bytes and more", |linux| {
        let command = fio::verify_pieces(&device, 4, "512-9k", random.below(1 << 20));
        Ok(((), fio::verified(&linux.host()?.ok(&command, HOST_WORK)?)?))
    })?;
    commands(linux, &device, random)?;
    linux.step("it grows, and is deleted", |linux| {
        linux.grow(&volume.name, &device, 96)?;
        let end = format!(
            "dd if=/dev/urandom of={device} bs=512 seek={} count=1 oflag=direct 2>/dev/null",
            96 * 2048 - 1
        );
        linux.host()?.ok(&end, HOST_COMMAND)?;
        linux.ask(&["volume", "delete", &volume.name, "--force"])?;
        linux.host()?.ok(&format!("while [ -b {device} ]; do sleep 0.1; done"), HOST_COMMAND)?;
        Ok(((), "its last block takes data".to_owned()))
    })
}

/// Linux takes the smaller of NPWG and NAWUPF for the physical block, so file systems keep to 4 KiB.
fn appears(linux: &mut Linux) -> Result<(Volume, String)> {
    linux.step("a volume with 512-byte blocks appears on the host", |linux| {
        let create =
            ["volume", "create", "small", "--pool", "fast", "--size", "64MiB", "--block-size", "512"];
        let made = volumes_of_api(&Value::Array(vec![linux.ask(&create)?]))?;
        let volume = made.into_iter().next().context("the daemon made no volume")?;
        let device = device(linux.host()?, &volume.uuid)?;
        ensure!(size_of(linux.host()?, &device)? == 64 * MIB, "{device} has another size");
        let ask = format!(
            "D=$(readlink -f {device}) && cd /sys/block/${{D#/dev/}}/queue && cat logical_block_size physical_block_size"
        );
        let seen = linux.host()?.ok(&ask, HOST_COMMAND)?;
        let seen: Vec<&str> = seen.split_whitespace().collect();
        ensure!(seen == ["512", "4096"], "logical and physical block size are {seen:?}");
        Ok(((volume, device), "logical 512, physical 4096".to_owned()))
    })
}

/// Each command changes the blocks that it names and no others, wherever it starts and ends.
fn commands(linux: &mut Linux, device: &str, random: &mut Random) -> Result<()> {
    let script = |linux: &mut Linux, text: &str| {
        linux.host()?.ok(&format!("D={device}\n{EXPECT}{PUT}{text}"), HOST_WORK)
    };
    let half = BLOCKS / 2;
    linux.step("nvme write, write-zeroes, copy and dsm within blocks of 4 KiB", |linux| {
        let fill = "dd if=/dev/urandom of=/run/want bs=64k count=16 2>/dev/null && dd if=/run/want of=$D bs=1M oflag=direct 2>/dev/null && expect";
        script(linux, fill)?;
        for _ in 0..3 {
            // Not a multiple of eight, so it starts within a block.
            let odd = |value: u64| value / 8 * 8 + 1 + value % 7;
            let (at, count) = (odd(random.below(half - 40)), 1 + random.below(30));
            let bytes = count * 512;
            let write = format!(
                "head -c {bytes} /dev/urandom >/run/new && nvme write $D -s {at} -c {} -z {bytes} -d /run/new && put /run/new 0 {at} {count} && expect",
                count - 1
            );
            script(linux, &write)?;
            let zeroes = format!("nvme write-zeroes $D -s {at} -c {} && put /dev/zero 0 {at} {count} && expect", count - 1);
            script(linux, &zeroes)?;
            // The sources lie in the first half, the copy in the second.
            let (a, n, b, m) = (odd(random.below(half - 80)), 1 + random.below(60), random.below(half - 80), 1 + random.below(60));
            let to = half + odd(random.below(half - 160));
            let copy = format!(
                "nvme copy $D --sdlba={to} --slbs={a},{b} --blocks={},{} && cp /run/want /run/before && put /run/before {a} {to} {n} && \
                 put /run/before {b} {} {m} && expect",
                n - 1,
                m - 1,
                to + n
            );
            script(linux, &copy)?;
            // Of a deallocated range the parts of 4 KiB at its ends stay.
            let (first, end) = (at.div_ceil(8) * 8, (at + count) / 8 * 8);
            let inner = end.saturating_sub(first);
            script(linux, &format!("nvme dsm $D --ad -s {at} -b {count} && put /dev/zero 0 {first} {inner} && expect"))?;
        }
        Ok(((), "three times each, from odd places".to_owned()))
    })
}
