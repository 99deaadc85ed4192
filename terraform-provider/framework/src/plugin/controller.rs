//! The two services that Terraform's process manager expects beside the provider.

use crate::pb::go_plugin::grpc_controller_server::GrpcController;
use crate::pb::go_plugin::grpc_stdio_server::GrpcStdio;
use crate::pb::go_plugin::{ControllerEmpty, StdioData, StdioRequest};
use std::pin::Pin;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Ends the process on request.
pub(crate) struct Controller {
    shutdown: watch::Sender<bool>,
}

impl Controller {
    pub(crate) fn new(shutdown: watch::Sender<bool>) -> Self {
        Self { shutdown }
    }
}

#[tonic::async_trait]
impl GrpcController for Controller {
    async fn shutdown(&self, _: Request<ControllerEmpty>) -> Result<Response<ControllerEmpty>, Status> {
        self.shutdown.send_replace(true);
        Ok(Response::new(ControllerEmpty {}))
    }
}

/// A stream that stays open and silent: our output is the handshake line, our log goes to stderr directly.
pub(crate) struct Stdio {
    shut_down: watch::Receiver<bool>,
}

impl Stdio {
    pub(crate) fn new(shut_down: watch::Receiver<bool>) -> Self {
        Self { shut_down }
    }
}

#[tonic::async_trait]
impl GrpcStdio for Stdio {
    type StreamStdioStream = Pin<Box<dyn Stream<Item = Result<StdioData, Status>> + Send>>;

    async fn stream_stdio(
        &self,
        _: Request<StdioRequest>,
    ) -> Result<Response<Self::StreamStdioStream>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        let mut shut_down = self.shut_down.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = shut_down.wait_for(|asked| *asked) => {}
                () = sender.closed() => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}
