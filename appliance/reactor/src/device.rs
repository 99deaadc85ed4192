//! A drive as a core sees it: a [`BlockDevice`] that also says whether the core may sleep.

use block::BlockDevice;
use dma::DmaBuf;

/// What a drive says when its core wants to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sleep {
    /// Nothing is in flight, or its completion will wake the core.
    Fine,
    /// Completions are only found by polling.
    Poll,
}

/// A drive of a core.
pub trait Device: BlockDevice<Buf = DmaBuf> {
    /// The core wants to sleep: arrange to wake it, or say that this cannot be.
    fn prepare_sleep(&mut self) -> Sleep;

    /// The core is awake again.
    fn on_awake(&mut self) {}

    /// Why the drive does not work any more; every operation then completes with an error.
    fn failure(&self) -> Option<String> {
        None
    }

    /// Orderly end, after the last completion was taken: the drive may lose power from here on. May block shortly.
    ///
    /// # Errors
    /// What went wrong, for people; the drive is given up in any case.
    fn shut_down(&mut self) -> Result<(), String> {
        Ok(())
    }
}
