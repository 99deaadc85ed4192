//! Command line of the lab: runs scenarios, or the demo.

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use hwtests::parts::{self, Given};
use hwtests::scenario::{self, Scenario};
use hwtests::{demo, interrupt, kernel_bench};
use std::process::ExitCode;
use std::time::Instant;

/// Boots the real image on emulated servers, with a real Linux host beside them.
#[derive(Parser)]
#[command(name = "hwtests", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run scenarios; without a name, all of them.
    Run {
        /// Names of scenarios (see `list`).
        scenarios: Vec<String>,
        /// How often to run each, with seeds that follow one another.
        #[arg(long, default_value_t = 1)]
        count: u64,
        /// First seed: it chooses moments, such as that of the power cut.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        #[command(flatten)]
        given: Given,
    },
    /// First light once, with a table of what was measured.
    Demo {
        /// Leave everything on until Ctrl-C, and say how to attach.
        #[arg(long)]
        keep: bool,
        /// Chooses the moment of the power cut.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        #[command(flatten)]
        given: Given,
    },
    /// Our target beside the kernel's own, in one emulated machine: what a command costs each of them.
    KernelBench(kernel_bench::Options),
    /// List the scenarios.
    List,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = interrupt::install() {
        eprintln!("hwtests: {error:#}");
        return ExitCode::FAILURE;
    }
    let result = match arguments.command {
        Command::Run { scenarios, count, seed, given } => run(&scenarios, count, seed, &given),
        Command::Demo { keep, seed, given } => {
            parts::prepare(&given).and_then(|parts| demo::run(&parts, seed, keep)).map(|()| true)
        }
        Command::KernelBench(options) => kernel_bench::run(&options).map(|()| true),
        Command::List => {
            for scenario in scenario::ALL {
                println!("{:<13} {}", scenario.name, scenario.about);
            }
            Ok(true)
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("hwtests: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the scenarios; whether all passed.
fn run(names: &[String], count: u64, seed: u64, given: &Given) -> Result<bool> {
    let chosen = choose(names)?;
    let parts = parts::prepare(given)?;
    let (mut passed, mut failed) = (0, Vec::new());
    for scenario in chosen {
        for seed in seed..seed + count {
            let started = Instant::now();
            println!("--- {} (seed {seed}): {}", scenario.name, scenario.about);
            let result = (scenario.run)(&parts, seed);
            let took = started.elapsed().as_secs();
            match result {
                Ok(()) => {
                    println!("--- {} (seed {seed}): passed in {took} s", scenario.name);
                    passed += 1;
                }
                Err(error) => {
                    println!("--- {} (seed {seed}): FAILED after {took} s: {error:#}", scenario.name);
                    failed.push(format!("cargo run -p hwtests -- run {} --seed {seed}", scenario.name));
                }
            }
        }
    }
    for again in &failed {
        println!("again: {again}");
    }
    println!("{passed} passed, {} failed", failed.len());
    Ok(failed.is_empty())
}

fn choose(names: &[String]) -> Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        return Ok(scenario::ALL.iter().collect());
    }
    let find = |name: &String| scenario::ALL.iter().find(|s| s.name == name);
    let known = || scenario::ALL.iter().map(|s| s.name).collect::<Vec<_>>().join(", ");
    names
        .iter()
        .map(|name| match find(name) {
            Some(scenario) => Ok(scenario),
            None => bail!("there is no scenario {name:?}; there are {}", known()),
        })
        .collect()
}
