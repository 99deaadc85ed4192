//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use engine::{Cores, DriveSpec, Mode};
use std::net::SocketAddr;
use std::path::PathBuf;
use tracing_subscriber::filter::LevelFilter;

/// The daemon of an Ironbay node.
#[derive(Debug, Parser)]
#[command(
    name = "ironbayd",
    version,
    after_help = "\
Examples:
  ironbayd run --drive file:/var/tmp/a.img,size=4GiB --insecure
      A node on this machine: API on 127.0.0.1:7420, NVMe/TCP on 127.0.0.1:4420.
  ironbayd run --help
      The options of one command, with examples."
)]
pub(crate) struct Arguments {
    /// How much to say on standard error.
    #[arg(long, global = true, value_enum, default_value_t = Log::Info, env = "IRONBAY_LOG")]
    pub(crate) log: Log,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is worth saying.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Log {
    Debug,
    Info,
    Warn,
}

impl Log {
    pub(crate) fn filter(self) -> LevelFilter {
        match self {
            Self::Debug => LevelFilter::DEBUG,
            Self::Info => LevelFilter::INFO,
            Self::Warn => LevelFilter::WARN,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve volumes over NVMe/TCP; take orders over the bus.
    Engine(EngineArguments),
    /// Serve the gRPC API; give orders to an engine over its bus.
    Agent(AgentArguments),
    /// Engine and agent in one process, on any Linux machine.
    Run(RunArguments),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  ironbayd engine --bus /run/ironbay/engine.sock --drive vfio:0000:00:04.0 \\
      --listen 0.0.0.0:4420 --discovery 0.0.0.0:8009 --insecure")]
pub(crate) struct EngineArguments {
    /// Socket on which to serve org.ironbay.Engine1.
    #[arg(long, value_name = "PATH")]
    pub(crate) bus: PathBuf,
    #[command(flatten)]
    pub(crate) data: DataArguments,
    /// Processors of the polled cores, the home core first: auto (as many as suit the machine), none (one core, wherever the
    /// system puts it), numbers with commas between them, or xN for N cores on the last processors.
    #[arg(long, value_name = "WHERE", default_value = "auto")]
    pub(crate) core: Cores,
    /// Address for NVMe/TCP; may be repeated.
    #[arg(long, value_name = "ADDR:PORT", required = true)]
    pub(crate) listen: Vec<SocketAddr>,
    /// Address for discovery; may be repeated.
    #[arg(long, value_name = "ADDR:PORT", required = true)]
    pub(crate) discovery: Vec<SocketAddr>,
    /// Let every host connect and use the volumes that name no hosts. Without this only hosts that volumes name may.
    #[arg(long)]
    pub(crate) insecure: bool,
}

/// What engines are given, however they are started.
#[derive(Debug, Args)]
pub(crate) struct DataArguments {
    /// A drive: vfio:0000:00:04.0, file:PATH[,size=1GiB][,serial=S], ram:SIZE[,serial=S]; may be repeated.
    #[arg(long, value_name = "SPEC")]
    pub(crate) drive: Vec<DriveSpec>,
    /// Memory for IO, in MiB.
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(16..=65536), default_value_t = 64)]
    pub(crate) arena_mib: u32,
    /// How eagerly to poll: latency (never sleeps), balanced, eco (sleeps at once).
    #[arg(long, default_value = "balanced")]
    pub(crate) mode: Mode,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  ironbayd agent --engine-bus /run/ironbay/engine.sock --init-bus /run/ironbay/init.sock \\
      --listen 0.0.0.0:7420 --insecure")]
pub(crate) struct AgentArguments {
    /// Socket of the engine.
    #[arg(long, value_name = "PATH")]
    pub(crate) engine_bus: PathBuf,
    /// Socket of init, on an appliance.
    #[arg(long, value_name = "PATH")]
    pub(crate) init_bus: Option<PathBuf>,
    /// Address for the API.
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:7420")]
    pub(crate) listen: SocketAddr,
    /// Serve without authentication: whoever reaches the port may do everything. Without this the API does not listen.
    #[arg(long)]
    pub(crate) insecure: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ironbayd run --drive file:/var/tmp/a.img,size=4GiB --insecure
      Makes the file if it is not there; then:
        ironbay pool create tank --drive A
        ironbay volume create db --pool tank --size 1GiB
        nvme connect -t tcp -a 127.0.0.1 -s 4420 -n <subsystem NQN>
  ironbayd run --drive ram:256MiB --listen 127.0.0.1:0 --discovery 127.0.0.1:0 --api 127.0.0.1:0 \\
      --insecure --output json
      Free ports; one JSON line on standard output says which, when it is ready.")]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(crate) data: DataArguments,
    /// Processors of the polled cores, the home core first: auto (as many as suit the machine), none (one core, wherever the
    /// system puts it), numbers with commas between them, or xN for N cores on the last processors.
    #[arg(long, value_name = "WHERE", default_value = "none")]
    pub(crate) core: Cores,
    /// Address for NVMe/TCP.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4420")]
    pub(crate) listen: Vec<SocketAddr>,
    /// Address for discovery.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8009")]
    pub(crate) discovery: Vec<SocketAddr>,
    /// Address for the API.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7420")]
    pub(crate) api: SocketAddr,
    /// Serve the API without authentication, and volumes that name no hosts to everybody; there is no authentication yet, so
    /// this is needed.
    #[arg(long, required = true)]
    pub(crate) insecure: bool,
    /// What to print on standard output when ready.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// A few lines for people.
    Text,
    /// One line for programs.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// Goal: the declarations are consistent; every command shows an example.
    #[test]
    fn every_command_has_an_example() {
        Arguments::command().debug_assert();
        let mut command = Arguments::command();
        for sub in command.get_subcommands_mut() {
            let help = sub.render_long_help().to_string();
            assert!(help.contains("Example"), "{}", sub.get_name());
        }
    }

    /// Goal: a wrong drive is refused with what would be right, before anything starts.
    #[test]
    fn wrong_drives_are_usage_errors() {
        let wrong = Arguments::try_parse_from(["ironbayd", "run", "--insecure", "--drive", "disk:x"]);
        let error = wrong.expect_err("no such kind of drive");
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("vfio, file and ram"), "{error}");
    }

    /// Goal: a node's cores have processors of their own; on somebody's machine they have some only if asked for.
    #[test]
    fn processors_of_the_cores() {
        let run = |more: &[&str]| {
            let command = ["ironbayd", "run", "--insecure", "--drive", "ram:64MiB"];
            match Arguments::try_parse_from(command.iter().chain(more)).expect("right").command {
                Command::Run(run) => run.core,
                Command::Engine(_) | Command::Agent(_) => panic!("another command"),
            }
        };
        let on = |text: &str| text.parse().expect("cores");
        assert_eq!((run(&[]), run(&["--core", "1"])), (on("none"), on("1")));
        assert_eq!((run(&["--core", "3,1,2"]), run(&["--core=x3"])), (on("3,1,2"), on("x3")));
        let engine = ["ironbayd", "engine", "--bus", "b", "--listen", "[::]:1", "--discovery", "[::]:2"];
        match Arguments::try_parse_from(engine).expect("right").command {
            Command::Engine(engine) => assert_eq!(engine.core, Cores::Auto),
            Command::Run(_) | Command::Agent(_) => panic!("another command"),
        }
    }

    /// Goal: an open API is something one asks for.
    #[test]
    fn run_needs_insecure() {
        assert!(Arguments::try_parse_from(["ironbayd", "run", "--drive", "ram:64MiB"]).is_err());
    }
}
