//! What people see.

use super::table::{Align, Table, facts};
use api::v1;
use block::Bytes;
use std::fmt::Write;

pub(crate) fn node(node: &v1::Node) -> String {
    let mut text = facts(&[
        ("hostname", node.hostname.clone()),
        ("version", node.version.clone()),
        ("phase", node.phase.clone()),
        ("uptime", duration(node.uptime_ms)),
        ("cores", format!("{} ({})", node.cores, node.mode)),
        ("busy", format!("{:.1} %", f64::from(node.busy_permille) / 10.0)),
        ("engine start", duration(node.engine_start_ms)),
        ("commands", node.io_commands.to_string()),
        ("portals", portals(&node.portals)),
    ]);
    if !node.boot_phases.is_empty() {
        let mut table = Table::new(&[
            ("PHASE", Align::Left),
            ("STARTED", Align::Right),
            ("TOOK", Align::Right),
            ("FAILURE", Align::Left),
            ("TRY", Align::Left),
        ]);
        for phase in &node.boot_phases {
            table.row(vec![
                phase.name.clone(),
                duration(phase.started_ms),
                duration(phase.took_ms),
                phase.failure.clone(),
                phase.remedy.clone(),
            ]);
        }
        let _ = write!(text, "\n{}", table.render(""));
    }
    text
}

pub(crate) fn drives(drives: &[v1::Drive]) -> String {
    let mut table = Table::new(&[
        ("SERIAL", Align::Left),
        ("SIZE", Align::Right),
        ("STATE", Align::Left),
        ("POOL", Align::Left),
        ("MODEL", Align::Left),
        ("PATH", Align::Left),
        ("ERRORS", Align::Right),
        ("DETAIL", Align::Left),
    ]);
    for drive in drives {
        table.row(vec![
            drive.serial.clone(),
            human(drive.size_bytes),
            drive_state(drive.state()).into(),
            drive.pool_name.clone(),
            drive.model.clone(),
            drive.path.clone(),
            drive.errors.to_string(),
            drive.detail.clone(),
        ]);
    }
    table.render("no drive: start the engine with --drive, or look at the console of the node")
}

pub(crate) fn drive_state(state: v1::DriveState) -> &'static str {
    match state {
        v1::DriveState::Unspecified => "unknown",
        v1::DriveState::Blank => "blank",
        v1::DriveState::Member => "member",
        v1::DriveState::Foreign => "foreign",
        v1::DriveState::Failed => "failed",
    }
}

pub(crate) fn pools(pools: &[v1::Pool]) -> String {
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("SIZE", Align::Right),
        ("FREE", Align::Right),
        ("STATE", Align::Left),
        ("DRIVES", Align::Left),
        ("ID", Align::Left),
        ("DETAIL", Align::Left),
    ]);
    for pool in pools {
        table.row(vec![
            pool.name.clone(),
            human(pool.size_bytes),
            human(pool.free_bytes),
            pool_state(pool.state()).into(),
            pool.drive_serials.join(","),
            pool.id.clone(),
            pool.detail.clone(),
        ]);
    }
    table.render("no pool: \"ironbay pool create NAME --drive SERIAL\" makes one")
}

pub(crate) fn pool_state(state: v1::PoolState) -> &'static str {
    match state {
        v1::PoolState::Unspecified => "unknown",
        v1::PoolState::Online => "online",
        v1::PoolState::Incomplete => "incomplete",
        v1::PoolState::Damaged => "damaged",
    }
}

pub(crate) fn pool(pool: &v1::Pool) -> String {
    facts(&[
        ("name", pool.name.clone()),
        ("id", pool.id.clone()),
        ("state", pool_state(pool.state()).to_owned()),
        ("detail", pool.detail.clone()),
        ("size", exact(pool.size_bytes)),
        ("free", exact(pool.free_bytes)),
        ("drives", pool.drive_serials.join(", ")),
        ("subsystem", pool.subsystem_nqn.clone()),
        ("revision", pool.revision.to_string()),
    ])
}

pub(crate) fn volumes(volumes: &[v1::Volume]) -> String {
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("SIZE", Align::Right),
        ("BLOCKS", Align::Right),
        ("POOL", Align::Left),
        ("STATE", Align::Left),
        ("NSID", Align::Right),
        ("HOSTS", Align::Right),
        ("ID", Align::Left),
    ]);
    for volume in volumes {
        let nsid = volume.connection.as_ref().map(|c| c.nsid.to_string()).unwrap_or_default();
        table.row(vec![
            volume.name.clone(),
            human(volume.size_bytes),
            volume.block_size.to_string(),
            volume.pool_name.clone(),
            volume_state(volume.state()).into(),
            nsid,
            volume.hosts.len().to_string(),
            volume.id.clone(),
        ]);
    }
    table.render("no volume: \"ironbay volume create NAME --pool POOL --size SIZE\" makes one")
}

pub(crate) fn volume_state(state: v1::VolumeState) -> &'static str {
    match state {
        v1::VolumeState::Unspecified => "unknown",
        v1::VolumeState::Online => "online",
        v1::VolumeState::Offline => "offline",
        v1::VolumeState::Creating => "creating",
    }
}

pub(crate) fn volume(volume: &v1::Volume) -> String {
    let connection = volume.connection.clone().unwrap_or_default();
    let connect = connection.portals.first().map(|portal| {
        format!(
            "nvme connect -t {} -a {} -s {} -n {}",
            portal.transport, portal.address, portal.port, connection.subsystem_nqn
        )
    });
    facts(&[
        ("name", volume.name.clone()),
        ("id", volume.id.clone()),
        ("pool", volume.pool_name.clone()),
        ("state", volume_state(volume.state()).to_owned()),
        ("size", exact(volume.size_bytes)),
        ("blocks", format!("{} bytes", volume.block_size)),
        ("subsystem", connection.subsystem_nqn.clone()),
        ("nsid", connection.nsid.to_string()),
        ("portals", portals(&connection.portals)),
        ("allowed", allowed(volume.allowed_hosts.as_ref())),
        ("hosts", volume.hosts.join(", ")),
        ("revision", volume.revision.to_string()),
        ("connect", connect.unwrap_or_default()),
    ])
}

pub(crate) fn sessions(sessions: &[v1::Session]) -> String {
    let mut table = Table::new(&[
        ("HOST", Align::Left),
        ("SUBSYSTEM", Align::Left),
        ("CONTROLLER", Align::Right),
        ("PEER", Align::Left),
        ("QUEUES", Align::Right),
        ("COMMANDS", Align::Right),
        ("AGE", Align::Right),
    ]);
    for session in sessions {
        table.row(vec![
            session.host_nqn.clone(),
            session.subsystem_nqn.clone(),
            session.controller_id.to_string(),
            session.peer.clone(),
            session.io_queues.to_string(),
            session.commands.to_string(),
            duration(session.age_ms),
        ]);
    }
    table.render("no host is connected")
}

fn portals(portals: &[v1::Portal]) -> String {
    portals.iter().map(socket).collect::<Vec<_>>().join(", ")
}

/// `10.0.0.5:4420`, `[fd00::5]:4420`.
pub(crate) fn socket(portal: &v1::Portal) -> String {
    let v1::Portal { address, port, .. } = portal;
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// `10 GiB`; rounded down to a tenth.
pub(crate) fn human(bytes: u64) -> String {
    Bytes(bytes).rounded().to_string()
}

/// `10 GiB (10737418240 bytes)`.
pub(crate) fn exact(bytes: u64) -> String {
    format!("{} ({bytes} bytes)", human(bytes))
}

fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, 0..10) => format!("{}.{:03} s", seconds, ms % 1000),
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, _, _) => format!("{d} d {h} h"),
    }
}

/// Which hosts may use a volume.
fn allowed(hosts: Option<&v1::AllowedHosts>) -> String {
    match hosts {
        None => "no list".to_owned(),
        Some(hosts) if hosts.nqns.is_empty() => "nobody".to_owned(),
        Some(hosts) => hosts.nqns.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    /// Goal: one look at a volume is enough to connect to it.
    #[test]
    fn a_volume_says_how_to_connect() {
        let shown = volume(&v1::Volume {
            id: "0191b1c2-7d3e-4f5a-8b6c-1d2e3f4a5b6c".into(),
            name: "db".into(),
            pool_id: String::new(),
            pool_name: "tank".into(),
            size_bytes: 10 << 30,
            block_size: 512,
            state: v1::VolumeState::Online.into(),
            connection: Some(v1::Connection {
                subsystem_nqn: "nqn.2014-08.org.nvmexpress:uuid:1".into(),
                nsid: 1,
                portals: vec![v1::Portal { transport: "tcp".into(), address: "10.0.0.5".into(), port: 4420 }],
            }),
            hosts: Vec::new(),
            allowed_hosts: None,
            revision: 3,
        });
        expect![[r#"
            name       db
            id         0191b1c2-7d3e-4f5a-8b6c-1d2e3f4a5b6c
            pool       tank
            state      online
            size       10 GiB (10737418240 bytes)
            blocks     512 bytes
            subsystem  nqn.2014-08.org.nvmexpress:uuid:1
            nsid       1
            portals    10.0.0.5:4420
            allowed    no list
            revision   3
            connect    nvme connect -t tcp -a 10.0.0.5 -s 4420 -n nqn.2014-08.org.nvmexpress:uuid:1
        "#]]
        .assert_eq(&shown);
    }

    /// Goal: durations in the unit that fits.
    #[test]
    fn durations() {
        let cases = [(1234, "1.234 s"), (59_000, "59 s"), (61_000, "1 min 1 s"), (3_660_000, "1 h 1 min")];
        for (ms, text) in cases {
            assert_eq!(duration(ms), text);
        }
        assert_eq!(duration(90_000_000), "1 d 1 h");
    }
}
