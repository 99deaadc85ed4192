//! Reads, writes and flushes of every shape; limits; queue behaviour.

use crate::{Bench, pattern};
use block::{BlockDevice, Lba, MediaError, Op, Tag};
use nvme_driver::DriveConfig;
use nvme_model::{Executed, Fault, ModelConfig, Rule};
use nvme_spec::{NvmOpcode, Status};

fn executed(opcode: NvmOpcode, slba: u64, lbas: u32, fua: bool) -> Executed {
    Executed { opcode, slba, lbas, fua }
}

/// Goal: what is written at a block is on the media where the drive's own blocks say, and reads back the same, for one
/// page, two pages, and lists of every length up to the limit; with both block sizes.
#[test]
fn transfers_of_every_shape_arrive() {
    for lbads in [12, 9] {
        let model = ModelConfig { mdts: 0, lbads, ..ModelConfig::default() };
        let mut bench = Bench::with(model, DriveConfig { entries: 8, transfer_bytes_max: 1 << 20 });
        let shift = 12 - u32::from(lbads);
        for blocks in [1usize, 2, 3, 4, 31, 32, 33, 255, 256] {
            let data = pattern(blocks as u64, blocks * 4096);
            let op = bench.write(7, &data);
            assert_eq!(bench.run(op).result, Ok(()));
            let lbas = u32::try_from(blocks).expect("small") << shift;
            assert!(bench.model.media(7 << shift, lbas) == data, "{blocks} blocks of {lbads}");
            let op = bench.read(7, data.len());
            let done = bench.run(op);
            assert_eq!(done.result, Ok(()));
            assert!(done.buf.expect("returned").as_ref() == data, "{blocks} blocks of {lbads}");
            let log = bench.model.take_log();
            let expected =
                [NvmOpcode::WRITE, NvmOpcode::READ].map(|op| executed(op, 7 << shift, lbas, false));
            assert_eq!(log, expected);
        }
        bench.end();
    }
}

/// Goal: force unit access reaches the drive; a flush is sent only where there is a cache.
#[test]
fn durability_is_asked_for_where_it_is_missing() {
    for (has_volatile_cache, flushes) in [(true, 1), (false, 0)] {
        let mut bench = Bench::new(ModelConfig { has_volatile_cache, ..ModelConfig::default() });
        assert_eq!(bench.drive.geometry().is_volatile, has_volatile_cache);
        let buf = bench.model.buffer(&[1; 4096]);
        assert_eq!(bench.run(Op::Write { lba: Lba(3), buf, fua: true }).result, Ok(()));
        assert_eq!(bench.run(Op::Flush).result, Ok(()));
        let mut expected = vec![executed(NvmOpcode::WRITE, 3, 1, true)];
        expected.extend(vec![executed(NvmOpcode::FLUSH, 0, 0, false); flushes]);
        assert_eq!(bench.model.take_log(), expected);
        bench.end();
    }
}

/// Goal: the queue takes exactly its depth; the operation that does not fit comes back unchanged; one doorbell for all
/// submissions of a round, one for all completions.
#[test]
fn a_full_queue_gives_the_operation_back() {
    let mut bench = Bench::new(ModelConfig::default());
    let depth = u64::from(bench.drive.geometry().depth_max);
    for tag in 0..depth {
        let op = bench.write(tag, &pattern(tag, 4096));
        bench.submit(tag, op);
    }
    let op = Op::Write { lba: Lba(9), buf: bench.model.buffer(&pattern(9, 8192)), fua: true };
    match bench.drive.submit(Tag(depth), op) {
        Err(Op::Write { lba: Lba(9), buf, fua: true }) => assert!(buf.as_ref() == pattern(9, 8192)),
        other => panic!("the queue is full, got {other:?}"),
    }
    assert_eq!(bench.model.take_log(), []);
    let tags: Vec<u64> = bench.round().iter().map(|done| done.tag.0).collect();
    assert_eq!(tags, (0..depth).collect::<Vec<_>>());
    assert_eq!(bench.model.doorbells(), (1, 1));
    assert!(bench.round().is_empty());
    assert_eq!(bench.model.doorbells(), (1, 1));
    bench.end();
}

/// Goal: rings wrap many times, at odd batch sizes, without losing or mixing up anything. Method: a short queue, random
/// batches from a fixed sequence, compared with a plain array.
#[test]
fn rings_wrap_without_mixing_up() {
    let mut bench = Bench::with(ModelConfig::default(), DriveConfig { entries: 7, ..DriveConfig::default() });
    let mut plain = vec![0u8; 64 * 4096];
    let mut random = 88_172_645_463_325_252_u64;
    for round in 0..600u64 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let batch = random % 6 + 1;
        for tag in 0..batch {
            // Blocks of one batch differ, so the order inside it does not matter.
            let lba = (random >> 8).wrapping_add(tag) % 64;
            let at = usize::try_from(lba).expect("small") * 4096;
            let is_write = (random >> (16 + tag)) & 1 == 0;
            if is_write {
                let data = pattern(round * 8 + tag, 4096);
                plain[at..at + 4096].copy_from_slice(&data);
                let op = bench.write(lba, &data);
                bench.submit(lba, op);
            } else {
                let op = bench.read(lba, 4096);
                bench.submit(lba, op);
            }
        }
        let done = bench.round();
        assert_eq!(done.len() as u64, batch);
        for completion in done {
            let at = usize::try_from(completion.tag.0).expect("small") * 4096;
            assert_eq!(completion.result, Ok(()));
            assert!(completion.buf.expect("returned").as_ref() == &plain[at..at + 4096]);
        }
    }
    assert!(bench.model.media(0, 64) == plain);
    bench.end();
}

/// Goal: operations outside the drive, of no or odd length, or too long end at once, with their buffer, and reach
/// neither the drive nor its error paths.
#[test]
fn impossible_operations_end_at_once() {
    let mut bench = Bench::new(ModelConfig { lbas: 100, ..ModelConfig::default() });
    for (lba, bytes) in [(100, 4096), (99, 8192), (u64::MAX, 4096), (0, 0), (0, 4095), (0, 132 << 10)] {
        let op = bench.read(lba, bytes);
        let done = bench.run(op);
        assert_eq!(
            (done.result, done.buf.map(|b| b.as_ref().len())),
            (Err(MediaError::OutOfRange), Some(bytes))
        );
    }
    let op = bench.read(99, 4096);
    assert_eq!(bench.run(op).result, Ok(()));
    assert_eq!(bench.model.take_log().len(), 1);
    bench.end();
}

/// Goal: a status of the drive becomes the error of that operation only, and is counted.
#[test]
fn errors_belong_to_their_operation() {
    let mut bench = Bench::new(ModelConfig::default());
    bench.model.fault(Rule::io(Fault::Status(Status::UNRECOVERED_READ_ERROR), 9).opcode(2).lbas(5..6));
    bench.model.fault(Rule::io(Fault::Status(Status::WRITE_FAULT.dnr()), 9).opcode(1).lbas(5..6));
    for (tag, op) in
        [bench.read(0, 4 * 4096), bench.read(4, 4096 * 3), bench.write(5, &[3; 4096])].into_iter().enumerate()
    {
        bench.submit(tag as u64, op);
    }
    let ends: Vec<_> = bench.round().into_iter().map(|c| (c.tag.0, c.result, c.buf.is_some())).collect();
    let (unreadable, fault) = (Err(MediaError::Unreadable), Err(MediaError::WriteFault));
    assert_eq!(ends, [(0, Ok(()), true), (1, unreadable, true), (2, fault, true)]);
    assert_eq!((bench.drive.errors(), bench.drive.failure()), (2, None));
    bench.end();
}
