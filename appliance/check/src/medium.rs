//! What is checked: blocks that can be read.

use block::{BLOCK_SIZE, Blocks, Lba, MediaError};
use ondisk::LoadError;
use thiserror::Error;

/// A drive, or the image of one.
pub trait Medium {
    /// How long it is.
    fn capacity(&self) -> Blocks;

    /// Reads one block; `to` has its size.
    ///
    /// # Errors
    /// If the block cannot be read.
    fn read(&self, lba: Lba, to: &mut [u8]) -> Result<(), MediaError>;
}

/// Why a block is not what was looked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// The drive does not give it.
    #[error("{0}")]
    Media(MediaError),
    /// Its contents are wrong.
    #[error("{0}")]
    Load(#[from] LoadError),
}

/// One block.
pub(crate) fn fetch(medium: &dyn Medium, lba: Lba) -> Result<Box<[u8]>, Fault> {
    if lba.0 >= medium.capacity().0 {
        return Err(Fault::Media(MediaError::OutOfRange));
    }
    let mut bytes = vec![0; BLOCK_SIZE].into_boxed_slice();
    medium.read(lba, &mut bytes).map_err(Fault::Media)?;
    Ok(bytes)
}
