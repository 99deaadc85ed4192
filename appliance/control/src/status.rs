//! Observed state: what the engine says about itself.

use crate::AllowedHosts;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zbus::Type;

/// The engine as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct EngineStatus {
    /// Version of the software.
    pub version: String,
    /// Polled cores.
    pub cores: u32,
    /// `latency`, `balanced` or `eco`.
    pub mode: String,
    /// Socket addresses that serve NVMe/TCP: `10.0.0.5:4420`; an unspecified address stands for all of the node.
    pub portals: Vec<String>,
    /// Milliseconds from the start of the engine until pools were imported and portals listened.
    pub start_ms: u64,
    /// Milliseconds since the start of the engine.
    pub uptime_ms: u64,
    /// Commands completed for hosts since the start.
    pub io_commands: u64,
    /// Thousandths of the time in which the busiest polled core did work, over the last second.
    pub busy_permille: u32,
}

/// What a drive is to Ironbay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zbus(signature = "s")]
pub enum DriveState {
    /// Nothing on it: may join a pool.
    Blank,
    /// A member of a pool on this node.
    Member,
    /// Carries data that is not Ironbay's; never written unless a pool creation names it and allows it.
    Foreign,
    /// Does not work, or cannot be used; `detail` says why.
    Failed,
}

/// One drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct DriveStatus {
    /// Serial number: how people name it.
    pub serial: String,
    /// Where it is: `vfio:0000:00:04.0`, `file:/var/tmp/a.img`, `ram:0`.
    pub path: String,
    /// Model string.
    pub model: String,
    /// Capacity.
    pub size_bytes: u64,
    /// Bytes of the drive's own logical block format (512, 4096).
    pub lba_bytes: u32,
    /// The state.
    pub state: DriveState,
    /// Evidence or reason: "GPT partition table", "controller does not become ready within 7500 ms"; may be empty.
    pub detail: String,
    /// The pool it belongs to; nil if none.
    pub pool: Uuid,
    /// A volatile write cache is in use.
    pub is_volatile: bool,
    /// Media and command errors seen since the start.
    pub errors: u64,
}

/// How a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zbus(signature = "s")]
pub enum PoolState {
    /// All drives present.
    Online,
    /// Drives missing: its volumes are not served; `detail` names the drives.
    Incomplete,
    /// The metadata cannot be used; `detail` says why.
    Damaged,
}

/// One pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct PoolStatus {
    /// Identity.
    pub uuid: Uuid,
    /// Name.
    pub name: String,
    /// State.
    pub state: PoolState,
    /// Reason for a state other than online; may be empty.
    pub detail: String,
    /// Serial numbers of the members, present or not.
    pub drive_serials: Vec<String>,
    /// Bytes usable for volumes, in all.
    pub size_bytes: u64,
    /// Bytes not used by volumes.
    pub free_bytes: u64,
    /// NVMe subsystem that exports its volumes.
    pub subsystem_nqn: String,
    /// Grows with each change.
    pub revision: u64,
}

/// How a volume is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zbus(signature = "s")]
pub enum VolumeState {
    /// Served.
    Online,
    /// Not served; its pool says why.
    Offline,
    /// Being made: its blocks are zeroed, or it waits for another change of its pool. Hosts see it when it is online.
    Creating,
}

/// One volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct VolumeStatus {
    /// Identity; the namespace's UUID and NGUID.
    pub uuid: Uuid,
    /// Name.
    pub name: String,
    /// Its pool.
    pub pool: Uuid,
    /// Name of its pool.
    pub pool_name: String,
    /// Size.
    pub size_bytes: u64,
    /// Bytes of a logical block as hosts see it.
    pub block_size: u32,
    /// State.
    pub state: VolumeState,
    /// Namespace identifier within the subsystem; 0 while it is being created.
    pub nsid: u32,
    /// NVMe subsystem that exports it.
    pub subsystem_nqn: String,
    /// NQNs of hosts that are connected now and may use it.
    pub hosts: Vec<String>,
    /// Which hosts may use it.
    pub allowed_hosts: AllowedHosts,
    /// Grows with each change.
    pub revision: u64,
}

/// One connected controller: a host's association with a subsystem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct SessionStatus {
    /// NQN of the host.
    pub host_nqn: String,
    /// NQN of the subsystem.
    pub subsystem_nqn: String,
    /// Controller identifier.
    pub cntlid: u16,
    /// Address of the host: `10.0.0.7:51234`.
    pub peer: String,
    /// IO queues connected.
    pub io_queues: u32,
    /// Commands completed.
    pub commands: u64,
    /// Milliseconds since the connection.
    pub age_ms: u64,
}
