//! A slot of an arena as a buffer: unique, writable, returned to its arena on drop. A buffer may be cut; then each part has
//! memory of the slot for itself, and the slot is free when all of them are gone.

use crate::arena::{ArenaId, Core};
use crate::carve::CLASSES;
use crate::limits::{BUFFER_BYTES_MAX, SLOT_SMALL};
use block::{IoBuf, assert_cut};
use core::fmt;
use core::ptr::NonNull;
use core::slice;
use std::rc::Rc;

/// Memory for the payload of one transfer. Starts at a page boundary; a slot is contiguous for a device, too.
///
/// Not `Send`: it goes back to the free list of its arena's thread.
pub struct DmaBuf {
    core: Rc<Core>,
    base: NonNull<u8>,
    /// At most [`BUFFER_BYTES_MAX`], so 32 bits keep the handle small.
    len: u32,
    slot: u32,
    class: u8,
    /// Its memory, in units of the smallest slot: all of its slot, unless it was cut.
    pages: u8,
}

const _: () = assert!(BUFFER_BYTES_MAX / SLOT_SMALL <= u8::MAX as usize && SLOT_SMALL == block::BLOCK_SIZE);

impl DmaBuf {
    /// Takes over a slot that is in no free list.
    pub(crate) fn new(core: Rc<Core>, class: usize, slot: u32, len: usize) -> Self {
        assert!(len <= BUFFER_BYTES_MAX, "buffer no longer than the largest slot");
        let base = core.memory.mapping.at(core.slot_offset(class, slot), len);
        let len = u32::try_from(len).expect("a buffer is at most 128 KiB");
        let pages = pages(CLASSES[class]);
        let class = u8::try_from(class).expect("three classes");
        Self { core, base, len, slot, class, pages }
    }

    /// Its bytes, exactly as asked for.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a buffer is never empty")]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Uses more or less of its memory from here on. What is new of it holds what it held before.
    ///
    /// # Panics
    /// If `len` is zero or more than [`DmaBuf::len_max`].
    pub fn resize(&mut self, len: usize) {
        assert!(len > 0 && len <= self.len_max(), "a buffer of {len} bytes has no memory");
        self.len = u32::try_from(len).expect("a slot is at most 128 KiB");
    }

    /// How long it can become: all of its slot, or of its part of one.
    #[must_use]
    pub fn len_max(&self) -> usize {
        usize::from(self.pages) * SLOT_SMALL
    }

    /// The offset of its first byte in the arena. A device sees it at the address of the arena plus this.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.base.as_ptr().addr() - self.core.memory.mapping.base().as_ptr().addr()
    }

    /// The arena that it belongs to.
    #[must_use]
    pub fn arena_id(&self) -> ArenaId {
        self.core.id
    }

    /// The address of its first byte, for handing the buffer to the kernel. Whoever uses it keeps the buffer until the
    /// kernel is done.
    #[must_use]
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.base.as_ptr()
    }
}

impl AsRef<[u8]> for DmaBuf {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the memory is inside the mapping (checked in `new`, `split_off`), and `len` within it (`new`, `resize`); `core`
        // keeps the mapping alive. It was zeroed by the kernel when mapped, so it is initialised. It belongs to this buffer
        // alone, and a device that writes it owns the buffer (crate header), so it does not change below this reference.
        unsafe { slice::from_raw_parts(self.base.as_ptr(), self.len as usize) }
    }
}

impl AsMut<[u8]> for DmaBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_ref`; `&mut self` makes this the only reference.
        unsafe { slice::from_raw_parts_mut(self.base.as_ptr(), self.len as usize) }
    }
}

impl IoBuf for DmaBuf {
    fn split_off(&mut self, at: usize) -> Self {
        assert_cut(at, self.len());
        let core = Rc::clone(&self.core);
        core.cut(usize::from(self.class), self.slot);
        let (rest, own) = (self.len() - at, pages(at));
        let base = core.memory.mapping.at(self.offset() + at, rest);
        let rest = u32::try_from(rest).expect("a part of a buffer");
        let pages = self.pages - own;
        self.pages = own;
        self.len -= rest;
        Self { core, base, len: rest, slot: self.slot, class: self.class, pages }
    }

    fn rejoin(&mut self, rest: Self) {
        let is_same =
            Rc::ptr_eq(&self.core, &rest.core) && (self.class, self.slot) == (rest.class, rest.slot);
        let is_behind = rest.offset() == self.offset() + self.len() && self.len() == self.len_max();
        assert!(is_same && is_behind, "only what was cut off comes back");
        self.pages += rest.pages;
        self.len += rest.len;
    }
}

/// So many bytes in units of the smallest slot.
fn pages(len: usize) -> u8 {
    u8::try_from(len / SLOT_SMALL).expect("a slot has few pages")
}

impl Drop for DmaBuf {
    fn drop(&mut self) {
        self.core.give_back(usize::from(self.class), self.slot);
    }
}

/// Where and how long; never the contents, which belong to a host.
impl fmt::Debug for DmaBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DmaBuf({} bytes at {:#x})", self.len, self.offset())
    }
}
