//! From what an engine says to what the API says.

use crate::v1;
use control::{
    AllowedHosts, DriveState, DriveStatus, PoolState, PoolStatus, SessionStatus, VolumeState, VolumeStatus,
};

/// A drive; `pool_name` is empty if it belongs to none.
#[must_use]
pub fn drive(status: DriveStatus, pool_name: String) -> v1::Drive {
    let state = match status.state {
        DriveState::Blank => v1::DriveState::Blank,
        DriveState::Member => v1::DriveState::Member,
        DriveState::Foreign => v1::DriveState::Foreign,
        DriveState::Failed => v1::DriveState::Failed,
    };
    v1::Drive {
        serial: status.serial,
        path: status.path,
        model: status.model,
        size_bytes: status.size_bytes,
        lba_bytes: status.lba_bytes,
        state: state.into(),
        detail: status.detail,
        pool_id: if status.pool.is_nil() { String::new() } else { status.pool.to_string() },
        pool_name,
        volatile_write_cache: status.is_volatile,
        errors: status.errors,
    }
}

/// A pool.
#[must_use]
pub fn pool(status: PoolStatus) -> v1::Pool {
    let state = match status.state {
        PoolState::Online => v1::PoolState::Online,
        PoolState::Incomplete => v1::PoolState::Incomplete,
        PoolState::Damaged => v1::PoolState::Damaged,
    };
    v1::Pool {
        id: status.uuid.to_string(),
        name: status.name,
        state: state.into(),
        detail: status.detail,
        drive_serials: status.drive_serials,
        size_bytes: status.size_bytes,
        free_bytes: status.free_bytes,
        subsystem_nqn: status.subsystem_nqn,
        revision: status.revision,
    }
}

/// A volume, reachable through `portals`.
#[must_use]
pub fn volume(status: VolumeStatus, portals: Vec<v1::Portal>) -> v1::Volume {
    let state = match status.state {
        VolumeState::Online => v1::VolumeState::Online,
        VolumeState::Offline => v1::VolumeState::Offline,
        VolumeState::Creating => v1::VolumeState::Creating,
    };
    let is_there = status.state != VolumeState::Creating;
    v1::Volume {
        id: status.uuid.to_string(),
        name: status.name,
        pool_id: status.pool.to_string(),
        pool_name: status.pool_name,
        size_bytes: status.size_bytes,
        block_size: status.block_size,
        state: state.into(),
        connection: is_there.then(|| connection(status.subsystem_nqn, status.nsid, portals)),
        hosts: status.hosts,
        revision: status.revision,
        allowed_hosts: hosts(status.allowed_hosts),
    }
}

/// A list of hosts, if there is one.
fn hosts(allowed: AllowedHosts) -> Option<v1::AllowedHosts> {
    allowed.is_listed.then_some(v1::AllowedHosts { nqns: allowed.nqns })
}

/// What `nvme connect` needs.
#[must_use]
pub fn connection(subsystem_nqn: String, nsid: u32, portals: Vec<v1::Portal>) -> v1::Connection {
    v1::Connection { subsystem_nqn, nsid, portals }
}

/// A connected controller.
#[must_use]
pub fn session(status: SessionStatus) -> v1::Session {
    v1::Session {
        host_nqn: status.host_nqn,
        subsystem_nqn: status.subsystem_nqn,
        controller_id: u32::from(status.cntlid),
        peer: status.peer,
        io_queues: status.io_queues,
        commands: status.commands,
        age_ms: status.age_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn blank() -> DriveStatus {
        DriveStatus {
            serial: "S0".into(),
            path: "ram:0".into(),
            model: "Memory".into(),
            size_bytes: 1 << 30,
            lba_bytes: 4096,
            state: DriveState::Blank,
            detail: String::new(),
            pool: Uuid::nil(),
            is_volatile: false,
            errors: 0,
        }
    }

    /// Goal: no pool is an empty string, never the nil UUID.
    #[test]
    fn a_drive_without_a_pool_names_none() {
        assert_eq!(drive(blank(), String::new()).pool_id, "");
        let member = DriveStatus { pool: Uuid::from_u128(1), state: DriveState::Member, ..blank() };
        let shown = drive(member, "tank".into());
        assert_eq!(shown.pool_id, "00000000-0000-0000-0000-000000000001");
        assert_eq!(shown.state(), v1::DriveState::Member);
    }
}
