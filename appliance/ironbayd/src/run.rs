//! `ironbayd run`: engine and agent in one process, joined by a socket pair; the same code paths as on a node.

use crate::args::{Output, RunArguments};
use crate::bridge::{Bridge, listed};
use crate::engine_process::config;
use crate::failure::Failure;
use crate::stop::Stop;
use bus::EngineClient;
use manager::{Manager, Server};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

pub(crate) async fn execute(arguments: RunArguments) -> Result<(), Failure> {
    let mut stop = Stop::new()?;
    // The API's port first: without it there is no need to open drives.
    let server = manager::bind(arguments.api).map_err(|error| Failure::listen(arguments.api, &error))?;
    let mut config = config(arguments.data, arguments.listen, arguments.discovery);
    config.is_insecure = arguments.insecure;
    config.cores = arguments.core;
    let bridge = Bridge::start(config)?;
    let result = serve(&bridge, server, arguments.output, &mut stop).await;
    bridge.stop();
    result
}

async fn serve(bridge: &Bridge, server: Server, output: Output, stop: &mut Stop) -> Result<(), Failure> {
    let (_engine_side, client) = joined(bridge).await?;
    announce(output, server.address(), bridge);
    server
        .serve(Manager::new(client, None), async move { stop.wait().await })
        .await
        .map_err(|error| Failure::new(format!("the API ended: {error}")))
}

/// Both ends of a bus over a socket pair. The first lives as long as the bus is wanted.
async fn joined(bridge: &Bridge) -> Result<(bus::Connection, EngineClient), Failure> {
    let failed = |what: String| Failure::new(format!("cannot join engine and agent: {what}"));
    let (ours, theirs) = UnixStream::pair().map_err(|error| failed(error.to_string()))?;
    let service = Arc::new(bridge.clone());
    let publish = |builder| bus::publish_engine(builder, service.clone());
    let (served, connected) = tokio::join!(bus::serve_stream(ours, &publish), bus::connect_stream(theirs));
    let served = served.map_err(|error| failed(error.to_string()))?;
    let connected = connected.map_err(|error| failed(error.to_string()))?;
    Ok((served, EngineClient::over(connected)))
}

fn announce(output: Output, api: SocketAddr, bridge: &Bridge) {
    let (portals, discovery) = (bridge.engine().portals(), bridge.engine().discovery());
    let text = match output {
        Output::Json => {
            let texts =
                |addresses: &[SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
            serde_json::json!({
                "event": "ready",
                "api": api.to_string(),
                "portals": texts(&portals),
                "discovery": texts(&discovery),
            })
            .to_string()
        }
        Output::Text => format!(
            "Ready. API {api} (without authentication), NVMe/TCP {}, discovery {}.\n\
             Next: ironbay --endpoint {api} drive list",
            listed(&portals),
            listed(&discovery)
        ),
    };
    // Whoever started us may have closed our output; that is no reason to stop serving.
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}
