//! The primitives that an engine executes.

use crate::{DriveStatus, EngineStatus, PoolStatus, SessionStatus, VolumeStatus};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zbus::Type;

/// Make a pool of drives. Everything on them is lost; so drives with foreign data need `overwrite_foreign_data`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct CreatePool {
    /// Chosen by the client (version 4); makes the request repeatable.
    pub uuid: Uuid,
    /// 1 to 63 characters of `[a-z0-9-]`, unique on the node.
    pub name: String,
    /// Serial numbers of the drives.
    pub drive_serials: Vec<String>,
    /// Also take drives that carry data which is not Ironbay's.
    pub overwrite_foreign_data: bool,
}

/// Remove an empty pool: its labels are erased, its drives are blank again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct DeletePool {
    /// Which.
    pub uuid: Uuid,
}

/// Give up what is on a drive that is in no online pool: it is blank again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct WipeDrive {
    /// Serial number of the drive.
    pub serial: String,
    /// What is given up: the name or UUID of the pool, or else what the drive's `detail` says; nothing for one that is blank.
    pub confirm: String,
}

/// Make a volume; it reads as zeroes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct CreateVolume {
    /// Chosen by the client (version 4); becomes the namespace's UUID and NGUID.
    pub uuid: Uuid,
    /// The pool.
    pub pool: Uuid,
    /// 1 to 63 characters of `[a-z0-9-]`, unique on the node.
    pub name: String,
    /// A multiple of 1 MiB, at least 1 MiB.
    pub size_bytes: u64,
    /// Bytes of a logical block as hosts see it, one of [`crate::limits::BLOCK_SIZES`]; never changes.
    pub block_size: u32,
    /// Which hosts may use it.
    pub allowed_hosts: AllowedHosts,
}

/// Which hosts may use a volume. For others it does not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct AllowedHosts {
    /// Those in `nqns`, and nobody if there are none. Without a list: everybody on a node in insecure mode, nobody on
    /// others.
    pub is_listed: bool,
    /// NQNs of hosts; empty without a list.
    pub nqns: Vec<String>,
}

/// Change which hosts may use a volume. Those that gain or lose it are told; one that may use nothing of its subsystem any
/// more is disconnected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct SetVolumeHosts {
    /// Which.
    pub uuid: Uuid,
    /// The hosts, instead of those named before.
    pub allowed_hosts: AllowedHosts,
}

/// Grow a volume. The new part reads as zeroes; a smaller size is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct ResizeVolume {
    /// Which.
    pub uuid: Uuid,
    /// The new size; a multiple of 1 MiB.
    pub size_bytes: u64,
}

/// Remove a volume and its data. Refused while a host is connected to it, unless `force`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct DeleteVolume {
    /// Which.
    pub uuid: Uuid,
    /// Also while hosts are connected.
    pub force: bool,
}

/// Everything one can ask of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Answered by [`Reply::Engine`].
    GetStatus,
    /// Answered by [`Reply::Drives`].
    ListDrives,
    /// Answered by [`Reply::Pools`].
    ListPools,
    /// Answered by [`Reply::Volumes`].
    ListVolumes,
    /// Answered by [`Reply::Sessions`].
    ListSessions,
    /// Answered by [`Reply::Drives`] with the blank drive.
    WipeDrive(WipeDrive),
    /// Answered by [`Reply::Pools`] with the new pool.
    CreatePool(CreatePool),
    /// Answered by [`Reply::Done`].
    DeletePool(DeletePool),
    /// Answered by [`Reply::Volumes`] with the new volume.
    CreateVolume(CreateVolume),
    /// Answered by [`Reply::Volumes`] with the grown volume.
    ResizeVolume(ResizeVolume),
    /// Answered by [`Reply::Volumes`] with the changed volume.
    SetVolumeHosts(SetVolumeHosts),
    /// Answered by [`Reply::Done`].
    DeleteVolume(DeleteVolume),
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Done, nothing to say.
    Done,
    /// The engine.
    Engine(EngineStatus),
    /// Drives.
    Drives(Vec<DriveStatus>),
    /// Pools.
    Pools(Vec<PoolStatus>),
    /// Volumes.
    Volumes(Vec<VolumeStatus>),
    /// Sessions.
    Sessions(Vec<SessionStatus>),
}
