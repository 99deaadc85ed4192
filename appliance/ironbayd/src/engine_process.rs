//! `ironbayd engine`: an engine that serves `org.ironbay.Engine1` on a socket path.

use crate::args::{DataArguments, EngineArguments};
use crate::bridge::{Bridge, listed};
use crate::failure::Failure;
use crate::identity;
use crate::stop::Stop;
use engine::EngineConfig;
use std::net::SocketAddr;
use std::sync::Arc;

pub(crate) async fn execute(arguments: EngineArguments) -> Result<(), Failure> {
    let mut stop = Stop::new()?;
    let mut config = config(arguments.data, arguments.listen, arguments.discovery);
    config.is_insecure = arguments.insecure;
    config.hugepages = true;
    config.cores = arguments.core;
    let bridge = Bridge::start(config)?;
    let result = serve(&bridge, &arguments.bus, &mut stop).await;
    bridge.stop();
    result
}

async fn serve(bridge: &Bridge, path: &std::path::Path, stop: &mut Stop) -> Result<(), Failure> {
    // After the start: a socket that is there has an engine behind it.
    let listener = bus::listen(path).map_err(|error| Failure::bus(path, &error))?;
    let engine = bridge.engine();
    tracing::info!(
        bus = %path.display(),
        "Engine serves NVMe/TCP on {}, discovery on {}",
        listed(&engine.portals()),
        listed(&engine.discovery())
    );
    let service: Arc<Bridge> = Arc::new(bridge.clone());
    let serving = bus::serve(listener, move |builder| bus::publish_engine(builder, service.clone()));
    let result = tokio::select! {
        ended = serving => ended.map_err(|error| Failure::bus(path, &error)),
        () = stop.wait() => Ok(()),
    };
    // Clients that try now are told at once that nobody is here.
    let _ = std::fs::remove_file(path);
    result
}

/// What an engine is started with, from the arguments that all ways of starting share.
pub(crate) fn config(
    data: DataArguments,
    listen: Vec<SocketAddr>,
    discovery: Vec<SocketAddr>,
) -> EngineConfig {
    EngineConfig {
        drives: data.drive,
        listen,
        discovery,
        arena_bytes: usize::try_from(data.arena_mib).map_or(usize::MAX, |mib| mib.saturating_mul(1 << 20)),
        mode: data.mode,
        identity: identity::of_this_machine(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..EngineConfig::default()
    }
}
