//! `ironbay`: manage a node, and read and write its volumes, from a shell.
//!
//! Exit codes: 0 done, 1 failed (of `check`: something was found), 2 wrong arguments, 3 not found, 4 refused (state, space,
//! conflict), 5 unreachable.
#![forbid(unsafe_code)]

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = cli::args::Arguments::parse();
    let output = arguments.output;
    match cli::execute(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(output),
    }
}
