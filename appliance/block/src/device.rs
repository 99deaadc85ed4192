//! The one interface to anything that stores blocks: a drive behind VFIO, a file, memory, a simulated disk.
//!
//! ```text
//!  submit(tag, op) ─▶ [queued] ─ kick() ─▶ [at the device] ─ poll() ─▶ Completion { tag, buf, result }
//!        │ full: the op comes back, buffer and all
//! ```
//!
//! Invariants
//! - Each accepted operation completes exactly once, whatever happens to the drive.
//! - Completions come in any order. Two writes to the same block that are in flight together may land in either order.
//! - Without power-loss protection ([`Geometry::is_volatile`]) a completed write is durable only after a later
//!   [`Op::Flush`] completed, or if it was written with `fua`.

use crate::{BLOCK_SIZE, Blocks, Lba};
use core::fmt;

/// A unique, writable buffer whose memory a device can reach. Its length is the length of the transfer.
///
/// Implementations: a slot of a hugepage arena (`dma`), plain heap memory (tests). Deliberately not `Clone`.
pub trait IoBuf: AsRef<[u8]> + AsMut<[u8]> + fmt::Debug + Sized + 'static {
    /// Cuts the buffer in two, each of which may go to another place: the first `at` bytes stay, the rest is given.
    ///
    /// # Panics
    /// Unless both get whole blocks, and at least one.
    fn split_off(&mut self, at: usize) -> Self;

    /// Puts back what [`IoBuf::split_off`] gave, as long as it was.
    ///
    /// # Panics
    /// If memory of a device is not the part behind this one.
    fn rejoin(&mut self, rest: Self);
}

/// Asserts what [`IoBuf::split_off`] promises.
///
/// # Panics
/// If `at` is not within the `len` bytes, or no whole number of blocks.
pub fn assert_cut(at: usize, len: usize) {
    let is_whole = at.is_multiple_of(BLOCK_SIZE) && len.is_multiple_of(BLOCK_SIZE);
    assert!(is_whole && at > 0 && at < len, "{len} bytes are cut at {at}, where no block ends");
}

impl IoBuf for Vec<u8> {
    fn split_off(&mut self, at: usize) -> Self {
        assert_cut(at, self.len());
        Self::split_off(self, at)
    }

    fn rejoin(&mut self, rest: Self) {
        self.extend_from_slice(&rest);
    }
}

impl IoBuf for Box<[u8]> {
    fn split_off(&mut self, at: usize) -> Self {
        assert_cut(at, self.len());
        let rest = self[at..].into();
        *self = self[..at].into();
        rest
    }

    fn rejoin(&mut self, rest: Self) {
        *self = [&self[..], &rest].concat().into();
    }
}

/// Names an operation in flight; chosen by the submitter, given back in the completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u64);

/// What a device shall do. Buffers hold whole blocks; their length decides how many are transferred.
#[derive(Debug, PartialEq, Eq)]
pub enum Op<B> {
    /// Fill the buffer from the blocks at `lba`.
    Read {
        /// First block.
        lba: Lba,
        /// Receives the data.
        buf: B,
    },
    /// Store the buffer at `lba`.
    Write {
        /// First block.
        lba: Lba,
        /// The data.
        buf: B,
        /// Complete only when the data is durable (NVM command set 1.0 §3.2.6, FUA).
        fua: bool,
    },
    /// Make the blocks read as zeroes; the device may also deallocate them.
    WriteZeroes {
        /// First block.
        lba: Lba,
        /// How many.
        blocks: Blocks,
        /// Complete only when the zeroes are durable.
        fua: bool,
    },
    /// Make all writes that completed before durable.
    Flush,
}

impl<B: IoBuf> Op<B> {
    /// The range that the operation touches; `None` for a flush, or if the buffer does not hold whole blocks.
    #[must_use]
    pub fn range(&self) -> Option<(Lba, Blocks)> {
        match self {
            Self::Read { lba, buf } | Self::Write { lba, buf, .. } => {
                Some((*lba, Blocks::of_buffer(buf.as_ref().len())?))
            }
            Self::WriteZeroes { lba, blocks, .. } => Some((*lba, *blocks)),
            Self::Flush => None,
        }
    }

    /// Takes the buffer out of the operation.
    #[must_use]
    pub fn into_buf(self) -> Option<B> {
        match self {
            Self::Read { buf, .. } | Self::Write { buf, .. } => Some(buf),
            Self::WriteZeroes { .. } | Self::Flush => None,
        }
    }
}

/// Why an operation failed. Each kind has one decided reaction, in `target` and `pool`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaError {
    /// The data cannot be read back (NVMe status 2/81h, EIO on a read).
    Unreadable,
    /// The data could not be stored (NVMe status 2/80h, EIO on a write, flush or write zeroes).
    WriteFault,
    /// The device is out of space or refuses writes for good.
    ReadOnly,
    /// The range lies outside the device or the transfer is longer than the device allows: a fault of ours.
    OutOfRange,
    /// The device did not answer in time and the operation was given up after a reset, or it asks to have the operation
    /// repeated: nothing is wrong with the medium.
    TimedOut,
    /// The device is gone.
    Gone,
}

impl fmt::Display for MediaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "unrecovered read error",
            Self::WriteFault => "write fault",
            Self::ReadOnly => "the device accepts no writes",
            Self::OutOfRange => "range outside the device",
            Self::TimedOut => "no answer in time",
            Self::Gone => "the device is gone",
        })
    }
}

/// The end of an operation: the buffer comes back with it (also when it failed).
#[derive(Debug)]
pub struct Completion<B> {
    /// As given to [`BlockDevice::submit`].
    pub tag: Tag,
    /// The buffer of a read or write.
    pub buf: Option<B>,
    /// What became of it. After an error the contents of a read buffer, and of the blocks of a write, are undefined.
    pub result: Result<(), MediaError>,
}

/// What a device is like. Constant for its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Capacity.
    pub blocks: Blocks,
    /// The longest transfer of one operation.
    pub transfer_max: Blocks,
    /// Operations that may be in flight together.
    pub depth_max: u32,
    /// A volatile write cache is in use: completed writes need a flush to be durable.
    pub is_volatile: bool,
    /// A power cut never leaves one 4 KiB block half old, half new (NVMe AWUPF/NAWUPF, or a 4 KiB format).
    pub is_block_atomic: bool,
}

/// Anything that stores blocks. See the module header for the life of an operation.
pub trait BlockDevice {
    /// The memory this device can reach.
    type Buf: IoBuf;

    /// Capacity and limits.
    fn geometry(&self) -> Geometry;

    /// Queues an operation. When no room is left the operation is given back unchanged: poll, then try again.
    ///
    /// # Errors
    /// The operation itself, if the device has no room for it now. Bad ranges are not refused here: they complete
    /// with [`MediaError::OutOfRange`].
    fn submit(&mut self, tag: Tag, op: Op<Self::Buf>) -> Result<(), Op<Self::Buf>>;

    /// Hands everything queued to the device (one doorbell, one system call). Called once per round.
    fn kick(&mut self);

    /// The next completion, if there is one.
    fn poll(&mut self) -> Option<Completion<Self::Buf>>;
}
