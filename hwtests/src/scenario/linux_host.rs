//! A Linux host meets the target: discovery, connections of every kind, and everything that nvme-cli may ask.

use crate::daemon::{DISCOVERY, PORTAL};
use crate::host::HostSpec;
use crate::limits::{HOST_COMMAND, HOST_WORK};
use crate::network::OPERATOR;
use crate::parts::Parts;
use crate::scenario::linux::{Controller, Linux, number, text};
use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Processors of the host. Linux makes up to so many queues of each kind: 4 for writes, 4 for reads, 4 that it polls.
const CPUS: u32 = 4;

/// Options of `nvme connect`, and how many I/O queues they give.
const KINDS: [(&str, u64); 5] = [
    ("", 4),
    ("--hdr-digest -i 1", 1),
    ("--data-digest -i 1 --queue-size=16", 1),
    ("--hdr-digest --data-digest -i 2", 2),
    ("--hdr-digest --data-digest -i 4 -W 2 -P 2", 8),
];

/// The scenario `linux_host`.
pub fn run(parts: &Parts, seed: u64) -> Result<()> {
    let spec = HostSpec { cpus: CPUS, ..HostSpec::new(parts) };
    let mut linux = Linux::set_up("linux_host", seed, parts, &spec)?;
    linux.forget_kernel_log()?;
    linux.captured("discovery", discover)?;
    for (number, (options, queues)) in KINDS.into_iter().enumerate() {
        linux.captured(&format!("connect{number}"), |linux| connect(linux, options, queues))?;
    }
    linux.captured("subsystems", two_subsystems)?;
    linux.expect_no_complaints()?;
    linux.captured("admin", |linux| {
        let controller = linux.connect("data", "-i 2")?;
        controller_is_told(linux, &controller)?;
        namespace_is_told(linux, &controller)?;
        features(linux, &controller)?;
        logs(linux, &controller)?;
        linux.disconnect(&controller)
    })?;
    linux.passed()
}

/// Both ports tell the same subsystems, and an unknown one is refused.
fn discover(linux: &mut Linux) -> Result<()> {
    let nqns = linux.volumes.iter().map(|v| v.nqn.clone()).collect::<Vec<_>>();
    for port in [DISCOVERY, PORTAL] {
        linux.step(&format!("nvme discover at port {port}"), |linux| {
            let command = format!("nvme discover -t tcp -a {OPERATOR} -s {port} -o json");
            let answer = linux.host()?.json(&command, HOST_COMMAND)?;
            let records = answer.get("records").and_then(Value::as_array).context("no records")?;
            for nqn in &nqns {
                let of_nqn = records.iter().filter(|r| r.get("subnqn").is_some_and(|n| n == nqn));
                let [record] = of_nqn.collect::<Vec<_>>()[..] else {
                    anyhow::bail!("not exactly one record of {nqn}: {answer}")
                };
                let portal = [text(record, "traddr")?, text(record, "trsvcid")?, text(record, "trtype")?];
                ensure!(portal == ["10.77.0.1", "4420", "tcp"], "{nqn} is said to be at {portal:?}");
            }
            let current = records.iter().filter(|r| {
                r.get("subtype").is_some_and(|s| s.as_str().is_some_and(|s| s.contains("current discovery")))
            });
            ensure!(current.count() == 1, "the discovery subsystem itself is not told: {answer}");
            ensure!(records.len() == nqns.len() + 1, "{} records: {answer}", records.len());
            Ok(((), format!("{} records, generation {}", records.len(), number(&answer, "genctr")?)))
        })?;
    }
    linux.step("an unknown subsystem is refused", |linux| {
        let unknown = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000000";
        let command = format!("nvme connect -t tcp -a {OPERATOR} -s {PORTAL} -n {unknown}");
        let answer = linux.host()?.run(&command, HOST_COMMAND)?;
        ensure!(answer.code != 0, "the host connected to {unknown}");
        linux.expect_sessions(0)?;
        linux.forget_kernel_log()?;
        Ok(((), answer.text.trim().to_owned()))
    })
}

/// A connection of one kind: as many queues as asked for, and data of every size comes back as it was written.
fn connect(linux: &mut Linux, options: &str, queues: u64) -> Result<()> {
    linux.step(&format!("nvme connect {options}"), |linux| {
        let controller = linux.connect("data", options)?;
        let [session] = &linux.expect_sessions(1)?[..] else { anyhow::bail!("not one session") };
        ensure!(number(session, "io_queues")? == queues, "not {queues} I/O queues: {session}");
        let count = format!("cat /sys/class/nvme/{}/queue_count", controller.name);
        let on_host = linux.host()?.ok(&count, HOST_COMMAND)?;
        ensure!(on_host.trim() == (queues + 1).to_string(), "the host has {} queues", on_host.trim());
        let device = linux.device("data")?;
        // 4 KiB go inside the capsule, the others are asked for with R2T; 1 MiB is the longest command.
        let compare = "dd if=/dev/urandom of=/run/in bs=1M count=2 2>/dev/null && for pieces in 4096:64 65536:16 1048576:2; do \
             bs=${pieces%:*}; n=${pieces#*:}; dd if=/run/in of=DEVICE bs=$bs count=$n oflag=direct 2>/dev/null && \
             dd if=DEVICE of=/run/out bs=$bs count=$n iflag=direct 2>/dev/null && \
             head -c $((bs * n)) /run/in | cmp - /run/out || exit 1; done"
            .replace("DEVICE", &device);
        linux.host()?.ok(&compare, HOST_WORK)?;
        if options.contains("-P") {
            // Only polled requests reach the queues that are polled.
            let polled = format!(
                "fio --name=polled --filename={device} --size=1m --rw=randwrite --bs=4k --ioengine=pvsync2 --hipri --direct=1 \
                 --verify=crc32c --minimal"
            );
            linux.host()?.ok(&polled, HOST_WORK)?;
        }
        linux.disconnect(&controller)?;
        Ok(((), format!("{queues} I/O queues, data came back in pieces of 4 KiB, 64 KiB and 1 MiB")))
    })
}

/// Two subsystems at a time: each has its own namespace, and the end of one connection is nothing to the other.
fn two_subsystems(linux: &mut Linux) -> Result<()> {
    linux.step("two subsystems", |linux| {
        let (one, two) = (linux.connect("data", "-i 1")?, linux.connect("log", "-i 1")?);
        linux.expect_sessions(2)?;
        let (data, log) = (linux.device("data")?, linux.device("log")?);
        ensure!(data != log, "both volumes are {data}");
        let write = format!(
            "for d in {data} {log}; do echo \"this is $d\" | dd of=$d bs=4k conv=sync oflag=direct 2>/dev/null || exit 1; done; \
             for d in {data} {log}; do dd if=$d bs=4k count=1 iflag=direct 2>/dev/null | head -n 1; done"
        );
        let found = linux.host()?.ok(&write, HOST_COMMAND)?;
        ensure!(found == format!("this is {data}\nthis is {log}\n"), "the volumes are mixed up: {found}");
        linux.host()?.ok(&format!("nvme disconnect -d {}", one.name), HOST_COMMAND)?;
        linux.expect_sessions(1)?;
        let still = linux.host()?.ok(&format!("dd if={log} bs=4k count=1 iflag=direct 2>/dev/null | head -n 1"), HOST_COMMAND)?;
        ensure!(still == format!("this is {log}\n"), "after the end of the other connection: {still}");
        linux.disconnect(&two)?;
        Ok(((), format!("{data} and {log}")))
    })
}

/// Identify Controller says what the connection shows otherwise.
fn controller_is_told(linux: &mut Linux, controller: &Controller) -> Result<()> {
    linux.step("nvme id-ctrl", |linux| {
        let id =
            linux.host()?.json(&format!("nvme id-ctrl /dev/{} -o json", controller.name), HOST_COMMAND)?;
        let [session] = &linux.expect_sessions(1)?[..] else { anyhow::bail!("not one session") };
        ensure!(number(&id, "cntlid")? == number(session, "controller_id")?, "{id}\n{session}");
        ensure!(text(&id, "subnqn")? == controller.nqn && text(&id, "mn")? == "Ironbay", "{id}");
        ensure!(!text(&id, "sn")?.is_empty() && !text(&id, "fr")?.is_empty(), "{id}");
        // Version 2.0; an I/O controller; 1 MiB; several ports and controllers, ANA; SGLs with offsets; 16 KiB in a capsule.
        for (key, wanted) in
            [("ver", 0x20000), ("cntrltype", 1), ("mdts", 8), ("ioccsz", 1028), ("iorcsz", 1), ("kas", 10)]
        {
            ensure!(number(&id, key)? == wanted, "{key} is {}, not {wanted}", number(&id, key)?);
        }
        ensure!(number(&id, "cmic")? & 0b1011 == 0b1011, "{id}");
        // What ONCS promises is in the effects log, and the other way round (NVM 1.1 §4.1.5.2, Base 2.1 §5.1.12.1.6).
        let oncs = number(&id, "oncs")?;
        let effects = linux.host()?.ok(
            &format!(
                "nvme get-log /dev/{} -i 5 -l 4096 -b | od -A n -v -t u4 -w4 -j 1024 -N 1024",
                controller.name
            ),
            HOST_COMMAND,
        )?;
        let effects: Vec<u32> = effects.lines().filter_map(|l| l.trim().parse().ok()).collect();
        ensure!(effects.len() == 256, "the effects log has {} I/O commands", effects.len());
        let mut told = Vec::new();
        for (bit, opcode, name) in [
            (0, 0x05, "Compare"),
            (1, 0x04, "Write Uncorrectable"),
            (2, 0x09, "Dataset Management"),
            (3, 0x08, "Write Zeroes"),
            (5, 0x0d, "Reservations"),
            (7, 0x0c, "Verify"),
            (8, 0x19, "Copy"),
        ] {
            let (promised, listed) = (oncs >> bit & 1 == 1, effects[opcode] & 1 == 1);
            ensure!(promised == listed, "{name}: ONCS says {promised}, the effects log {listed}");
            if promised {
                told.push(name);
            }
        }
        Ok(((), format!("ONCS and effects log agree: {}", told.join(", "))))
    })
}

/// Identify Namespace, and its ANA group in the log.
fn namespace_is_told(linux: &mut Linux, controller: &Controller) -> Result<()> {
    let volume = linux.volume("data")?;
    let device = linux.device("data")?;
    let group = linux.step("nvme id-ns", |linux| {
        let id = linux.host()?.json(&format!("nvme id-ns {device} -o json"), HOST_COMMAND)?;
        ensure!(number(&id, "nsze")? * 4096 == volume.size_bytes, "{id}");
        ensure!(text(&id, "nguid")? == volume.uuid.replace('-', ""), "{id}");
        ensure!(number(&id, "nmic")? & 1 == 1, "the namespace is not shared: {id}");
        Ok((number(&id, "anagrpid")?, format!("{} blocks", number(&id, "nsze")?)))
    })?;
    linux.step("nvme list-ns", |linux| {
        let text = linux.host()?.ok(&format!("nvme list-ns /dev/{}", controller.name), HOST_COMMAND)?;
        ensure!(text.lines().count() == 1 && text.contains("0x1"), "the namespaces are {text}");
        Ok(((), text.trim().to_owned()))
    })?;
    linux.step("nvme ana-log", |linux| {
        let log =
            linux.host()?.json(&format!("nvme ana-log /dev/{} -o json", controller.name), HOST_COMMAND)?;
        // Versions of nvme-cli name the list and its keys differently.
        let lists = log.as_object().into_iter().flatten().filter_map(|(_, value)| value.as_array());
        let id = |entry: &Value| number(entry, "grpid").or_else(|_| number(entry, "group id"));
        let ours = lists.flatten().find(|entry| id(entry).is_ok_and(|id| id == group));
        let ours = ours.with_context(|| format!("the ANA log has no group {group}"))?;
        ensure!(text(ours, "state")? == "optimized", "{ours}");
        Ok(((), format!("group {group} is optimized")))
    })
}

/// Features have the values of this connection, and keep what is set.
fn features(linux: &mut Linux, controller: &Controller) -> Result<()> {
    let device = format!("/dev/{}", controller.name);
    let get = |linux: &mut Linux, feature: &str| -> Result<u64> {
        let said = linux.host()?.ok(&format!("nvme get-feature {device} -f {feature}"), HOST_COMMAND)?;
        let value = said.split_once("urrent value:").with_context(|| format!("no value in {said}"))?.1;
        let value = value.split_whitespace().next().unwrap_or_default().trim_start_matches("0x");
        u64::from_str_radix(value, 16).with_context(|| format!("no number in {said}"))
    };
    linux.step("nvme get-feature", |linux| {
        // Queues: two of each, counted from zero. Keep alive: Linux asks for 5 s.
        for (feature, wanted) in [("0x07", 0x0001_0001), ("0x0f", 5000), ("0x02", 0)] {
            let found = get(linux, feature)?;
            ensure!(found == wanted, "feature {feature} is {found:#x}, not {wanted:#x}");
        }
        for feature in ["0x01", "0x05", "0x0a", "0x0b", "0x16"] {
            get(linux, feature)?;
        }
        let host_id = linux
            .host()?
            .ok(&format!("nvme get-feature {device} -f 0x81 -c 1 -b | od -A n -v -t x1"), HOST_COMMAND)?;
        let host_id: String = host_id.split_whitespace().collect();
        let wanted = linux.host()?.ok("sed 's/-//g' /etc/nvme/hostid", HOST_COMMAND)?;
        ensure!(host_id.contains(wanted.trim()), "the host identifier is {host_id}, not {wanted}");
        Ok(((), "9 features".to_owned()))
    })?;
    linux.step("nvme set-feature", |linux| {
        linux.host()?.ok(&format!("nvme set-feature {device} -f 4 -v 0x150"), HOST_COMMAND)?;
        let found = get(linux, "0x04")?;
        ensure!(found == 0x150, "the temperature threshold is {found:#x}, not 0x150");
        let refused = linux.host()?.run(&format!("nvme set-feature {device} -f 7 -v 1"), HOST_COMMAND)?;
        ensure!(refused.code != 0, "the number of queues was changed while there are queues");
        Ok(((), "a threshold is kept, the number of queues is fixed".to_owned()))
    })
}

/// Counters count what was done, and errors are remembered.
fn logs(linux: &mut Linux, controller: &Controller) -> Result<()> {
    let name = format!("/dev/{}", controller.name);
    let device = linux.device("data")?;
    linux.step("nvme smart-log", |linux| {
        let read =
            |linux: &mut Linux| linux.host()?.json(&format!("nvme smart-log {name} -o json"), HOST_COMMAND);
        let before = read(linux)?;
        let work = format!(
            "dd if={device} of=/dev/null bs=4k count=10 iflag=direct 2>/dev/null && \
             dd if=/dev/zero of={device} bs=4k count=5 oflag=direct 2>/dev/null"
        );
        linux.host()?.ok(&work, HOST_COMMAND)?;
        let after = read(linux)?;
        for (key, count) in [("host_read_commands", 10), ("host_write_commands", 5)] {
            let more = number(&after, key)?.saturating_sub(number(&before, key)?);
            ensure!(more >= count, "{key} grew by {more} after {count} commands");
        }
        ensure!(number(&after, "critical_warning")? == 0, "{after}");
        Ok(((), "reads and writes are counted".to_owned()))
    })?;
    linux.step("nvme error-log", |linux| {
        let read = |linux: &mut Linux| -> Result<Value> {
            let log = linux.host()?.json(&format!("nvme error-log {name} -o json"), HOST_COMMAND)?;
            log.pointer("/errors/0").cloned().with_context(|| format!("no entries: {log}"))
        };
        let before = number(&read(linux)?, "error_count")?;
        let wrong = linux.host()?.run(&format!("nvme admin-passthru {name} --opcode=0xc1"), HOST_COMMAND)?;
        ensure!(wrong.code != 0, "a command that does not exist was accepted");
        let entry = read(linux)?;
        ensure!(number(&entry, "error_count")? == before + 1, "no new error after {before}: {entry}");
        // Invalid Opcode; above it stands "do not retry".
        ensure!(number(&entry, "status_field")? & 0x7ff == 0x001, "{entry}");
        Ok(((), format!("error {} is Invalid Opcode", before + 1)))
    })?;
    linux.step("nvme supported-log-pages", |linux| {
        let told = linux.host()?.ok(&format!("nvme supported-log-pages {name}"), HOST_COMMAND)?;
        for page in ["0x0 ", "0x1 ", "0x2 ", "0x3 ", "0x4 ", "0x5 ", "0xc "] {
            ensure!(told.contains(&format!("LID {page}")), "page {page} is not listed:\n{told}");
        }
        // Every page that is listed can be read; at full length, because Wireshark calls the beginning of a page malformed.
        let listed: Vec<&str> =
            told.lines().filter_map(|l| l.strip_prefix("LID ")?.split(' ').next()).collect();
        for page in &listed {
            linux.host()?.ok(&format!("nvme get-log {name} -i {page} -l 4096 >/dev/null"), HOST_COMMAND)?;
        }
        Ok(((), format!("all of {} can be read", listed.join(" "))))
    })
}
