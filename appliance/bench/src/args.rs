//! The command line.

use crate::system::Peer;
use clap::{Parser, ValueEnum};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Measure the NVMe/TCP target over loopback, one core for the target and one for the initiator.
#[derive(Debug, Parser)]
#[command(
    name = "ironbay-bench",
    version,
    after_help = "\
Examples:
  make bench BENCH=--quick
      All workloads, in a few minutes.
  ironbay-bench --only read-4k --seconds 2 --samples 5
      The workloads whose names contain \"read-4k\".
  ironbay-bench --peer other=127.0.0.1:4430,nqn.2014-08.org.example:a,4711
      Side by side with a foreign target in process 4711, which its owner has bound to core 1 (see --cores): samples
      alternate, the process that is not measured stands still, and ratios are printed with their bars. Its namespace 1 is
      written over. With \"kernel\" instead of a process it is the machine's own kernel: mach/IO compares them.

Latencies are in microseconds. \"near\" and \"far\" tell how long a cache line takes between the two cores; compare only
figures of the same distance. A sample is dropped if that changed, or if somebody else used one of the cores."
)]
pub(crate) struct Arguments {
    /// Short samples.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Length of a sample [default: 2, with --quick 0.5].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
    /// Samples of each system that must count [default: 5, with --quick 2].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) samples: Option<u16>,
    /// Only workloads whose names contain one of these, or with "=" before it are the same; may be repeated. "idle" is the measurement of an idle node.
    #[arg(long, value_name = "PART")]
    pub(crate) only: Vec<String>,
    /// Print the names of the workloads, and end.
    #[arg(long)]
    pub(crate) list: bool,
    /// A foreign target to compare with; may be repeated. PID: its process on this machine; kernel: it is this machine's kernel;
    /// file: for the file workloads.
    #[arg(long, value_name = "[NAME=]ADDR:PORT,NQN[,PID][,kernel][,file]")]
    pub(crate) peer: Vec<Peer>,
    /// How eagerly our target polls: latency, balanced, eco.
    #[arg(long, default_value = "balanced")]
    pub(crate) mode: String,
    /// Hundredths of a sample that one of the two pollers may wait for its core, or that the host machine may take: a sample that
    /// lost more is dropped. More than the default makes figures of a machine that does other work, which is to be said with them.
    #[arg(long, value_name = "PERCENT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) lost_max: u8,
    /// Cores of the initiator and of the target.
    #[arg(long, value_name = "I,T", default_value = "0,1", value_parser = cores)]
    pub(crate) cores: (usize, usize),
    /// Size of the volumes; peers should have the same.
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(16..=65536))]
    pub(crate) volume_mib: u64,
    /// Directory for the file drive [default: a temporary one].
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// The daemon [default: ironbayd beside this program].
    #[arg(long, value_name = "PATH", env = "IRONBAYD_BIN")]
    pub(crate) ironbayd: Option<PathBuf>,
    /// Address at which our target listens.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    pub(crate) address: IpAddr,
    /// The machine is emulated: how far its cores are from one another means nothing and is not judged.
    #[arg(long)]
    pub(crate) emulated: bool,
    /// Leave out the bare request and response over TCP.
    #[arg(long)]
    pub(crate) no_floor: bool,
    /// What to print on standard output.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "write seconds: 2, 0.5".to_owned())?;
    if !(0.01..=600.0).contains(&seconds) {
        return Err("a sample is 0.01 to 600 seconds long".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn cores(text: &str) -> Result<(usize, usize), String> {
    let wrong = || "write two different cores: 0,1".to_owned();
    let (initiator, target) = text.split_once(',').ok_or_else(wrong)?;
    let pair = (initiator.parse().map_err(|_| wrong())?, target.parse().map_err(|_| wrong())?);
    if pair.0 == pair.1 { Err(wrong()) } else { Ok(pair) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// Goal: the declarations are consistent, the help shows an example, and one core is not enough.
    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
        assert!(Arguments::command().render_long_help().to_string().contains("Examples:"));
        let parse = |cores| Arguments::try_parse_from(["ironbay-bench", "--cores", cores]);
        assert_eq!(parse("2,3").expect("two cores").cores, (2, 3));
        assert!(parse("1,1").is_err() && parse("1").is_err());
    }
}
