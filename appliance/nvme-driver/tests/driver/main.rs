//! The driver against a model controller, in virtual time, with faults.
#![forbid(unsafe_code)]

mod bring_up;
mod faults;
mod shutdown;
mod transfer;
mod zeroes;

use block::{BlockDevice, Completion, Lba, MediaError, Op, Tag};
use core::time::Duration;
use nvme_driver::{BringUpError, DriveConfig, NvmeDrive};
use nvme_model::{Model, ModelBuf, ModelConfig, ModelPlatform};

/// A drive and the model behind it.
struct Bench {
    model: Model,
    drive: NvmeDrive<ModelPlatform>,
}

/// How an operation ended: tag, result, whether the buffer came back.
type End = (u64, Result<(), MediaError>, bool);

impl Bench {
    fn new(config: ModelConfig) -> Self {
        Self::with(config, DriveConfig::default())
    }

    fn with(model: ModelConfig, drive: DriveConfig) -> Self {
        let model = Model::new(model);
        let drive = NvmeDrive::open(model.platform(), drive).expect("a healthy drive comes up");
        Self { model, drive }
    }

    fn read(&self, lba: u64, bytes: usize) -> Op<ModelBuf> {
        Op::Read { lba: Lba(lba), buf: self.model.buffer(&vec![0xee; bytes]) }
    }

    fn write(&self, lba: u64, bytes: &[u8]) -> Op<ModelBuf> {
        Op::Write { lba: Lba(lba), buf: self.model.buffer(bytes), fua: false }
    }

    fn submit(&mut self, tag: u64, op: Op<ModelBuf>) {
        assert!(self.drive.submit(Tag(tag), op).is_ok(), "room for operation {tag}");
    }

    /// One round of a core: kick, then collect what is there.
    fn round(&mut self) -> Vec<Completion<ModelBuf>> {
        self.drive.kick();
        core::iter::from_fn(|| self.drive.poll()).collect()
    }

    /// One operation from start to end.
    fn run(&mut self, op: Op<ModelBuf>) -> Completion<ModelBuf> {
        self.submit(77, op);
        let mut done = self.round();
        assert_eq!(done.len(), 1);
        done.pop().expect("one completion")
    }

    /// Rounds of a millisecond until the time is over.
    fn rounds_for(&mut self, time: Duration) -> Vec<Completion<ModelBuf>> {
        let mut done = self.round();
        for _ in 0..time.as_millis() {
            self.model.advance(Duration::from_millis(1));
            done.extend(self.round());
        }
        done
    }

    /// As `rounds_for`, without the buffers, in the order of the tags.
    fn ends_within(&mut self, time: Duration) -> Vec<End> {
        let mut ends: Vec<End> =
            self.rounds_for(time).into_iter().map(|c| (c.tag.0, c.result, c.buf.is_some())).collect();
        ends.sort_unstable_by_key(|(tag, ..)| *tag);
        ends
    }

    /// Ends the drive; the model must have nothing to complain about, now and much later.
    fn end(self) {
        let Self { model, drive } = self;
        drop(drive);
        model.advance(Duration::from_secs(3600));
        assert_eq!(model.violations(), Vec::<String>::new());
    }
}

/// Why a drive does not come up; the controller must be stopped afterwards.
fn refusal(model: &Model) -> BringUpError {
    let error = NvmeDrive::open(model.platform(), DriveConfig::default()).expect_err("this drive is refused");
    assert_eq!(model.violations(), Vec::<String>::new());
    error
}

/// Bytes that differ from block to block and from seed to seed.
fn pattern(seed: u64, bytes: usize) -> Vec<u8> {
    (0..bytes as u64).map(|i| (i / 512 * 31 + i % 251 + seed * 7).to_le_bytes()[0]).collect()
}
