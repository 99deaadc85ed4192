//! What an engine is started with, and what it reports on its own.

use crate::{Affinity, Cores, DriveSpec, Mode};
use core::fmt;
use std::net::SocketAddr;
use uuid::Uuid;

/// Something that happened without being asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// A short word for machines: `core`, `memory`, `drive-failed`, `drive-wiped`, `pool-imported`, `pool-offline`, `pool-created`,
    /// `pool-deleted`, `volume-created`, `volume-grown`, `volume-hosts`, `volume-deleted`, `host-connected`, `host-disconnected`.
    pub kind: String,
    /// The object, as in errors: `drive/S0`, `pool/tank`.
    pub object: String,
    /// A sentence for people.
    pub text: String,
}

/// Receives events on the core's thread: it must not block.
pub type EventSink = Box<dyn FnMut(Event) + Send>;

/// What an engine is started with.
pub struct EngineConfig {
    /// Drives to open.
    pub drives: Vec<DriveSpec>,
    /// Addresses for NVMe/TCP; port 0 chooses a free one.
    pub listen: Vec<SocketAddr>,
    /// Addresses for discovery only.
    pub discovery: Vec<SocketAddr>,
    /// Memory for IO buffers and device queues, in bytes.
    pub arena_bytes: usize,
    /// Ask for huge pages; ordinary pages are used where there are none.
    pub hugepages: bool,
    /// How eagerly the cores poll.
    pub mode: Mode,
    /// Every host may connect, and use the volumes that have no list of hosts. Otherwise only hosts on lists may.
    pub is_insecure: bool,
    /// What the node is, the same at every start: its discovery subsystem is named after it. Nil if nothing is known; then
    /// the name is new at every start.
    pub identity: Uuid,
    /// How many cores there are, and on which processors they run.
    pub cores: Cores,
    /// Shown as the version of the software.
    pub version: String,
    /// Where events go; `None` drops them.
    pub events: Option<EventSink>,
}

impl Default for EngineConfig {
    /// No drives, no addresses, 64 MiB of ordinary pages, balanced polling by one core on any processor, for hosts on lists only.
    fn default() -> Self {
        Self {
            drives: Vec::new(),
            listen: Vec::new(),
            discovery: Vec::new(),
            arena_bytes: 64 << 20,
            hugepages: false,
            mode: Mode::Balanced,
            is_insecure: false,
            identity: Uuid::nil(),
            cores: Cores::On(vec![Affinity::Anywhere]),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            events: None,
        }
    }
}

impl fmt::Debug for EngineConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineConfig")
            .field("drives", &self.drives)
            .field("listen", &self.listen)
            .field("discovery", &self.discovery)
            .field("arena_bytes", &self.arena_bytes)
            .field("mode", &self.mode)
            .field("cores", &self.cores)
            .finish_non_exhaustive()
    }
}
