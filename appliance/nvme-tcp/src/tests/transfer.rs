//! Data arrives, in every mode, in any pieces.

use super::pair::{NOW, Options, Pair, pattern};
use crate::controller::{self, Reply};
use crate::host;
use crate::limits::{C2H_DATA_MAX, CONNECT_TIMEOUT, H2C_DATA_MAX, IC_REQ_TIMEOUT, TRANSFER_MAX};
use crate::wire::{ConnectionError, Digests, Waiting, Want};
use nvme_spec::tcp::{PduType, flag};
use nvme_spec::{NvmOpcode, Sqe, Status};
use proptest::prelude::*;

const MODES: [Digests; 4] = [
    Digests { header: false, data: false },
    Digests { header: true, data: false },
    Digests { header: false, data: true },
    Digests { header: true, data: true },
];

fn options(digests: Digests, hpda_z: u8, is_flow_control_disabled: bool) -> Options {
    let mut options = Options::default();
    options.host.digests = digests;
    options.host.hpda_z = hpda_z;
    options.queue.is_flow_control_disabled = is_flow_control_disabled;
    options
}

/// Types and flags of the PDUs in a byte string.
fn pdus(wire: &[u8]) -> Vec<(PduType, u8)> {
    let mut found = Vec::new();
    let mut rest = wire;
    while let [kind, flags, _, _, a, b, c, d, ..] = *rest {
        found.push((PduType(kind), flags & (flag::LAST | flag::SUCCESS)));
        rest = &rest[u32::from_le_bytes([a, b, c, d]) as usize..];
    }
    found
}

/// Goal: what is written is read back, in the capsule, by R2T and in several PDUs, with every digest and alignment.
#[test]
fn data_survives_every_mode() {
    for digests in MODES {
        for (hpda_z, is_flow_control_disabled) in [(0, false), (0, true), (31, false), (5, true)] {
            for len in [512, 4096, 16384, 16388, 131_072, TRANSFER_MAX] {
                let mut pair = Pair::new(&options(digests, hpda_z, is_flow_control_disabled));
                let data = pattern(len, 0x5a);
                pair.write(data.clone());
                pair.run().expect("the write succeeds");
                pair.read(len);
                pair.run().expect("the read succeeds");
                let statuses: Vec<_> = pair.completed.iter().map(|(_, cqe, _)| cqe.status()).collect();
                assert_eq!(statuses, [Status::SUCCESS; 2], "{digests:?} {hpda_z} {len}");
                assert!(pair.stored == data && pair.completed[1].2 == data, "{digests:?} {hpda_z} {len}");
                assert_eq!((pair.host.in_flight(), pair.controller.in_flight()), (0, 0));
            }
        }
    }
}

/// Goal: the sequence of PDUs is the standard's: one R2T, H2CData within MAXH2CDATA, LAST and SUCCESS where they belong.
#[test]
fn pdus_come_in_the_right_order() {
    for is_flow_control_disabled in [false, true] {
        let mut pair = Pair::new(&options(Digests::default(), 0, is_flow_control_disabled));
        let (h2c, c2h) = (pair.to_controller.len(), pair.to_host.len());
        pair.write(pattern(TRANSFER_MAX, 1));
        pair.read(0x1000);
        pair.stored = pattern(0x1000, 2);
        pair.run().expect("both succeed");
        let writes = (TRANSFER_MAX / H2C_DATA_MAX) as usize;
        let sent = pdus(&pair.to_controller[h2c..]);
        assert_eq!(sent[..2], [(PduType::CAPSULE_CMD, 0); 2]);
        assert_eq!(sent[2..writes + 1], vec![(PduType::H2C_DATA, 0); writes - 1]);
        assert_eq!(sent[writes + 1..], [(PduType::H2C_DATA, flag::LAST)]);
        let mut expected = vec![(PduType::R2T, 0)];
        if is_flow_control_disabled {
            expected.push((PduType::C2H_DATA, flag::LAST | flag::SUCCESS));
        } else {
            expected.extend([(PduType::C2H_DATA, flag::LAST), (PduType::CAPSULE_RESP, 0)]);
        }
        expected.push((PduType::CAPSULE_RESP, 0));
        assert_eq!(pdus(&pair.to_host[c2h..]), expected);
    }
}

/// Goal: a queue with fewer slots than entries is served as any other: what finds no slot is received when there is one.
#[test]
fn few_slots_for_many_entries() {
    let mut options = Options::default();
    options.queue.slots_max = 3;
    let mut pair = Pair::new(&options);
    pair.stored = pattern(0x1000, 2);
    for _ in 0..30 {
        pair.read(0x1000);
    }
    pair.run().expect("all succeed");
    assert_eq!((pair.controller.slot_count(), pair.completed.len()), (3, 30));
    assert!(pair.completed.iter().all(|(_, cqe, data)| cqe.status().is_success() && *data == pair.stored));
}

/// Goal: a long read comes in parts of which only the last is marked.
#[test]
fn long_reads_come_in_parts() {
    let mut pair = Pair::new(&Options::default());
    let start = pair.to_host.len();
    pair.stored = pattern(TRANSFER_MAX, 3);
    pair.read(TRANSFER_MAX);
    pair.run().expect("the read succeeds");
    let parts = (TRANSFER_MAX / C2H_DATA_MAX) as usize;
    let mut expected = vec![(PduType::C2H_DATA, 0); parts - 1];
    expected.extend([(PduType::C2H_DATA, flag::LAST), (PduType::CAPSULE_RESP, 0)]);
    assert_eq!(pdus(&pair.to_host[start..]), expected);
}

/// Goal: no boundary between received pieces matters. Every size of piece is tried on a conversation with all PDU types.
#[test]
fn pieces_of_any_size_are_the_same() {
    for chunk in (1..200).chain([4095, 4096, 4097]) {
        let mut options = options(Digests { header: true, data: true }, 3, false);
        options.chunk = chunk;
        options.host.in_capsule_max = 512;
        let mut pair = Pair::new(&options);
        pair.write(pattern(512, 7));
        pair.run().expect("the write in the capsule succeeds");
        pair.write(pattern(5000, 9));
        pair.run().expect("the write by R2T succeeds");
        pair.read(5000);
        pair.submit(0x7e);
        pair.run().expect("the rest succeeds");
        assert_eq!(pair.completed.len(), 4, "pieces of {chunk}");
        assert_eq!(pair.completed[2].2, pattern(5000, 9), "pieces of {chunk}");
        assert!(pair.completed[3].1.status().is(Status::INVALID_OPCODE));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    /// Goal: any mix of commands in flight together ends, each with its own data.
    #[test]
    fn mixed_commands_complete(
        sizes in prop::collection::vec((any::<bool>(), 1u32..70_000), 1..20),
        chunk in 1usize..9000,
        mode in 0usize..4,
    ) {
        let mut options = options(MODES[mode], 1, mode == 3);
        options.chunk = chunk;
        let mut pair = Pair::new(&options);
        pair.stored = pattern(70_000, 0);
        let reads = sizes.iter().filter(|(is_read, _)| *is_read).count();
        for (is_read, len) in &sizes {
            if *is_read { pair.read(*len); }
        }
        pair.run().expect("reads succeed");
        for (is_read, len) in &sizes {
            if !*is_read { pair.write(pattern(*len, 1)); }
        }
        pair.run().expect("writes succeed");
        prop_assert_eq!(pair.completed.len(), sizes.len());
        for (_, cqe, data) in &pair.completed[..reads] {
            prop_assert!(cqe.status().is_success() && *data == pattern(70_000, 0)[..data.len()]);
        }
    }
}

/// Goal: data damaged on the way fails that write only, and is never stored.
#[test]
fn damaged_write_data_fails_that_command_only() {
    let mut pair = Pair::new(&options(Digests { header: true, data: true }, 0, false));
    pair.write(pattern(4096, 1));
    pair.run().expect("the first write succeeds");
    // The second write never leaves by itself: its bytes are damaged first.
    let slot = pair.write(pattern(4096, 2));
    let transmit = pair.host.poll_transmit().expect("the capsule");
    let mut data = pattern(4096, 2);
    let digest = crate::data_digest([data.as_slice()]);
    data[17] ^= 4;
    pair.to_controller.extend_from_slice(transmit.head());
    pair.to_controller.extend_from_slice(&data);
    pair.to_controller.extend_from_slice(&digest);
    pair.write(pattern(4096, 3));
    pair.run().expect("the connection stays");
    let statuses: Vec<_> = pair.completed.iter().map(|(s, cqe, _)| (*s == slot, cqe.status())).collect();
    assert_eq!(pair.completed[1].1.status(), Status::TRANSIENT_TRANSPORT_ERROR, "{statuses:?}");
    assert_eq!(pair.completed[2].1.status(), Status::SUCCESS);
    assert_eq!(pair.stored, pattern(4096, 3));
}

/// Goal: a controller that claims success but sends too little is not believed.
#[test]
fn short_read_is_an_error_on_the_host() {
    let mut pair = Pair::new(&Options::default());
    pair.host.submit(Sqe::new(NvmOpcode::READ.0, 1), host::Data::Read(8192)).expect("room");
    while let Some(transmit) = pair.host.poll_transmit() {
        pair.to_controller.extend_from_slice(transmit.head());
    }
    let capsule = pair.to_controller.split_off(128);
    pair.controller.on_header(&capsule, NOW).expect("a good capsule");
    let Some(controller::Event::Command { slot, .. }) = pair.controller.poll_event() else {
        panic!("the command arrives");
    };
    pair.controller.respond(slot, Reply::status(Status::SUCCESS));
    let response = pair.controller.poll_transmit().expect("the response");
    pair.host.on_header(response.head(), NOW).expect("a good response");
    let Some(host::Event::Complete { cqe, .. }) = pair.host.poll_event() else { panic!("it completes") };
    assert_eq!(cqe.status(), Status::DATA_TRANSFER_ERROR);
}

/// Goal: a command answered before its data came keeps the host's memory safe: the rest of the data is thrown away, and
/// the answer follows it.
#[test]
fn early_answer_waits_for_the_data() {
    let mut pair = Pair::new(&Options::default());
    let slot = pair.write(pattern(16384, 1));
    let capsule = pair.host.poll_transmit().expect("the capsule");
    let used = pair.controller.on_header(capsule.head(), NOW).expect("a good capsule");
    assert_eq!(used, capsule.head().len());
    let Some(controller::Event::Command { slot: named, .. }) = pair.controller.poll_event() else {
        panic!("the command arrives");
    };
    assert_eq!(pair.controller.want(), Want::Payload { slot: named, offset: 0, len: 16384 });
    pair.controller.on_payload(&[0; 1000], NOW).expect("some payload");
    pair.controller.respond(named, Reply::status(Status::LBA_OUT_OF_RANGE.dnr()));
    assert!(pair.controller.poll_transmit().is_none());
    assert_eq!(pair.controller.want(), Want::Discard { len: 15384 });
    pair.controller.on_payload(&[0; 15384], NOW).expect("the rest");
    assert_eq!(pair.controller.poll_event(), None);
    let response = pair.controller.poll_transmit().expect("the answer");
    assert_eq!(response.done, Some(named));
    pair.host.on_header(response.head(), NOW).expect("a good response");
    let Some(host::Event::Complete { slot: ended, cqe }) = pair.host.poll_event() else {
        panic!("it completes");
    };
    assert!(ended == slot && cqe.status() == Status::LBA_OUT_OF_RANGE.dnr());
}

/// Goal: a slot whose buffer is still being sent is not given to a new command, and receiving waits for it.
#[test]
fn receiving_waits_for_slots() {
    let mut options = Options::default();
    options.queue.entries = 1;
    let mut pair = Pair::new(&options);
    pair.stored = pattern(4096, 1);
    let mut unreleased = Vec::new();
    for _ in 0..2 {
        pair.read(4096);
        let capsule = pair.host.poll_transmit().expect("the capsule");
        pair.controller.on_header(capsule.head(), NOW).expect("a good capsule");
        let Some(controller::Event::Command { slot, .. }) = pair.controller.poll_event() else {
            panic!("the command arrives");
        };
        pair.controller.respond(slot, Reply::status(Status::INTERNAL_ERROR));
        unreleased.push(pair.controller.poll_transmit().and_then(|t| t.done).expect("its last PDU"));
    }
    assert_ne!(unreleased[0], unreleased[1]);
    assert_eq!(pair.controller.want(), Want::Nothing);
    pair.controller.release(unreleased[0]);
    assert_eq!(pair.controller.want(), Want::Header { len: 8 });
}

/// Goal: whoever says nothing is dropped: before the ICReq, before Connect; afterwards the keep alive timer watches.
#[test]
fn silent_connections_time_out() {
    let mut fresh = controller::Connection::new(controller::Config::default(), NOW);
    assert_eq!(fresh.poll_deadline(), Some(NOW.after(IC_REQ_TIMEOUT)));
    assert_eq!(fresh.on_deadline(NOW), Ok(()));
    let late = NOW.after(IC_REQ_TIMEOUT);
    assert_eq!(fresh.on_deadline(late), Err(ConnectionError::TimedOut(Waiting::Initialization)));
    let mut host = host::Connection::new(host::Config::default(), NOW);
    fresh.on_header(host.poll_transmit().expect("ICReq").head(), NOW).expect("a good ICReq");
    assert_eq!(fresh.poll_deadline(), Some(NOW.after(CONNECT_TIMEOUT)));
    let pair = Pair::new(&Options::default());
    assert_eq!(pair.controller.poll_deadline(), None);
}
