//! Sockets: listen, accept, connect, and the D-Bus handshake on both sides.
//!
//! Objects of a peer-to-peer connection belong to that connection, so the server publishes them anew for each peer; what
//! they share lies behind an `Arc` in the published object.

use crate::limits::{ACCEPT_RETRY, CONNECT_TIMEOUT, CONNECTIONS_MAX};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use zbus::connection::Builder;
use zbus::{Connection, Guid};

/// Makes a listening socket at `path`, and its directory. A socket that an earlier process left there is replaced; anything
/// else at this path is not touched.
///
/// # Errors
/// As the system says; `AlreadyExists` when the path is something other than a socket.
pub fn listen(path: impl AsRef<Path>) -> io::Result<UnixListener> {
    let path = path.as_ref();
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the path exists and is not a socket"));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
                std::fs::create_dir_all(parent)?;
            }
        }
        Err(error) => return Err(error),
    }
    UnixListener::bind(path)
}

/// Accepts peers for as long as the returned future is polled, and publishes objects for each: `serve(listener,
/// |builder| publish_engine(builder, service.clone()))`. A failed handshake costs that peer only.
///
/// # Errors
/// When the listener itself fails.
pub async fn serve<F>(listener: UnixListener, publish: F) -> io::Result<()>
where
    F: Fn(Builder<'static>) -> Builder<'static> + Send + Sync + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let publish = Arc::new(publish);
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        let (stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_passing(&error) => {
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let stream = stream.into_std()?;
        let publish = Arc::clone(&publish);
        tokio::spawn(async move {
            if let Ok(connection) = serve_stream(stream, &*publish).await {
                connection.closed().await;
            }
            drop(place);
        });
    }
}

/// The peer went away between connecting and being accepted, or the system is short of something for now. A server that
/// gave up then would take its process, and with it the volumes, along.
fn is_passing(error: &io::Error) -> bool {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = 105;
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted)
        || matches!(error.raw_os_error(), Some(ENOMEM | ENFILE | EMFILE | ENOBUFS))
}

/// Serves one peer on a stream that is connected already. The connection lives until it is dropped or the peer leaves
/// (`closed`).
///
/// # Errors
/// When the handshake fails or takes longer than [`CONNECT_TIMEOUT`].
pub async fn serve_stream<F>(stream: UnixStream, publish: &F) -> zbus::Result<Connection>
where
    F: Fn(Builder<'static>) -> Builder<'static>,
{
    let builder = Builder::unix_stream(stream).server(Guid::generate()).p2p();
    bounded(publish(builder).build()).await
}

/// Connects to a peer's socket.
///
/// # Errors
/// When nobody listens there, or the handshake fails or takes longer than [`CONNECT_TIMEOUT`].
pub async fn connect(path: impl AsRef<Path>) -> zbus::Result<Connection> {
    let path = path.as_ref();
    bounded(async {
        let stream = tokio::net::UnixStream::connect(path).await?;
        connect_stream(stream.into_std()?).await
    })
    .await
}

/// The client side of a stream that is connected already.
///
/// # Errors
/// When the handshake fails or takes longer than [`CONNECT_TIMEOUT`].
pub async fn connect_stream(stream: UnixStream) -> zbus::Result<Connection> {
    bounded(Builder::unix_stream(stream).p2p().build()).await
}

async fn bounded<T>(work: impl Future<Output = zbus::Result<T>>) -> zbus::Result<T> {
    match tokio::time::timeout(CONNECT_TIMEOUT, work).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}
