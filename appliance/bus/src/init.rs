//! `org.ironbay.Init1`: what PID 1 knows about the node, served by `initrd`, called by agent and console.

use crate::limits::CALL_TIMEOUT;
use crate::link::{Link, Peer};
use crate::refusal::Refusal;
use control::ControlError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use zbus::connection::Builder;
use zbus::{Connection, Type};

/// The object that carries the interface.
pub const INIT_PATH: &str = "/org/ironbay/init";

static INIT: Peer = Peer {
    object: INIT_PATH,
    interface: "org.ironbay.Init1",
    name: "init",
    remedy: "the node's PID 1 should always answer: look at the serial console",
};

/// One phase of the boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct BootPhase {
    /// `mounts`, `network`, `claim`, …
    pub name: String,
    /// Milliseconds from the start of the kernel; 0 while waiting.
    pub started_ms: u64,
    /// How long it took; so far, if it is running.
    pub took_ms: u64,
    /// `done`, `failed`, `running` or `waiting`.
    pub state: String,
    /// What failed; empty if nothing did.
    pub failure: String,
    /// What to do about it.
    pub remedy: String,
}

/// One supervised process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct ServiceStatus {
    /// `engine`, `agent`, `console ttyS0`, `dhcp eth0`.
    pub name: String,
    /// `running`, `waiting` (for its next start), `stopped`.
    pub state: String,
    /// Process number; 0 if it does not run.
    pub pid: u32,
    /// Starts after the first one.
    pub restarts: u32,
    /// How it ended last: `exit code 1`, `signal 9`; empty if it never did.
    pub last_exit: String,
}

/// One network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Interface {
    /// `eth0`.
    pub name: String,
    /// Hardware address.
    pub mac: String,
    /// Kernel driver.
    pub driver: String,
    /// Address with prefix: `10.0.0.5/24`; empty if none.
    pub address: String,
    /// Router; empty if none.
    pub gateway: String,
    /// A cable is plugged in, the link is up.
    pub has_link: bool,
}

/// Whoever is PID 1. The answers come from memory; the methods must not block.
pub trait InitService: Send + Sync + 'static {
    /// Phases of the boot, in their order.
    fn phases(&self) -> Vec<BootPhase>;
    /// Supervised processes.
    fn services(&self) -> Vec<ServiceStatus>;
    /// Network interfaces.
    fn network(&self) -> Vec<Interface>;
    /// Version of the image.
    fn version(&self) -> String;
    /// Name of the node.
    fn hostname(&self) -> String;
    /// The node was booted for the lab: its API needs no authentication.
    fn is_insecure(&self) -> bool;
    /// Begins an orderly restart.
    ///
    /// # Errors
    /// When it may not happen now.
    fn reboot(&self, reason: &str) -> Result<(), ControlError>;
    /// Begins an orderly power-off.
    ///
    /// # Errors
    /// When it may not happen now.
    fn power_off(&self, reason: &str) -> Result<(), ControlError>;
}

/// Publishes `org.ironbay.Init1` on a connection that is being built; for [`crate::serve`].
pub fn publish_init(builder: Builder<'static>, service: Arc<dyn InitService>) -> Builder<'static> {
    builder.serve_at(INIT_PATH, Init1 { service })
}

struct Init1 {
    service: Arc<dyn InitService>,
}

impl fmt::Debug for Init1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Init1").finish_non_exhaustive()
    }
}

#[zbus::interface(name = "org.ironbay.Init1")]
impl Init1 {
    async fn phases(&self) -> Vec<BootPhase> {
        self.service.phases()
    }

    async fn services(&self) -> Vec<ServiceStatus> {
        self.service.services()
    }

    async fn network(&self) -> Vec<Interface> {
        self.service.network()
    }

    async fn version(&self) -> String {
        self.service.version()
    }

    async fn hostname(&self) -> String {
        self.service.hostname()
    }

    async fn insecure(&self) -> bool {
        self.service.is_insecure()
    }

    async fn reboot(&self, reason: String) -> Result<(), Refusal> {
        Ok(self.service.reboot(&reason)?)
    }

    async fn power_off(&self, reason: String) -> Result<(), Refusal> {
        Ok(self.service.power_off(&reason)?)
    }
}

/// Calls init over the bus. May be shared.
#[derive(Debug)]
pub struct InitClient {
    link: Link,
}

impl InitClient {
    /// The init whose socket is at `path`: connects with the first call, and again after a break.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { link: Link::at(&INIT, path.into()) }
    }

    /// The init at the other end of a connection.
    #[must_use]
    pub fn over(connection: Connection) -> Self {
        Self { link: Link::over(&INIT, connection) }
    }

    /// Phases of the boot, in their order.
    ///
    /// # Errors
    /// `Unavailable` with a remedy when init does not answer; so for all methods here.
    pub async fn phases(&self) -> Result<Vec<BootPhase>, ControlError> {
        self.link.call("Phases", &(), CALL_TIMEOUT).await
    }

    /// Supervised processes.
    ///
    /// # Errors
    /// As [`Self::phases`].
    pub async fn services(&self) -> Result<Vec<ServiceStatus>, ControlError> {
        self.link.call("Services", &(), CALL_TIMEOUT).await
    }

    /// Network interfaces.
    ///
    /// # Errors
    /// As [`Self::phases`].
    pub async fn network(&self) -> Result<Vec<Interface>, ControlError> {
        self.link.call("Network", &(), CALL_TIMEOUT).await
    }

    /// Version of the image.
    ///
    /// # Errors
    /// As [`Self::phases`].
    pub async fn version(&self) -> Result<String, ControlError> {
        self.link.call("Version", &(), CALL_TIMEOUT).await
    }

    /// Name of the node.
    ///
    /// # Errors
    /// As [`Self::phases`].
    pub async fn hostname(&self) -> Result<String, ControlError> {
        self.link.call("Hostname", &(), CALL_TIMEOUT).await
    }

    /// The node was booted for the lab.
    ///
    /// # Errors
    /// As [`Self::phases`].
    pub async fn is_insecure(&self) -> Result<bool, ControlError> {
        self.link.call("Insecure", &(), CALL_TIMEOUT).await
    }

    /// Begins an orderly restart.
    ///
    /// # Errors
    /// As [`Self::phases`], or why it may not happen now.
    pub async fn reboot(&self, reason: &str) -> Result<(), ControlError> {
        self.link.call("Reboot", &(reason,), CALL_TIMEOUT).await
    }

    /// Begins an orderly power-off.
    ///
    /// # Errors
    /// As [`Self::phases`], or why it may not happen now.
    pub async fn power_off(&self, reason: &str) -> Result<(), ControlError> {
        self.link.call("PowerOff", &(reason,), CALL_TIMEOUT).await
    }
}
