//! Commands without sense: nothing panics, and no range outside its namespace reaches the storage.

use super::host::{Ask, Host, NQN};
use crate::{Action, Command, IoKind, Outcome};
use block::Bytes;
use nvme_spec::{AdminOpcode, Sqe};
use zerocopy::{FromBytes, IntoBytes};

/// xorshift64*: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Random bytes, of which many fields are small: those get further.
    fn sqe(&mut self) -> Sqe {
        let mut bytes = [0u8; 64];
        for chunk in bytes.chunks_exact_mut(4) {
            let value = match self.next() % 4 {
                0 => 0,
                1 => self.next() as u32 & 0x7,
                2 => self.next() as u32 & 0xff,
                _ => self.next() as u32,
            };
            chunk.copy_from_slice(&value.to_le_bytes());
        }
        bytes[0] = (self.next() as u8) & if self.next().is_multiple_of(2) { 0x1f } else { 0x7f };
        if self.next().is_multiple_of(8) {
            bytes[0] = AdminOpcode::FABRICS.0;
        }
        bytes[1] &= 0x43;
        Sqe::read_from_bytes(&bytes).expect("64 bytes")
    }
}

fn check(outcome: &Outcome, random: &mut Random) {
    let (Outcome::Io(io) | Outcome::First(io) | Outcome::Second(io)) = outcome else { return };
    assert!(io.kind.data_len() <= 1 << 20);
    let size = Bytes(1024 * 4096);
    assert!(io.kind.span().is_none_or(|span| span.end() <= size));
    if let IoKind::Copy(copying) = io.kind {
        let data: Vec<u8> =
            (0..io.kind.data_len()).map(|_| (random.next() & random.next() & 3) as u8).collect();
        if let Ok(ranges) = copying.ranges(&data) {
            let spans = (0..).map_while(|index| ranges.get(index)).chain([ranges.to()]);
            assert!(spans.into_iter().all(|span| span.end() <= size));
        }
    }
    if let IoKind::Dataset(dataset) = io.kind {
        let data: Vec<u8> =
            (0..io.kind.data_len()).map(|_| (random.next() as u8) & (random.next() as u8) & 3).collect();
        if let Ok(ranges) = dataset.ranges(&data) {
            assert!((0..ranges.len()).all(|index| ranges.get(index).expect("checked").end() <= size));
        }
    }
}

/// Goal: random commands on every kind of queue, with random lengths, data and pauses.
#[test]
fn random_commands() {
    for seed in 1..400 {
        let mut random = Random(seed);
        let mut host = if seed % 4 == 0 { Host::discovering() } else { Host::ready() };
        let mut connections = vec![host.admin, host.accept()];
        if seed % 4 != 0 {
            connections.push(host.io_queue(1));
        }
        for _ in 0..300 {
            let connection = connections[random.next() as usize % connections.len()];
            let sqe = random.sqe();
            let lengths = [0, 4, 512, 1024, 4096, 8192, random.next() as u32];
            let data_len = lengths[random.next() as usize % lengths.len()];
            let outcome = host.outcome(connection, sqe, data_len);
            check(&outcome, &mut random);
            if let Outcome::NeedsData { len } = outcome {
                let mut data = Ask::admin(NQN).data().as_bytes().to_vec();
                data.resize(len as usize, 0);
                let at = random.next() as usize % data.len();
                data[at] = random.next() as u8;
                let command = Command { tag: 0, sqe: &sqe, data_len };
                let outcome = host.target.on_data(connection, &command, &data, host.now);
                check(&outcome, &mut random);
            }
            if random.next().is_multiple_of(16) {
                host.wait(random.next() % 3000);
            }
            for action in host.actions() {
                if let Action::Close { connection } = action {
                    host.target.on_close(connection);
                    connections.retain(|other| *other != connection);
                }
            }
            if connections.is_empty() {
                break;
            }
        }
    }
}
