//! The process `init dhcp`: gives the node its addresses, on all links at once, for as long as the node runs.
//!
//! ```text
//! init dhcp [--interface NAME] [--static ADDRESS/PREFIX[,GATEWAY]] [--hostname NAME]
//! ```
//!
//! Invariants
//! - It never gives up: links may come later, servers may come later.
//! - Several links with a gateway: the interface that the kernel found first has the best metric.
//! - Facts reach the others through `/run/ironbay/net.json`, written beside and renamed, so nobody reads half a file.

use super::client::{Client, Destination, Event, Lease};
use super::frame::{self, CLIENT_PORT, SERVER_PORT};
use crate::args::{StaticAddress, is_hostname, parse_static};
use crate::boot::network::{Link, links};
use crate::clock::uptime_ms;
use crate::rtnl::{self, DefaultRoute, InterfaceAddress};
use crate::service_log::{error, info, warning};
use crate::sys;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, SockaddrIn, bind, recv,
    setsockopt, socket, sockopt,
};
use serde::Serialize;
use std::ffi::OsString;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

/// Where the facts are.
pub const FACTS: &str = "/run/ironbay/net.json";
/// Interfaces are looked at this often even when the kernel reports no change.
const RESCAN_MS: u64 = 5_000;
/// Default routes: this plus the index of the interface.
const METRIC: u32 = 100;
/// `RTMGRP_LINK` of `linux/rtnetlink.h`: news about links.
const LINK_GROUP: u32 = 1;
const ETHERNET_BROADCAST: [u8; 6] = [0xff; 6];
/// Packets taken from one socket in one round.
const PACKETS_PER_ROUND: usize = 32;

/// What an operator or another process may want to know about an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Fact {
    ifname: String,
    mac: String,
    address: String,
    prefix: u8,
    gateway: Option<String>,
    dns: Vec<String>,
    hostname: Option<String>,
    /// Absent for an address that does not end.
    lease_s: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Config {
    interface: Option<String>,
    fixed: Option<StaticAddress>,
    hostname: Option<String>,
}

/// Runs until it is killed.
#[must_use]
pub fn run(arguments: &[String]) -> ExitCode {
    let config = match parse_arguments(arguments) {
        Ok(config) => config,
        Err(problem) => {
            error(&problem, "usage: init dhcp [--interface NAME] [--static A/P[,G]] [--hostname NAME]");
            return ExitCode::from(2);
        }
    };
    let news = match link_news() {
        Ok(fd) => Some(fd),
        Err(errno) => {
            warning(&format!("no news about links ({errno}): looking every {} s", RESCAN_MS / 1000), "");
            None
        }
    };
    let mut node = Node { config, ports: Vec::new(), facts: Vec::new(), complained: false };
    let mut scan_at = 0;
    loop {
        let now = uptime_ms();
        if now >= scan_at {
            node.scan(now);
            scan_at = now.saturating_add(RESCAN_MS);
        }
        node.work(now);
        if wait(&node.ports, news.as_ref(), node.deadline(scan_at).saturating_sub(uptime_ms())) {
            scan_at = 0;
        }
        node.receive(uptime_ms());
    }
}

fn parse_arguments(arguments: &[String]) -> Result<Config, String> {
    let mut config = Config::default();
    let mut rest = arguments.iter();
    while let Some(option) = rest.next() {
        let value = rest.next().ok_or_else(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--interface" => config.interface = Some(value.clone()),
            "--hostname" if is_hostname(value) => config.hostname = Some(value.clone()),
            "--static" => {
                let fixed = parse_static(value).ok_or_else(|| format!("\"{value}\" is no address"))?;
                config.fixed = Some(fixed);
            }
            _ => return Err(format!("unknown option {option} {value}")),
        }
    }
    Ok(config)
}

/// A socket that becomes readable when a link changes.
fn link_news() -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, LINK_GROUP))?;
    Ok(fd)
}

/// Waits for packets, news or time; `true` if links may have changed.
fn wait(ports: &[Port], news: Option<&OwnedFd>, timeout_ms: u64) -> bool {
    let sockets = ports.iter().flat_map(|p| {
        [p.raw.as_ref().map(AsFd::as_fd), p.udp.as_ref().map(AsFd::as_fd)].into_iter().flatten()
    });
    let mut fds: Vec<_> = news
        .iter()
        .map(|fd| fd.as_fd())
        .chain(sockets)
        .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
        .collect();
    let timeout = PollTimeout::try_from(timeout_ms.min(RESCAN_MS)).unwrap_or(PollTimeout::ZERO);
    // An interrupted wait is an early one.
    let _ = poll(&mut fds, timeout);
    let Some(news) = news else { return false };
    let mut buffer = [0; 4096];
    let mut is_news = false;
    // What changed is read from sysfs; the messages only wake us. An overrun (ENOBUFS) is news too.
    while !matches!(recv(news.as_raw_fd(), &mut buffer, MsgFlags::empty()), Err(Errno::EAGAIN | Errno::EINTR))
    {
        is_news = true;
    }
    is_news
}

struct Node {
    config: Config,
    ports: Vec<Port>,
    facts: Vec<Fact>,
    /// The absence of any interface was told.
    complained: bool,
}

/// One interface under our care.
struct Port {
    link: Link,
    client: Client,
    raw: Option<OwnedFd>,
    udp: Option<UdpSocket>,
    /// What the kernel was told.
    applied: Option<Fact>,
}

impl Node {
    fn deadline(&self, scan_at: u64) -> u64 {
        self.ports.iter().filter_map(|p| p.client.poll_deadline()).fold(scan_at, u64::min)
    }

    /// Finds interfaces and changes of their links.
    fn scan(&mut self, now: u64) {
        let wanted = |link: &Link| self.config.interface.as_ref().is_none_or(|name| *name == link.name);
        let found: Vec<_> = links().into_iter().filter(wanted).collect();
        self.complain(&found);
        for link in found {
            match self.ports.iter_mut().find(|p| p.link.index == link.index) {
                Some(port) => port.update(link, self.config.fixed, now),
                None => {
                    if let Some(port) = self.adopt(link) {
                        self.ports.push(port);
                    }
                }
            }
        }
    }

    fn complain(&mut self, found: &[Link]) {
        if !found.is_empty() || self.complained {
            return;
        }
        self.complained = true;
        let (what, remedy) = match &self.config.interface {
            Some(name) => (
                format!("there is no network interface {name}"),
                "correct ironbay.interface or leave it away",
            ),
            None => (
                "there is no network interface".to_owned(),
                "see phase modules: is there a driver for the card in the image?",
            ),
        };
        error(&format!("{what}; looking for ever"), remedy);
    }

    /// Switches an interface on. Its carrier shows a moment later, as news.
    fn adopt(&self, link: Link) -> Option<Port> {
        let mac = parse_mac(&link.mac)?;
        if let Err(errno) = rtnl::link_up(link.index) {
            error(
                &format!("switch on {}: {errno:?}, {}", link.name, errno.desc()),
                "the driver refuses; type `log` on the console for its reason",
            );
        }
        let seed = seed(mac);
        let hostname = self.config.hostname.clone().unwrap_or_default();
        let link = Link { has_carrier: false, ..link };
        Some(Port { link, client: Client::new(mac, hostname, seed), raw: None, udp: None, applied: None })
    }

    fn work(&mut self, now: u64) {
        for port in &mut self.ports {
            port.client.on_deadline(now);
            while let Some(event) = port.client.poll_event() {
                port.on_event(event, self.config.hostname.is_some());
            }
            port.open_sockets();
            while let Some(transmit) = port.client.poll_transmit() {
                port.send(transmit.to, &transmit.bytes);
            }
        }
        let facts: Vec<_> = self.ports.iter().filter_map(|p| p.applied.clone()).collect();
        if facts != self.facts {
            if let Err(problem) = write_facts(&facts) {
                warning(&format!("write {FACTS}: {problem}"), "");
            }
            self.facts = facts;
        }
    }

    fn receive(&mut self, now: u64) {
        for port in &mut self.ports {
            port.receive(now);
        }
    }
}

impl Port {
    fn update(&mut self, link: Link, fixed: Option<StaticAddress>, now: u64) {
        let is_changed = link.has_carrier != self.link.has_carrier;
        self.link = link;
        if !is_changed {
            return;
        }
        let up = self.link.has_carrier;
        info(&format!("{} link is {}", self.link.name, if up { "up" } else { "down" }));
        match fixed {
            None => self.client.on_link(up, now),
            Some(fixed) if up => self.apply_fixed(fixed),
            Some(_) => {}
        }
    }

    fn apply_fixed(&mut self, fixed: StaticAddress) {
        let lease = Lease {
            address: fixed.address,
            prefix: fixed.prefix,
            gateway: fixed.gateway,
            dns: Vec::new(),
            hostname: None,
            server: Ipv4Addr::UNSPECIFIED,
            lease_s: None,
        };
        self.apply(&lease);
    }

    fn on_event(&mut self, event: Event, has_own_hostname: bool) {
        let name = &self.link.name;
        match event {
            Event::Bound(lease) => {
                if let (Some(hostname), false) = (&lease.hostname, has_own_hostname)
                    && let Err(errno) = nix::unistd::sethostname(OsString::from(hostname))
                {
                    warning(&format!("set host name {hostname}: {errno}"), "");
                }
                self.apply(&lease);
            }
            Event::Renewed => info(&format!("{name} lease prolonged")),
            Event::Lost(why) => {
                error(&format!("{name} lost its address: {why}"), "check the DHCP server; asking again");
                self.withdraw();
            }
            Event::NoAnswer { asked } => {
                error(
                    &format!("{name} gets no DHCP answer, asked {asked} times; asking for ever"),
                    "check cable, VLAN, spanning tree and DHCP server, or boot with ironbay.ip=ADDRESS/PREFIX",
                );
            }
            Event::Refused(why) => {
                error(&format!("{name} is refused by the DHCP server: {why}"), "check its configuration");
            }
        }
    }

    fn apply(&mut self, lease: &Lease) {
        let old = self.applied.as_ref().map(|f| (f.address.clone(), f.prefix));
        let new = (lease.address.to_string(), lease.prefix);
        if old.is_some_and(|old| old != new) {
            self.withdraw();
        }
        let index = self.link.index;
        let address = InterfaceAddress { index, address: lease.address, prefix: lease.prefix };
        let name = &self.link.name;
        if let Err(errno) = rtnl::address_add(address) {
            error(&format!("give {name} the address {}: {errno:?}", lease.address), errno.desc());
            return;
        }
        if let Some(gateway) = lease.gateway {
            let route = DefaultRoute { index, gateway, metric: METRIC.saturating_add(index) };
            if let Err(errno) = rtnl::route_default(route) {
                error(&format!("set the gateway {gateway} on {name}: {errno:?}"), errno.desc());
            }
        }
        let fact = fact(&self.link, lease);
        info(&describe(&fact));
        self.applied = Some(fact);
    }

    fn withdraw(&mut self) {
        let Some(fact) = self.applied.take() else { return };
        let Ok(address) = fact.address.parse() else { return };
        let address = InterfaceAddress { index: self.link.index, address, prefix: fact.prefix };
        if let Err(errno) = rtnl::address_remove(address) {
            warning(&format!("take {} from {}: {errno}", fact.address, fact.ifname), "");
        }
    }

    /// Below IP while there is no address; above it, for renewals, when there is one. A socket below IP sees every packet
    /// of the interface, so it must not stay open while hosts do IO.
    fn open_sockets(&mut self) {
        if !self.client.needs_raw_socket() {
            self.raw = None;
        } else if self.raw.is_none() {
            match sys::packet_socket(self.link.index) {
                Ok(fd) => self.raw = Some(fd),
                Err(errno) => warning(&format!("open a packet socket on {}: {errno}", self.link.name), ""),
            }
        }
        if self.client.lease().is_none() {
            self.udp = None;
        } else if self.udp.is_none() {
            match udp_socket(&self.link.name) {
                Ok(socket) => self.udp = Some(socket),
                Err(errno) => warning(&format!("open port 68 on {}: {errno}", self.link.name), ""),
            }
        }
    }

    /// A message that cannot be sent is asked again at the next deadline, like one that was lost on the way.
    fn send(&self, to: Destination, bytes: &[u8]) {
        let result = match (to, &self.raw, &self.udp) {
            (Destination::RawBroadcast, Some(raw), _) => {
                sys::packet_send(raw, self.link.index, ETHERNET_BROADCAST, &frame::broadcast(bytes))
                    .map_err(|errno| errno.to_string())
            }
            (Destination::Broadcast, _, Some(udp)) => send_to(udp, Ipv4Addr::BROADCAST, bytes),
            (Destination::Server(server), _, Some(udp)) => send_to(udp, server, bytes),
            (Destination::RawBroadcast | Destination::Broadcast | Destination::Server(_), _, _) => {
                Err("no socket".to_owned())
            }
        };
        if let Err(problem) = result {
            warning(&format!("send on {}: {problem}", self.link.name), "");
        }
    }

    fn receive(&mut self, now: u64) {
        let mut buffer = [0; 2048];
        for _ in 0..PACKETS_PER_ROUND {
            let Some(raw) = &self.raw else { break };
            let Ok(length) = recv(raw.as_raw_fd(), &mut buffer, MsgFlags::empty()) else { break };
            if let Some(message) = buffer.get(..length).and_then(frame::message) {
                self.client.on_message(message, now);
            }
        }
        for _ in 0..PACKETS_PER_ROUND {
            let Some(udp) = &self.udp else { break };
            let Ok(length) = udp.recv(&mut buffer) else { break };
            self.client.on_message(buffer.get(..length).unwrap_or_default(), now);
        }
    }
}

fn send_to(udp: &UdpSocket, to: Ipv4Addr, bytes: &[u8]) -> Result<(), String> {
    udp.send_to(bytes, (to, SERVER_PORT)).map(drop).map_err(|e| e.to_string())
}

fn udp_socket(interface: &str) -> Result<UdpSocket, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    setsockopt(&fd, sockopt::Broadcast, &true)?;
    setsockopt(&fd, sockopt::BindToDevice, &OsString::from(interface))?;
    bind(fd.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, CLIENT_PORT))?;
    Ok(UdpSocket::from(fd))
}

fn fact(link: &Link, lease: &Lease) -> Fact {
    Fact {
        ifname: link.name.clone(),
        mac: link.mac.clone(),
        address: lease.address.to_string(),
        prefix: lease.prefix,
        gateway: lease.gateway.map(|g| g.to_string()),
        dns: lease.dns.iter().map(ToString::to_string).collect(),
        hostname: lease.hostname.clone(),
        lease_s: lease.lease_s,
    }
}

fn describe(fact: &Fact) -> String {
    let gateway = fact.gateway.as_deref().unwrap_or("none");
    let until = fact.lease_s.map_or_else(|| "for ever".to_owned(), |s| format!("for {s} s"));
    format!("{} has {}/{}, gateway {gateway}, {until}", fact.ifname, fact.address, fact.prefix)
}

fn write_facts(facts: &[Fact]) -> std::io::Result<()> {
    let text = serde_json::to_string(facts).map_err(std::io::Error::other)?;
    let beside = Path::new(FACTS).with_extension("json.new");
    std::fs::write(&beside, text)?;
    std::fs::rename(beside, FACTS)
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// Differs between nodes and between boots; nothing depends on its secrecy.
fn seed(mac: [u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = mac;
    u64::from_be_bytes([a, b, c, d, e, f, 0, 0]) ^ uptime_ms().wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    /// Goal: the facts have the form that other processes read.
    #[test]
    fn facts_are_json() {
        let link = Link { name: "eth0".to_owned(), mac: "52:54:00:12:34:56".to_owned(), ..Link::default() };
        let lease = Lease {
            address: Ipv4Addr::new(10, 0, 2, 15),
            prefix: 24,
            gateway: Some(Ipv4Addr::new(10, 0, 2, 2)),
            dns: vec![Ipv4Addr::new(10, 0, 2, 3)],
            hostname: None,
            server: Ipv4Addr::new(10, 0, 2, 2),
            lease_s: Some(86400),
        };
        let fact = fact(&link, &lease);
        expect!["eth0 has 10.0.2.15/24, gateway 10.0.2.2, for 86400 s"].assert_eq(&describe(&fact));
        expect![[r#"[{"ifname":"eth0","mac":"52:54:00:12:34:56","address":"10.0.2.15","prefix":24,"gateway":"10.0.2.2","dns":["10.0.2.3"],"hostname":null,"lease_s":86400}]"#]]
            .assert_eq(&serde_json::to_string(&[fact]).unwrap());
    }

    /// Goal: hardware addresses are read completely or not at all.
    #[test]
    fn hardware_addresses() {
        assert_eq!(parse_mac("52:54:00:12:34:56"), Some([0x52, 0x54, 0, 0x12, 0x34, 0x56]));
        assert_eq!(parse_mac("52:54:00:12:34"), None);
        assert_eq!(parse_mac("52:54:00:12:34:56:78"), None);
        assert_eq!(parse_mac("xx:54:00:12:34:56"), None);
    }

    /// Goal: a wrong command line is refused with the option's name.
    #[test]
    fn arguments() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let config = parse_arguments(&words("--static 10.0.0.5/24 --interface eth1 --hostname n1")).unwrap();
        assert_eq!(config.interface.as_deref(), Some("eth1"));
        assert_eq!(config.fixed.unwrap().prefix, 24);
        assert_eq!(parse_arguments(&words("--static x")).unwrap_err(), "\"x\" is no address");
        assert_eq!(parse_arguments(&words("--fast yes")).unwrap_err(), "unknown option --fast yes");
        assert_eq!(parse_arguments(&words("--static")).unwrap_err(), "--static needs a value");
    }
}
