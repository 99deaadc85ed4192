//! From the bus to the core: each request goes to the engine's mailbox, its answer comes back through a channel.

use crate::events;
use bus::{Answer, EngineService};
use control::{ControlError, ErrorKind, Request};
use engine::{Engine, EngineConfig};
use std::sync::Arc;
use tokio::sync::oneshot;

/// An engine as a service of the bus.
#[derive(Clone, Debug)]
pub(crate) struct Bridge {
    engine: Arc<Engine>,
}

impl EngineService for Bridge {
    fn call(&self, request: Request) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.engine.call(request, move |result| {
            // Nobody listens any more if the client has gone: the change has happened all the same.
            let _ = answer.send(result);
        });
        Box::pin(async move {
            answered.await.unwrap_or_else(|_| {
                Err(ControlError::new(ErrorKind::Unavailable, "the engine has stopped")
                    .remedy("start it again"))
            })
        })
    }
}

impl Bridge {
    /// Starts an engine whose events are logged. Blocks until its portals listen: drives are opened, pools imported.
    pub(crate) fn start(mut config: EngineConfig) -> Result<Self, engine::StartError> {
        config.events = Some(events::log());
        let engine = Arc::new(engine::start(config)?);
        Ok(Self { engine })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Orderly end of the engine; takes as long as the work in flight.
    pub(crate) fn stop(&self) {
        self.engine.stop();
    }
}

/// `10.0.0.5:4420, …` for a sentence.
pub(crate) fn listed(addresses: &[std::net::SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
