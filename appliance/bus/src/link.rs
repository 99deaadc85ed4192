//! The client end: one connection that is made when needed and made again after the peer went away.

use crate::{refusal, socket};
use control::{ControlError, ErrorKind};
use serde::{Serialize, de::DeserializeOwned};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::Mutex;
use zbus::names::BusName;
use zbus::{Connection, DynamicType, Type};

/// Which object of the peer is called, and what to say when it is away.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) object: &'static str,
    pub(crate) interface: &'static str,
    /// In messages: "the engine".
    pub(crate) name: &'static str,
    pub(crate) remedy: &'static str,
}

/// A connection to a peer.
#[derive(Debug)]
pub(crate) struct Link {
    peer: &'static Peer,
    /// `None`: the connection was handed over and cannot be made again.
    path: Option<PathBuf>,
    connection: Mutex<Option<Connection>>,
}

impl Link {
    pub(crate) fn at(peer: &'static Peer, path: PathBuf) -> Self {
        Self { peer, path: Some(path), connection: Mutex::new(None) }
    }

    pub(crate) fn over(peer: &'static Peer, connection: Connection) -> Self {
        Self { peer, path: None, connection: Mutex::new(Some(connection)) }
    }

    /// Calls a method and waits at most `limit` for its answer.
    pub(crate) async fn call<B, R>(&self, method: &str, body: &B, limit: Duration) -> Result<R, ControlError>
    where
        B: Serialize + DynamicType,
        R: DeserializeOwned + Type,
    {
        let connection = self.connection().await?;
        let destination = None::<BusName<'_>>;
        let (object, interface) = (self.peer.object, Some(self.peer.interface));
        let call = connection.call_method(destination, object, interface, method, body);
        let reply = match tokio::time::timeout(limit, call).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => {
                let told = refusal::from_reply(&error);
                return Err(told.unwrap_or_else(|| self.away(&format!("{method} failed: {error}"))));
            }
            Err(_) => return Err(self.away(&format!("no answer to {method} within {} s", limit.as_secs()))),
        };
        let body = reply.body();
        body.deserialize_ignore_signature().map_err(|error| self.unexpected(method, &error.to_string()))
    }

    /// The answer was not what the interface promises.
    pub(crate) fn unexpected(&self, method: &str, detail: &str) -> ControlError {
        let message =
            format!("{} answers {method} in a form that is not known here: {detail}", self.peer.name);
        ControlError::new(ErrorKind::Internal, message)
            .remedy("run the same version of all parts of the node; restart it if it was just updated")
    }

    async fn connection(&self) -> Result<Connection, ControlError> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = kept.as_ref().filter(|c| !c.is_closed()) {
            return Ok(connection.clone());
        }
        let Some(path) = &self.path else { return Err(self.away("the connection has ended")) };
        match socket::connect(path).await {
            Ok(connection) => Ok(kept.insert(connection).clone()),
            Err(error) => Err(self.away(&format!("cannot connect to {}: {error}", path.display()))),
        }
    }

    fn away(&self, detail: &str) -> ControlError {
        let message = format!("{} cannot be reached: {detail}", self.peer.name);
        ControlError::new(ErrorKind::Unavailable, message).remedy(self.peer.remedy)
    }
}
