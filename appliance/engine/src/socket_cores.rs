//! The threads of socket cores: each is bound to its processor, makes its core, says so, and serves until the home core ends it.

use crate::{Affinity, StartError};
use net::{CoreSeed, Net, Waker};
use reactor::{Polling, bind, serve_sockets};
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

/// The sockets, and the threads that serve them.
pub(crate) struct Sockets {
    pub(crate) net: Net,
    pub(crate) threads: Vec<JoinHandle<()>>,
    /// The processor of each thread, if it keeps to one.
    pub(crate) processors: Vec<Option<usize>>,
}

/// Sockets of the calling thread, or of one thread for each of `places`.
pub(crate) fn start(waker: &Waker, places: &[Affinity], polling: Polling) -> Result<Sockets, StartError> {
    let system = |what| move |source: io::Error| StartError::System { what, source };
    if places.is_empty() {
        let net = Net::new(waker.clone()).map_err(system("io_uring"))?;
        return Ok(Sockets { net, threads: Vec::new(), processors: Vec::new() });
    }
    let (net, seeds) = Net::with_cores(waker, places.len()).map_err(system("io_uring"))?;
    let mut sockets = Sockets { net, threads: Vec::new(), processors: Vec::new() };
    for (number, (seed, place)) in (1..).zip(seeds.into_iter().zip(places.iter().copied())) {
        let (ready, is_ready) = sync_channel(1);
        let thread = Builder::new()
            .name(format!("core{number}"))
            .spawn(move || serve(number, seed, place, polling, &ready))
            .map_err(system("a thread"))?;
        sockets.threads.push(thread);
        let ended = |_| system("a socket core")(io::Error::other("it ended before it was ready"));
        sockets.processors.push(is_ready.recv().map_err(ended).flatten()?);
    }
    Ok(sockets)
}

/// The thread of a socket core.
fn serve(
    number: usize,
    seed: CoreSeed,
    place: Affinity,
    polling: Polling,
    ready: &SyncSender<Result<Option<usize>, StartError>>,
) {
    // Before there is any memory: pages come from the node of memory that is next to the processor.
    let started =
        bind(place).map_err(|source| StartError::core(number, place, source)).and_then(|processor| {
            let core = seed.start().map_err(|source| StartError::System { what: "io_uring", source })?;
            Ok((processor, core))
        });
    match started {
        Ok((processor, mut core)) => {
            // Nobody listens only if the start was given up, which it is not.
            let _ = ready.send(Ok(processor));
            serve_sockets(&mut core, polling);
        }
        Err(error) => {
            let _ = ready.send(Err(error));
        }
    }
}

/// Waits for the threads, after their sockets were dropped.
pub(crate) fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        // A core that fails ends the process.
        let _ = thread.join();
    }
}
