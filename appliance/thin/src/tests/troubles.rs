//! Full pools, and drives that fail.

use super::{Bench, data, read, write, zeroes};
use block::{Blocks, MediaError, Op};
use sim::Drive;

/// Goal: in a full pool what needs space fails and nothing else: what is stored is read and overwritten, a trim gives room, and then
/// the same write succeeds.
#[test]
fn full_pool() {
    let mut bench = Bench::new(Drive::new("S0", 16));
    let volume = bench.create(1, 1 << 16);
    let mut written = 0;
    let refusal = loop {
        match bench.run(volume, write(written, data(written, 16))) {
            Ok(_) => written += 16,
            Err(error) => break error,
        }
    };
    assert_eq!(refusal, MediaError::ReadOnly);
    assert!(written > 1024, "{written} blocks of 16 MiB");
    bench.run(volume, write(16, data(7, 16))).expect("it has its place");
    assert_eq!(bench.run(volume, read(16, 16)), Ok(Some(data(7, 16))));
    assert_eq!(bench.run(volume, read(written, 16)), Ok(Some(vec![0; 16 * 4096])));
    bench.run(volume, zeroes(0, 16)).expect("trimmed");
    bench.run(volume, write(written, data(written, 16))).expect("there is room");
    assert_eq!(bench.server.engine().free().0 % Blocks(16).0, 0);
}

/// Goal: when the drive fails its writes, every operation still ends, what was stored is still read, and no later write is accepted.
#[test]
fn failing_drive() {
    let mut bench = Bench::new(Drive::new("S0", 32));
    let volume = bench.create(1, 1024);
    bench.run(volume, write(0, data(1, 32))).expect("written");
    bench.drive.drive.faults.fails_after = Some(5);
    for number in 0..20 {
        bench.submit(volume, write(32 + number * 32, data(number, 32)));
    }
    let results: Vec<_> = (0..20).map(|_| bench.next().result).collect();
    assert!(results.contains(&Err(MediaError::WriteFault)), "{results:?}");
    assert_eq!(bench.run(volume, write(0, data(2, 1))), Err(MediaError::ReadOnly));
    assert_eq!(bench.run(volume, zeroes(0, 1)), Err(MediaError::ReadOnly));
    assert_eq!(bench.run(volume, read(0, 32)), Ok(Some(data(1, 32))));
    assert!(bench.server.is_quiet());
}

/// Goal: a block that cannot be read fails the operations that want it, and no others.
#[test]
fn unreadable_block() {
    let mut bench = Bench::new(Drive::new("S0", 32));
    let volume = bench.create(1, 1024);
    let before = bench.drive.drive.commands();
    bench.run(volume, write(0, data(1, 32))).expect("written");
    assert_ne!(bench.drive.drive.commands(), before);
    let capacity = bench.drive.drive.geometry.blocks.0;
    let wanted = &data(1, 32)[20 * 4096..21 * 4096];
    let place = (0..capacity).find(|lba| bench.drive.drive.block(*lba).is_some_and(|b| b[..] == *wanted));
    bench.drive.drive.faults.unreadable.insert(place.expect("it is stored"));
    assert_eq!(bench.run(volume, read(0, 32)), Err(MediaError::Unreadable));
    assert_eq!(bench.run(volume, read(16, 4)), Ok(Some(data(1, 32)[16 * 4096..20 * 4096].to_vec())));
    bench.run(volume, write(20, data(5, 1))).expect("written again");
    assert_eq!(bench.run(volume, read(20, 1)), Ok(Some(data(5, 1))));
    assert_eq!(bench.run(volume, Op::Flush), Ok(None));
}

/// Goal: after a flush that the drive failed no later one is confirmed: what the cache had may be lost, and the host was told nothing
/// else about it.
#[test]
fn failed_flush_is_not_made_up_for() {
    let mut drive = Drive::new("S0", 32);
    drive.geometry.is_volatile = true;
    let mut bench = Bench::new(drive);
    let volume = bench.create(1, 1024);
    bench.run(volume, write(0, data(1, 32))).expect("written");
    bench.drive.drive.faults.fails_once_after = Some((0, MediaError::WriteFault));
    assert_eq!(bench.run(volume, Op::Flush), Err(MediaError::WriteFault));
    assert_eq!(bench.run(volume, Op::Flush), Err(MediaError::ReadOnly));
}
