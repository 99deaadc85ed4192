//! The arguments.

use block::{Bytes, SizeError};
use clap::{Args, Parser, Subcommand, ValueEnum};
use control::limits::{BLOCK_SIZE_DEFAULT, BLOCK_SIZES};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Manage an Ironbay node, and read and write its volumes.
#[derive(Debug, Parser)]
#[command(
    name = "ironbay",
    version,
    after_help = "\
Examples:
  ironbay --endpoint 10.0.0.5 node
  ironbay drive list
  ironbay pool create tank --drive S0 --drive S1
  ironbay volume create db --pool tank --size 100GiB

Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 not found, 4 refused, 5 unreachable."
)]
pub(crate) struct Arguments {
    /// The node: HOST or HOST:PORT.
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT",
        env = "IRONBAY_ENDPOINT",
        default_value = "127.0.0.1:7420"
    )]
    pub(crate) endpoint: String,
    /// Tables for people, or JSON for programs (sizes in bytes, names as in the API).
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// How long to wait for the node [default: 5; for the end of a change: 620].
    #[arg(long, global = true, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the node: version, portals, boot phases.
    #[command(after_help = "Example:\n  ironbay --endpoint 10.0.0.5 node")]
    Node,
    /// Drives of the node.
    #[command(subcommand, after_help = "Example:\n  ironbay drive list")]
    Drive(DriveCommand),
    /// Pools of drives.
    #[command(subcommand, after_help = "Example:\n  ironbay pool create tank --drive S0 --drive S1")]
    Pool(PoolCommand),
    /// Volumes in pools.
    #[command(subcommand, after_help = "Example:\n  ironbay volume create db --pool tank --size 100GiB")]
    Volume(VolumeCommand),
    /// Hosts that are connected.
    #[command(subcommand, after_help = "Example:\n  ironbay session list")]
    Session(SessionCommand),
    /// Read and write a volume over NVMe/TCP, without the kernel's help.
    Io(IoArguments),
    /// Look for damage on drives that no node uses, or on images of them. Nothing is written, and no node is asked.
    Check(CheckArguments),
}

#[derive(Debug, Subcommand)]
pub(crate) enum DriveCommand {
    /// All drives, and whose data is on them.
    #[command(after_help = "Example:\n  ironbay drive list")]
    List,
    /// Give up what is on a drive, so that it may join a pool: a drive of a pool that will not be online again, or one with
    /// foreign data. Drives of online pools are refused. What it held stays on it until it is overwritten.
    #[command(
        after_help = "Examples:\n  ironbay drive wipe S3 --confirm tank\n  ironbay drive wipe S4 --confirm \"GPT partition table\""
    )]
    Wipe {
        /// Serial number, as "ironbay drive list" shows it.
        serial: String,
        /// What is given up: the name of its pool, or the DETAIL that "ironbay drive list" shows. A refusal says what to write.
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        confirm: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// All connected controllers.
    #[command(after_help = "Example:\n  ironbay session list")]
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PoolCommand {
    /// All pools.
    #[command(after_help = "Example:\n  ironbay pool list")]
    List,
    /// Make a pool. All data on its drives is lost.
    #[command(after_help = "Example:\n  ironbay pool create tank --drive S0 --drive S1")]
    Create {
        /// Its name: 1 to 63 of a-z, 0-9 and -.
        name: String,
        /// Serial number of a drive, as "ironbay drive list" shows it; may be repeated.
        #[arg(long = "drive", value_name = "SERIAL", required = true)]
        drives: Vec<String>,
        /// Also take drives that carry data which is not Ironbay's.
        #[arg(long)]
        overwrite_foreign_data: bool,
        /// UUID of the pool; a repeated call with the same one returns the pool that exists.
        #[arg(long, value_name = "UUID")]
        id: Option<String>,
    },
    /// Show one pool.
    #[command(after_help = "Example:\n  ironbay pool get tank")]
    Get {
        /// Name or UUID.
        pool: String,
    },
    /// Remove an empty pool.
    #[command(after_help = "Example:\n  ironbay pool delete tank")]
    Delete {
        /// Name or UUID.
        pool: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum VolumeCommand {
    /// All volumes.
    #[command(after_help = "Example:\n  ironbay volume list")]
    List,
    /// Make a volume; it reads as zeroes.
    #[command(
        after_help = "Examples:\n  ironbay volume create db --pool tank --size 100GiB\n  ironbay volume create esx --pool tank --size 1TiB --block-size 512"
    )]
    Create {
        /// Its name: 1 to 63 of a-z, 0-9 and -.
        name: String,
        /// Name or UUID of the pool.
        #[arg(long)]
        pool: String,
        /// A multiple of 1 MiB: 512MiB, 10GiB, or bytes.
        #[arg(long, value_parser = size)]
        size: u64,
        /// Bytes of a logical block as hosts see it: 512 for hosts that cannot use others, such as ESXi, else 4096,
        /// because drives write 4 KiB at once. It never changes.
        #[arg(long, value_name = "BYTES", default_value_t = BLOCK_SIZE_DEFAULT, value_parser = block_size)]
        block_size: u32,
        /// NQN of a host that may use it, as in the host's /etc/nvme/hostnqn; may be repeated. Without any, every host may
        /// on a node in insecure mode, and none on others.
        #[arg(long = "allow-host", value_name = "NQN")]
        allow_hosts: Vec<String>,
        /// UUID of the volume; a repeated call with the same one returns the volume that exists.
        #[arg(long, value_name = "UUID")]
        id: Option<String>,
    },
    /// Show one volume, and how to connect to it.
    #[command(after_help = "Example:\n  ironbay volume get db")]
    Get {
        /// Name or UUID.
        volume: String,
    },
    /// Grow a volume. A smaller size is refused.
    #[command(after_help = "Example:\n  ironbay volume resize db --size 200GiB")]
    Resize {
        /// Name or UUID.
        volume: String,
        /// The new size: a multiple of 1 MiB.
        #[arg(long, value_parser = size)]
        size: u64,
    },
    /// Say which hosts may use a volume, instead of those said before. A host that may use none of the node's volumes any
    /// more is disconnected.
    #[command(
        after_help = "Example:\n  ironbay volume hosts db --allow-host nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555"
    )]
    Hosts {
        /// Name or UUID.
        volume: String,
        /// NQN of a host that may use it; may be repeated.
        #[arg(long = "allow-host", value_name = "NQN", required_unless_present_any = ["nobody", "no_list"])]
        allow_hosts: Vec<String>,
        /// No host may use it.
        #[arg(long, conflicts_with_all = ["allow_hosts", "no_list"])]
        nobody: bool,
        /// No list: every host may on a node in insecure mode, and none on others.
        #[arg(long, conflicts_with = "allow_hosts")]
        no_list: bool,
    },
    /// Remove a volume and its data.
    #[command(after_help = "Example:\n  ironbay volume delete db")]
    Delete {
        /// Name or UUID.
        volume: String,
        /// Also while hosts are connected: they lose it.
        #[arg(long)]
        force: bool,
    },
}

/// `ironbay check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ironbay check /dev/nvme0n1 /dev/nvme1n1
      The drives of a pool together: labels, both records of each, generations, members.
  ironbay --output json check s0.img
      The same of an image, for programs: code, severity, message and remedy of each finding.

Severities: \"note\" may be left by a power cut and is settled by the next start; \"repairable\" costs no data; \"data lost\"
means that contents are gone or cannot be trusted. What hosts stored is looked at with --data only; the format that is
served today has no checksums of it.

Exit codes: 0 nothing was found, 1 something was found, 2 it cannot be checked.")]
pub(crate) struct CheckArguments {
    /// Block device or image file of a drive; all drives of a pool together tell more.
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// On drives of the thin format also read what hosts stored, and compare it with its checksums.
    #[arg(long)]
    pub(crate) data: bool,
}

/// `ironbay io`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ironbay io --volume db write --length 64MiB --seed 7
      Asks the node for portal, subsystem and namespace of volume db, and writes a pattern made of the seed.
  ironbay io --portal 10.0.0.5:4420 --nqn nqn.2014-08.org.nvmexpress:uuid:... --nsid 1 \\
      verify --length 64MiB --seed 7 --queue-depth 8
      Reads the same range and compares; exit code 1 names the first byte that differs.")]
pub(crate) struct IoArguments {
    /// Volume, by name or UUID; the node says how to connect.
    #[arg(long, conflicts_with_all = ["portal", "nqn", "nsid"], required_unless_present_all = ["portal", "nqn", "nsid"])]
    pub(crate) volume: Option<String>,
    /// Address of a portal.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) portal: Option<SocketAddr>,
    /// NQN of the subsystem.
    #[arg(long)]
    pub(crate) nqn: Option<String>,
    /// Namespace identifier.
    #[arg(long)]
    pub(crate) nsid: Option<u32>,
    /// NQN of this host; a random one if not given.
    #[arg(long, value_name = "NQN")]
    pub(crate) host_nqn: Option<String>,
    /// Ask for header and data digests.
    #[arg(long)]
    pub(crate) digests: bool,
    #[command(subcommand)]
    pub(crate) action: IoAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum IoAction {
    /// Write a pattern made of the seed, then flush.
    #[command(
        after_help = "Example:\n  ironbay io --volume db write --length 64MiB --seed 7 --io-size 4KiB --queue-depth 1"
    )]
    Write(IoRange),
    /// Read, and forget what was read.
    #[command(after_help = "Example:\n  ironbay io --volume db read --length 1GiB --queue-depth 32")]
    Read(IoRange),
    /// Read, and compare with the pattern of the seed.
    #[command(after_help = "Example:\n  ironbay io --volume db verify --length 64MiB --seed 7")]
    Verify(IoRange),
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct IoRange {
    /// First byte; a multiple of the namespace's block size.
    #[arg(long, default_value = "0", value_parser = size)]
    pub(crate) offset: u64,
    /// Bytes; all from the offset on if not given.
    #[arg(long, value_parser = size)]
    pub(crate) length: Option<u64>,
    /// What the pattern is made of.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Commands in flight.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) queue_depth: u16,
    /// Bytes of one command.
    #[arg(long, default_value = "64KiB", value_parser = io_size)]
    pub(crate) io_size: u32,
}

fn size(text: &str) -> Result<u64, SizeError> {
    text.parse().map(|Bytes(n)| n)
}

fn block_size(text: &str) -> Result<u32, String> {
    let known = text.parse().ok().filter(|bytes| BLOCK_SIZES.contains(bytes));
    known.ok_or_else(|| control::no_block_size(text).to_string())
}

fn io_size(text: &str) -> Result<u32, String> {
    let bytes = size(text).map_err(|e| e.to_string())?;
    u32::try_from(bytes)
        .ok()
        .filter(|bytes| (512..=1 << 20).contains(bytes))
        .ok_or_else(|| "one command carries 512 bytes to 1 MiB".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "write seconds between 0.1 and 86400: 5, 0.5".to_owned();
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    if !(0.1..=86400.0).contains(&seconds) {
        return Err(wrong());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn check(command: &mut clap::Command) {
        let help = command.render_long_help().to_string();
        assert!(help.contains("Example"), "{} shows no example", command.get_name());
        for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help") {
            check(sub);
        }
    }

    /// Goal: the declarations are consistent, and the help of every command shows an example.
    #[test]
    fn every_command_has_an_example() {
        Arguments::command().debug_assert();
        check(&mut Arguments::command());
    }

    /// Goal: blocks have one of the two sizes, and the refusal says both.
    #[test]
    fn block_sizes() {
        let parse = |size: &[&str]| {
            let start = ["ironbay", "volume", "create", "db", "--pool", "tank", "--size", "1GiB"];
            Arguments::try_parse_from(start.iter().chain(size).copied())
        };
        let chosen = |size: &[&str]| match parse(size).map(|arguments| arguments.command) {
            Ok(Command::Volume(VolumeCommand::Create { block_size, .. })) => Some(block_size),
            _ => None,
        };
        assert_eq!(chosen(&[]), Some(4096));
        assert_eq!(chosen(&["--block-size", "512"]), Some(512));
        assert_eq!(chosen(&["--block-size", "4096"]), Some(4096));
        for bad in ["0", "1024", "4KiB", "x"] {
            let error = parse(&["--block-size", bad]).expect_err("no block size").to_string();
            assert!(error.contains("512 or 4096"), "{error}");
        }
    }

    /// Goal: a volume is named, or portal, NQN and NSID are; not half of it.
    #[test]
    fn io_needs_to_know_where() {
        let parse = |words: &[&str]| {
            let start = ["ironbay", "io"];
            let words = start.iter().chain(words).chain(&["read"]).map(|s| (*s).to_owned());
            Arguments::try_parse_from(words)
        };
        assert!(parse(&["--volume", "db"]).is_ok());
        assert!(parse(&["--portal", "127.0.0.1:1", "--nqn", "n", "--nsid", "1"]).is_ok());
        assert!(parse(&[]).is_err());
        assert!(parse(&["--portal", "127.0.0.1:1", "--nsid", "1"]).is_err());
        assert!(parse(&["--volume", "db", "--nsid", "1"]).is_err());
    }
}
