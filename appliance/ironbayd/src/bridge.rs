//! From the bus to the core: each request goes to the engine's mailbox, its answer comes back through a channel.

use bus::{Answer, EngineService};
use control::{ControlError, DriveState, ErrorKind, Reply, Request};
use engine::{Engine, EngineConfig, Event};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Events that wait to be logged. The core never waits for the log: what does not fit is dropped.
const EVENTS_MAX: usize = 256;

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
        let (sink, mut events) = mpsc::channel::<Event>(EVENTS_MAX);
        config.events = Some(Box::new(move |event| {
            let _ = sink.try_send(event);
        }));
        let engine = Arc::new(engine::start(config)?);
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                tracing::info!(kind = event.kind, object = event.object, "{}", event.text);
            }
        });
        Ok(Self { engine })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Says which drives cannot be used: they do not keep the engine from starting, so somebody has to.
    pub(crate) async fn report_drives(&self) {
        let Ok(Reply::Drives(drives)) = self.call(Request::ListDrives).await else { return };
        for drive in drives.iter().filter(|drive| drive.state == DriveState::Failed) {
            tracing::warn!(drive = drive.path, "Drive cannot be used: {}", drive.detail);
        }
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
