//! `org.ironbay.Engine1`: the primitives of an engine, served by `ironbayd`, called by manager, console and init.
//!
//! Each [`Request`] is a method of the same name; its answer is the content of the matching [`Reply`].

use crate::limits::{CALL_TIMEOUT, CHANGE_TIMEOUT};
use crate::link::{Link, Peer};
use crate::refusal::Refusal;
use control::{
    ControlError, CreatePool, CreateVolume, DeletePool, DeleteVolume, DriveStatus, EngineStatus, ErrorKind,
    PoolStatus, Reply, Request, ResizeVolume, SessionStatus, SetVolumeHosts, VolumeStatus, WipeDrive,
};
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use zbus::Connection;
use zbus::connection::Builder;

/// The object that carries the interface.
pub const ENGINE_PATH: &str = "/org/ironbay/engine";

static ENGINE: Peer = Peer {
    object: ENGINE_PATH,
    interface: "org.ironbay.Engine1",
    name: "the engine",
    remedy: "wait until the engine has started and try again; the console's page of services says why it is down",
};

/// What a call of the engine gives.
pub type Answer = Pin<Box<dyn Future<Output = Result<Reply, ControlError>> + Send>>;

/// Whoever executes requests.
pub trait EngineService: Send + Sync + 'static {
    /// Executes one request. Called for many at the same time.
    fn call(&self, request: Request) -> Answer;
}

/// Publishes `org.ironbay.Engine1` on a connection that is being built; for [`crate::serve`].
pub fn publish_engine(builder: Builder<'static>, service: Arc<dyn EngineService>) -> Builder<'static> {
    builder.serve_at(ENGINE_PATH, Engine1 { service })
}

struct Engine1 {
    service: Arc<dyn EngineService>,
}

impl fmt::Debug for Engine1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine1").finish_non_exhaustive()
    }
}

fn other_answer() -> Refusal {
    Refusal(ControlError::new(ErrorKind::Internal, "the engine gave an answer to another question"))
}

impl Engine1 {
    async fn pool(&self, request: Request) -> Result<PoolStatus, Refusal> {
        let Reply::Pools(pools) = self.service.call(request).await? else { return Err(other_answer()) };
        pools.into_iter().next().ok_or_else(other_answer)
    }

    async fn volume(&self, request: Request) -> Result<VolumeStatus, Refusal> {
        let Reply::Volumes(volumes) = self.service.call(request).await? else { return Err(other_answer()) };
        volumes.into_iter().next().ok_or_else(other_answer)
    }

    async fn done(&self, request: Request) -> Result<(), Refusal> {
        let Reply::Done = self.service.call(request).await? else { return Err(other_answer()) };
        Ok(())
    }
}

#[zbus::interface(name = "org.ironbay.Engine1")]
impl Engine1 {
    async fn get_status(&self) -> Result<EngineStatus, Refusal> {
        let Reply::Engine(status) = self.service.call(Request::GetStatus).await? else {
            return Err(other_answer());
        };
        Ok(status)
    }

    async fn list_drives(&self) -> Result<Vec<DriveStatus>, Refusal> {
        let Reply::Drives(drives) = self.service.call(Request::ListDrives).await? else {
            return Err(other_answer());
        };
        Ok(drives)
    }

    async fn list_pools(&self) -> Result<Vec<PoolStatus>, Refusal> {
        let Reply::Pools(pools) = self.service.call(Request::ListPools).await? else {
            return Err(other_answer());
        };
        Ok(pools)
    }

    async fn list_volumes(&self) -> Result<Vec<VolumeStatus>, Refusal> {
        let Reply::Volumes(volumes) = self.service.call(Request::ListVolumes).await? else {
            return Err(other_answer());
        };
        Ok(volumes)
    }

    async fn list_sessions(&self) -> Result<Vec<SessionStatus>, Refusal> {
        let Reply::Sessions(sessions) = self.service.call(Request::ListSessions).await? else {
            return Err(other_answer());
        };
        Ok(sessions)
    }

    async fn wipe_drive(&self, wipe: WipeDrive) -> Result<DriveStatus, Refusal> {
        let Reply::Drives(drives) = self.service.call(Request::WipeDrive(wipe)).await? else {
            return Err(other_answer());
        };
        drives.into_iter().next().ok_or_else(other_answer)
    }

    async fn create_pool(&self, create: CreatePool) -> Result<PoolStatus, Refusal> {
        self.pool(Request::CreatePool(create)).await
    }

    async fn delete_pool(&self, delete: DeletePool) -> Result<(), Refusal> {
        self.done(Request::DeletePool(delete)).await
    }

    async fn create_volume(&self, create: CreateVolume) -> Result<VolumeStatus, Refusal> {
        self.volume(Request::CreateVolume(create)).await
    }

    async fn resize_volume(&self, resize: ResizeVolume) -> Result<VolumeStatus, Refusal> {
        self.volume(Request::ResizeVolume(resize)).await
    }

    async fn set_volume_hosts(&self, set: SetVolumeHosts) -> Result<VolumeStatus, Refusal> {
        self.volume(Request::SetVolumeHosts(set)).await
    }

    async fn delete_volume(&self, delete: DeleteVolume) -> Result<(), Refusal> {
        self.done(Request::DeleteVolume(delete)).await
    }
}

/// Calls an engine over the bus. May be shared; calls run beside one another.
#[derive(Debug)]
pub struct EngineClient {
    link: Link,
}

impl EngineClient {
    /// The engine whose socket is at `path`: connects with the first call, and again after the engine went away.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { link: Link::at(&ENGINE, path.into()) }
    }

    /// The engine at the other end of a connection (`connect_stream`).
    #[must_use]
    pub fn over(connection: Connection) -> Self {
        Self { link: Link::over(&ENGINE, connection) }
    }

    /// The engine as a whole.
    ///
    /// # Errors
    /// The engine's own error, or `Unavailable` with a remedy; so for all methods here.
    pub async fn status(&self) -> Result<EngineStatus, ControlError> {
        self.link.call("GetStatus", &(), CALL_TIMEOUT).await
    }

    /// All drives.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn drives(&self) -> Result<Vec<DriveStatus>, ControlError> {
        self.link.call("ListDrives", &(), CALL_TIMEOUT).await
    }

    /// All pools.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn pools(&self) -> Result<Vec<PoolStatus>, ControlError> {
        self.link.call("ListPools", &(), CALL_TIMEOUT).await
    }

    /// All volumes.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn volumes(&self) -> Result<Vec<VolumeStatus>, ControlError> {
        self.link.call("ListVolumes", &(), CALL_TIMEOUT).await
    }

    /// All connected controllers.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn sessions(&self) -> Result<Vec<SessionStatus>, ControlError> {
        self.link.call("ListSessions", &(), CALL_TIMEOUT).await
    }

    /// Makes a drive blank that is in no online pool.
    ///
    /// # Errors
    /// As [`Self::create_pool`].
    pub async fn wipe_drive(&self, wipe: WipeDrive) -> Result<DriveStatus, ControlError> {
        self.link.call("WipeDrive", &(wipe,), CHANGE_TIMEOUT).await
    }

    /// Makes a pool.
    ///
    /// # Errors
    /// As [`Self::status`]. After `Unavailable` the change may or may not have happened: repeat it with the same UUID.
    pub async fn create_pool(&self, create: CreatePool) -> Result<PoolStatus, ControlError> {
        self.link.call("CreatePool", &(create,), CHANGE_TIMEOUT).await
    }

    /// Removes an empty pool.
    ///
    /// # Errors
    /// As [`Self::create_pool`].
    pub async fn delete_pool(&self, delete: DeletePool) -> Result<(), ControlError> {
        self.link.call("DeletePool", &(delete,), CHANGE_TIMEOUT).await
    }

    /// Makes a volume.
    ///
    /// # Errors
    /// As [`Self::create_pool`].
    pub async fn create_volume(&self, create: CreateVolume) -> Result<VolumeStatus, ControlError> {
        self.link.call("CreateVolume", &(create,), CHANGE_TIMEOUT).await
    }

    /// Grows a volume.
    ///
    /// # Errors
    /// As [`Self::create_pool`].
    pub async fn resize_volume(&self, resize: ResizeVolume) -> Result<VolumeStatus, ControlError> {
        self.link.call("ResizeVolume", &(resize,), CHANGE_TIMEOUT).await
    }

    /// Changes which hosts may use a volume.
    ///
    /// # Errors
    /// As [`Self::create_pool`].
    pub async fn set_volume_hosts(&self, set: SetVolumeHosts) -> Result<VolumeStatus, ControlError> {
        self.link.call("SetVolumeHosts", &(set,), CHANGE_TIMEOUT).await
    }

    /// Removes a volume.
    ///
    /// # Errors
    /// As [`Self::create_pool`].
    pub async fn delete_volume(&self, delete: DeleteVolume) -> Result<(), ControlError> {
        self.link.call("DeleteVolume", &(delete,), CHANGE_TIMEOUT).await
    }
}
