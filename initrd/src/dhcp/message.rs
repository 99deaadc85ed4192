//! The DHCP message (RFC 2131 §2) and the options that a storage node uses (RFC 2132).
//!
//! ```text
//!  0 op, htype, hlen, hops   4 xid   8 secs, flags   12 ciaddr  16 yiaddr  20 siaddr  24 giaddr
//!  28 chaddr[16]  44 sname[64]  108 file[128]  236 magic 63 82 53 63  240 options: code, length, value … 255
//! ```
//!
//! Invariants
//! - Parsing never panics and reads every byte once; what it does not know it skips.
//! - An option whose length does not fit is an error of the whole message, never a guess.

use std::net::Ipv4Addr;

const MAGIC: [u8; 4] = [0x63, 0x82, 0x53, 0x63];
const OPTIONS_AT: usize = 240;
/// Servers and relays may drop messages below the size of BOOTP (RFC 1542 §2.1).
const MESSAGE_BYTES_MIN: usize = 300;
const OP_REQUEST: u8 = 1;
const OP_REPLY: u8 = 2;
const ETHERNET: u8 = 1;
/// Flag: answer by broadcast, this interface has no address yet.
const BROADCAST: u16 = 0x8000;
/// Addresses of one option that are kept.
const ADDRESSES_MAX: usize = 8;

mod code {
    pub(super) const PAD: u8 = 0;
    pub(super) const MASK: u8 = 1;
    pub(super) const ROUTER: u8 = 3;
    pub(super) const DNS: u8 = 6;
    pub(super) const HOSTNAME: u8 = 12;
    pub(super) const REQUESTED_ADDRESS: u8 = 50;
    pub(super) const LEASE_TIME: u8 = 51;
    pub(super) const OVERLOAD: u8 = 52;
    pub(super) const KIND: u8 = 53;
    pub(super) const SERVER_ID: u8 = 54;
    pub(super) const WANTED: u8 = 55;
    pub(super) const MESSAGE: u8 = 56;
    pub(super) const SIZE_MAX: u8 = 57;
    pub(super) const RENEWAL: u8 = 58;
    pub(super) const REBINDING: u8 = 59;
    pub(super) const CLIENT_ID: u8 = 61;
    pub(super) const END: u8 = 255;
}

/// What a client asks for.
const WANTED: [u8; 7] =
    [code::MASK, code::ROUTER, code::DNS, code::HOSTNAME, code::LEASE_TIME, code::RENEWAL, code::REBINDING];
/// Longest message that we take: an Ethernet frame without IP and UDP headers.
const SIZE_MAX: u16 = 1472;

/// Kind of a message (RFC 2132 §9.6). Foreign numbers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(pub u8);

impl Kind {
    /// Client looks for servers.
    pub const DISCOVER: Self = Self(1);
    /// Server offers an address.
    pub const OFFER: Self = Self(2);
    /// Client takes an offer, or prolongs a lease.
    pub const REQUEST: Self = Self(3);
    /// Server grants.
    pub const ACK: Self = Self(5);
    /// Server refuses.
    pub const NAK: Self = Self(6);
}

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Discover or request.
    pub kind: Kind,
    /// Transaction.
    pub xid: u32,
    /// Seconds since the client began.
    pub secs: u16,
    /// Hardware address.
    pub mac: [u8; 6],
    /// The address in use, when a lease is prolonged.
    pub address: Option<Ipv4Addr>,
    /// The address of the offer that is taken.
    pub requested: Option<Ipv4Addr>,
    /// The server whose offer is taken.
    pub server: Option<Ipv4Addr>,
    /// Host name that the server may register.
    pub hostname: String,
}

/// What a server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Offer, ack or nak.
    pub kind: Kind,
    /// Transaction.
    pub xid: u32,
    /// Hardware address of the client it is for.
    pub mac: [u8; 6],
    /// The granted address.
    pub address: Ipv4Addr,
    /// Which server.
    pub server: Option<Ipv4Addr>,
    /// Bits of the network part.
    pub prefix: Option<u8>,
    /// Routers, the preferred first.
    pub routers: Vec<Ipv4Addr>,
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
    /// Name of this node.
    pub hostname: Option<String>,
    /// Seconds of the lease.
    pub lease_s: Option<u32>,
    /// Seconds until it should be renewed.
    pub renewal_s: Option<u32>,
    /// Seconds until any server should be asked.
    pub rebinding_s: Option<u32>,
    /// Why it was refused.
    pub message: Option<String>,
}

/// Builds the bytes of a request.
#[must_use]
pub fn encode(request: &Request) -> Vec<u8> {
    let mut bytes = vec![OP_REQUEST, ETHERNET, 6, 0];
    bytes.extend(request.xid.to_be_bytes());
    bytes.extend(request.secs.to_be_bytes());
    let flags = if request.address.is_none() { BROADCAST } else { 0 };
    bytes.extend(flags.to_be_bytes());
    bytes.extend(request.address.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
    bytes.extend([0; 12]);
    bytes.extend(request.mac);
    bytes.resize(OPTIONS_AT.saturating_sub(MAGIC.len()), 0);
    bytes.extend(MAGIC);
    put(&mut bytes, code::KIND, &[request.kind.0]);
    // RFC 2132 §9.14: hardware type and address; a server recognises the node after each boot.
    let [a, b, c, d, e, f] = request.mac;
    put(&mut bytes, code::CLIENT_ID, &[ETHERNET, a, b, c, d, e, f]);
    if let Some(address) = request.requested {
        put(&mut bytes, code::REQUESTED_ADDRESS, &address.octets());
    }
    if let Some(server) = request.server {
        put(&mut bytes, code::SERVER_ID, &server.octets());
    }
    put(&mut bytes, code::SIZE_MAX, &SIZE_MAX.to_be_bytes());
    if !request.hostname.is_empty() {
        put(&mut bytes, code::HOSTNAME, request.hostname.as_bytes());
    }
    put(&mut bytes, code::WANTED, &WANTED);
    bytes.push(code::END);
    bytes.resize(bytes.len().max(MESSAGE_BYTES_MIN), 0);
    bytes
}

/// Adds an option; a value over 255 bytes is left out, a client has none.
fn put(bytes: &mut Vec<u8>, code: u8, value: &[u8]) {
    if let Ok(length) = u8::try_from(value.len()) {
        bytes.push(code);
        bytes.push(length);
        bytes.extend(value);
    }
}

/// Reads a server's message; `None` if it is none.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Reply> {
    let is_reply = bytes.get(..3)? == [OP_REPLY, ETHERNET, 6] && bytes.get(236..OPTIONS_AT)? == MAGIC;
    if !is_reply {
        return None;
    }
    let mut reply = Reply {
        kind: Kind(0),
        xid: u32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?),
        mac: bytes.get(28..34)?.try_into().ok()?,
        address: address(bytes.get(16..20)?)?,
        server: None,
        prefix: None,
        routers: Vec::new(),
        dns: Vec::new(),
        hostname: None,
        lease_s: None,
        renewal_s: None,
        rebinding_s: None,
        message: None,
    };
    let overload = read_options(bytes.get(OPTIONS_AT..)?, &mut reply)?;
    // RFC 2132 §9.3: options may go on in `file` (1), in `sname` (2), or in both (3).
    if overload & 1 != 0 {
        read_options(bytes.get(108..236)?, &mut reply)?;
    }
    if overload & 2 != 0 {
        read_options(bytes.get(44..108)?, &mut reply)?;
    }
    (reply.kind != Kind(0)).then_some(reply)
}

/// Reads options up to the end mark or the end of the bytes; gives the value of `overload`.
fn read_options(bytes: &[u8], reply: &mut Reply) -> Option<u8> {
    let mut overload = 0;
    let mut rest = bytes;
    while let [code, after @ ..] = rest {
        match *code {
            code::PAD => rest = after,
            code::END => break,
            code => {
                let (length, after) = after.split_first()?;
                let (value, after) = after.split_at_checked(usize::from(*length))?;
                if code == code::OVERLOAD {
                    overload = *value.first()?;
                }
                read_option(code, value, reply);
                rest = after;
            }
        }
    }
    Some(overload)
}

/// Takes over one option. A value that makes no sense counts as absent: what is missing then is decided by the client.
fn read_option(code: u8, value: &[u8], reply: &mut Reply) {
    match code {
        code::KIND => reply.kind = Kind(value.first().copied().unwrap_or(0)),
        code::MASK => reply.prefix = address(value).and_then(prefix),
        code::ROUTER => reply.routers = addresses(value),
        code::DNS => reply.dns = addresses(value),
        code::HOSTNAME => reply.hostname = hostname(value),
        code::LEASE_TIME => reply.lease_s = seconds(value),
        code::RENEWAL => reply.renewal_s = seconds(value),
        code::REBINDING => reply.rebinding_s = seconds(value),
        code::SERVER_ID => reply.server = address(value),
        code::MESSAGE => reply.message = Some(String::from_utf8_lossy(value).into_owned()),
        _ => {}
    }
}

fn address(value: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from)
}

fn addresses(value: &[u8]) -> Vec<Ipv4Addr> {
    value
        .chunks_exact(4)
        .filter_map(address)
        .filter(|a| crate::args::is_usable(*a))
        .take(ADDRESSES_MAX)
        .collect()
}

fn seconds(value: &[u8]) -> Option<u32> {
    <[u8; 4]>::try_from(value).ok().map(u32::from_be_bytes)
}

/// The length of a mask whose ones come first.
fn prefix(mask: Ipv4Addr) -> Option<u8> {
    let bits = u32::from(mask);
    let ones = bits.leading_ones();
    let is_contiguous = ones.saturating_add(bits.trailing_zeros()) >= 32;
    u8::try_from(ones).ok().filter(|ones| is_contiguous && *ones > 0)
}

/// A name that may become the node's; some servers end it with a zero byte.
fn hostname(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?.trim_end_matches('\0');
    crate::args::is_hostname(text).then(|| text.to_owned())
}
