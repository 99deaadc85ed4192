//! The kernel arguments `ironbay.*`: a pure parser.
//!
//! The kernel command line is foreign: whatever stands there, the boot goes on. An argument that is unknown or has a bad
//! value is reported as a [`Failure`] with the remedy, and the default is used.
//!
//! Not here: arguments of the kernel itself (`console=`, `intel_iommu=`); words without the prefix are ignored.

use crate::failure::Failure;
use std::net::Ipv4Addr;

/// All arguments with what they take, in the order in which help prints them.
pub const KNOWN: [(&str, &str); 10] = [
    ("ironbay.insecure", "1: the API and volumes without a list of hosts are open to everybody (lab only)"),
    ("ironbay.hugepages", "MiB of hugepage memory for the engine"),
    ("ironbay.mode", "latency, balanced or eco"),
    ("ironbay.cores", "number of polled cores, or auto"),
    ("ironbay.ip", "dhcp, or ADDRESS/PREFIX[,GATEWAY]"),
    ("ironbay.interface", "name of the only interface to configure"),
    ("ironbay.hostname", "host name of the node"),
    ("ironbay.claim", "all or none"),
    ("ironbay.console", "on or off"),
    ("ironbay.log", "debug, info or warn"),
];

/// How the engine's cores wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Spin always.
    Latency,
    /// Spin a little, then sleep.
    Balanced,
    /// Sleep at once.
    Eco,
}

impl Mode {
    /// The word on the engine's command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Balanced => "balanced",
            Self::Eco => "eco",
        }
    }
}

/// How much reaches the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything, the kernel's messages too.
    Debug,
    /// Phases, services, and the kernel's errors.
    Info,
    /// Failures only.
    Warn,
}

impl LogLevel {
    /// The word that services understand.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
        }
    }
}

/// A fixed address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// Bits of the network part, 1 to 32.
    pub prefix: u8,
    /// Default gateway.
    pub gateway: Option<Ipv4Addr>,
}

/// Where the node's address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressSource {
    /// DHCP on all links.
    Dhcp,
    /// The kernel arguments.
    Static(StaticAddress),
}

/// What the kernel arguments ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args {
    /// The API listens without authentication.
    pub is_insecure: bool,
    /// MiB of hugepages; `None` leaves it to init.
    pub hugepages_mib: Option<u64>,
    /// Mode of the engine.
    pub mode: Mode,
    /// Polled cores of the engine; the engine decides if nobody says.
    pub cores: Option<u16>,
    /// Source of the address.
    pub address: AddressSource,
    /// The only interface to configure.
    pub interface: Option<String>,
    /// Host name.
    pub hostname: Option<String>,
    /// NVMe controllers are claimed.
    pub is_claiming: bool,
    /// The console answers.
    pub has_console: bool,
    /// How much reaches the console.
    pub log: LogLevel,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            is_insecure: false,
            hugepages_mib: None,
            mode: Mode::Balanced,
            cores: None,
            address: AddressSource::Dhcp,
            interface: None,
            hostname: None,
            is_claiming: true,
            has_console: true,
            log: LogLevel::Info,
        }
    }
}

/// Parses a kernel command line. The last of two equal arguments wins, as in the kernel.
#[must_use]
pub fn parse(command_line: &str) -> (Args, Vec<Failure>) {
    let mut args = Args::default();
    let mut failures = Vec::new();
    for word in command_line.split_ascii_whitespace() {
        // The kernel's own quoting: `name="value"`.
        let word = word.replace('"', "");
        if !word.starts_with("ironbay.") {
            continue;
        }
        let (name, value) = word.split_once('=').unwrap_or((&word, ""));
        if let Err(failure) = apply(&mut args, name, value) {
            failures.push(failure);
        }
    }
    (args, failures)
}

fn apply(args: &mut Args, name: &str, value: &str) -> Result<(), Failure> {
    match name {
        "ironbay.insecure" => args.is_insecure = switch(name, value, "1", "0")?,
        "ironbay.hugepages" => args.hugepages_mib = Some(hugepages(name, value)?),
        "ironbay.mode" => args.mode = mode(name, value)?,
        "ironbay.cores" => args.cores = cores(name, value)?,
        "ironbay.ip" => args.address = address(name, value)?,
        "ironbay.interface" => args.interface = Some(interface(name, value)?),
        "ironbay.hostname" => args.hostname = Some(hostname(name, value)?),
        "ironbay.claim" => args.is_claiming = switch(name, value, "all", "none")?,
        "ironbay.console" => args.has_console = switch(name, value, "on", "off")?,
        "ironbay.log" => args.log = log_level(name, value)?,
        _ => {
            let known: Vec<_> = KNOWN.iter().map(|(known, _)| *known).collect();
            return Err(Failure::new("read kernel argument", name, "unknown")
                .remedy(format!("known are {}", known.join(", "))));
        }
    }
    Ok(())
}

fn bad(name: &str, value: &str) -> Failure {
    let takes = KNOWN.iter().find(|(known, _)| *known == name).map_or("", |(_, takes)| takes);
    Failure::new("read kernel argument", name, format!("value \"{value}\" is not understood"))
        .remedy(format!("it takes {takes}; the default is used now"))
}

fn switch(name: &str, value: &str, on: &str, off: &str) -> Result<bool, Failure> {
    match value {
        v if v == on => Ok(true),
        v if v == off => Ok(false),
        _ => Err(bad(name, value)),
    }
}

fn hugepages(name: &str, value: &str) -> Result<u64, Failure> {
    // 16 TiB is more memory than any node has; the bound keeps later arithmetic far from overflow.
    value.parse().ok().filter(|mib| (1..=16 << 20).contains(mib)).ok_or_else(|| bad(name, value))
}

fn mode(name: &str, value: &str) -> Result<Mode, Failure> {
    [Mode::Latency, Mode::Balanced, Mode::Eco]
        .into_iter()
        .find(|mode| mode.word() == value)
        .ok_or_else(|| bad(name, value))
}

fn cores(name: &str, value: &str) -> Result<Option<u16>, Failure> {
    if value == "auto" {
        return Ok(None);
    }
    // As many as the engine takes at all; whether the machine has them is its business.
    let count = value.parse().ok().filter(|count| (1..=64).contains(count));
    count.map(Some).ok_or_else(|| bad(name, value))
}

fn log_level(name: &str, value: &str) -> Result<LogLevel, Failure> {
    [LogLevel::Debug, LogLevel::Info, LogLevel::Warn]
        .into_iter()
        .find(|level| level.word() == value)
        .ok_or_else(|| bad(name, value))
}

/// The kernel's own rule for interface names: at most 15 bytes, no slash, no colon, no white space.
fn interface(name: &str, value: &str) -> Result<String, Failure> {
    let is_fine = (1..=15).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':')
        && value != "."
        && value != "..";
    if is_fine { Ok(value.to_owned()) } else { Err(bad(name, value)) }
}

fn hostname(name: &str, value: &str) -> Result<String, Failure> {
    if is_hostname(value) { Ok(value.to_owned()) } else { Err(bad(name, value)) }
}

/// A host name as in RFC 1123, one or more labels, at most 64 bytes (`HOST_NAME_MAX` of Linux).
#[must_use]
pub fn is_hostname(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

fn address(name: &str, value: &str) -> Result<AddressSource, Failure> {
    if value == "dhcp" {
        return Ok(AddressSource::Dhcp);
    }
    parse_static(value).map(AddressSource::Static).ok_or_else(|| bad(name, value))
}

/// Parses `ADDRESS/PREFIX[,GATEWAY]`.
#[must_use]
pub fn parse_static(text: &str) -> Option<StaticAddress> {
    let (network, gateway) = match text.split_once(',') {
        Some((network, gateway)) => (network, Some(gateway.parse::<Ipv4Addr>().ok()?)),
        None => (text, None),
    };
    let (address, prefix) = network.split_once('/')?;
    let address: Ipv4Addr = address.parse().ok()?;
    let prefix: u8 = prefix.parse().ok()?;
    let is_fine = (1..=32).contains(&prefix) && is_usable(address) && gateway.is_none_or(is_usable);
    is_fine.then_some(StaticAddress { address, prefix, gateway })
}

/// An address that a node or a router may have.
#[must_use]
pub fn is_usable(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_broadcast() || address.is_multicast() || address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn lines(failures: &[Failure]) -> String {
        failures.iter().map(|f| format!("{f}\n  -> {}\n", f.remedy)).collect()
    }

    /// Goal: every argument reaches its field, and the kernel's own arguments are left alone.
    #[test]
    fn all_arguments_are_understood() {
        let (args, failures) = parse(
            "BOOT_IMAGE=vmlinuz console=ttyS0 intel_iommu=on ironbay.insecure=1 ironbay.hugepages=256 \
             ironbay.mode=eco ironbay.cores=4 ironbay.ip=10.0.0.5/24,10.0.0.1 ironbay.interface=eth1 ironbay.hostname=node-1.lab \
             ironbay.claim=none ironbay.console=off ironbay.log=debug quiet\n",
        );
        assert!(failures.is_empty(), "{failures:?}");
        let expected = Args {
            is_insecure: true,
            hugepages_mib: Some(256),
            mode: Mode::Eco,
            cores: Some(4),
            address: AddressSource::Static(StaticAddress {
                address: Ipv4Addr::new(10, 0, 0, 5),
                prefix: 24,
                gateway: Some(Ipv4Addr::new(10, 0, 0, 1)),
            }),
            interface: Some("eth1".to_owned()),
            hostname: Some("node-1.lab".to_owned()),
            is_claiming: false,
            has_console: false,
            log: LogLevel::Debug,
        };
        assert_eq!(args, expected);
    }

    /// Goal: a mistyped argument is named together with the known ones, and changes nothing.
    #[test]
    fn unknown_argument_is_reported() {
        let (args, failures) = parse("ironbay.hugepage=256 ironbay.");
        assert_eq!(args, Args::default());
        expect![[r#"
            read kernel argument ironbay.hugepage: unknown
              -> known are ironbay.insecure, ironbay.hugepages, ironbay.mode, ironbay.cores, ironbay.ip, ironbay.interface, ironbay.hostname, ironbay.claim, ironbay.console, ironbay.log
            read kernel argument ironbay.: unknown
              -> known are ironbay.insecure, ironbay.hugepages, ironbay.mode, ironbay.cores, ironbay.ip, ironbay.interface, ironbay.hostname, ironbay.claim, ironbay.console, ironbay.log
        "#]].assert_eq(&lines(&failures));
    }

    /// Goal: a bad value is reported with what the argument takes, and the default stays.
    #[test]
    fn bad_values_are_reported() {
        let (args, failures) = parse(
            "ironbay.insecure=yes ironbay.hugepages=0 ironbay.hugepages=-1 ironbay.mode=fast ironbay.cores=0 ironbay.ip=10.0.0.5 \
             ironbay.ip=0.0.0.0/8 ironbay.interface=a/b ironbay.hostname=-x ironbay.claim ironbay.log=",
        );
        assert_eq!(args, Args::default());
        expect![[r#"
            read kernel argument ironbay.insecure: value "yes" is not understood
              -> it takes 1: the API and volumes without a list of hosts are open to everybody (lab only); the default is used now
            read kernel argument ironbay.hugepages: value "0" is not understood
              -> it takes MiB of hugepage memory for the engine; the default is used now
            read kernel argument ironbay.hugepages: value "-1" is not understood
              -> it takes MiB of hugepage memory for the engine; the default is used now
            read kernel argument ironbay.mode: value "fast" is not understood
              -> it takes latency, balanced or eco; the default is used now
            read kernel argument ironbay.cores: value "0" is not understood
              -> it takes number of polled cores, or auto; the default is used now
            read kernel argument ironbay.ip: value "10.0.0.5" is not understood
              -> it takes dhcp, or ADDRESS/PREFIX[,GATEWAY]; the default is used now
            read kernel argument ironbay.ip: value "0.0.0.0/8" is not understood
              -> it takes dhcp, or ADDRESS/PREFIX[,GATEWAY]; the default is used now
            read kernel argument ironbay.interface: value "a/b" is not understood
              -> it takes name of the only interface to configure; the default is used now
            read kernel argument ironbay.hostname: value "-x" is not understood
              -> it takes host name of the node; the default is used now
            read kernel argument ironbay.claim: value "" is not understood
              -> it takes all or none; the default is used now
            read kernel argument ironbay.log: value "" is not understood
              -> it takes debug, info or warn; the default is used now
        "#]]
        .assert_eq(&lines(&failures));
    }

    /// Goal: the last of two equal arguments wins, and the kernel's quotes are taken off.
    #[test]
    fn the_last_one_wins() {
        let (args, failures) = parse("ironbay.mode=eco \"ironbay.mode=latency\"");
        assert!(failures.is_empty());
        assert_eq!(args.mode, Mode::Latency);
    }
}
