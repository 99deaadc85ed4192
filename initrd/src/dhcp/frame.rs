//! IPv4 and UDP headers around a DHCP message: needed while the interface has no address and the kernel's own IP layer
//! would neither send nor receive for it.
//!
//! Invariants
//! - Parsing never panics; fragments, other protocols and other ports give `None`.
//! - The UDP checksum of what arrives is not checked: a virtual network leaves it half done on purpose. Transaction and
//!   hardware address in the message are what is trusted.

use std::net::Ipv4Addr;

/// Port of servers.
pub const SERVER_PORT: u16 = 67;
/// Port of clients.
pub const CLIENT_PORT: u16 = 68;
const IP_BYTES: usize = 20;
const UDP_BYTES: usize = 8;
const PROTOCOL_UDP: u8 = 17;

/// A broadcast packet from 0.0.0.0:68 to port 67 with the given message.
#[must_use]
pub fn broadcast(message: &[u8]) -> Vec<u8> {
    let (from, to) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    let udp_length = length(UDP_BYTES.saturating_add(message.len()));
    let mut udp = Vec::with_capacity(UDP_BYTES.saturating_add(message.len()));
    udp.extend(CLIENT_PORT.to_be_bytes());
    udp.extend(SERVER_PORT.to_be_bytes());
    udp.extend(udp_length.to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(message);

    let mut pseudo = Vec::with_capacity(12);
    pseudo.extend(from.octets());
    pseudo.extend(to.octets());
    pseudo.extend([0, PROTOCOL_UDP]);
    pseudo.extend(udp_length.to_be_bytes());
    // RFC 768: a sum of zero is sent as all ones, zero means "not computed".
    let sum = match checksum(&[&pseudo, &udp]) {
        0 => u16::MAX,
        sum => sum,
    };
    put(&mut udp, 6, sum);

    let total = length(IP_BYTES.saturating_add(udp.len()));
    let mut packet = vec![0x45, 0x10];
    packet.extend(total.to_be_bytes());
    packet.extend([0, 0, 0x40, 0]);
    packet.extend([64, PROTOCOL_UDP, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    let sum = checksum(&[&packet]);
    put(&mut packet, 10, sum);
    packet.extend(udp);
    packet
}

fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    for (to, from) in bytes.iter_mut().skip(at).zip(value.to_be_bytes()) {
        *to = from;
    }
}

/// The message inside a packet from a server to a client; `None` if the packet is anything else.
#[must_use]
pub fn message(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    let header = usize::from(first & 0xf).checked_mul(4)?;
    let is_ipv4 = first >> 4 == 4 && header >= IP_BYTES && *packet.get(9)? == PROTOCOL_UDP;
    // More fragments, or an offset: a DHCP message fits one packet.
    let is_whole = word(packet, 6)? & 0x3fff == 0;
    if !is_ipv4 || !is_whole || checksum(&[packet.get(..header)?]) != 0 {
        return None;
    }
    let total = usize::from(word(packet, 2)?);
    // Ethernet pads short frames, so bytes may follow the packet.
    let udp = packet.get(header..total)?;
    let is_ours = word(udp, 0)? == SERVER_PORT && word(udp, 2)? == CLIENT_PORT;
    let length = usize::from(word(udp, 4)?);
    if is_ours { udp.get(UDP_BYTES..length) } else { None }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(pair.try_into().ok()?))
}

/// The Internet checksum (RFC 1071) of parts in a row; every part but the last has an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u64 = 0;
    for part in parts {
        for pair in part.chunks(2) {
            let high = pair.first().copied().unwrap_or(0);
            let low = pair.get(1).copied().unwrap_or(0);
            sum = sum.saturating_add(u64::from(u16::from_be_bytes([high, low])));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff).saturating_add(sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}
