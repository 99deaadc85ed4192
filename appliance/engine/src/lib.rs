//! Composition: cores, drives, pools, target; executes control messages (layer 4; `ironbayd` starts it).
//!
//! ```text
//!  control threads ── Engine::call(Request, reply) ──▶ mailbox ──▶ reactor thread: drives, pools, target, sockets
//!                  ◀── reply(Result<Reply, ControlError>) ───────┘                   ▲ lanes (`net`)
//!                                                                socket core threads ┘ recv, send
//! ```
//!
//! Invariants
//! - Everything that stores data lives on the reactor thread (the home core) and is owned by it; other threads only send messages.
//! - An answer to a change comes after the change is durable on all members of the pool.
//! - A drive that does not open is listed as failed, with the reason; it never keeps the engine from starting.
//!
//! Not here: policy, D-Bus, gRPC (`manager`, `ironbayd`).
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::duplicate_mod, reason = "some tests run once more, with sockets on other cores")
)]

mod answer;
mod changes;
mod config;
mod core;
mod drives;
mod limits;
mod refusals;
mod requests;
mod socket_cores;
mod spec;
mod startup;
#[cfg(test)]
mod tests;
mod thin;
mod wiping;

pub use config::{EngineConfig, Event, EventSink};
pub use reactor::{Affinity, Cores, Mode, UnknownAffinity, UnknownCores};
pub use spec::{DriveSpec, SpecError};

use crate::answer::{Answer, overloaded};
use crate::core::Message;
use crate::startup::Ready;
use control::{ControlError, Reply, Request};
use net::Waker;
use reactor::{Mailbox, Refused, Sender, mailbox, run};
use std::net::SocketAddr;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No memory for the arena.
    #[error("cannot reserve {bytes} bytes of memory for IO: {detail}")]
    Arena {
        /// As configured.
        bytes: usize,
        /// Why.
        detail: String,
    },
    /// A portal cannot listen.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Cores cannot run where they should.
    #[error("cannot run {what}: {source}")]
    Cores {
        /// Which, and where.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// The system refuses io_uring, an eventfd or a thread.
    #[error("cannot set up {what}: {source}")]
    System {
        /// What was to be set up.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

impl StartError {
    /// A core cannot run in its place.
    fn core(number: usize, place: Affinity, source: std::io::Error) -> Self {
        let what = match place {
            Affinity::Processor(processor) => format!("core {number} on processor {processor}"),
            Affinity::Auto | Affinity::Anywhere => format!("core {number}"),
        };
        Self::Cores { what, source }
    }
}

/// A running engine. May be shared between threads.
#[derive(Debug)]
pub struct Engine {
    sender: Sender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
    portals: Vec<SocketAddr>,
    discovery: Vec<SocketAddr>,
}

/// Where the portals listen: NVMe/TCP, discovery.
type Addresses = (Vec<SocketAddr>, Vec<SocketAddr>);

/// Opens the drives, imports the pools, starts the core, and returns when the portals listen.
///
/// # Errors
/// Only what makes serving impossible; drives that fail are listed by [`Request::ListDrives`] instead.
pub fn start(config: EngineConfig) -> Result<Engine, StartError> {
    let started = Instant::now();
    let system = |what| move |source| StartError::System { what, source };
    let waker = Waker::new().map_err(system("an eventfd"))?;
    let (sender, mailbox) = mailbox(waker.clone());
    let (ready, is_ready) = sync_channel(1);
    let thread = std::thread::Builder::new()
        .name("core0".to_owned())
        .spawn(move || serve(config, &waker, mailbox, &ready, started))
        .map_err(system("a thread"))?;
    let (portals, discovery) = match is_ready.recv() {
        Ok(result) => result?,
        Err(_) => {
            let source = std::io::Error::other("it ended before it was ready");
            return Err(StartError::System { what: "the core's thread", source });
        }
    };
    Ok(Engine { sender, thread: Mutex::new(Some(thread)), portals, discovery })
}

/// The core's thread.
fn serve(
    config: EngineConfig,
    waker: &Waker,
    mut mailbox: Mailbox<Message>,
    ready: &SyncSender<Result<Addresses, StartError>>,
    started: Instant,
) {
    let Ready { mut core, mut net, polling, socket_cores, portals, discovery } =
        match startup::start(config, waker, started) {
            Ok(parts) => parts,
            Err(error) => {
                // Nobody listens only if `start` was given up, which it is not.
                let _ = ready.send(Err(error));
                return;
            }
        };
    let _ = ready.send(Ok((portals, discovery)));
    run(&mut core, &mut net, &mut mailbox, polling);
    // Sockets first: they hold payload buffers. With them the socket cores end.
    drop(net);
    socket_cores::join(socket_cores);
    core.shut_down();
}

impl Engine {
    /// Hands a request to the core and returns at once. `reply` is called exactly once, usually on the core's thread: it
    /// must not block (send the answer through a channel).
    pub fn call(&self, request: Request, reply: impl FnOnce(Result<Reply, ControlError>) + Send + 'static) {
        match self.sender.send(Message::Call(request, Answer::new(reply))) {
            Err(Refused::Full(Message::Call(_, answer))) => answer.give(Err(overloaded())),
            // An answer that is dropped says that the engine has stopped.
            Ok(()) | Err(Refused::Ended(_) | Refused::Full(Message::Stop)) => {}
        }
    }

    /// Addresses that serve NVMe/TCP, with the real port where 0 was asked for.
    #[must_use]
    pub fn portals(&self) -> Vec<SocketAddr> {
        self.portals.clone()
    }

    /// Addresses that serve discovery.
    #[must_use]
    pub fn discovery(&self) -> Vec<SocketAddr> {
        self.discovery.clone()
    }

    /// Orderly end: no new connections, commands in flight finish, drives are flushed and shut down, the thread is
    /// joined. Later calls return at once.
    pub fn stop(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        // A full mailbox is emptied by the core, so this ends.
        let mut message = Message::Stop;
        while let Err(Refused::Full(refused)) = self.sender.send(message) {
            message = refused;
            std::thread::yield_now();
        }
        // It ends with a panic only after an assertion failed, which has been reported then.
        let _ = thread.join();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}
