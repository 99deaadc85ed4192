//! Goldens: a change of any stored byte or offset fails here, and then needs a new version of the struct.

use super::{drive, plain, sample};
use crate::wire::{
    HostV2, LabelV1, MemberV1, RecordHeaderV1, RecordHeaderV2, RegistrantV2, RunV1, StampV1, VolumeV1,
    VolumeV2,
};
use crate::{DriveLabel, Place, PoolRecord, Serial, Slot};
use core::fmt::Write;
use core::mem::offset_of;
use expect_test::{Expect, expect};
use uuid::Uuid;

/// The lines of 16 bytes that are not zero.
pub(super) fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (index, line) in bytes.chunks(16).enumerate().filter(|(_, l)| l.iter().any(|b| *b != 0)) {
        let hex: Vec<String> = line.iter().map(|b| format!("{b:02x}")).collect();
        let ascii: String =
            line.iter().map(|b| if b.is_ascii_graphic() { char::from(*b) } else { '.' }).collect();
        writeln!(text, "{:04x}  {}  {ascii}", index * 16, hex.join(" ")).expect("a string grows");
    }
    write!(text, "{:04x}", bytes.len()).expect("a string grows");
    text
}

fn check(bytes: &[u8], expected: &Expect) {
    expected.assert_eq(&dump(bytes));
}

/// Goal: the stored label never changes by accident.
#[test]
fn label_bytes() {
    let label = DriveLabel {
        drive: drive(1),
        pool: Uuid::from_u128(0x1111_1111_1111_4111_8111_1111_1111_1111),
        member: 1,
        serial: Serial::new("S1").expect("a good serial"),
    };
    check(
        &label.encode(),
        &expect![[r#"
        0000  49 52 4f 4e 42 41 59 20 44 52 49 56 45 00 00 00  IRONBAY.DRIVE...
        0010  ab 7a 91 6f 01 00 00 00 00 00 00 00 00 00 00 00  .z.o............
        0020  22 22 22 22 22 22 42 22 82 22 22 22 22 22 22 01  """"""B"."""""".
        0030  11 11 11 11 11 11 41 11 81 11 11 11 11 11 11 11  ......A.........
        0040  01 00 00 00 00 00 00 00 53 31 00 00 00 00 00 00  ........S1......
        1000"#]],
    );
}

/// Goal: the stored record never changes by accident.
#[test]
fn record_bytes() {
    check(
        &sample().encode(1),
        &expect![[r#"
        0000  49 52 4f 4e 42 41 59 20 50 4f 4f 4c 00 00 00 00  IRONBAY.POOL....
        0010  d6 ba c3 ee 02 00 00 00 00 01 00 00 00 00 00 00  ................
        0020  22 22 22 22 22 22 42 22 82 22 22 22 22 22 22 01  """"""B"."""""".
        0030  11 11 11 11 11 11 41 11 81 11 11 11 11 11 11 11  ......A.........
        0040  06 00 00 00 00 00 00 00 00 10 00 00 01 00 02 00  ................
        0050  02 00 03 00 02 00 02 00 74 61 6e 6b 00 00 00 00  ........tank....
        0100  22 22 22 22 22 22 42 22 82 22 22 22 22 22 22 00  """"""B"."""""".
        0110  53 30 00 00 00 00 00 00 00 00 00 00 00 00 00 00  S0..............
        0120  00 00 00 00 e8 03 00 00 00 00 00 00 00 00 00 00  ................
        0140  22 22 22 22 22 22 42 22 82 22 22 22 22 22 22 01  """"""B"."""""".
        0150  53 31 00 00 00 00 00 00 00 00 00 00 00 00 00 00  S1..............
        0160  00 00 00 00 d0 07 00 00 00 00 00 00 00 00 00 00  ................
        0180  33 33 33 33 33 33 43 33 83 33 33 33 33 33 33 33  333333C3.3333333
        0190  64 62 00 00 00 00 00 00 00 00 00 00 00 00 00 00  db..............
        01d0  01 00 00 00 60 00 00 00 04 00 00 00 00 00 00 00  ....`...........
        01e0  09 01 01 01 03 00 01 00 09 00 00 00 02 00 00 00  ................
        01f0  03 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................
        0220  44 44 44 44 44 44 44 44 84 44 44 44 44 44 44 44  DDDDDDDD.DDDDDDD
        0230  6c 6f 67 73 00 00 00 00 00 00 00 00 00 00 00 00  logs............
        0270  03 00 00 00 05 00 00 00 06 00 00 00 00 00 00 00  ................
        0280  0c 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................
        02c0  00 00 00 00 00 00 00 00 40 00 00 00 00 00 00 00  ........@.......
        02d0  00 00 01 00 07 00 00 00 20 00 00 00 40 00 00 00  ............@...
        02e0  01 00 01 00 27 00 00 00 05 00 00 00 00 00 00 00  ....'...........
        02f0  6e 71 6e 2e 61 00 00 00 00 00 00 00 00 00 00 00  nqn.a...........
        03d0  6e 71 6e 2e 62 00 00 00 00 00 00 00 00 00 00 00  nqn.b...........
        04b0  aa aa 00 00 00 00 00 00 00 00 00 00 00 00 00 01  ................
        04c0  bc 0a 00 00 00 00 00 00 bb bb 00 00 00 00 00 00  ................
        04d0  00 00 00 00 00 00 00 02 ef 0d 00 00 00 00 00 00  ................
        1000"#]],
    );
}

/// The record `plain` as version 1 wrote it for member 1.
const RECORD_V1: &str = "
    0000  49 52 4f 4e 42 41 59 20 50 4f 4f 4c 00 00 00 00
    0010  07 d7 fa a7 01 00 00 00 00 01 00 00 00 00 00 00
    0020  22 22 22 22 22 22 42 22 82 22 22 22 22 22 22 01
    0030  11 11 11 11 11 11 41 11 81 11 11 11 11 11 11 11
    0040  06 00 00 00 00 00 00 00 00 10 00 00 01 00 02 00
    0050  02 00 03 00 00 00 00 00 74 61 6e 6b 00 00 00 00
    0100  22 22 22 22 22 22 42 22 82 22 22 22 22 22 22 00
    0110  53 30 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    0120  00 00 00 00 e8 03 00 00 00 00 00 00 00 00 00 00
    0140  22 22 22 22 22 22 42 22 82 22 22 22 22 22 22 01
    0150  53 31 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    0160  00 00 00 00 d0 07 00 00 00 00 00 00 00 00 00 00
    0180  33 33 33 33 33 33 43 33 83 33 33 33 33 33 33 33
    0190  64 62 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    01d0  01 00 00 00 60 00 00 00 04 00 00 00 00 00 00 00
    0200  44 44 44 44 44 44 44 44 84 44 44 44 44 44 44 44
    0210  6c 6f 67 73 00 00 00 00 00 00 00 00 00 00 00 00
    0250  03 00 00 00 05 00 00 00 06 00 00 00 00 00 00 00
    0280  00 00 00 00 00 00 00 00 40 00 00 00 00 00 00 00
    0290  00 00 01 00 07 00 00 00 20 00 00 00 40 00 00 00
    02a0  01 00 01 00 27 00 00 00 05 00 00 00 00 00 00 00
    1000";

/// The bytes of a dump.
fn undump(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let (at, hex) = line.split_once("  ").unwrap_or((line, ""));
        bytes.resize(usize::from_str_radix(at, 16).expect("an offset"), 0);
        bytes.extend(hex.split(' ').filter_map(|byte| u8::from_str_radix(byte, 16).ok()));
    }
    bytes
}

/// Goal: a pool that was written by the first version of the format is read, and stored in the current one.
#[test]
fn version_1_is_read_and_rewritten_as_version_2() {
    let place = Place { drive: drive(1), member: 1 };
    let old = undump(RECORD_V1);
    assert_eq!(PoolRecord::decode(&old, Slot::A), Ok((plain(), place)));
    let new = plain().encode(1);
    assert_eq!((old[20], new[20]), (1, 2));
    assert_eq!(PoolRecord::decode(&new, Slot::A), Ok((plain(), place)));
}

/// Goal: what version 1 kept zero is zero, or the record is refused, also with a good checksum.
#[test]
fn reserved_bytes_of_version_1_are_zero() {
    let volume = size_of::<RecordHeaderV1>() + plain().members.len() * size_of::<MemberV1>();
    let reserved = offset_of!(VolumeV1, reserved);
    let padding = undump(RECORD_V1).len() - 1;
    for at in [offset_of!(RecordHeaderV1, reserved0), volume + reserved, padding] {
        let mut bytes = undump(RECORD_V1);
        assert_eq!(core::mem::replace(&mut bytes[at], 1), 0, "byte {at}");
        crate::stamp::seal(&mut bytes);
        let refused = Err(crate::Inconsistency::Reserved.into());
        assert_eq!(PoolRecord::decode(&bytes, Slot::A), refused, "byte {at}");
    }
}

macro_rules! layout {
    ($($wire:ident { $($field:ident),* })*) => {{
        let mut text = String::new();
        $(
            write!(text, "{} {}:", stringify!($wire), size_of::<$wire>()).expect("a string grows");
            $( write!(text, " {}@{}", stringify!($field), offset_of!($wire, $field)).expect("a string grows"); )*
            text.push('\n');
        )*
        text
    }};
}
pub(super) use layout;

/// Goal: the offsets of all fields are the ones of `docs/ondisk.md`.
#[test]
fn field_offsets() {
    let layout = layout! {
        StampV1 { magic, checksum, version, reserved, lba, drive, pool }
        LabelV1 { stamp, member, reserved0, serial, reserved1 }
        RecordHeaderV1 {
            stamp, generation, record_bytes, member, member_count, volume_count, run_count, reserved0, name,
            reserved1
        }
        RecordHeaderV2 {
            stamp, generation, record_bytes, member, member_count, volume_count, run_count, host_count,
            registrant_count, name, reserved
        }
        MemberV1 { drive, serial, extents, reserved }
        VolumeV1 { uuid, name, nsid, extents, revision, reserved }
        VolumeV2 {
            uuid, name, nsid, extents, revision, lba_shift, write_protect, access, persistence, reservation,
            reserved0, holder, reservation_generation, registrant_count, reserved1, hosts, reserved2
        }
        HostV2 { nqn }
        RegistrantV2 { host, key }
        RunV1 { volume, member, first, count, position }
    };
    expect![[r#"
        StampV1 64: magic@0 checksum@16 version@20 reserved@22 lba@24 drive@32 pool@48
        LabelV1 4096: stamp@0 member@64 reserved0@66 serial@72 reserved1@92
        RecordHeaderV1 256: stamp@0 generation@64 record_bytes@72 member@76 member_count@78 volume_count@80 run_count@82 reserved0@84 name@88 reserved1@152
        RecordHeaderV2 256: stamp@0 generation@64 record_bytes@72 member@76 member_count@78 volume_count@80 run_count@82 host_count@84 registrant_count@86 name@88 reserved@152
        MemberV1 64: drive@0 serial@16 extents@36 reserved@40
        VolumeV1 128: uuid@0 name@16 nsid@80 extents@84 revision@88 reserved@96
        VolumeV2 160: uuid@0 name@16 nsid@80 extents@84 revision@88 lba_shift@96 write_protect@97 access@98 persistence@99 reservation@100 reserved0@101 holder@102 reservation_generation@104 registrant_count@108 reserved1@110 hosts@112 reserved2@144
        HostV2 224: nqn@0
        RegistrantV2 24: host@0 key@16
        RunV1 16: volume@0 member@2 first@4 count@8 position@12
    "#]].assert_eq(&layout);
}
