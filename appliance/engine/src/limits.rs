//! Bounds of the engine.

use control::limits::{
    BLOCK_SIZE_DEFAULT, BLOCK_SIZES, DRIVES_MAX, NAME_LEN_MAX, POOL_DRIVES_MAX, SERIAL_LEN_MAX,
    SIZE_STEP_BYTES,
};
use core::time::Duration;

// No more pools than subsystems come of the drives of a node.
const _: () = assert!(DRIVES_MAX <= nvme_subsystem::limits::SUBSYSTEMS_MAX);

// What the contract promises to clients is what fits on the drives.
const _: () = assert!(NAME_LEN_MAX == ondisk::limits::NAME_LEN_MAX);
const _: () = assert!(SERIAL_LEN_MAX == ondisk::limits::SERIAL_LEN_MAX);
const _: () = assert!(POOL_DRIVES_MAX == ondisk::limits::MEMBERS_MAX);
const _: () = assert!(SIZE_STEP_BYTES == ondisk::EXTENT_BYTES);
const _: () = assert!(
    BLOCK_SIZES[0] == ondisk::LbaSize::B512.bytes()
        && BLOCK_SIZES[1] == ondisk::LbaSize::B4096.bytes()
        && BLOCK_SIZE_DEFAULT == BLOCK_SIZES[1]
);

/// Memory of the arena that a drive may keep itself: a file drive has a buffer of zeroes of 128 KiB, and large buffers are two
/// thirds of an arena.
const ARENA_BYTES_OF_DRIVE: usize = 256 << 10;

/// Memory of the arena for each drive: what it keeps, and what is set aside for the pool of the thin engine that it may become.
pub(crate) const ARENA_BYTES_PER_DRIVE: usize = ARENA_BYTES_OF_DRIVE + (2560 << 10);

const _: () = {
    use dma::limits::{SLOT_LARGE, SLOT_SMALL};
    let (small, large) = (thin::limits::SLOTS.0 * SLOT_SMALL, thin::limits::SLOTS.1 * SLOT_LARGE);
    // Behind an eighth for queues three quarters are large, an eighth is small (`dma::carve`).
    let left = (ARENA_BYTES_PER_DRIVE - ARENA_BYTES_OF_DRIVE) / 8 * 7;
    assert!(small <= left / 8 && large <= left / 4 * 3);
};

/// Changes that work on drives together: for each pool of a large node one that zeroes and one that writes the record. So a
/// host's change always finds a place; others wait.
pub(crate) const JOBS_MAX: usize = 2 * DRIVES_MAX;

/// Changes that may wait for others. People and the agent make them one by one; more is a runaway client.
pub(crate) const WAITING_MAX: usize = 256;

/// How long an orderly stop waits for commands, answers and changes; whatever is left then is cut off, as in a crash.
pub(crate) const DRAIN_TIME: Duration = Duration::from_secs(3);

/// How long it waits then for sockets to close and drives to give everything back. Drives bound their own time.
pub(crate) const CLOSE_TIME: Duration = Duration::from_secs(30);

/// A pool that could not be brought up to date is tried again after so long.
pub(crate) const SETTLE_PERIOD: Duration = Duration::from_secs(5);

/// Room in a tag for the number of an operation within its job; the job's number is above.
pub(crate) const JOB_TAG_BITS: u32 = 40;

const _: () = assert!(JOBS_MAX < 1 << (63 - JOB_TAG_BITS));

#[cfg(test)]
mod tests {
    use super::NAME_LEN_MAX;

    /// Goal: a name that clients take is one that drives can hold, and no other. Method: every character, every length.
    #[test]
    fn contract_and_format_agree_on_names() {
        let characters = (0..=255_u8).map(|byte| format!("a{}", char::from(byte)));
        let lengths = (0..=NAME_LEN_MAX + 1).map(|len| "a".repeat(len));
        for text in characters.chain(lengths) {
            assert_eq!(control::is_name(&text), ondisk::Name::new(&text).is_ok(), "{text:?}");
        }
    }
}
