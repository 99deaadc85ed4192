//! The manager: calls of the API, carried out with the primitives of an engine.
//!
//! Plain functions over `v1` messages that fail with [`ControlError`]; `service` puts gRPC around them.

use crate::portals::portals;
use crate::validate::{self, plain, shown};
use api::v1;
use api::v1::{get_pool_request::Key as PoolKey, get_volume_request::Key as VolumeKey};
use bus::{BootPhase, EngineClient, InitClient};
use control::{ControlError, CreateVolume, ErrorKind, PoolStatus, VolumeStatus};
use uuid::Uuid;

/// Carries out calls of the API.
#[derive(Debug)]
pub struct Manager {
    engine: EngineClient,
    /// None outside the appliance.
    init: Option<InitClient>,
}

impl Manager {
    /// A manager of this engine, on a node with this init.
    #[must_use]
    pub fn new(engine: EngineClient, init: Option<InitClient>) -> Self {
        Self { engine, init }
    }

    pub(crate) async fn node(&self) -> Result<v1::Node, ControlError> {
        let engine = self.engine.status().await?;
        let (hostname, phases) = self.about_init().await;
        Ok(v1::Node {
            hostname,
            version: engine.version,
            phase: phase(&phases),
            uptime_ms: engine.uptime_ms,
            cores: engine.cores,
            mode: engine.mode,
            portals: portals(&engine.portals),
            engine_start_ms: engine.start_ms,
            io_commands: engine.io_commands,
            busy_permille: engine.busy_permille,
            boot_phases: phases.into_iter().map(boot_phase).collect(),
        })
    }

    /// What init knows. A node whose init does not answer still serves; it says less about itself.
    async fn about_init(&self) -> (String, Vec<BootPhase>) {
        let Some(init) = &self.init else { return (kernel_hostname(), Vec::new()) };
        let hostname = init.hostname().await.unwrap_or_else(|_| kernel_hostname());
        (hostname, init.phases().await.unwrap_or_default())
    }

    pub(crate) async fn sessions(&self) -> Result<Vec<v1::Session>, ControlError> {
        Ok(self.engine.sessions().await?.into_iter().map(api::session).collect())
    }

    pub(crate) async fn drives(&self) -> Result<Vec<v1::Drive>, ControlError> {
        let drives = self.engine.drives().await?;
        let pools = self.engine.pools().await?;
        let name_of =
            |id: Uuid| pools.iter().find(|p| p.uuid == id).map(|p| p.name.clone()).unwrap_or_default();
        Ok(drives
            .into_iter()
            .map(|drive| {
                let pool = name_of(drive.pool);
                api::drive(drive, pool)
            })
            .collect())
    }

    pub(crate) async fn wipe_drive(&self, request: v1::WipeDriveRequest) -> Result<v1::Drive, ControlError> {
        let drive = self.engine.wipe_drive(validate::wipe_drive(request)?).await?;
        tracing::debug!(drive = drive.serial, "Drive is blank");
        Ok(api::drive(drive, String::new()))
    }

    pub(crate) async fn pools(&self) -> Result<Vec<v1::Pool>, ControlError> {
        Ok(self.engine.pools().await?.into_iter().map(api::pool).collect())
    }

    pub(crate) async fn pool(&self, key: Option<PoolKey>) -> Result<v1::Pool, ControlError> {
        let pools = self.engine.pools().await?;
        let found = match key.ok_or_else(no_key)? {
            PoolKey::Id(text) => {
                let id = validate::id(&text)?;
                pools.into_iter().find(|pool| pool.uuid == id).ok_or_else(|| no_pool("id", &text))
            }
            PoolKey::Name(text) => {
                pools.into_iter().find(|pool| pool.name == text).ok_or_else(|| no_pool("name", &text))
            }
        };
        found.map(api::pool)
    }

    pub(crate) async fn create_pool(&self, request: v1::CreatePoolRequest) -> Result<v1::Pool, ControlError> {
        let create = validate::create_pool(request)?;
        let pool = self.engine.create_pool(create).await?;
        tracing::debug!(pool = pool.name, drives = pool.drive_serials.len(), "Pool is there");
        Ok(api::pool(pool))
    }

    pub(crate) async fn delete_pool(&self, request: &v1::DeletePoolRequest) -> Result<(), ControlError> {
        let delete = validate::delete_pool(request)?;
        let id = delete.uuid;
        self.engine.delete_pool(delete).await?;
        tracing::debug!(pool = %id, "Pool is deleted");
        Ok(())
    }

    pub(crate) async fn volumes(&self) -> Result<Vec<v1::Volume>, ControlError> {
        let volumes = self.engine.volumes().await?;
        let portals = self.portals().await?;
        Ok(volumes.into_iter().map(|volume| api::volume(volume, portals.clone())).collect())
    }

    pub(crate) async fn volume(&self, key: Option<VolumeKey>) -> Result<v1::Volume, ControlError> {
        let volumes = self.engine.volumes().await?;
        let found = match key.ok_or_else(no_key)? {
            VolumeKey::Id(text) => {
                let id = validate::id(&text)?;
                volumes.into_iter().find(|volume| volume.uuid == id).ok_or_else(|| no_volume("id", &text))
            }
            VolumeKey::Name(text) => {
                volumes.into_iter().find(|volume| volume.name == text).ok_or_else(|| no_volume("name", &text))
            }
        };
        self.with_portals(found?).await
    }

    pub(crate) async fn create_volume(
        &self,
        request: v1::CreateVolumeRequest,
    ) -> Result<v1::Volume, ControlError> {
        let uuid = validate::id_or_new(&request.id)?;
        let name = validate::name(&request.name)?;
        let size_bytes = validate::size_bytes(request.size_bytes)
            .map_err(|error| error.object(format!("volume/{name}")))?;
        let block_size = validate::block_size(request.block_size)
            .map_err(|error| error.object(format!("volume/{name}")))?;
        let pool = pool_named(&self.engine.pools().await?, &request.pool)?;
        let allowed_hosts = validate::allowed_hosts(request.allowed_hosts)
            .map_err(|error| error.object(format!("volume/{name}")))?;
        let create = CreateVolume { uuid, pool, name, size_bytes, block_size, allowed_hosts };
        let volume = self.engine.create_volume(create).await?;
        tracing::debug!(volume = volume.name, bytes = volume.size_bytes, "Volume is there");
        self.with_portals(volume).await
    }

    pub(crate) async fn resize_volume(
        &self,
        request: &v1::ResizeVolumeRequest,
    ) -> Result<v1::Volume, ControlError> {
        let volume = self.engine.resize_volume(validate::resize_volume(request)?).await?;
        tracing::debug!(volume = volume.name, bytes = volume.size_bytes, "Volume has its new size");
        self.with_portals(volume).await
    }

    pub(crate) async fn set_volume_hosts(
        &self,
        request: v1::SetVolumeHostsRequest,
    ) -> Result<v1::Volume, ControlError> {
        let volume = self.engine.set_volume_hosts(validate::set_volume_hosts(request)?).await?;
        tracing::debug!(volume = volume.name, "Volume has its hosts");
        self.with_portals(volume).await
    }

    pub(crate) async fn delete_volume(&self, request: &v1::DeleteVolumeRequest) -> Result<(), ControlError> {
        let delete = validate::delete_volume(request)?;
        let id = delete.uuid;
        self.engine.delete_volume(delete).await?;
        tracing::debug!(volume = %id, "Volume is deleted");
        Ok(())
    }

    async fn portals(&self) -> Result<Vec<v1::Portal>, ControlError> {
        Ok(portals(&self.engine.status().await?.portals))
    }

    async fn with_portals(&self, volume: VolumeStatus) -> Result<v1::Volume, ControlError> {
        Ok(api::volume(volume, self.portals().await?))
    }
}

/// The pool that a text means: by id first, because a name may look like one.
fn pool_named(pools: &[PoolStatus], text: &str) -> Result<Uuid, ControlError> {
    let id = Uuid::try_parse(text).ok();
    let found =
        pools.iter().find(|pool| Some(pool.uuid) == id).or_else(|| pools.iter().find(|p| p.name == text));
    found.map(|pool| pool.uuid).ok_or_else(|| no_pool("pool", text))
}

fn no_pool(field: &str, text: &str) -> ControlError {
    ControlError::new(ErrorKind::NotFound, format!("there is no pool {}", shown(text)))
        .object(format!("pool/{}", plain(text)))
        .field(field)
        .remedy("\"ironbay pool list\" shows those that exist; \"ironbay pool create\" makes one")
}

fn no_volume(field: &str, text: &str) -> ControlError {
    ControlError::new(ErrorKind::NotFound, format!("there is no volume {}", shown(text)))
        .object(format!("volume/{}", plain(text)))
        .field(field)
        .remedy("\"ironbay volume list\" shows those that exist; \"ironbay volume create\" makes one")
}

fn no_key() -> ControlError {
    ControlError::new(ErrorKind::InvalidArgument, "the request does not say which object")
        .field("key")
        .remedy("give an id or a name")
}

/// The phase that a node is in: the first that failed or is not done yet, `serve` when there is none.
fn phase(phases: &[BootPhase]) -> String {
    if phases.is_empty() {
        return String::new();
    }
    let failed = phases.iter().find(|phase| phase.state == "failed");
    let unfinished = failed.or_else(|| phases.iter().find(|phase| phase.state != "done"));
    unfinished.map_or_else(|| "serve".to_owned(), |phase| phase.name.clone())
}

fn boot_phase(phase: BootPhase) -> v1::BootPhase {
    v1::BootPhase {
        name: phase.name,
        started_ms: phase.started_ms,
        took_ms: phase.took_ms,
        failure: phase.failure,
        remedy: phase.remedy,
    }
}

fn kernel_hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .unwrap_or_default()
}
