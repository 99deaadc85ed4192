//! The client against a model server, in simulated time, and the codec against anything.

use super::client::{Client, Destination, Event, Lease};
use super::frame;
use super::message::{Kind, decode};
use std::net::Ipv4Addr;

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 50);

/// What a model server does with a question.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Answers,
    Silent,
    Refuses,
}

/// A DHCP server that is read from the wire like a real one.
struct Server {
    mood: Mood,
    address: Ipv4Addr,
    lease_s: u32,
    asked: Vec<(u64, Kind, Destination)>,
}

impl Server {
    fn new() -> Self {
        Self { mood: Mood::Answers, address: ADDRESS, lease_s: 3600, asked: Vec::new() }
    }

    fn on_request(&mut self, to: Destination, bytes: &[u8], now: u64) -> Option<Vec<u8>> {
        let kind = Kind(option(bytes, 53)?[0]);
        self.asked.push((now, kind, to));
        let answer = match (self.mood, kind) {
            (Mood::Silent, _) => return None,
            (_, Kind::DISCOVER) => Kind::OFFER,
            (Mood::Answers, Kind::REQUEST) => Kind::ACK,
            _ => Kind::NAK,
        };
        Some(reply(bytes, answer, self.address, self.lease_s))
    }
}

/// The value of an option in a message of ours.
fn option(bytes: &[u8], code: u8) -> Option<Vec<u8>> {
    let mut at = 240;
    while bytes[at] != 255 {
        let length = usize::from(bytes[at + 1]);
        if bytes[at] == code {
            return Some(bytes[at + 2..at + 2 + length].to_vec());
        }
        at += 2 + length;
    }
    None
}

fn reply(request: &[u8], kind: Kind, address: Ipv4Addr, lease_s: u32) -> Vec<u8> {
    let mut bytes = request[..240].to_vec();
    bytes[0] = 2;
    bytes[16..20].copy_from_slice(&address.octets());
    bytes.extend([53, 1, kind.0, 54, 4]);
    bytes.extend(SERVER.octets());
    if kind != Kind::NAK {
        bytes.extend([1, 4, 255, 255, 255, 0, 3, 4]);
        bytes.extend(SERVER.octets());
        bytes.extend([6, 8, 10, 0, 0, 1, 8, 8, 8, 8]);
        bytes.extend([12, 6]);
        bytes.extend(b"node-1");
        bytes.extend([51, 4]);
        bytes.extend(lease_s.to_be_bytes());
    }
    bytes.push(255);
    bytes
}

/// Client and server on one wire, in simulated time.
struct Pair {
    client: Client,
    server: Server,
    now: u64,
    events: Vec<(u64, Event)>,
}

impl Pair {
    fn new() -> Self {
        let client = Client::new(MAC, String::new(), 7);
        Self { client, server: Server::new(), now: 1000, events: Vec::new() }
    }

    fn link(&mut self, is_up: bool) {
        self.client.on_link(is_up, self.now);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(transmit) = self.client.poll_transmit() {
            if let Some(answer) = self.server.on_request(transmit.to, &transmit.bytes, self.now) {
                self.client.on_message(&answer, self.now);
            }
        }
        while let Some(event) = self.client.poll_event() {
            self.events.push((self.now, event));
        }
    }

    fn run_until(&mut self, end: u64) {
        while let Some(deadline) = self.client.poll_deadline().filter(|d| *d <= end) {
            assert!(deadline > self.now, "the deadline {deadline} does not move at {}", self.now);
            self.now = deadline;
            self.client.on_deadline(self.now);
            self.settle();
        }
        self.now = end;
    }

    fn kinds(&self) -> Vec<Kind> {
        self.server.asked.iter().map(|(_, kind, _)| *kind).collect()
    }
}

fn lease() -> Lease {
    Lease {
        address: ADDRESS,
        prefix: 24,
        gateway: Some(SERVER),
        dns: vec![SERVER, Ipv4Addr::new(8, 8, 8, 8)],
        hostname: Some("node-1".to_owned()),
        server: SERVER,
        lease_s: Some(3600),
    }
}

/// Goal: an address takes two questions and no time, and all facts of the lease arrive.
#[test]
fn binds_at_once() {
    let mut pair = Pair::new();
    assert_eq!(pair.client.poll_deadline(), None);
    pair.link(true);
    assert_eq!(pair.events, [(1000, Event::Bound(lease()))]);
    assert_eq!(pair.kinds(), [Kind::DISCOVER, Kind::REQUEST]);
    assert!(!pair.client.needs_raw_socket());
}

/// Goal: a lease is prolonged at half its time by asking its server, for ever, without a new event of an address.
#[test]
fn renews_for_ever() {
    let mut pair = Pair::new();
    pair.link(true);
    pair.run_until(1000 + 3 * 3_600_000);
    let asked: Vec<_> = pair.server.asked.iter().skip(2).map(|(at, _, to)| (*at, *to)).collect();
    let expected: Vec<_> = (1..=6).map(|n| (1000 + n * 1_800_000, Destination::Server(SERVER))).collect();
    assert_eq!(asked, expected);
    assert!(pair.events.iter().skip(1).all(|(_, e)| *e == Event::Renewed));
}

/// Goal: without a server questions go on with growing pauses within bounds, and it is told, more and more rarely.
#[test]
fn asks_for_ever() {
    let mut pair = Pair::new();
    pair.server.mood = Mood::Silent;
    pair.link(true);
    pair.run_until(24 * 3_600_000);
    let times: Vec<_> = pair.server.asked.iter().map(|(at, ..)| *at).collect();
    let pauses: Vec<_> = times.windows(2).map(|w| w[1] - w[0]).collect();
    for (n, pause) in pauses.iter().enumerate() {
        let base = 1000_u64 << n.min(5);
        assert!((base - base / 4..base + base / 4).contains(pause), "pause {n} is {pause}");
    }
    assert!(times.len() > 2000, "{}", times.len());
    assert!(pair.events.len() < 15, "{:?}", pair.events);
    assert!(matches!(pair.events[0], (_, Event::NoAnswer { asked: 2 })));
    // And when the server comes, it is used.
    pair.server.mood = Mood::Answers;
    pair.run_until(24 * 3_600_000 + 41_000);
    assert!(matches!(pair.events.last(), Some((_, Event::Bound(_)))));
}

/// Goal: two nodes with different seeds do not ask in step.
#[test]
fn nodes_do_not_ask_in_step() {
    let times = |seed| {
        let mut pair = Pair::new();
        pair.client = Client::new(MAC, String::new(), seed);
        pair.server.mood = Mood::Silent;
        pair.link(true);
        pair.run_until(600_000);
        pair.server.asked.iter().map(|(at, ..)| *at).collect::<Vec<_>>()
    };
    assert_ne!(times(1)[1..], times(3)[1..]);
    assert_eq!(times(5), times(5));
}

/// Goal: when the server falls silent, everybody is asked near the end, and the address is given up exactly at the end.
#[test]
fn lease_ends_without_a_server() {
    let mut pair = Pair::new();
    pair.link(true);
    pair.server.mood = Mood::Silent;
    pair.run_until(1000 + 3_600_000);
    let rebinding: Vec<_> = pair
        .server
        .asked
        .iter()
        .filter(|(_, _, to)| *to == Destination::Broadcast)
        .map(|(at, ..)| *at)
        .collect();
    assert_eq!(rebinding.first(), Some(&(1000 + 3_150_000)));
    assert!(rebinding.len() >= 3, "{rebinding:?}");
    let (at, lost) = pair.events.last().unwrap();
    assert_eq!(*at, 1000 + 3_600_000);
    assert!(matches!(lost, Event::Lost(_)));
    assert!(pair.client.lease().is_none() && pair.client.needs_raw_socket());
}

/// Goal: a server that comes back during rebinding saves the lease.
#[test]
fn rebinding_saves_the_lease() {
    let mut pair = Pair::new();
    pair.link(true);
    pair.server.mood = Mood::Silent;
    pair.run_until(1000 + 3_200_000);
    pair.server.mood = Mood::Answers;
    pair.run_until(1000 + 3_600_000);
    assert_eq!(pair.events.last().unwrap().1, Event::Renewed);
    assert_eq!(pair.client.lease(), Some(&lease()));
}

/// Goal: a refused renewal gives the address up at once and searches a new one.
#[test]
fn refusal_gives_the_address_up() {
    let mut pair = Pair::new();
    pair.link(true);
    pair.server.mood = Mood::Refuses;
    pair.run_until(1000 + 1_800_000);
    assert!(matches!(pair.events[1], (_, Event::Lost(_))));
    assert!(matches!(pair.events[2], (_, Event::Refused(_))));
    // Offers that are refused again and again do not make a loop without pauses.
    let before = pair.server.asked.len();
    pair.run_until(1000 + 1_800_000 + 60_000);
    assert!(pair.server.asked.len() - before < 100, "{}", pair.server.asked.len() - before);
    pair.server.mood = Mood::Answers;
    pair.server.address = Ipv4Addr::new(10, 0, 0, 51);
    pair.run_until(1000 + 1_800_000 + 120_000);
    assert_eq!(pair.client.lease().map(|l| l.address), Some(Ipv4Addr::new(10, 0, 0, 51)));
}

/// Goal: an answer that renews with another address is a new address.
#[test]
fn changed_address_is_told() {
    let mut pair = Pair::new();
    pair.link(true);
    pair.server.address = Ipv4Addr::new(10, 0, 0, 99);
    pair.run_until(1000 + 1_800_000);
    let expected = Lease { address: Ipv4Addr::new(10, 0, 0, 99), ..lease() };
    assert_eq!(pair.events.last().unwrap().1, Event::Bound(expected));
}

/// Goal: a lost cable keeps the address, and its return asks the server whether it is still good.
#[test]
fn cable_comes_back() {
    let mut pair = Pair::new();
    pair.link(true);
    pair.run_until(10_000);
    pair.link(false);
    assert!(pair.client.lease().is_some());
    pair.run_until(20_000);
    pair.link(true);
    assert_eq!(pair.server.asked.last(), Some(&(20_000, Kind::REQUEST, Destination::Server(SERVER))));
    assert_eq!(pair.events.last(), Some(&(20_000, Event::Renewed)));
    // Without an address a lost cable stops the questions.
    let mut pair = Pair::new();
    pair.server.mood = Mood::Silent;
    pair.link(true);
    pair.link(false);
    assert_eq!(pair.client.poll_deadline(), None);
}

/// Goal: a lease without end asks never again; a very short one is not renewed more often than twice a minute.
#[test]
fn extreme_leases() {
    let mut pair = Pair::new();
    pair.server.lease_s = u32::MAX;
    pair.link(true);
    assert_eq!(pair.client.poll_deadline(), None);
    assert_eq!(pair.client.lease().unwrap().lease_s, None);

    let mut pair = Pair::new();
    pair.server.lease_s = 0;
    pair.link(true);
    pair.run_until(1000 + 600_000);
    assert!((10..=25).contains(&pair.server.asked.len()), "{}", pair.server.asked.len());
}

/// Goal: answers to other nodes, or to earlier questions, change nothing.
#[test]
fn foreign_answers_are_ignored() {
    let mut client = Client::new(MAC, String::new(), 7);
    client.on_link(true, 0);
    let question = client.poll_transmit().unwrap().bytes;
    let good = reply(&question, Kind::OFFER, ADDRESS, 3600);
    let mut other_xid = good.clone();
    other_xid[4] ^= 1;
    let mut other_mac = good.clone();
    other_mac[28] ^= 1;
    let mut request = good.clone();
    request[0] = 1;
    let unusable = reply(&question, Kind::OFFER, Ipv4Addr::UNSPECIFIED, 3600);
    let early = reply(&question, Kind::ACK, ADDRESS, 3600);
    for bytes in [other_xid, other_mac, request, unusable, early] {
        client.on_message(&bytes, 0);
        assert!(client.poll_transmit().is_none());
    }
    client.on_message(&good, 0);
    assert!(client.poll_transmit().is_some());
}

/// Goal: bytes of strangers never cause a panic: every prefix of a good message, and every byte of it changed.
#[test]
fn malformed_messages_are_harmless() {
    let mut client = Client::new(MAC, "node".to_owned(), 7);
    client.on_link(true, 0);
    let question = client.poll_transmit().unwrap().bytes;
    let good = reply(&question, Kind::OFFER, ADDRESS, 3600);
    for end in 0..good.len() {
        let _ = decode(&good[..end]);
    }
    for at in 0..good.len() {
        for value in [0, 1, 4, 127, 255, good[at].wrapping_add(1)] {
            let mut bytes = good.clone();
            bytes[at] = value;
            let _ = decode(&bytes);
            let mut client = Client::new(MAC, String::new(), 7);
            client.on_link(true, 0);
            client.on_message(&bytes, 1);
        }
    }
    let packet = packet(&good);
    for end in 0..packet.len() {
        assert_eq!(frame::message(&packet[..end]), None, "a cut packet of {end} bytes");
    }
    for at in 0..28 {
        for value in 0..=255 {
            let mut bytes = packet.clone();
            bytes[at] = value;
            let _ = frame::message(&bytes);
        }
    }
}

/// A packet from a server, made from one of ours by exchanging the ports.
fn packet(message: &[u8]) -> Vec<u8> {
    let mut packet = frame::broadcast(message);
    packet.swap(21, 23);
    packet
}

/// Goal: what we send has a right header, and what a server sends is found behind padding too.
#[test]
fn frames() {
    let sent = frame::broadcast(b"abc");
    let expected = [
        0x45, 0x10, 0, 31, 0, 0, 0x40, 0, 64, 17, 0x39, 0xd0, 0, 0, 0, 0, 255, 255, 255, 255, // IPv4
        0, 68, 0, 67, 0, 11, 0x39, 0xf9, // UDP
        b'a', b'b', b'c',
    ];
    assert_eq!(sent[..10], expected[..10]);
    assert_eq!(sent[12..26], expected[12..26]);
    assert_eq!(sent[28..], expected[28..]);
    assert_eq!(frame::message(&sent), None, "port 67 is not ours");
    let mut packet = packet(b"abc");
    packet.extend([0; 15]);
    assert_eq!(frame::message(&packet), Some(&b"abc"[..]));
}

/// Goal: options that overflow into the other fields are found (RFC 2132 §9.3).
#[test]
fn overloaded_options() {
    let mut client = Client::new(MAC, String::new(), 7);
    client.on_link(true, 0);
    let question = client.poll_transmit().unwrap().bytes;
    let mut bytes = question[..240].to_vec();
    bytes[0] = 2;
    bytes.extend([53, 1, 2, 52, 1, 3, 255]);
    bytes[108..115].copy_from_slice(&[54, 4, 10, 0, 0, 1, 255]);
    bytes[44..51].copy_from_slice(&[51, 4, 0, 0, 1, 0, 255]);
    let reply = decode(&bytes).unwrap();
    assert_eq!((reply.server, reply.lease_s), (Some(SERVER), Some(256)));
}

/// Goal: a mask with holes is no mask, and the address decides then.
#[test]
fn odd_masks() {
    let mut pair = Pair::new();
    pair.client.on_link(true, 0);
    for _ in 0..2 {
        let bytes = pair.client.poll_transmit().unwrap().bytes;
        let kind = if option(&bytes, 54).is_some() { Kind::ACK } else { Kind::OFFER };
        let mut answer = reply(&bytes, kind, ADDRESS, 3600);
        // The mask's value follows kind (3 bytes), server (6 bytes) and its own header (2 bytes).
        answer[240 + 11 + 1] = 0;
        pair.client.on_message(&answer, 0);
    }
    assert_eq!(pair.client.lease().unwrap().prefix, 8);
}
