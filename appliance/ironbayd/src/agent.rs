//! `ironbayd agent`: the gRPC API over the bus of an engine. It starts without the engine, and outlives it.

use crate::args::AgentArguments;
use crate::failure::Failure;
use crate::stop::Stop;
use bus::{EngineClient, InitClient};
use manager::Manager;

pub(crate) async fn execute(arguments: AgentArguments) -> Result<(), Failure> {
    let mut stop = Stop::new()?;
    if !arguments.insecure {
        tracing::warn!(
            "The API does not listen: it has no authentication yet, and this node was not booted as an insecure lab. \
             To open it to everybody who reaches the port, boot with ironbay.insecure=1 (or start the agent with \
             --insecure). Volumes are served all the same."
        );
        stop.wait().await;
        return Ok(());
    }
    let server =
        manager::bind(arguments.listen).map_err(|error| Failure::listen(arguments.listen, &error))?;
    let manager =
        Manager::new(EngineClient::at(arguments.engine_bus), arguments.init_bus.map(InitClient::at));
    let address = server.address();
    tracing::warn!(
        "The API listens on {address} without authentication: whoever reaches it may do everything"
    );
    server
        .serve(manager, async move { stop.wait().await })
        .await
        .map_err(|error| Failure::new(format!("the API on {address} ended: {error}")))
}
