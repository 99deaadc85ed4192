//! Write Zeroes: cut, limited, emulated.

use crate::{Bench, pattern};
use block::{BlockDevice, Blocks, Lba, MediaError, Op, Tag};
use core::time::Duration;
use nvme_model::{Executed, Fault, ModelBuf, ModelConfig, Rule};
use nvme_spec::{NvmOpcode, Status};

fn zeroes(lba: u64, blocks: u64) -> Op<ModelBuf> {
    Op::WriteZeroes { lba: Lba(lba), blocks: Blocks(blocks), fua: false }
}

/// First block and length of each command that reached the media.
fn ranges(log: &[Executed]) -> Vec<(u64, u32)> {
    log.iter().map(|executed| (executed.slba, executed.lbas)).collect()
}

/// Goal: a long range is cut at our limit, covered completely, and ends with one completion.
#[test]
fn long_ranges_are_cut() {
    let mut bench = Bench::new(ModelConfig::default());
    bench.model.set_media(9, &pattern(1, 3 * 4096));
    bench.model.set_media(20_010, &pattern(2, 4096));
    bench.submit(1, zeroes(10, 20_000));
    let done = bench.rounds_for(Duration::from_millis(3));
    assert_eq!(done.iter().map(|c| (c.tag, c.result)).collect::<Vec<_>>(), [(Tag(1), Ok(()))]);
    let log = bench.model.take_log();
    assert!(log.iter().all(|e| e.opcode == NvmOpcode::WRITE_ZEROES && !e.fua));
    assert_eq!(ranges(&log), [(10, 8192), (8202, 8192), (16_394, 3616)]);
    let kept = [pattern(1, 3 * 4096)[..4096].to_vec(), vec![0; 2 * 4096]].concat();
    assert!(bench.model.media(9, 3) == kept && bench.model.media(20_010, 1) == pattern(2, 4096));
    bench.end();
}

/// Goal: limits of the drive and of the command count too. Blocks of 512 bytes: 65536 of them are 32 MiB; WZSL 2 is 16 KiB.
#[test]
fn limits_of_the_drive_count() {
    let config = ModelConfig { lbads: 9, wzsl: 2, ..ModelConfig::default() };
    let mut bench = Bench::new(config);
    bench.submit(1, Op::WriteZeroes { lba: Lba(1), blocks: Blocks(9), fua: true });
    assert_eq!(bench.rounds_for(Duration::from_millis(5)).len(), 1);
    let log = bench.model.take_log();
    assert_eq!(ranges(&log), [(8, 32), (40, 32), (72, 8)]);
    assert!(log.iter().all(|executed| executed.fua));

    let mut bench = Bench::new(ModelConfig { lbads: 9, ..ModelConfig::default() });
    bench.submit(1, zeroes(0, 8193));
    assert_eq!(bench.rounds_for(Duration::from_millis(5)).len(), 1);
    assert_eq!(ranges(&bench.model.take_log()), [(0, 65_536), (65_536, 8)]);
    bench.end();
}

/// Goal: a drive without the command gets zeroes written, in transfers that it allows.
#[test]
fn zeroes_are_written_where_the_command_is_missing() {
    let mut bench = Bench::new(ModelConfig { has_write_zeroes: false, lbads: 9, ..ModelConfig::default() });
    bench.model.set_media(0, &pattern(5, 100 * 4096));
    bench.submit(1, zeroes(2, 97));
    let done = bench.rounds_for(Duration::from_millis(5));
    assert_eq!((done.len(), done[0].result), (1, Ok(())));
    let log = bench.model.take_log();
    assert!(log.iter().all(|executed| executed.opcode == NvmOpcode::WRITE));
    assert_eq!(ranges(&log), [(16, 256), (272, 256), (528, 256), (784, 8)]);
    assert!(bench.model.media(16, 97 * 8).iter().all(|byte| *byte == 0));
    let around = pattern(5, 100 * 4096);
    assert!(
        bench.model.media(0, 16) == around[..2 * 4096] && bench.model.media(792, 8) == around[99 * 4096..]
    );
    bench.end();
}

/// Goal: an error ends the operation with that error and sends no more; ranges outside and empty ones end at once.
#[test]
fn errors_end_an_operation() {
    let mut bench = Bench::new(ModelConfig::default());
    bench.model.fault(Rule::io(Fault::Status(Status::WRITE_PROTECTED), 1).lbas(0..1));
    bench.submit(1, zeroes(0, 100_000));
    bench.submit(2, zeroes(1 << 20, 1));
    bench.submit(3, zeroes(5, 0));
    let ends = bench.ends_within(Duration::from_millis(5));
    let (read_only, outside) = (Err(MediaError::ReadOnly), Err(MediaError::OutOfRange));
    assert_eq!(ends, [(1, read_only, false), (2, outside, false), (3, Ok(()), false)]);
    assert_eq!(ranges(&bench.model.take_log()), [(8192, 8192)]);
    bench.end();
}

/// Goal: operations beyond the limit come back; the others share the drive with reads, and all end.
#[test]
fn many_operations_share_the_drive() {
    let mut bench = Bench::new(ModelConfig::default());
    bench.model.fault(Rule::io(Fault::Delay(Duration::from_millis(2)), 20));
    for tag in 0..8 {
        bench.submit(tag, zeroes(tag * 100_000, 30_000));
    }
    assert_eq!(
        bench.drive.submit(Tag(8), zeroes(0, 1)).err().map(|op| op.range()),
        Some(zeroes(0, 1).range())
    );
    let op = bench.read(7, 4096);
    bench.submit(9, op);
    let ends = bench.ends_within(Duration::from_millis(50));
    let expected: Vec<_> = (0..8).map(|tag| (tag, Ok(()), false)).chain([(9, Ok(()), true)]).collect();
    assert_eq!(ends, expected);
    bench.end();
}
