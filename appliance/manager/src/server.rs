//! The listening side: a bound address, and serving it until told to stop.

use crate::Manager;
use crate::limits::{CALL_TIMEOUT, CALLS_PER_CONNECTION_MAX, PING_INTERVAL, PING_TIMEOUT, STOP_GRACE};
use crate::service::Services;
use api::limits::REQUEST_BYTES_MAX;
use api::v1::drive_service_server::DriveServiceServer;
use api::v1::node_service_server::NodeServiceServer;
use api::v1::pool_service_server::PoolServiceServer;
use api::v1::volume_service_server::VolumeServiceServer;
use std::io;
use std::net::SocketAddr;
use tokio::sync::oneshot;
use tonic::transport::server::TcpIncoming;

/// A server that has its port and does not serve yet.
#[derive(Debug)]
pub struct Server {
    incoming: TcpIncoming,
    address: SocketAddr,
}

/// Takes the port; 0 chooses a free one. Call it within a tokio runtime.
///
/// # Errors
/// As the system says.
pub fn bind(address: SocketAddr) -> io::Result<Server> {
    let incoming = TcpIncoming::bind(address)?.with_nodelay(Some(true));
    let address = incoming.local_addr()?;
    Ok(Server { incoming, address })
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is ready; calls that run then may finish, for a short time.
    ///
    /// # Errors
    /// When the listening socket fails.
    pub async fn serve(self, manager: Manager, stop: impl Future<Output = ()>) -> io::Result<()> {
        let services = Services::new(manager);
        let (stopping, stopped) = oneshot::channel::<()>();
        let serving = tonic::transport::Server::builder()
            .timeout(CALL_TIMEOUT)
            .max_concurrent_streams(CALLS_PER_CONNECTION_MAX)
            .http2_keepalive_interval(Some(PING_INTERVAL))
            .http2_keepalive_timeout(Some(PING_TIMEOUT))
            .add_service(
                NodeServiceServer::new(services.clone()).max_decoding_message_size(REQUEST_BYTES_MAX),
            )
            .add_service(
                DriveServiceServer::new(services.clone()).max_decoding_message_size(REQUEST_BYTES_MAX),
            )
            .add_service(
                PoolServiceServer::new(services.clone()).max_decoding_message_size(REQUEST_BYTES_MAX),
            )
            .add_service(VolumeServiceServer::new(services).max_decoding_message_size(REQUEST_BYTES_MAX))
            .serve_with_incoming_shutdown(self.incoming, async {
                let _ = stopped.await;
            });
        let mut serving = std::pin::pin!(serving);
        tokio::select! {
            ended = &mut serving => return ended.map_err(io::Error::other),
            () = stop => {}
        }
        drop(stopping);
        // A call that takes longer is cut off; the engine finishes what it has begun, and a repeated call finds it.
        match tokio::time::timeout(STOP_GRACE, serving).await {
            Ok(ended) => ended.map_err(io::Error::other),
            Err(_) => Ok(()),
        }
    }
}
