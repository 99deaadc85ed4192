//! Write Zeroes operations in progress: each is cut into commands, a few of which are in flight at a time.

use crate::limits::{ZERO_JOBS_MAX, ZERO_PARTS_MAX};
use block::{Blocks, Lba, MediaError, Tag};

/// All operations in progress.
#[derive(Debug, Default)]
pub(crate) struct ZeroJobs {
    jobs: [Option<Job>; ZERO_JOBS_MAX],
}

#[derive(Debug)]
struct Job {
    tag: Tag,
    /// First block that no command was made for.
    next: Lba,
    /// Blocks that no command was made for.
    left: Blocks,
    fua: bool,
    /// Commands in flight.
    parts: u32,
    result: Result<(), MediaError>,
}

/// One command's share of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Which operation.
    pub(crate) job: usize,
    pub(crate) lba: Lba,
    pub(crate) blocks: Blocks,
    pub(crate) fua: bool,
}

impl ZeroJobs {
    pub(crate) fn is_full(&self) -> bool {
        self.jobs.iter().all(Option::is_some)
    }

    /// Takes an operation over; its range lies inside the drive, and there is room.
    pub(crate) fn add(&mut self, tag: Tag, lba: Lba, blocks: Blocks, fua: bool) {
        assert!(blocks.0 > 0, "an operation on no blocks ends at once");
        let free = self.jobs.iter_mut().find(|job| job.is_none()).expect("checked by is_full");
        *free = Some(Job { tag, next: lba, left: blocks, fua, parts: 0, result: Ok(()) });
    }

    /// The next command to send, of at most `most` blocks.
    pub(crate) fn next_part(&mut self, most: Blocks) -> Option<Part> {
        let (index, job) = self
            .jobs
            .iter_mut()
            .enumerate()
            .filter_map(|(index, job)| Some((index, job.as_mut()?)))
            .find(|(_, job)| job.left.0 > 0 && job.parts < ZERO_PARTS_MAX)?;
        let blocks = job.left.min(most);
        let part = Part { job: index, lba: job.next, blocks, fua: job.fua };
        job.next = job.next.checked_add(blocks).expect("the range lies inside the drive");
        job.left.0 -= blocks.0;
        job.parts += 1;
        Some(part)
    }

    /// A command ended; the operation's tag and result if that was its last one. After an error nothing more is sent.
    pub(crate) fn finish_part(
        &mut self,
        index: usize,
        result: Result<(), MediaError>,
    ) -> Option<(Tag, Result<(), MediaError>)> {
        let job = self.jobs[index].as_mut().expect("a part belongs to an operation in progress");
        job.parts -= 1;
        if result.is_err() {
            job.left = Blocks(0);
            job.result = job.result.and(result);
        }
        if job.parts > 0 || job.left.0 > 0 {
            return None;
        }
        let job = self.jobs[index].take()?;
        Some((job.tag, job.result))
    }

    /// Ends any operation that has no command in flight, for a device that takes no more.
    pub(crate) fn abandon(&mut self) -> Option<Tag> {
        let idle = self.jobs.iter_mut().find(|job| job.as_ref().is_some_and(|job| job.parts == 0))?;
        idle.take().map(|job| job.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: an operation is cut at the limit, its parts are bounded, and it ends once, after the last.
    #[test]
    fn operations_are_cut_and_end_once() {
        let mut jobs = ZeroJobs::default();
        jobs.add(Tag(1), Lba(10), Blocks(25), true);
        let part = |lba, blocks| Some(Part { job: 0, lba: Lba(lba), blocks: Blocks(blocks), fua: true });
        assert_eq!(jobs.next_part(Blocks(10)), part(10, 10));
        assert_eq!(jobs.next_part(Blocks(10)), part(20, 10));
        assert_eq!(jobs.next_part(Blocks(10)), None);
        assert_eq!(jobs.finish_part(0, Ok(())), None);
        assert_eq!(jobs.next_part(Blocks(10)), part(30, 5));
        assert_eq!(jobs.finish_part(0, Ok(())), None);
        assert_eq!(jobs.finish_part(0, Ok(())), Some((Tag(1), Ok(()))));
        assert!(!jobs.is_full() && jobs.abandon().is_none());
    }

    /// Goal: after an error no further command is made, and the first error is the result.
    #[test]
    fn an_error_ends_an_operation() {
        let mut jobs = ZeroJobs::default();
        jobs.add(Tag(2), Lba(0), Blocks(100), false);
        assert!(jobs.next_part(Blocks(1)).is_some() && jobs.next_part(Blocks(1)).is_some());
        assert_eq!(jobs.finish_part(0, Err(MediaError::WriteFault)), None);
        assert_eq!(jobs.next_part(Blocks(1)), None);
        let end = jobs.finish_part(0, Err(MediaError::Gone));
        assert_eq!(end, Some((Tag(2), Err(MediaError::WriteFault))));
    }
}
