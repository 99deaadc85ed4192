//! Bytes without sense, and conversations with a few bytes changed: nothing panics, nothing grows.

use super::pair::{NOW, Options, Pair, pattern};
use crate::controller::{Config, Connection, Data, Event, Queue, Reply};
use crate::wire::{Digests, Want};
use nvme_spec::Status;

/// xorshift64*: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is below a usize")
    }
}

/// An owner that asks for data, answers at odd times, and releases late.
fn drive(connection: &mut Connection, mut bytes: &[u8], random: &mut Random) {
    let mut waiting = Vec::new();
    let mut is_connected = false;
    while !bytes.is_empty() {
        let some = &bytes[..bytes.len().min(1 + random.below(300))];
        let used = match connection.want() {
            Want::Header { .. } => match connection.on_header(some, NOW) {
                Ok(used) => used,
                Err(_) => return,
            },
            Want::Payload { len, .. } | Want::Discard { len } => {
                let len = some.len().min(len as usize);
                connection.on_payload(&some[..len], NOW).expect("payload is never wrong");
                len
            }
            Want::Nothing => {
                while let Some(slot) = waiting.pop() {
                    connection.respond(slot, Reply::status(Status::SUCCESS));
                }
                0
            }
        };
        bytes = &bytes[used..];
        match connection.poll_event() {
            Some(Event::Command { slot, data: Data::Transport(len), .. }) if len <= 1 << 20 => {
                connection.request_data(slot, len);
                waiting.push(slot);
            }
            Some(Event::Command { slot, .. }) => waiting.push(slot),
            Some(Event::Data { .. } | Event::Refused { .. }) | None => {}
        }
        if random.below(4) == 0
            && let Some(slot) = waiting.pop()
        {
            connection.respond(slot, Reply::status(Status::SUCCESS));
        }
        while let Some(transmit) = connection.poll_transmit() {
            if let Some(slot) = transmit.done {
                connection.release(slot);
            }
            if !is_connected {
                is_connected = true;
                connection.set_queue(Queue {
                    entries: 8,
                    slots_max: u16::MAX,
                    is_admin: false,
                    is_flow_control_disabled: true,
                });
            }
        }
    }
}

/// Goal: random bytes, behind a good beginning of random length, never panic.
#[test]
fn random_bytes() {
    let mut recorded = Vec::new();
    for digests in [Digests::default(), Digests { header: false, data: true }] {
        let mut options = Options::default();
        options.host.digests = digests;
        options.host.in_capsule_max = 512;
        let mut pair = Pair::new(&options);
        for len in [512, 5000, 100] {
            pair.write(pattern(len, 1));
            pair.run().expect("writes succeed");
        }
        recorded.push(pair.to_controller);
    }
    for seed in 1..4000 {
        let mut random = Random(seed);
        let mut bytes = recorded[random.below(recorded.len())].clone();
        match random.below(3) {
            // Changed in a few places.
            0 => {
                for _ in 0..1 + random.below(4) {
                    let at = random.below(bytes.len());
                    bytes[at] ^= 1 << random.below(8);
                }
            }
            // Cut, and continued with nonsense.
            1 => {
                bytes.truncate(128 + random.below(bytes.len() - 128));
                let more = random.below(2000);
                bytes.extend((0..more).map(|_| random.next().to_le_bytes()[7]));
            }
            // A piece repeated.
            _ => {
                let at = random.below(bytes.len());
                let piece = bytes[at..].to_vec();
                bytes.extend(piece);
            }
        }
        drive(&mut Connection::new(Config::default(), NOW), &bytes, &mut random);
    }
}
