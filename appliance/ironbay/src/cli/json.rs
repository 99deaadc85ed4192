//! What programs see: the messages of the API as JSON, with their field names; states in lower case, sizes in bytes.

use super::text::{drive_state, pool_state, volume_state};
use api::v1;
use serde_json::{Value, json};

pub(crate) fn node(node: &v1::Node) -> Value {
    let phases: Vec<Value> = node
        .boot_phases
        .iter()
        .map(|phase| {
            json!({
                "name": phase.name, "started_ms": phase.started_ms, "took_ms": phase.took_ms,
                "failure": phase.failure, "remedy": phase.remedy,
            })
        })
        .collect();
    json!({
        "hostname": node.hostname, "version": node.version, "phase": node.phase, "uptime_ms": node.uptime_ms,
        "cores": node.cores, "mode": node.mode, "portals": portals(&node.portals),
        "engine_start_ms": node.engine_start_ms, "io_commands": node.io_commands,
        "busy_permille": node.busy_permille, "boot_phases": phases,
    })
}

pub(crate) fn drive(drive: &v1::Drive) -> Value {
    json!({
        "serial": drive.serial, "path": drive.path, "model": drive.model, "size_bytes": drive.size_bytes,
        "lba_bytes": drive.lba_bytes, "state": drive_state(drive.state()), "detail": drive.detail,
        "pool_id": drive.pool_id, "pool_name": drive.pool_name,
        "volatile_write_cache": drive.volatile_write_cache, "errors": drive.errors,
    })
}

pub(crate) fn pool(pool: &v1::Pool) -> Value {
    json!({
        "id": pool.id, "name": pool.name, "state": pool_state(pool.state()), "detail": pool.detail,
        "drive_serials": pool.drive_serials, "size_bytes": pool.size_bytes, "free_bytes": pool.free_bytes,
        "subsystem_nqn": pool.subsystem_nqn, "revision": pool.revision,
    })
}

pub(crate) fn volume(volume: &v1::Volume) -> Value {
    let connection = volume.connection.as_ref().map(|connection| {
        json!({
            "subsystem_nqn": connection.subsystem_nqn, "nsid": connection.nsid,
            "portals": portals(&connection.portals),
        })
    });
    json!({
        "id": volume.id, "name": volume.name, "pool_id": volume.pool_id, "pool_name": volume.pool_name,
        "size_bytes": volume.size_bytes, "block_size": volume.block_size, "state": volume_state(volume.state()), "connection": connection,
        "hosts": volume.hosts, "revision": volume.revision,
        "allowed_hosts": volume.allowed_hosts.as_ref().map(|allowed| &allowed.nqns),
    })
}

pub(crate) fn session(session: &v1::Session) -> Value {
    json!({
        "host_nqn": session.host_nqn, "subsystem_nqn": session.subsystem_nqn,
        "controller_id": session.controller_id, "peer": session.peer, "io_queues": session.io_queues,
        "commands": session.commands, "age_ms": session.age_ms,
    })
}

fn portals(portals: &[v1::Portal]) -> Value {
    portals
        .iter()
        .map(
            |portal| json!({ "transport": portal.transport, "address": portal.address, "port": portal.port }),
        )
        .collect()
}
