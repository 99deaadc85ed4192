//! The daemon of a node (layer 5): one binary, three ways to run it.
//!
//! ```text
//!  ironbayd engine   polled core, drives, pools, target; serves org.ironbay.Engine1     ─┐ joined by a socket path
//!  ironbayd agent    gRPC API; cannot open a drive                                       ─┘
//!  ironbayd run      both in one process, joined by a socket pair: any Linux machine, files as drives
//! ```
//!
//! Invariants
//! - The engine outlives every client of its bus, and the agent outlives the engine.
//! - Without `--insecure` no API port is open: there is no authentication yet.
//! - SIGTERM and SIGINT end orderly: no new work, work in flight finishes, drives are flushed.
//!
//! Exit codes: 0 ended orderly, 1 cannot run (the message names the object and what to do), 2 wrong arguments.
#![forbid(unsafe_code)]

mod agent;
mod args;
mod bridge;
mod engine_process;
mod events;
mod failure;
mod identity;
mod run;
mod stop;

use args::{Arguments, Command};
use clap::Parser;
use failure::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(arguments.log.filter())
        .with_target(false)
        .with_ansi(false)
        .without_time()
        .init();
    match execute(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<(), Failure> {
    // One thread is enough: the data path has its own, and the control plane waits most of the time.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start the event loop: {error}")))?;
    match command {
        Command::Engine(arguments) => runtime.block_on(engine_process::execute(arguments)),
        Command::Agent(arguments) => runtime.block_on(agent::execute(arguments)),
        Command::Run(arguments) => runtime.block_on(run::execute(arguments)),
    }
}
