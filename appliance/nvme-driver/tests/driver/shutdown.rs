//! The orderly end of a drive.

use crate::Bench;
use block::{BlockDevice, MediaError};
use core::time::Duration;
use nvme_driver::Failure;
use nvme_model::{Fault, ModelConfig, Rule};

/// Goal: an idle drive is told, confirms, and is stopped.
#[test]
fn an_idle_drive_shuts_down() {
    let mut bench = Bench::new(ModelConfig::default());
    let op = bench.write(1, &[5; 4096]);
    assert_eq!(bench.run(op).result, Ok(()));
    assert_eq!(bench.drive.shutdown(), Ok(()));
    assert_eq!((bench.model.shutdowns(), bench.model.is_running()), (1, false));
    assert_eq!(bench.drive.failure(), Some(Failure::ShutDown));
    let op = bench.read(1, 4096);
    assert_eq!(bench.run(op).result, Err(MediaError::Gone));
    assert_eq!(bench.drive.shutdown(), Err(Failure::ShutDown));
    bench.end();
}

/// Goal: a drive that does not confirm is stopped all the same, and the caller learns it.
#[test]
fn a_drive_that_does_not_confirm_is_stopped() {
    let mut bench = Bench::new(ModelConfig::default());
    bench.model.switch(|switches| switches.never_shuts_down = true);
    assert_eq!(bench.drive.shutdown(), Err(Failure::TimedOut));
    assert!(!bench.model.is_running());
    bench.end();
}

/// Goal: a busy drive is stopped, and its operations end with their buffers.
#[test]
fn a_busy_drive_is_stopped() {
    let mut bench = Bench::new(ModelConfig::default());
    bench.model.fault(Rule::io(Fault::Lost, 9));
    let op = bench.read(1, 4096);
    bench.submit(1, op);
    bench.drive.kick();
    assert_eq!(bench.drive.shutdown(), Err(Failure::TimedOut));
    assert_eq!(bench.ends_within(Duration::ZERO), [(1, Err(MediaError::Gone), true)]);
    assert!(!bench.model.is_running());
    bench.end();
}
