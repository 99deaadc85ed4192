//! Bounds of this crate.

/// The smallest slot: one page, one block.
pub const SLOT_SMALL: usize = 4 << 10;
/// The slot for transfers of 8 to 16 KiB, the page size of the common databases.
pub const SLOT_MEDIUM: usize = 16 << 10;
/// The largest slot, and so the longest buffer. Commands are cut into chunks of this size above the drivers; larger
/// slots would strand more memory behind odd lengths than they save in commands.
pub const SLOT_LARGE: usize = 128 << 10;
/// The longest buffer.
pub const BUFFER_BYTES_MAX: usize = SLOT_LARGE;
/// A hugepage, and the unit in which an arena is sized.
pub const HUGEPAGE: usize = 2 << 20;
/// One part in so many of the available memory is left alone by an arena of normal pages (guessed).
pub const NORMAL_PAGES_SPARE: usize = 8;
/// The smallest arena: one hugepage.
pub const ARENA_BYTES_MIN: usize = HUGEPAGE;
/// The largest arena. Guessed; slots are counted in 32 bits, which would allow 16 TiB.
pub const ARENA_BYTES_MAX: usize = 1 << 40;
/// The most queue memory of an arena. A drive with queues of 256 entries takes about 100 KiB; 16 drives then use a
/// quarter of it.
pub const QUEUE_BYTES_MAX: usize = 8 << 20;
/// Alignment of queue memory: one page, as NVMe asks for queue base addresses.
pub const QUEUE_ALIGN: usize = 4 << 10;

const _: () = assert!(HUGEPAGE.is_multiple_of(SLOT_LARGE));
const _: () = assert!(SLOT_LARGE.is_multiple_of(SLOT_MEDIUM) && SLOT_MEDIUM.is_multiple_of(SLOT_SMALL));
const _: () = assert!(SLOT_SMALL == block::BLOCK_SIZE);
const _: () = assert!(QUEUE_BYTES_MAX.is_multiple_of(SLOT_LARGE));
