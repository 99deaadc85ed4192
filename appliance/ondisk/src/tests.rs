//! Tests of the format: goldens that make a silent change fail, and properties of decoding.

mod exported;
mod foreign;
mod golden;
mod label;
mod record;
mod settings;
mod thin;
mod totality;

use crate::{
    Access, HostNqn, LbaSize, MemberRecord, Name, PoolRecord, Registrant, Reservation, ReservationType,
    Reserved, Run, Serial, Settings, VolumeRecord, WriteProtect,
};
use uuid::Uuid;

/// A record with two members and two volumes, one of them in two pieces, with every setting; the other as version 1
/// knew volumes.
fn sample() -> PoolRecord {
    let mut record = plain();
    record.volumes[0].settings = Settings {
        lba_size: LbaSize::B512,
        access: Access::Hosts(vec![host("nqn.a"), host("nqn.b")]),
        write_protect: WriteProtect::On,
        reservation: Some(Box::new(Reservation {
            generation: 9,
            registrants: vec![
                Registrant { host: Uuid::from_u128(0xaaaa << 112 | 1), key: 0xabc },
                Registrant { host: Uuid::from_u128(0xbbbb << 112 | 2), key: 0xdef },
            ],
            reserved: Some(Reserved { kind: ReservationType::WriteExclusiveRegistrants, holder: Some(1) }),
        })),
    };
    record
}

fn host(nqn: &str) -> HostNqn {
    HostNqn::new(nqn).expect("a good NQN")
}

/// The same without settings.
fn plain() -> PoolRecord {
    PoolRecord {
        pool: Uuid::from_u128(0x1111_1111_1111_4111_8111_1111_1111_1111),
        name: Name::new("tank").expect("a good name"),
        generation: 6,
        members: vec![
            MemberRecord {
                drive: drive(0),
                serial: Serial::new("S0").expect("a good serial"),
                extents: 1000,
            },
            MemberRecord {
                drive: drive(1),
                serial: Serial::new("S1").expect("a good serial"),
                extents: 2000,
            },
        ],
        volumes: vec![
            VolumeRecord {
                uuid: Uuid::from_u128(0x3333_3333_3333_4333_8333_3333_3333_3333),
                name: Name::new("db").expect("a good name"),
                nsid: 1,
                extents: 96,
                revision: 4,
                settings: Settings::new(LbaSize::B4096),
                runs: vec![
                    Run { member: 0, first: 0, count: 64, position: 0 },
                    Run { member: 1, first: 7, count: 32, position: 64 },
                ],
            },
            VolumeRecord {
                uuid: Uuid::from_u128(0x4444_4444_4444_4444_8444_4444_4444_4444),
                name: Name::new("logs").expect("a good name"),
                nsid: 3,
                extents: 5,
                revision: 6,
                settings: Settings::new(LbaSize::B4096),
                runs: vec![Run { member: 1, first: 39, count: 5, position: 0 }],
            },
        ],
    }
}

fn drive(index: u16) -> Uuid {
    Uuid::from_u128(0x2222_2222_2222_4222_8222_2222_2222_2200 + u128::from(index))
}

/// Deterministic bytes for tests (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.next().to_le_bytes()[0];
        }
    }
}
