//! Golden dumps: what is on the wire, byte by byte.

use super::pair::{NOW, Options, Pair};
use crate::wire::Digests;
use expect_test::expect;
use std::fmt::Write;

/// Lines of 16 bytes; runs of zero lines are shortened.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut zeroes = 0;
    for (line, chunk) in bytes.chunks(16).enumerate() {
        if chunk.iter().all(|b| *b == 0) && chunk.len() == 16 {
            zeroes += 1;
            continue;
        }
        if zeroes > 0 {
            writeln!(text, "({zeroes} lines of zeroes)").expect("a string takes it");
            zeroes = 0;
        }
        write!(text, "{:04x}:", line * 16).expect("a string takes it");
        for byte in chunk {
            write!(text, " {byte:02x}").expect("a string takes it");
        }
        text.push('\n');
    }
    if zeroes > 0 {
        writeln!(text, "({zeroes} lines of zeroes)").expect("a string takes it");
    }
    text
}

/// Goal: a change of the wire format does not go unnoticed. ICReq, a write in the capsule, a write by R2T, a read; with both
/// digests and an alignment of 16 bytes.
#[test]
fn conversation_with_digests() {
    let mut options = Options::default();
    options.host.digests = Digests { header: true, data: true };
    options.host.hpda_z = 3;
    options.host.in_capsule_max = 16;
    let mut pair = Pair::new(&options);
    pair.write(b"in the capsule!!".to_vec());
    pair.run().expect("the write succeeds");
    pair.write(b"this needs an R2T: 28 bytes.".to_vec());
    pair.run().expect("the write succeeds");
    pair.read(28);
    pair.run().expect("the read succeeds");
    expect![[r#"
        0000: 00 00 80 00 80 00 00 00 00 00 03 03 00 00 00 00
        (7 lines of zeroes)
        0080: 04 03 48 4c 60 00 00 00 01 40 00 10 01 00 00 00
        (1 lines of zeroes)
        00a0: 00 00 00 00 00 00 00 00 10 00 00 00 00 00 00 01
        (1 lines of zeroes)
        00c0: 00 00 00 00 00 00 00 00 c0 71 ab 64 69 6e 20 74
        00d0: 68 65 20 63 61 70 73 75 6c 65 21 21 a6 86 28 25
        00e0: 04 01 48 00 4c 00 00 00 01 40 00 20 01 00 00 00
        (1 lines of zeroes)
        0100: 00 00 00 00 00 00 00 00 1c 00 00 00 00 00 00 5a
        (1 lines of zeroes)
        0120: 00 00 00 00 00 00 00 00 77 79 05 f8 06 07 18 1c
        0130: 3c 00 00 00 00 20 01 00 00 00 00 00 1c 00 00 00
        0140: 00 00 00 00 3a 64 ab 79 74 68 69 73 20 6e 65 65
        0150: 64 73 20 61 6e 20 52 32 54 3a 20 32 38 20 62 79
        0160: 74 65 73 2e 39 de fc 56 04 01 48 00 4c 00 00 00
        0170: 02 40 00 30 01 00 00 00 00 00 00 00 00 00 00 00
        (1 lines of zeroes)
        0190: 1c 00 00 00 00 00 00 5a 00 00 00 00 00 00 00 00
        (1 lines of zeroes)
        01b0: fd 80 58 d1
    "#]]
    .assert_eq(&dump(&pair.to_controller));
    expect![[r#"
        0000: 01 00 80 00 80 00 00 00 00 00 00 03 00 00 04 00
        (7 lines of zeroes)
        0080: 05 01 18 00 1c 00 00 00 00 00 00 00 00 00 00 00
        0090: 02 00 00 00 00 10 00 00 5f 95 d9 6b 09 01 18 00
        00a0: 1c 00 00 00 00 20 01 00 00 00 00 00 1c 00 00 00
        00b0: 00 00 00 00 2d 5a 9d d1 05 01 18 00 1c 00 00 00
        00c0: 00 00 00 00 00 00 00 00 03 00 00 00 00 20 00 00
        00d0: e6 6e 03 b3 07 07 18 20 40 00 00 00 00 30 00 00
        00e0: 00 00 00 00 1c 00 00 00 00 00 00 00 cc d9 38 da
        00f0: 00 00 00 00 74 68 69 73 20 6e 65 65 64 73 20 61
        0100: 6e 20 52 32 54 3a 20 32 38 20 62 79 74 65 73 2e
        0110: 39 de fc 56 05 01 18 00 1c 00 00 00 00 00 00 00
        0120: 00 00 00 00 04 00 00 00 00 30 00 00 68 16 f8 39
    "#]]
    .assert_eq(&dump(&pair.to_host));
}

/// Goal: the termination requests, either way, as they are on the wire: a command of a reserved type is told to its host,
/// an R2T of nobody to its controller.
#[test]
fn termination_requests() {
    let mut pair = Pair::new(&Options::default());
    let wrong = [0x08, 0, 24, 0, 24, 0, 0, 0];
    pair.controller.on_header(&wrong, NOW).expect_err("a reserved type");
    let request = pair.controller.poll_transmit().expect("the request");
    expect![[r#"
        0000: 03 00 18 00 20 00 00 00 01 00 00 00 00 00 00 00
        0010: 00 00 00 00 00 00 00 00 08 00 18 00 18 00 00 00
    "#]]
    .assert_eq(&dump(request.head()));
    let mut wrong = vec![0x09, 0, 24, 0, 24, 0, 0, 0];
    wrong.resize(24, 0xee);
    pair.host.on_header(&wrong, NOW).expect_err("an R2T for no command");
    let request = pair.host.poll_transmit().expect("the request");
    expect![[r#"
        0000: 02 00 18 00 30 00 00 00 02 00 00 00 00 00 00 00
        0010: 00 00 00 00 00 00 00 00 09 00 18 00 18 00 00 00
        0020: ee ee ee ee ee ee ee ee ee ee ee ee ee ee ee ee
    "#]]
    .assert_eq(&dump(request.head()));
}
