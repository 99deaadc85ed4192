//! What is wrong with a drive.

use block::MediaError;
use std::collections::BTreeSet;

/// The faults of a drive, set by a test at any time. The default is a drive that works.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Dying: `Some(n)`: after `n` more of them all writes and flushes fail.
    pub fails_after: Option<u64>,
    /// One command (of any kind) fails once: the one after `n` more.
    pub fails_once_after: Option<(u64, MediaError)>,
    /// Latent errors: reads of these blocks fail until they are written again.
    pub unreadable: BTreeSet<u64>,
    /// Flushes and FUA are confirmed and do nothing.
    pub lies_about_flush: bool,
    /// What happens to the next write.
    pub next_write: NextWrite,
}

/// The fate of one write that is confirmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NextWrite {
    /// It arrives.
    #[default]
    Arrives,
    /// It is confirmed and never stored.
    IsLost,
    /// It is stored at this block instead.
    GoesTo(u64),
}

impl Faults {
    /// Counts a command; says whether it fails.
    pub(crate) fn on_command(&mut self, is_read: bool) -> Result<(), MediaError> {
        match self.fails_once_after {
            Some((0, error)) => {
                self.fails_once_after = None;
                return Err(error);
            }
            Some((left, error)) => self.fails_once_after = Some((left - 1, error)),
            None => {}
        }
        if !is_read {
            if self.fails_after == Some(0) {
                return Err(MediaError::WriteFault);
            }
            self.fails_after = self.fails_after.map(|n| n - 1);
        }
        Ok(())
    }
}
