//! A node in this process: the four services on a table of drives, pools and volumes, with faults on demand.
//!
//! It answers as the real node does, so the same scenarios run against both. What it adds: the next creation can be
//! done without an answer, calls can wait until a test lets them go, and objects vanish or change at a test's word.

use api::v1;
use api::v1::drive_service_server::{DriveService, DriveServiceServer};
use api::v1::node_service_server::{NodeService, NodeServiceServer};
use api::v1::pool_service_server::{PoolService, PoolServiceServer};
use api::v1::volume_service_server::{VolumeService, VolumeServiceServer};
use control::{ControlError, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

const MIB: u64 = 1 << 20;
const DRIVE_BYTES: u64 = 1 << 30;

/// What is wrong with the node at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// The next volume is made, but the answer is "unavailable", and so are all answers until further notice.
    AnswerLost,
    /// The next volume is made, but the answer is "unavailable"; afterwards the pool is [frozen](Fault::Frozen).
    Freezes,
    /// The pool accepts no change until the engine has restarted.
    Frozen,
    /// The next volume is zeroed for longer than a call waits: its creation is answered "unavailable" again and again, until
    /// somebody has asked how the volume is.
    ZeroesLong,
    /// Every call is answered "unavailable".
    Unavailable,
    /// The creation of a volume waits for ever; [`Fake::create_began`] tells that it began.
    CreateHangs,
}

#[derive(Default)]
pub(crate) struct Table {
    pub(crate) drives: Vec<v1::Drive>,
    pub(crate) pools: Vec<v1::Pool>,
    pub(crate) volumes: Vec<v1::Volume>,
    pub(crate) fault: Fault,
}

#[derive(Clone)]
struct Services {
    table: Arc<Mutex<Table>>,
    create_began: Arc<Notify>,
}

/// The node; it ends when this value goes.
pub(crate) struct Fake {
    services: Services,
    runtime: Runtime,
    pub(crate) endpoint: String,
}

impl Fake {
    /// Four blank drives `S0` to `S3` and a foreign one, `ALIEN`; 1 GiB each.
    pub(crate) fn start() -> Self {
        let drive = |serial: &str, state: v1::DriveState, detail: &str| v1::Drive {
            serial: serial.to_owned(),
            path: format!("file:/{serial}"),
            model: "Model".to_owned(),
            size_bytes: DRIVE_BYTES,
            lba_bytes: 4096,
            state: state.into(),
            detail: detail.to_owned(),
            ..v1::Drive::default()
        };
        let mut drives: Vec<_> = (0..4).map(|n| drive(&format!("S{n}"), v1::DriveState::Blank, "")).collect();
        drives.push(drive("ALIEN", v1::DriveState::Foreign, "GPT partition table"));
        let table = Arc::new(Mutex::new(Table { drives, ..Table::default() }));
        let services = Services { table, create_began: Arc::new(Notify::new()) };

        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let endpoint = listener.local_addr().expect("bound").to_string();
        let server = Server::builder()
            .add_service(NodeServiceServer::new(services.clone()))
            .add_service(DriveServiceServer::new(services.clone()))
            .add_service(PoolServiceServer::new(services.clone()))
            .add_service(VolumeServiceServer::new(services.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        runtime.spawn(server);
        Self { services, runtime, endpoint }
    }

    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        self.services.table.lock().expect("no test panics with the table locked")
    }

    /// Returns once the creation of a volume began under [`Fault::CreateHangs`].
    pub(crate) fn create_began(&self) {
        self.runtime.block_on(self.services.create_began.notified());
    }
}

impl Services {
    fn open(&self) -> Result<MutexGuard<'_, Table>, Status> {
        let table = self.table.lock().expect("no service panics with the table locked");
        match table.fault {
            Fault::Unavailable => Err(unavailable()),
            Fault::None
            | Fault::AnswerLost
            | Fault::Freezes
            | Fault::Frozen
            | Fault::ZeroesLong
            | Fault::CreateHangs => Ok(table),
        }
    }
}

fn unavailable() -> Status {
    api::status_from(&ControlError::new(ErrorKind::Unavailable, "the engine is restarting"))
}

fn refuse(kind: ErrorKind, message: String, object: String, field: &str, remedy: &str) -> Status {
    api::status_from(&ControlError::new(kind, message).object(object).field(field).remedy(remedy))
}

fn not_found(kind: &str, key: &str) -> Status {
    let message = format!("there is no {kind} {key:?}");
    refuse(
        ErrorKind::NotFound,
        message,
        format!("{kind}/{key}"),
        "",
        &format!("list the {kind}s of the node"),
    )
}

fn taken(kind: &str, name: &str) -> Status {
    let message = format!("there is a {kind} {name:?} already");
    refuse(ErrorKind::AlreadyExists, message, format!("{kind}/{name}"), "name", "choose another name")
}

#[tonic::async_trait]
impl NodeService for Services {
    async fn get_node(&self, _: Request<v1::GetNodeRequest>) -> Result<Response<v1::Node>, Status> {
        Ok(Response::new(v1::Node::default()))
    }

    async fn list_sessions(
        &self,
        _: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        Ok(Response::new(v1::ListSessionsResponse::default()))
    }
}

#[tonic::async_trait]
impl DriveService for Services {
    async fn list_drives(
        &self,
        _: Request<v1::ListDrivesRequest>,
    ) -> Result<Response<v1::ListDrivesResponse>, Status> {
        Ok(Response::new(v1::ListDrivesResponse { drives: self.open()?.drives.clone() }))
    }

    async fn wipe_drive(
        &self,
        request: Request<v1::WipeDriveRequest>,
    ) -> Result<Response<v1::Drive>, Status> {
        unreachable!("the provider wipes nothing: {request:?}")
    }
}

#[tonic::async_trait]
impl PoolService for Services {
    async fn create_pool(
        &self,
        request: Request<v1::CreatePoolRequest>,
    ) -> Result<Response<v1::Pool>, Status> {
        let request = request.into_inner();
        let mut table = self.open()?;
        if let Some(pool) = table.pools.iter().find(|p| p.id == request.id) {
            return Ok(Response::new(pool.clone()));
        }
        if table.pools.iter().any(|p| p.name == request.name) {
            return Err(taken("pool", &request.name));
        }
        for (index, serial) in request.drive_serials.iter().enumerate() {
            let drive = table.drives.iter_mut().find(|d| d.serial == *serial);
            let drive = drive.ok_or_else(|| not_found("drive", serial))?;
            if drive.state() == v1::DriveState::Member {
                let message = format!("drive {serial:?} belongs to pool {:?}", drive.pool_name);
                let field = format!("drive_serials[{index}]");
                let object = format!("drive/{serial}");
                return Err(refuse(
                    ErrorKind::FailedPrecondition,
                    message,
                    object,
                    &field,
                    "choose another drive",
                ));
            }
            drive.set_state(v1::DriveState::Member);
            (drive.pool_id, drive.pool_name) = (request.id.clone(), request.name.clone());
        }
        let size_bytes = DRIVE_BYTES * u64::try_from(request.drive_serials.len()).expect("few drives");
        let pool = v1::Pool {
            subsystem_nqn: format!("nqn.2014-08.org.nvmexpress:uuid:{}", request.id),
            id: request.id,
            name: request.name,
            state: v1::PoolState::Online.into(),
            drive_serials: request.drive_serials,
            size_bytes,
            free_bytes: size_bytes,
            ..v1::Pool::default()
        };
        table.pools.push(pool.clone());
        Ok(Response::new(pool))
    }

    async fn get_pool(&self, request: Request<v1::GetPoolRequest>) -> Result<Response<v1::Pool>, Status> {
        let key = request.into_inner().key;
        let table = self.open()?;
        let (found, key) = match key.ok_or_else(|| Status::invalid_argument("no key"))? {
            v1::get_pool_request::Key::Id(id) => (table.pools.iter().find(|p| p.id == id), id),
            v1::get_pool_request::Key::Name(name) => (table.pools.iter().find(|p| p.name == name), name),
        };
        found.cloned().map(Response::new).ok_or_else(|| not_found("pool", &key))
    }

    async fn list_pools(
        &self,
        _: Request<v1::ListPoolsRequest>,
    ) -> Result<Response<v1::ListPoolsResponse>, Status> {
        Ok(Response::new(v1::ListPoolsResponse { pools: self.open()?.pools.clone() }))
    }

    async fn delete_pool(
        &self,
        request: Request<v1::DeletePoolRequest>,
    ) -> Result<Response<v1::DeletePoolResponse>, Status> {
        let id = request.into_inner().id;
        let mut table = self.open()?;
        let index = table.pools.iter().position(|p| p.id == id).ok_or_else(|| not_found("pool", &id))?;
        if let Some(volume) = table.volumes.iter().find(|v| v.pool_id == id) {
            let message =
                format!("pool {:?} has volumes, such as {:?}", table.pools[index].name, volume.name);
            return Err(refuse(
                ErrorKind::FailedPrecondition,
                message,
                String::new(),
                "",
                "delete them first",
            ));
        }
        table.pools.remove(index);
        for drive in table.drives.iter_mut().filter(|d| d.pool_id == id) {
            drive.set_state(v1::DriveState::Blank);
            (drive.pool_id, drive.pool_name) = (String::new(), String::new());
        }
        Ok(Response::new(v1::DeletePoolResponse {}))
    }
}

/// Takes space from a pool, or says that there is not enough.
fn take(table: &mut Table, pool: &str, volume: &str, bytes: u64) -> Result<(), Status> {
    let pool = table.pools.iter_mut().find(|p| p.id == pool).ok_or_else(|| not_found("pool", pool))?;
    pool.free_bytes = pool.free_bytes.checked_sub(bytes).ok_or_else(|| {
        let message = format!(
            "pool {:?} has {} bytes free, volume {volume:?} needs {bytes}",
            pool.name, pool.free_bytes
        );
        let remedy = format!("choose a size of at most {} bytes", pool.free_bytes);
        refuse(ErrorKind::ResourceExhausted, message, format!("pool/{}", pool.name), "size_bytes", &remedy)
    })?;
    Ok(())
}

#[tonic::async_trait]
impl VolumeService for Services {
    async fn create_volume(
        &self,
        request: Request<v1::CreateVolumeRequest>,
    ) -> Result<Response<v1::Volume>, Status> {
        let request = request.into_inner();
        let hangs = self.open()?.fault == Fault::CreateHangs;
        if hangs {
            self.create_began.notify_one();
            std::future::pending::<()>().await;
        }
        let mut table = self.open()?;
        if table.fault == Fault::Frozen {
            let message = "the last change of pool \"tank\" is undecided".to_owned();
            let kind = ErrorKind::FailedPrecondition;
            return Err(refuse(kind, message, "pool/tank".to_owned(), "", "restart the engine"));
        }
        let is_zeroing = table.fault == Fault::ZeroesLong;
        if let Some(volume) = table.volumes.iter_mut().find(|v| v.id == request.id) {
            if is_zeroing {
                return Err(unavailable());
            }
            volume.set_state(v1::VolumeState::Online);
            return Ok(Response::new(volume.clone()));
        }
        if table.volumes.iter().any(|v| v.name == request.name) {
            return Err(taken("volume", &request.name));
        }
        assert!(request.size_bytes.is_multiple_of(MIB), "the provider checks this at plan");
        take(&mut table, &request.pool, &request.name, request.size_bytes)?;
        let pool =
            table.pools.iter().find(|p| p.id == request.pool).cloned().expect("space was taken from it");
        let nsid =
            (1..).find(|n| table.volumes.iter().all(|v| v.connection.as_ref().is_some_and(|c| c.nsid != *n)));
        let portal =
            |address: &str| v1::Portal { transport: "tcp".into(), address: address.into(), port: 4420 };
        let volume = v1::Volume {
            id: request.id,
            name: request.name,
            pool_id: request.pool,
            pool_name: pool.name,
            size_bytes: request.size_bytes,
            block_size: if request.block_size == 0 { 4096 } else { request.block_size },
            state: v1::VolumeState::Online.into(),
            connection: Some(v1::Connection {
                subsystem_nqn: pool.subsystem_nqn,
                nsid: nsid.expect("some number is free"),
                portals: vec![portal("10.0.0.6"), portal("10.0.0.5")],
            }),
            allowed_hosts: request.allowed_hosts,
            ..v1::Volume::default()
        };
        table.volumes.push(volume.clone());
        let next = match table.fault {
            Fault::AnswerLost => Some(Fault::Unavailable),
            Fault::Freezes => Some(Fault::Frozen),
            Fault::ZeroesLong => {
                let new = table.volumes.last_mut().expect("it was pushed");
                new.set_state(v1::VolumeState::Creating);
                Some(Fault::ZeroesLong)
            }
            Fault::None | Fault::Frozen | Fault::Unavailable | Fault::CreateHangs => None,
        };
        if let Some(next) = next {
            table.fault = next;
            return Err(unavailable());
        }
        Ok(Response::new(volume))
    }

    async fn get_volume(
        &self,
        request: Request<v1::GetVolumeRequest>,
    ) -> Result<Response<v1::Volume>, Status> {
        let key = request.into_inner().key;
        let mut table = self.open()?;
        if table.fault == Fault::ZeroesLong && !table.volumes.is_empty() {
            table.fault = Fault::None;
        }
        let (found, key) = match key.ok_or_else(|| Status::invalid_argument("no key"))? {
            v1::get_volume_request::Key::Id(id) => (table.volumes.iter().find(|v| v.id == id), id),
            v1::get_volume_request::Key::Name(name) => (table.volumes.iter().find(|v| v.name == name), name),
        };
        found.cloned().map(Response::new).ok_or_else(|| not_found("volume", &key))
    }

    async fn list_volumes(
        &self,
        _: Request<v1::ListVolumesRequest>,
    ) -> Result<Response<v1::ListVolumesResponse>, Status> {
        Ok(Response::new(v1::ListVolumesResponse { volumes: self.open()?.volumes.clone() }))
    }

    async fn resize_volume(
        &self,
        request: Request<v1::ResizeVolumeRequest>,
    ) -> Result<Response<v1::Volume>, Status> {
        let request = request.into_inner();
        let mut table = self.open()?;
        let found = table.volumes.iter().find(|v| v.id == request.id).cloned();
        let mut volume = found.ok_or_else(|| not_found("volume", &request.id))?;
        let more = request.size_bytes.checked_sub(volume.size_bytes).expect("the provider refuses to shrink");
        take(&mut table, &volume.pool_id, &volume.name, more)?;
        volume.size_bytes = request.size_bytes;
        table.volumes.retain(|v| v.id != request.id);
        table.volumes.push(volume.clone());
        Ok(Response::new(volume))
    }

    async fn set_volume_hosts(
        &self,
        request: Request<v1::SetVolumeHostsRequest>,
    ) -> Result<Response<v1::Volume>, Status> {
        let request = request.into_inner();
        let mut table = self.open()?;
        let found = table.volumes.iter_mut().find(|v| v.id == request.id);
        let volume = found.ok_or_else(|| not_found("volume", &request.id))?;
        volume.allowed_hosts = request.allowed_hosts;
        Ok(Response::new(volume.clone()))
    }

    async fn delete_volume(
        &self,
        request: Request<v1::DeleteVolumeRequest>,
    ) -> Result<Response<v1::DeleteVolumeResponse>, Status> {
        let request = request.into_inner();
        let mut table = self.open()?;
        let index = table.volumes.iter().position(|v| v.id == request.id);
        let index = index.ok_or_else(|| not_found("volume", &request.id))?;
        let volume = table.volumes[index].clone();
        if !volume.hosts.is_empty() && !request.force {
            let message = format!("volume {:?} is in use by {}", volume.name, volume.hosts.join(", "));
            let object = format!("volume/{}", volume.name);
            return Err(refuse(
                ErrorKind::FailedPrecondition,
                message,
                object,
                "",
                "disconnect the host first",
            ));
        }
        table.volumes.remove(index);
        let pool = table.pools.iter_mut().find(|p| p.id == volume.pool_id).expect("a volume has its pool");
        pool.free_bytes += volume.size_bytes;
        Ok(Response::new(v1::DeleteVolumeResponse {}))
    }
}
