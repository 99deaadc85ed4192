//! A client of one node: typed calls with limits, errors as [`Error`].

use crate::error::root_cause;
use crate::limits::{ANSWER_BYTES_MAX, ASK_TIMEOUT, CHANGE_TIMEOUT};
use crate::v1::drive_service_client::DriveServiceClient;
use crate::v1::node_service_client::NodeServiceClient;
use crate::v1::pool_service_client::PoolServiceClient;
use crate::v1::volume_service_client::VolumeServiceClient;
use crate::{DEFAULT_PORT, Error, v1};
use control::{ControlError, ErrorKind};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

/// How long a client waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, and for the answer to a question.
    pub ask: Duration,
    /// For the answer to a change. A node that is silent below the API is given up after three times `ask`.
    pub change: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { ask: ASK_TIMEOUT, change: CHANGE_TIMEOUT }
    }
}

/// A connection to a node. Cloning is cheap; clones share the connection.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    endpoint: String,
    timeouts: Timeouts,
}

impl Client {
    /// Connects to `HOST`, `HOST:PORT` or `http://HOST:PORT`.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when nothing answers there in time, [`Error::Refused`] when the address makes no sense.
    pub async fn connect(endpoint: &str, timeouts: Timeouts) -> Result<Self, Error> {
        let host = with_port(endpoint).ok_or_else(|| bad_endpoint(endpoint))?;
        let target = Endpoint::from_shared(format!("http://{host}"))
            .map_err(|_| bad_endpoint(endpoint))?
            .connect_timeout(timeouts.ask)
            .tcp_nodelay(true)
            // A change may take minutes. A node that lost its power must not be waited for as long.
            .http2_keep_alive_interval(timeouts.ask)
            .keep_alive_timeout(timeouts.ask.saturating_mul(2));
        let channel = match tokio::time::timeout(timeouts.ask, target.connect()).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => {
                let why = root_cause(&error).unwrap_or_else(|| error.to_string());
                return Err(Error::unreachable(&host, &why));
            }
            Err(_) => return Err(Error::unreachable(&host, &no_answer(timeouts.ask))),
        };
        Ok(Self { channel, endpoint: host, timeouts })
    }

    /// The node that this client talks to, as `HOST:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The node itself.
    ///
    /// # Errors
    /// The node's refusal, or that it cannot be reached; so for all calls here.
    pub async fn node(&self) -> Result<v1::Node, Error> {
        self.ask(self.nodes().get_node(v1::GetNodeRequest {})).await
    }

    /// Hosts that are connected now.
    ///
    /// # Errors
    /// As [`Self::node`].
    pub async fn sessions(&self) -> Result<Vec<v1::Session>, Error> {
        Ok(self.ask(self.nodes().list_sessions(v1::ListSessionsRequest {})).await?.sessions)
    }

    /// All drives of the node.
    ///
    /// # Errors
    /// As [`Self::node`].
    pub async fn drives(&self) -> Result<Vec<v1::Drive>, Error> {
        let mut service =
            DriveServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        Ok(self.ask(service.list_drives(v1::ListDrivesRequest {})).await?.drives)
    }

    /// Gives up what is on a drive that is in no online pool.
    ///
    /// # Errors
    /// As [`Self::node`].
    pub async fn wipe_drive(&self, request: v1::WipeDriveRequest) -> Result<v1::Drive, Error> {
        let mut service =
            DriveServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        self.change(service.wipe_drive(request)).await
    }

    /// All pools.
    ///
    /// # Errors
    /// As [`Self::node`].
    pub async fn pools(&self) -> Result<Vec<v1::Pool>, Error> {
        Ok(self.ask(self.pool_service().list_pools(v1::ListPoolsRequest {})).await?.pools)
    }

    /// One pool.
    ///
    /// # Errors
    /// As [`Self::node`].
    pub async fn pool(&self, key: v1::get_pool_request::Key) -> Result<v1::Pool, Error> {
        self.ask(self.pool_service().get_pool(v1::GetPoolRequest { key: Some(key) })).await
    }

    /// Makes a pool.
    ///
    /// # Errors
    /// As [`Self::node`].
    pub async fn create_pool(&self, request: v1::CreatePoolRequest) -> Result<v1::Pool, Error> {
        self.change(self.pool_service().create_pool(request)).await
    }

    /// Removes an empty pool.
    ///
    /// # Errors
    /// As [`Self::node`].
    pub async fn delete_pool(&self, request: v1::DeletePoolRequest) -> Result<(), Error> {
        self.change(self.pool_service().delete_pool(request)).await.map(|_| ())
    }

    /// All volumes.
    ///
    /// # Errors
    /// As [`Self::node`].
    pub async fn volumes(&self) -> Result<Vec<v1::Volume>, Error> {
        Ok(self.ask(self.volume_service().list_volumes(v1::ListVolumesRequest {})).await?.volumes)
    }

    /// One volume.
    ///
    /// # Errors
    /// As [`Self::node`].
    pub async fn volume(&self, key: v1::get_volume_request::Key) -> Result<v1::Volume, Error> {
        self.ask(self.volume_service().get_volume(v1::GetVolumeRequest { key: Some(key) })).await
    }

    /// Makes a volume.
    ///
    /// # Errors
    /// As [`Self::node`].
    pub async fn create_volume(&self, request: v1::CreateVolumeRequest) -> Result<v1::Volume, Error> {
        self.change(self.volume_service().create_volume(request)).await
    }

    /// Grows a volume.
    ///
    /// # Errors
    /// As [`Self::node`].
    pub async fn resize_volume(&self, request: v1::ResizeVolumeRequest) -> Result<v1::Volume, Error> {
        self.change(self.volume_service().resize_volume(request)).await
    }

    /// Changes which hosts may use a volume.
    ///
    /// # Errors
    /// As [`Self::node`].
    pub async fn set_volume_hosts(&self, request: v1::SetVolumeHostsRequest) -> Result<v1::Volume, Error> {
        self.change(self.volume_service().set_volume_hosts(request)).await
    }

    /// Removes a volume and its data.
    ///
    /// # Errors
    /// As [`Self::node`].
    pub async fn delete_volume(&self, request: v1::DeleteVolumeRequest) -> Result<(), Error> {
        self.change(self.volume_service().delete_volume(request)).await.map(|_| ())
    }

    fn nodes(&self) -> NodeServiceClient<Channel> {
        NodeServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    fn pool_service(&self) -> PoolServiceClient<Channel> {
        PoolServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    fn volume_service(&self) -> VolumeServiceClient<Channel> {
        VolumeServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    async fn ask<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Error> {
        self.bounded(self.timeouts.ask, call).await
    }

    async fn change<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Error> {
        self.bounded(self.timeouts.change, call).await
    }

    async fn bounded<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(limit, call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(Error::from_status(&status, &self.endpoint)),
            Err(_) => Err(Error::unreachable(&self.endpoint, &no_answer(limit))),
        }
    }
}

/// `node` → `node:7420`, `[fd00::1]` → `[fd00::1]:7420`; a port that is there stays. Nothing if host or port are wrong:
/// the system's resolver would take 99999 for another port.
fn with_port(endpoint: &str) -> Option<String> {
    let place = endpoint.strip_prefix("http://").unwrap_or(endpoint).trim_end_matches('/');
    let after_address = place.rsplit(']').next().unwrap_or(place);
    let (host, port) = match after_address.rsplit_once(':') {
        Some((_, port)) => (place.strip_suffix(port)?.strip_suffix(':')?, port.parse().ok()?),
        None => (place, DEFAULT_PORT),
    };
    let is_address = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).is_some();
    let is_fine = !host.is_empty() && (is_address || !host.contains([':', '/', '[', ']', ' '])) && port != 0;
    is_fine.then(|| format!("{host}:{port}"))
}

fn bad_endpoint(endpoint: &str) -> Error {
    let message = format!("\"{endpoint}\" is no address of a node");
    let error =
        ControlError::new(ErrorKind::InvalidArgument, message).object(format!("endpoint/{endpoint}")).remedy(
            "write HOST or HOST:PORT, an IPv6 address in brackets: 10.0.0.5, node-1:7420, [fd00::1]:7420",
        );
    Error::Refused(error)
}

fn no_answer(limit: Duration) -> String {
    format!("no answer within {:.1} s", limit.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: people may leave out what is always the same.
    #[test]
    fn endpoints_get_the_default_port() {
        let full = |endpoint| with_port(endpoint).expect(endpoint);
        assert_eq!(full("node"), "node:7420");
        assert_eq!(full("10.0.0.5:1"), "10.0.0.5:1");
        assert_eq!(full("http://10.0.0.5:1/"), "10.0.0.5:1");
        assert_eq!(full("[fd00::1]"), "[fd00::1]:7420");
        assert_eq!(full("[fd00::1]:1"), "[fd00::1]:1");
    }

    /// Goal: what is no address is said to be none, with what would be; nobody is asked.
    #[tokio::test]
    async fn wrong_endpoints_are_refused() {
        for wrong in
            ["", ":7420", "node:", "node:0", "node:99999", "node:x", "fd00::1", "https://node", "a/b", "a b"]
        {
            let error = Client::connect(wrong, Timeouts::default()).await.expect_err(wrong);
            let Error::Refused(details) = &error else { panic!("{wrong}: {error}") };
            assert_eq!(details.kind, ErrorKind::InvalidArgument, "{wrong}");
            assert!(details.remedy.contains("HOST:PORT"));
        }
    }

    /// Goal: an address where nobody listens gives an error that names it and says what to check.
    #[tokio::test]
    async fn nobody_listens() {
        let free =
            std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
        let error =
            Client::connect(&free.to_string(), Timeouts::default()).await.expect_err("the port is closed");
        let Error::Unreachable(details) = &error else { panic!("{error}") };
        assert_eq!(details.object, format!("endpoint/{free}"));
        assert!(details.message.contains("refused"), "{}", details.message);
        assert!(details.remedy.contains("ironbay.insecure=1"));
    }

    /// Goal: a peer that accepts and then says nothing costs the time that was allowed, not more.
    #[tokio::test]
    async fn a_silent_peer_is_given_up() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = silent.local_addr().expect("bound").to_string();
        let limit = Duration::from_millis(50);
        let timeouts = Timeouts { ask: limit, change: limit };
        let error = match Client::connect(&address, timeouts).await {
            Ok(client) => client.node().await.expect_err("nobody answers"),
            Err(error) => error,
        };
        assert!(matches!(error, Error::Unreachable(_)), "{error}");
    }

    /// Goal: a node that vanishes during a change is noticed long before the limit of the change.
    #[tokio::test]
    async fn a_change_does_not_wait_for_a_dead_node() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = silent.local_addr().expect("bound").to_string();
        let timeouts = Timeouts { ask: Duration::from_millis(100), change: Duration::from_secs(600) };
        let client = Client::connect(&address, timeouts).await.expect("somebody accepts");
        let began = std::time::Instant::now();
        let request = v1::DeleteVolumeRequest::default();
        let error = client.delete_volume(request).await.expect_err("nobody answers");
        assert!(matches!(error, Error::Unreachable(_)), "{error}");
        assert!(error.details().message.contains("operation timed out"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}
