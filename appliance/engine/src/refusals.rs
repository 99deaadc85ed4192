//! Refusals that the engine makes itself: those that need to know all pools, volumes and hosts of the node. Each names the
//! object and what to do.

use control::{ControlError, ErrorKind, PoolState};
use pool::OfflinePool;
use uuid::Uuid;

/// Of a pool whose engine met a failing drive.
pub(crate) const FROZEN: &str =
    "what is stored is read, and nothing is written until the engine restarts: a write to its drive failed";

pub(crate) fn no_memory(pool: &str) -> ControlError {
    ControlError::new(ErrorKind::Unavailable, "there is too little memory for another pool now")
        .object(format!("pool/{pool}"))
        .remedy("give the engine more memory for IO, and restart it")
}

pub(crate) fn no_pool(uuid: Uuid) -> ControlError {
    ControlError::new(ErrorKind::NotFound, format!("this node has no pool {uuid}"))
        .object(format!("pool/{uuid}"))
        .remedy("list the pools to see which exist")
}

pub(crate) fn no_volume(uuid: Uuid) -> ControlError {
    ControlError::new(ErrorKind::NotFound, format!("this node has no volume {uuid}"))
        .object(format!("volume/{uuid}"))
        .remedy("list the volumes to see which exist")
}

pub(crate) fn pool_offline(pool: &OfflinePool) -> ControlError {
    let name = pool.name_or_uuid();
    let remedy = match pool.state {
        PoolState::Damaged => {
            "nothing is written to its drives until that is mended: put the original drives in, as they were, then \
             restart the engine (on an appliance: reboot); or give it up and wipe its drives (ironbay drive wipe)"
        }
        PoolState::Online | PoolState::Incomplete => {
            "put all its drives in, then restart the engine (on an appliance: reboot); or give it up and wipe those \
             that are there (ironbay drive wipe)"
        }
    };
    let message = format!("pool \"{name}\" is not online: {}", pool.detail);
    ControlError::new(ErrorKind::FailedPrecondition, message).object(format!("pool/{name}")).remedy(remedy)
}

/// A drive that does not work is in the list of drives, so it must not be called unknown.
pub(crate) fn drive_failed(serial: &str, why: &str) -> ControlError {
    let message = format!("drive {serial} does not work: {why}");
    ControlError::new(ErrorKind::FailedPrecondition, message)
        .object(format!("drive/{serial}"))
        .remedy("remove the cause and restart the engine (on an appliance: reboot), or choose another drive")
}

pub(crate) fn drive_in_use(serial: &str, pool: &str) -> ControlError {
    let message = format!("drive {serial} is a member of pool \"{pool}\", which is in use");
    ControlError::new(ErrorKind::FailedPrecondition, message)
        .object(format!("drive/{serial}"))
        .field("serial")
        .remedy("delete that pool: its drives are blank then")
}

pub(crate) fn pool_differs(uuid: Uuid, name: &str) -> ControlError {
    let message = format!("pool {uuid} exists with another name or other drives");
    ControlError::new(ErrorKind::AlreadyExists, message)
        .object(format!("pool/{name}"))
        .field("id")
        .remedy("choose another UUID")
}

pub(crate) fn pool_name_taken(name: &str) -> ControlError {
    ControlError::new(ErrorKind::AlreadyExists, format!("this node has a pool \"{name}\" already"))
        .object(format!("pool/{name}"))
        .field("name")
        .remedy("choose another name")
}

pub(crate) fn volume_name_taken(name: &str) -> ControlError {
    ControlError::new(ErrorKind::AlreadyExists, format!("this node has a volume \"{name}\" already"))
        .object(format!("volume/{name}"))
        .field("name")
        .remedy("choose another name")
}

pub(crate) fn volume_elsewhere(uuid: Uuid, pool: &str) -> ControlError {
    let message = format!("volume {uuid} exists in pool \"{pool}\"");
    ControlError::new(ErrorKind::AlreadyExists, message)
        .object(format!("volume/{uuid}"))
        .field("id")
        .remedy("choose another UUID")
}

pub(crate) fn volume_in_use(name: &str, nqn: &str, hosts: &[String]) -> ControlError {
    let who = match hosts {
        [one] => format!("host {one} is"),
        [first, rest @ ..] => format!("host {first} and {} more are", rest.len()),
        [] => "hosts are".to_owned(),
    };
    let message = format!("volume \"{name}\" is in use: {who} connected to its subsystem");
    ControlError::new(ErrorKind::FailedPrecondition, message)
        .object(format!("volume/{name}"))
        .remedy(format!("disconnect there (nvme disconnect -n {nqn}), or delete with force"))
}

pub(crate) fn too_many_pools(max: usize) -> ControlError {
    ControlError::new(
        ErrorKind::ResourceExhausted,
        format!("this node has {max} pools, the most it can have"),
    )
    .remedy("delete a pool")
}
