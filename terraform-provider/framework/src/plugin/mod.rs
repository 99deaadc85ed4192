//! The provider as a process that Terraform starts.
//!
//! ```text
//!  start      environment checked, one handshake line on stdout, then gRPC on a unix socket in a private directory
//!  Ctrl-C     SIGINT reaches us too, because we share the terminal: swallowed, Terraform calls StopProvider instead
//!  SIGTERM    stop what is under way, answer, leave
//!  Shutdown   the orderly end; leaves within a second even if the peer keeps its connection
//!  silence    the last connection is gone: Terraform was killed; stop what is under way, leave
//! ```
//!
//! Invariants
//! - stdout carries the handshake line and nothing else.
//! - The socket directory is removed on every way out but a crash.
//! - With a client certificate from Terraform (always, unless the user turns TLS off) nobody else can connect.

mod connection;
mod controller;
mod handshake;
mod log;
mod socket;
mod tls;

use crate::contain;
use crate::limits::{FIRST_CONNECTION, MESSAGE_BYTES_MAX, SHUTDOWN_GRACE, TERMINATE_GRACE};
use crate::pb::go_plugin::grpc_controller_server::GrpcControllerServer;
use crate::pb::go_plugin::grpc_stdio_server::GrpcStdioServer;
use crate::pb::provider_server::ProviderServer;
use crate::provider::Provider;
use crate::service::Service;
use crate::stop::{Gauge, Stopper};
use connection::{Accepted, accept_loop};
use controller::{Controller, Stdio};
use handshake::Environment;
use socket::Socket;
use std::io::Write;
use std::process::ExitCode;
use tls::ServerIdentity;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

/// Serves the provider until Terraform is done with it.
#[must_use]
pub fn serve<C: Send + Sync + 'static>(provider: Provider<C>) -> ExitCode {
    let environment = match Environment::read(|name| std::env::var(name).ok()) {
        Ok(environment) => environment,
        Err(reason) => {
            eprintln!("{reason}");
            return ExitCode::from(1);
        }
    };
    log::install(provider.name, |name| std::env::var(name).ok());
    contain::install();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("The provider cannot start: {error}");
            return ExitCode::from(1);
        }
    };
    let served = runtime.block_on(run(provider, environment));
    // Threads that hold a panic never end; so the runtime is not joined.
    runtime.shutdown_background();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::from(1)
        }
    }
}

async fn run<C: Send + Sync + 'static>(
    provider: Provider<C>,
    environment: Environment,
) -> Result<(), String> {
    // Installed before the handshake: from then on a signal may come at any time.
    let handler = |kind| signal(kind).map_err(|e| format!("The provider cannot handle signals: {e}"));
    let mut interrupt = handler(SignalKind::interrupt())?;
    let mut terminate = handler(SignalKind::terminate())?;

    let socket = Socket::bind(environment.socket_dir.as_deref())?;
    let identity = environment.client_certificate.map(ServerIdentity::for_client).transpose()?;
    print_handshake(&socket, identity.as_ref())?;

    let connections = Gauge::new();
    let in_flight = Gauge::new();
    let (stopper, stop) = Stopper::new();
    let (shutdown, shut_down) = watch::channel(false);
    let (accepted, incoming) = mpsc::channel::<std::io::Result<Accepted>>(1);
    let acceptor = identity.map(|identity| identity.acceptor);
    tokio::spawn(accept_loop(socket.listener()?, acceptor, connections.clone(), accepted));

    let service = Service::new(provider, stopper.clone(), stop, in_flight.clone());
    let server = Server::builder()
        .add_service(
            ProviderServer::new(service)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(GrpcControllerServer::new(Controller::new(shutdown)))
        .add_service(GrpcStdioServer::new(Stdio::new(shut_down.clone())))
        .serve_with_incoming(ReceiverStream::new(incoming));
    let server = tokio::spawn(server);

    let swallow = async { while interrupt.recv().await.is_some() {} };
    tokio::select! {
        () = swallow => {}
        _ = terminate.recv() => {
            tracing::info!("SIGTERM: operations under way are told to stop");
            stopper.stop();
            drop(tokio::time::timeout(TERMINATE_GRACE, in_flight.idle()).await);
            // The answers of those operations are on their way to the peer.
            drop(tokio::time::timeout(SHUTDOWN_GRACE, connections.idle()).await);
        }
        () = shutdown_asked(shut_down) => {
            drop(tokio::time::timeout(SHUTDOWN_GRACE, connections.idle()).await);
        }
        () = abandoned(&connections) => {
            tracing::info!("Terraform is gone: the provider leaves");
            stopper.stop();
            drop(tokio::time::timeout(TERMINATE_GRACE, in_flight.idle()).await);
        }
        ended = server => {
            let ended = ended.map_err(|e| e.to_string()).and_then(|r| r.map_err(|e| e.to_string()));
            return ended.map_err(|e| format!("The provider's server ended: {e}"));
        }
    }
    Ok(())
}

async fn shutdown_asked(mut shut_down: watch::Receiver<bool>) {
    if shut_down.wait_for(|asked| *asked).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Returns when nobody connects in time, or when the last connection is gone.
async fn abandoned(connections: &Gauge) {
    if tokio::time::timeout(FIRST_CONNECTION, connections.used()).await.is_err() {
        return;
    }
    connections.idle().await;
}

/// The one line on stdout: versions, address, protocol, our certificate.
fn print_handshake(socket: &Socket, identity: Option<&ServerIdentity>) -> Result<(), String> {
    let certificate = identity.map(|i| i.certificate_base64.as_str()).unwrap_or_default();
    let line = handshake::line(socket.path(), certificate);
    let mut stdout = std::io::stdout().lock();
    let written = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    written.map_err(|e| format!("The handshake line cannot be written: {e}"))
}
