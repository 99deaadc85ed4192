//! What the owner tells the target, and what the target tells about itself.

use block::{Blocks, Tick};
use core::net::SocketAddr;
use uuid::Uuid;

/// The target as a whole.
#[derive(Clone, Debug)]
pub struct TargetConfig {
    /// NQN of this node's discovery subsystem, unique to the node (the well-known one works, but then hosts cannot tell two
    /// nodes apart).
    pub discovery_nqn: String,
    /// Number of this node among those that may export the same subsystem, below [`crate::limits::NODES_MAX`]: chooses the
    /// controller identifiers that it gives.
    pub node: u16,
    /// Port of the portals that serve subsystems, told in the discovery log.
    pub io_port: u16,
    /// Firmware revision told to hosts; 8 characters.
    pub firmware: String,
}

/// A subsystem: one pool.
#[derive(Clone, Debug)]
pub struct SubsystemConfig {
    /// Its NQN.
    pub nqn: String,
    /// Serial number, 20 ASCII characters, the same on every node.
    pub serial: String,
    /// Model, 40 ASCII characters.
    pub model: String,
    /// Completed writes need a Flush to be durable. Fixed for the life of the subsystem: hosts read it (VWC) when they
    /// connect, and one that believes there is no cache would never flush.
    pub is_volatile: bool,
    /// Every host may connect, also one that may use none of the namespaces (yet). Otherwise only those that may use one.
    pub is_open: bool,
}

/// Who may use a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Everybody.
    Any,
    /// Hosts with these NQNs.
    Listed(Vec<String>),
}

impl Hosts {
    pub(crate) fn allow(&self, host_nqn: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(nqns) => nqns.iter().any(|nqn| nqn == host_nqn),
        }
    }
}

/// A namespace: one volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceConfig {
    /// Its identifier, stable for life.
    pub nsid: u32,
    /// Its UUID and NGUID, stable and unique.
    pub uuid: Uuid,
    /// Its size, in blocks of the drives.
    pub blocks: Blocks,
    /// Bytes of a logical block as a power of two: 12, or 9 for hosts that know no other (ESXi).
    pub lba_shift: u8,
    /// Handed back in every [`crate::Io`]: the owner's name for the volume.
    pub volume: u64,
    /// Who may use it; for others it does not exist.
    pub hosts: Hosts,
}

/// Why a change was refused. The engine checks before it asks, so these tell of a disagreement between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// No subsystem has this NQN.
    SubsystemNotFound,
    /// A subsystem has this NQN already, or the NQN is not valid.
    SubsystemRefused,
    /// There are as many subsystems as there may be.
    TooManySubsystems,
    /// No namespace has this identifier.
    NamespaceNotFound,
    /// A namespace has this identifier already, or it is out of range.
    NamespaceRefused,
    /// There are too many referrals, or one has no valid NQN.
    ReferralRefused,
    /// The ANA group or state does not exist.
    AnaRefused,
}

impl core::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::SubsystemNotFound => "no such subsystem",
            Self::SubsystemRefused => "the subsystem NQN is in use or not valid",
            Self::TooManySubsystems => "too many subsystems",
            Self::NamespaceNotFound => "no such namespace",
            Self::NamespaceRefused => "the namespace identifier is in use or out of range",
            Self::ReferralRefused => "too many referrals, or an NQN is not valid",
            Self::AnaRefused => "no such ANA group or state",
        })
    }
}

impl core::error::Error for ConfigError {}

/// Both ends of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Ours: goes into the discovery log.
    pub local: SocketAddr,
    /// The host's.
    pub peer: SocketAddr,
    /// The listener is for discovery: no subsystem can be connected to.
    pub is_discovery_only: bool,
}

/// Another discovery subsystem, which hosts are to ask as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referral {
    /// Its NQN, at best the unique one.
    pub nqn: String,
    /// Where it listens.
    pub address: SocketAddr,
}

/// A controller: a host's association with a subsystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// NQN of the host.
    pub host_nqn: String,
    /// NQN of the subsystem.
    pub subsystem_nqn: String,
    /// It is an association with the discovery subsystem.
    pub is_discovery: bool,
    /// Controller identifier.
    pub cntlid: u16,
    /// Address of the host.
    pub peer: SocketAddr,
    /// I/O queues connected.
    pub io_queues: u32,
    /// Commands received.
    pub commands: u64,
    /// When it connected.
    pub since: Tick,
}
