//! Portals: the addresses under which hosts reach this node, from those that the engine listens on.
//!
//! An engine that listens on `0.0.0.0:4420` is reached through every address of the node; which ones those are is asked
//! anew each time, because leases change.

use api::v1;
use std::net::{IpAddr, SocketAddr};

/// The portals of an engine that listens on `listen`, on this machine.
pub(crate) fn portals(listen: &[String]) -> Vec<v1::Portal> {
    let addresses = node_addresses();
    let mut found: Vec<SocketAddr> =
        listen.iter().filter_map(|text| text.parse().ok()).flat_map(|at| expand(at, &addresses)).collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(portal).collect()
}

fn portal(at: SocketAddr) -> v1::Portal {
    v1::Portal { transport: "tcp".into(), address: at.ip().to_string(), port: u32::from(at.port()) }
}

/// Addresses of all interfaces that are up. An error is taken as none: a portal list is no reason to fail.
fn node_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    interfaces
        .filter(|found| found.flags.contains(nix::net::if_::InterfaceFlags::IFF_UP))
        .filter_map(|found| found.address)
        .filter_map(|address| match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(v4), _) => Some(IpAddr::V4(v4.ip())),
            (_, Some(v6)) => Some(IpAddr::V6(v6.ip())),
            (None, None) => None,
        })
        .collect()
}

/// What a listening address stands for. Loopback is left out unless the node has nothing else; a link-local address is
/// of no use without the interface of the host, which nobody here knows.
fn expand(at: SocketAddr, node: &[IpAddr]) -> Vec<SocketAddr> {
    if !at.ip().is_unspecified() {
        return vec![at];
    }
    // Linux accepts IPv4 on [::] unless told otherwise, so it stands for both families.
    let fits = |ip: &&IpAddr| ip.is_ipv4() || (at.is_ipv6() && !is_link_local(ip));
    let all: Vec<IpAddr> = node.iter().filter(fits).copied().collect();
    let outside: Vec<IpAddr> = all.iter().filter(|ip| !ip.is_loopback()).copied().collect();
    let chosen = if outside.is_empty() { all } else { outside };
    chosen.into_iter().map(|ip| SocketAddr::new(ip, at.port())).collect()
}

fn is_link_local(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(at: &str, node: &[&str]) -> Vec<String> {
        let node: Vec<IpAddr> = node.iter().map(|ip| ip.parse().expect("an address")).collect();
        expand(at.parse().expect("a socket address"), &node).iter().map(ToString::to_string).collect()
    }

    /// Goal: a wildcard becomes what a host can type, everything else stays as it is.
    #[test]
    fn wildcards_expand_to_the_addresses_of_the_node() {
        let node = ["127.0.0.1", "10.0.0.5", "::1", "fe80::1", "fd00::5"];
        assert_eq!(expanded("0.0.0.0:4420", &node), ["10.0.0.5:4420"]);
        assert_eq!(expanded("[::]:4420", &node), ["10.0.0.5:4420", "[fd00::5]:4420"]);
        assert_eq!(expanded("0.0.0.0:4420", &["127.0.0.1", "::1"]), ["127.0.0.1:4420"]);
        assert_eq!(expanded("127.0.0.1:1", &node), ["127.0.0.1:1"]);
        assert_eq!(expanded("10.9.9.9:1", &node), ["10.9.9.9:1"]);
    }

    /// Goal: a text that is no address is left out, doubles are merged.
    #[test]
    fn each_portal_once() {
        let listen = ["127.0.0.1:4420".to_owned(), "nonsense".to_owned(), "127.0.0.1:4420".to_owned()];
        assert_eq!(
            portals(&listen),
            [v1::Portal { transport: "tcp".into(), address: "127.0.0.1".into(), port: 4420 }]
        );
    }
}
