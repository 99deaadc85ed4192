//! What the driver does when a controller misbehaves: nothing is left hanging, and no buffer is freed too early. The
//! model records every transfer to memory that the device does not own, so each test ends long after the fault.

use crate::{Bench, pattern};
use block::{BlockDevice, Blocks, Lba, MediaError, Op};
use core::time::Duration;
use nvme_driver::Failure;
use nvme_model::{Fault, ModelConfig, Rule};

const SECOND: Duration = Duration::from_secs(1);
const TIMED_OUT: Result<(), MediaError> = Err(MediaError::TimedOut);
const GONE: Result<(), MediaError> = Err(MediaError::Gone);

/// A bench with a read (tag 1), a write (2), zeroes (3) and a flush (4) in flight that get this fault.
fn in_flight(fault: Fault) -> Bench {
    let mut bench = Bench::new(ModelConfig::default());
    bench.model.fault(Rule::io(fault, 100));
    let read = bench.read(1, 3 * 4096);
    let write = bench.write(4, &pattern(1, 4096));
    let zeroes = Op::WriteZeroes { lba: Lba(9), blocks: Blocks(100_000), fua: false };
    for (tag, op) in (1..).zip([read, write, zeroes, Op::Flush]) {
        bench.submit(tag, op);
    }
    bench
}

/// All four of `in_flight` ended like this.
fn all(result: Result<(), MediaError>, with_buffers: bool) -> Vec<crate::End> {
    vec![(1, result, with_buffers), (2, result, with_buffers), (3, result, false), (4, result, false)]
}

/// A failed drive takes operations and ends them at once.
fn assert_refuses(bench: &mut Bench) {
    let op = bench.read(0, 4096);
    let done = bench.run(op);
    assert_eq!((done.result, done.buf.is_some()), (GONE, true));
    assert_eq!(bench.run(Op::Flush).result, GONE);
}

/// Goal: a command that is never answered stops the drive after its time; everything in flight ends, with its buffer.
#[test]
fn lost_commands_time_out() {
    let mut bench = in_flight(Fault::Lost);
    assert_eq!(bench.ends_within(29 * SECOND), []);
    assert_eq!(bench.drive.failure(), None);
    assert_eq!(bench.ends_within(2 * SECOND), all(TIMED_OUT, true));
    assert_eq!(bench.drive.failure(), Some(Failure::TimedOut));
    assert!(!bench.model.is_running());
    assert_eq!((bench.drive.errors(), bench.drive.buffers_lost()), (4, 0));
    assert_refuses(&mut bench);
    bench.end();
}

/// Goal: slow is not failed.
#[test]
fn slow_commands_are_waited_for() {
    let mut bench = in_flight(Fault::Delay(28 * SECOND));
    assert_eq!(bench.ends_within(27 * SECOND), []);
    let ends = bench.ends_within(2 * SECOND);
    assert_eq!(ends.iter().filter(|(tag, ..)| *tag != 3).count(), 3);
    assert!(ends.iter().all(|(_, result, _)| result.is_ok()));
    assert_eq!(bench.drive.failure(), None);
    bench.end();
}

/// Goal: the age of a command is counted from its start, not from when the drive was last used.
#[test]
fn idle_time_is_not_age() {
    let mut bench = Bench::new(ModelConfig::default());
    for _ in 0..3 {
        bench.model.advance(3600 * SECOND);
        bench.model.fault(Rule::io(Fault::Delay(SECOND * 20), 1));
        let op = bench.read(0, 4096);
        bench.submit(1, op);
        assert_eq!(bench.ends_within(21 * SECOND), [(1, Ok(()), true)]);
    }
    bench.end();
}

/// Goal: a fatal status is noticed long before the timeout.
#[test]
fn a_fatal_status_is_noticed() {
    let mut bench = in_flight(Fault::Lost);
    bench.drive.kick();
    bench.model.switch(|switches| switches.fatal = true);
    assert_eq!(bench.ends_within(2 * SECOND), all(TIMED_OUT, true));
    assert_eq!(bench.drive.failure(), Some(Failure::Fatal));
    assert_refuses(&mut bench);
    bench.end();
}

/// Goal: a pulled drive is noticed; where the platform confirms that it is cut off, the buffers come back, else not.
#[test]
fn a_pulled_drive_is_gone() {
    for cannot_isolate in [false, true] {
        let mut bench = in_flight(Fault::Lost);
        bench.drive.kick();
        bench.model.switch(|switches| {
            switches.gone = true;
            switches.cannot_isolate = cannot_isolate;
        });
        assert_eq!(bench.ends_within(2 * SECOND), all(GONE, !cannot_isolate));
        assert_eq!(bench.drive.failure(), Some(Failure::Gone));
        assert_eq!(bench.drive.buffers_lost(), if cannot_isolate { 2 } else { 0 });
        assert_refuses(&mut bench);
        bench.end();
    }
}

/// Goal: a controller that ignores its reset is cut off, and only then are the buffers ours. Method: the commands are
/// merely late, so that the model would write the buffers later if nobody stopped it.
#[test]
fn a_controller_that_does_not_stop_is_cut_off() {
    let mut bench = in_flight(Fault::Delay(60 * SECOND));
    bench.model.switch(|switches| switches.never_stops = true);
    assert_eq!(bench.ends_within(31 * SECOND), []);
    assert_eq!(bench.drive.failure(), Some(Failure::TimedOut));
    assert_eq!(bench.ends_within(2 * SECOND), all(TIMED_OUT, true));
    bench.end();
}

/// Goal: buffers of a controller that can neither be stopped nor cut off are given up; its late writes hit nobody.
#[test]
fn buffers_are_given_up_rather_than_shared() {
    let mut bench = in_flight(Fault::Delay(60 * SECOND));
    bench.model.switch(|switches| {
        switches.never_stops = true;
        switches.cannot_isolate = true;
    });
    assert_eq!(bench.ends_within(40 * SECOND), all(TIMED_OUT, false));
    assert_eq!(bench.drive.buffers_lost(), 2);
    assert_refuses(&mut bench);
    bench.end();
}

/// Goal: completions for commands that are not in flight stop the drive: unknown ones, and the same one again.
#[test]
fn wrong_completions_stop_the_drive() {
    for fault in [Fault::WrongCid, Fault::Twice] {
        let mut bench = Bench::new(ModelConfig::default());
        bench.model.fault(Rule::io(fault, 1));
        let (first, second) = (bench.read(1, 4096), bench.read(2, 4096));
        bench.submit(1, first);
        bench.submit(2, second);
        let ends = bench.ends_within(SECOND);
        let (first, second) =
            if fault == Fault::Twice { (Ok(()), TIMED_OUT) } else { (TIMED_OUT, TIMED_OUT) };
        assert_eq!(ends, [(1, first, true), (2, second, true)]);
        assert_eq!(bench.drive.failure(), Some(Failure::WrongAnswer));
        assert_refuses(&mut bench);
        bench.end();
    }
}

/// Goal: a stale completion is told from the next command in the same slot.
#[test]
fn a_stale_completion_does_not_end_the_next_command() {
    let mut bench = Bench::new(ModelConfig::default());
    bench.model.fault(Rule::io(Fault::Twice, 1));
    let op = bench.read(1, 4096);
    bench.submit(1, op);
    bench.drive.kick();
    // The second completion is already in the ring when the first is collected and the slot is used again.
    let ends = bench.ends_within(SECOND);
    assert_eq!(ends, [(1, Ok(()), true)]);
    assert_eq!(bench.drive.failure(), Some(Failure::WrongAnswer));
    bench.end();
}

/// Goal: dropping a drive with commands in flight waits until its buffers cannot be written any more.
#[test]
fn dropping_a_busy_drive_is_safe() {
    for (never_stops, cannot_isolate) in [(false, false), (true, false), (true, true)] {
        let mut bench = in_flight(Fault::Delay(20 * SECOND));
        bench.drive.kick();
        bench.model.switch(|switches| {
            switches.never_stops = never_stops;
            switches.cannot_isolate = cannot_isolate;
        });
        bench.end();
    }
}
