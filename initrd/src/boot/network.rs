//! What the kernel knows about network interfaces: read from sysfs and procfs, so that the pages show the truth and not
//! what somebody intended.

use super::files;
use crate::limits::INTERFACES_MAX;
use nix::ifaddrs::getifaddrs;
use std::net::Ipv4Addr;
use std::path::Path;

const CLASS: &str = "/sys/class/net";
/// `ARPHRD_ETHER` of `linux/if_arp.h`.
const ETHERNET: &str = "1";

/// An Ethernet interface with hardware behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Name.
    pub name: String,
    /// The kernel's index.
    pub index: u32,
    /// Hardware address as text.
    pub mac: String,
    /// Driver.
    pub driver: String,
    /// A cable with a partner.
    pub has_carrier: bool,
}

/// All Ethernet interfaces that belong to a device, by name.
#[must_use]
pub fn links() -> Vec<Link> {
    files::list(CLASS).iter().filter_map(|name| link(name)).take(INTERFACES_MAX).collect()
}

fn link(name: &str) -> Option<Link> {
    let dir = Path::new(CLASS).join(name);
    let is_hardware = dir.join("device").exists() && files::read(dir.join("type")).ok()? == ETHERNET;
    is_hardware.then(|| Link {
        name: name.to_owned(),
        index: files::read(dir.join("ifindex")).ok().and_then(|i| i.parse().ok()).unwrap_or(0),
        mac: files::read(dir.join("address")).unwrap_or_default(),
        driver: driver(&dir),
        // Reading the carrier of an interface that is down is an error (EINVAL).
        has_carrier: files::read(dir.join("carrier")).is_ok_and(|c| c == "1"),
    })
}

/// A virtio interface sits on a virtio device whose driver has the telling name.
fn driver(dir: &Path) -> String {
    files::link_name(dir.join("device/driver")).unwrap_or_else(|| "-".to_owned())
}

/// IPv4 addresses with their prefix, by interface name, without loopback.
#[must_use]
pub fn addresses() -> Vec<(String, Ipv4Addr, u8)> {
    let Ok(all) = getifaddrs() else { return Vec::new() };
    all.filter_map(|a| {
        let address = a.address?.as_sockaddr_in()?.ip();
        let mask = a.netmask?.as_sockaddr_in()?.ip();
        let prefix = u8::try_from(u32::from(mask).leading_ones()).unwrap_or(32);
        (!address.is_loopback()).then_some((a.interface_name, address, prefix))
    })
    .collect()
}

/// The first address that hosts can use.
#[must_use]
pub fn first_address() -> Option<Ipv4Addr> {
    addresses().into_iter().map(|(_, address, _)| address).find(|a| !a.is_link_local())
}

/// Default gateways by interface name.
#[must_use]
pub fn gateways() -> Vec<(String, Ipv4Addr)> {
    files::read("/proc/net/route").map(|text| parse_gateways(&text)).unwrap_or_default()
}

/// Lines of `/proc/net/route` with destination and mask 0: `Iface Destination Gateway Flags … Mask …`, in hexadecimal
/// of the machine's byte order.
fn parse_gateways(text: &str) -> Vec<(String, Ipv4Addr)> {
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let words: Vec<_> = line.split_ascii_whitespace().collect();
            let (name, gateway) = (words.first()?, words.get(2)?);
            let is_default = *words.get(1)? == "00000000" && *words.get(7)? == "00000000";
            let gateway = u32::from_str_radix(gateway, 16).ok()?;
            let gateway = Ipv4Addr::from(gateway.to_le_bytes());
            (is_default && !gateway.is_unspecified()).then(|| ((*name).to_owned(), gateway))
        })
        .collect()
}

/// The default host name: `ironbay-` and the last half of the first hardware address.
#[must_use]
pub fn default_hostname(links: &[Link]) -> Option<String> {
    let mac: String = links.first()?.mac.split(':').skip(3).collect();
    (mac.len() == 6).then(|| format!("ironbay-{mac}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: only default routes with a gateway are found, and the byte order is right.
    #[test]
    fn gateways_are_found() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t0202000A\t0003\t0\t0\t102\t00000000\t0\t0\t0\n\
                    eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\nbroken\n";
        assert_eq!(parse_gateways(text), [("eth0".to_owned(), Ipv4Addr::new(10, 0, 2, 2))]);
    }

    /// Goal: two nodes of one rack get different names.
    #[test]
    fn hostname_comes_from_the_hardware_address() {
        let link = Link { mac: "52:54:00:12:34:56".to_owned(), ..Link::default() };
        assert_eq!(default_hostname(&[link]).as_deref(), Some("ironbay-123456"));
        assert_eq!(default_hostname(&[]), None);
    }
}
