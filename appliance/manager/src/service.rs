//! The four services of `ironbay.v1`: gRPC around [`Manager`].

use crate::Manager;
use crate::limits::CALLS_MAX;
use api::v1;
use api::v1::drive_service_server::DriveService;
use api::v1::node_service_server::NodeService;
use api::v1::pool_service_server::PoolService;
use api::v1::volume_service_server::VolumeService;
use control::{ControlError, ErrorKind};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

/// What the services share. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Services {
    manager: Arc<Manager>,
    places: Arc<Semaphore>,
}

impl Services {
    pub(crate) fn new(manager: Manager) -> Self {
        Self { manager: Arc::new(manager), places: Arc::new(Semaphore::new(CALLS_MAX)) }
    }

    /// Runs one call if there is a place for it.
    async fn run<T>(
        &self,
        call: impl Future<Output = Result<T, ControlError>>,
    ) -> Result<Response<T>, Status> {
        let Ok(_place) = self.places.try_acquire() else {
            let error =
                ControlError::new(ErrorKind::Unavailable, format!("{CALLS_MAX} calls are running already"))
                    .remedy("try again in a moment, with fewer calls at a time");
            return Err(api::status_from(&error));
        };
        call.await.map(Response::new).map_err(|error| {
            if error.kind == ErrorKind::Internal {
                tracing::warn!(object = error.object, "A call failed: {}", error.message);
            }
            api::status_from(&error)
        })
    }
}

#[tonic::async_trait]
impl NodeService for Services {
    async fn get_node(&self, _: Request<v1::GetNodeRequest>) -> Result<Response<v1::Node>, Status> {
        self.run(self.manager.node()).await
    }

    async fn list_sessions(
        &self,
        _: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        self.run(async { Ok(v1::ListSessionsResponse { sessions: self.manager.sessions().await? }) }).await
    }
}

#[tonic::async_trait]
impl DriveService for Services {
    async fn list_drives(
        &self,
        _: Request<v1::ListDrivesRequest>,
    ) -> Result<Response<v1::ListDrivesResponse>, Status> {
        self.run(async { Ok(v1::ListDrivesResponse { drives: self.manager.drives().await? }) }).await
    }

    async fn wipe_drive(
        &self,
        request: Request<v1::WipeDriveRequest>,
    ) -> Result<Response<v1::Drive>, Status> {
        self.run(self.manager.wipe_drive(request.into_inner())).await
    }
}

#[tonic::async_trait]
impl PoolService for Services {
    async fn create_pool(
        &self,
        request: Request<v1::CreatePoolRequest>,
    ) -> Result<Response<v1::Pool>, Status> {
        self.run(self.manager.create_pool(request.into_inner())).await
    }

    async fn get_pool(&self, request: Request<v1::GetPoolRequest>) -> Result<Response<v1::Pool>, Status> {
        self.run(self.manager.pool(request.into_inner().key)).await
    }

    async fn list_pools(
        &self,
        _: Request<v1::ListPoolsRequest>,
    ) -> Result<Response<v1::ListPoolsResponse>, Status> {
        self.run(async { Ok(v1::ListPoolsResponse { pools: self.manager.pools().await? }) }).await
    }

    async fn delete_pool(
        &self,
        request: Request<v1::DeletePoolRequest>,
    ) -> Result<Response<v1::DeletePoolResponse>, Status> {
        self.run(async {
            self.manager.delete_pool(request.get_ref()).await?;
            Ok(v1::DeletePoolResponse {})
        })
        .await
    }
}

#[tonic::async_trait]
impl VolumeService for Services {
    async fn create_volume(
        &self,
        request: Request<v1::CreateVolumeRequest>,
    ) -> Result<Response<v1::Volume>, Status> {
        self.run(self.manager.create_volume(request.into_inner())).await
    }

    async fn get_volume(
        &self,
        request: Request<v1::GetVolumeRequest>,
    ) -> Result<Response<v1::Volume>, Status> {
        self.run(self.manager.volume(request.into_inner().key)).await
    }

    async fn list_volumes(
        &self,
        _: Request<v1::ListVolumesRequest>,
    ) -> Result<Response<v1::ListVolumesResponse>, Status> {
        self.run(async { Ok(v1::ListVolumesResponse { volumes: self.manager.volumes().await? }) }).await
    }

    async fn resize_volume(
        &self,
        request: Request<v1::ResizeVolumeRequest>,
    ) -> Result<Response<v1::Volume>, Status> {
        self.run(self.manager.resize_volume(request.get_ref())).await
    }

    async fn set_volume_hosts(
        &self,
        request: Request<v1::SetVolumeHostsRequest>,
    ) -> Result<Response<v1::Volume>, Status> {
        self.run(self.manager.set_volume_hosts(request.into_inner())).await
    }

    async fn delete_volume(
        &self,
        request: Request<v1::DeleteVolumeRequest>,
    ) -> Result<Response<v1::DeleteVolumeResponse>, Status> {
        self.run(async {
            self.manager.delete_volume(request.get_ref()).await?;
            Ok(v1::DeleteVolumeResponse {})
        })
        .await
    }
}
