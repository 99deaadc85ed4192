//! The four things that a node asks of the kernel's network, as rtnetlink messages (RFC 3549, `linux/rtnetlink.h`).
//!
//! ```text
//!  header: length u32, type u16, flags u16, sequence u32, port u32
//!  body:   fixed part of the type, then attributes: length u16, kind u16, value, padding to 4
//! ```
//!
//! Numbers are in the machine's order; nodes are little-endian, and the build says so.

#[cfg(not(target_endian = "little"))]
compile_error!("rtnetlink messages are built for little-endian machines");

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;

const HEADER_BYTES: usize = 16;
const AF_INET: u8 = 2;

// Message types.
const ERROR: u16 = 2;
const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const NEW_ROUTE: u16 = 24;
// Flags.
const REQUEST_ACK: u16 = 0x1 | 0x4;
const REPLACE_CREATE: u16 = 0x100 | 0x400;
// Attributes.
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
// Fixed values.
const IFF_UP: u32 = 1;
const TABLE_MAIN: u8 = 254;
const PROTOCOL_BOOT: u8 = 3;
const TYPE_UNICAST: u8 = 1;
const ONLINK: u32 = 4;

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// Index of the interface.
    pub index: u32,
    /// The address.
    pub address: Ipv4Addr,
    /// Bits of the network part.
    pub prefix: u8,
}

/// A default route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// Index of the interface.
    pub index: u32,
    /// The router; it need not be inside the interface's network.
    pub gateway: Ipv4Addr,
    /// Smaller is preferred.
    pub metric: u32,
}

/// Switches an interface on.
///
/// # Errors
/// What the kernel says.
pub fn link_up(index: u32) -> Result<(), Errno> {
    let mut body = vec![0; 4];
    body.extend(index.to_le_bytes());
    body.extend(IFF_UP.to_le_bytes());
    body.extend(IFF_UP.to_le_bytes());
    transact(&message(NEW_LINK, REQUEST_ACK, &body))
}

/// Gives an interface an address; the same address again is no error.
///
/// # Errors
/// What the kernel says.
pub fn address_add(address: InterfaceAddress) -> Result<(), Errno> {
    transact(&message(NEW_ADDRESS, REQUEST_ACK | REPLACE_CREATE, &address_body(address)))
}

/// Takes an address, and the routes that need it, from an interface.
///
/// # Errors
/// What the kernel says.
pub fn address_remove(address: InterfaceAddress) -> Result<(), Errno> {
    transact(&message(DELETE_ADDRESS, REQUEST_ACK, &address_body(address)))
}

/// Sets a default route.
///
/// # Errors
/// What the kernel says.
pub fn route_default(route: DefaultRoute) -> Result<(), Errno> {
    let mut body = vec![AF_INET, 0, 0, 0, TABLE_MAIN, PROTOCOL_BOOT, 0, TYPE_UNICAST];
    body.extend(ONLINK.to_le_bytes());
    attribute(&mut body, RTA_GATEWAY, &route.gateway.octets());
    attribute(&mut body, RTA_OIF, &route.index.to_le_bytes());
    attribute(&mut body, RTA_PRIORITY, &route.metric.to_le_bytes());
    transact(&message(NEW_ROUTE, REQUEST_ACK | REPLACE_CREATE, &body))
}

fn address_body(a: InterfaceAddress) -> Vec<u8> {
    let mut body = vec![AF_INET, a.prefix, 0, 0];
    body.extend(a.index.to_le_bytes());
    attribute(&mut body, IFA_LOCAL, &a.address.octets());
    attribute(&mut body, IFA_ADDRESS, &a.address.octets());
    let host_bits = u32::MAX.checked_shr(u32::from(a.prefix)).unwrap_or(0);
    // RFC 3021: networks of 31 and 32 bits have no broadcast address.
    if a.prefix < 31 {
        let broadcast = Ipv4Addr::from(u32::from(a.address) | host_bits);
        attribute(&mut body, IFA_BROADCAST, &broadcast.octets());
    }
    body
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8; 4]) {
    // Four bytes of header and four of value: never any padding.
    body.extend(8_u16.to_le_bytes());
    body.extend(kind.to_le_bytes());
    body.extend(value);
}

fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER_BYTES.saturating_add(body.len())).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADER_BYTES.saturating_add(body.len()));
    bytes.extend(length.to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(body);
    bytes
}

/// Sends one request on a socket of its own and reads its acknowledgement.
fn transact(request: &[u8]) -> Result<(), Errno> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    sendto(fd.as_raw_fd(), request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0; 1024];
    let length = recv(fd.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    acknowledgement(answer.get(..length).unwrap_or_default())
}

/// The verdict of an acknowledgement: error 0 is success.
fn acknowledgement(answer: &[u8]) -> Result<(), Errno> {
    let kind = answer.get(4..6).and_then(|b| b.try_into().ok()).map(u16::from_le_bytes);
    let error = answer.get(HEADER_BYTES..20).and_then(|b| b.try_into().ok()).map(i32::from_le_bytes);
    match (kind, error) {
        (Some(ERROR), Some(0)) => Ok(()),
        (Some(ERROR), Some(error)) => Err(Errno::from_raw(error.saturating_neg())),
        _ => Err(Errno::EPROTO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: an address request is what iproute2 sends (fixed part, local, address, broadcast).
    #[test]
    fn address_request() {
        let address = InterfaceAddress { index: 2, address: Ipv4Addr::new(10, 0, 2, 15), prefix: 24 };
        let bytes = message(NEW_ADDRESS, REQUEST_ACK | REPLACE_CREATE, &address_body(address));
        let expected = [
            48, 0, 0, 0, 20, 0, 5, 5, 1, 0, 0, 0, 0, 0, 0, 0, // header
            2, 24, 0, 0, 2, 0, 0, 0, // ifaddrmsg
            8, 0, 2, 0, 10, 0, 2, 15, // local
            8, 0, 1, 0, 10, 0, 2, 15, // address
            8, 0, 4, 0, 10, 0, 2, 255, // broadcast
        ];
        assert_eq!(bytes, expected);
    }

    /// Goal: a point-to-point network has no broadcast address.
    #[test]
    fn small_networks_have_no_broadcast() {
        for prefix in [31, 32] {
            let address = InterfaceAddress { index: 2, address: Ipv4Addr::new(10, 0, 2, 15), prefix };
            assert_eq!(address_body(address).len(), 24);
        }
    }

    /// Goal: the kernel's error number is found, and a short answer is an error too.
    #[test]
    fn acknowledgements() {
        let mut answer = message(ERROR, 0, &0_i32.to_le_bytes());
        assert_eq!(acknowledgement(&answer), Ok(()));
        answer = message(ERROR, 0, &(-17_i32).to_le_bytes());
        assert_eq!(acknowledgement(&answer), Err(Errno::EEXIST));
        assert_eq!(acknowledgement(answer.get(..18).unwrap()), Err(Errno::EPROTO));
        assert_eq!(acknowledgement(&[]), Err(Errno::EPROTO));
    }
}
