//! Memory that driver and model share, and who may touch it.
//!
//! Addresses are never reused. So a transfer to a buffer that was freed is always seen, never mistaken for one to its
//! successor.

use block::{IoBuf, assert_cut};
use core::cell::{Cell, RefCell};
use core::fmt;
use core::ops::Range;
use nvme_driver::QueueMemory;
use std::collections::BTreeMap;
use std::rc::Rc;

const PAGE: u64 = 4096;
const PAGE_BYTES: usize = 4096;
/// Where addresses start: above 32 bits, so that a lost upper half is noticed.
const FIRST_ADDRESS: u64 = 0x1_0000_0000;

/// Pages by address, and what they are.
#[derive(Debug)]
pub(crate) struct Memory {
    pages: RefCell<BTreeMap<u64, Box<[u8; PAGE_BYTES]>>>,
    /// Areas by first address.
    areas: RefCell<BTreeMap<u64, Area>>,
    next: Cell<u64>,
    queue_bytes_left: Cell<usize>,
    violations: RefCell<Vec<String>>,
}

#[derive(Clone, Copy, Debug)]
struct Area {
    len: u64,
    /// The device may touch it now.
    is_device_owned: bool,
}

impl Memory {
    pub(crate) fn new(queue_bytes: usize) -> Self {
        Self {
            pages: RefCell::default(),
            areas: RefCell::default(),
            next: Cell::new(FIRST_ADDRESS),
            queue_bytes_left: Cell::new(queue_bytes),
            violations: RefCell::default(),
        }
    }

    pub(crate) fn violation(&self, text: String) {
        self.violations.borrow_mut().push(text);
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.borrow().clone()
    }

    /// Bytes read by the device.
    pub(crate) fn device_read(&self, address: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        if self.check(address, len, "read") {
            self.copy_out(address, &mut bytes);
        }
        bytes
    }

    /// Bytes written by the device.
    pub(crate) fn device_write(&self, address: u64, bytes: &[u8]) {
        if self.check(address, bytes.len(), "write") {
            self.copy_in(address, bytes);
        }
    }

    fn check(&self, address: u64, len: usize, what: &str) -> bool {
        let areas = self.areas.borrow();
        let end = address.checked_add(len as u64);
        let inside = areas.range(..=address).next_back().is_some_and(|(start, area)| {
            area.is_device_owned && end.is_some_and(|end| end <= start + area.len)
        });
        if !inside {
            self.violation(format!("device {what} of {len} bytes at {address:#x}, which it does not own"));
        }
        inside
    }

    fn add(&self, len: usize, is_device_owned: bool) -> u64 {
        let address = self.next.get();
        // An unused page behind each area, so that overruns hit nothing.
        self.next.set(address + (len as u64).next_multiple_of(PAGE) + PAGE);
        self.areas.borrow_mut().insert(address, Area { len: len as u64, is_device_owned });
        address
    }

    fn set_owner(&self, address: u64, is_device_owned: bool) {
        let mut areas = self.areas.borrow_mut();
        let area = areas.get_mut(&address).expect("an area of this memory");
        area.is_device_owned = is_device_owned;
    }

    fn copy_in(&self, address: u64, bytes: &[u8]) {
        let mut pages = self.pages.borrow_mut();
        for (page, within, range) in pieces(address, bytes.len()) {
            let page = pages.entry(page).or_insert_with(|| Box::new([0; PAGE_BYTES]));
            page[within].copy_from_slice(&bytes[range]);
        }
    }

    fn copy_out(&self, address: u64, bytes: &mut [u8]) {
        let pages = self.pages.borrow();
        for (page, within, range) in pieces(address, bytes.len()) {
            match pages.get(&page) {
                Some(page) => bytes[range].copy_from_slice(&page[within]),
                None => bytes[range].fill(0),
            }
        }
    }
}

/// Cuts a range at page boundaries: the page, the part of it, the part of the range.
fn pieces(address: u64, len: usize) -> impl Iterator<Item = (u64, Range<usize>, Range<usize>)> {
    let start = usize::try_from(address % PAGE).expect("less than a page");
    (0..(start + len).div_ceil(PAGE_BYTES)).map(move |index| {
        let from = (index * PAGE_BYTES).max(start);
        let to = ((index + 1) * PAGE_BYTES).min(start + len);
        let page = index * PAGE_BYTES;
        (address / PAGE + index as u64, from - page..to - page, from - start..to - start)
    })
}

/// Payload memory. Handing it over and back copies it, as a bounce buffer would.
pub struct ModelBuf {
    memory: Rc<Memory>,
    address: u64,
    bytes: Box<[u8]>,
}

impl ModelBuf {
    pub(crate) fn new(memory: &Rc<Memory>, bytes: &[u8]) -> Self {
        let address = memory.add(bytes.len(), false);
        Self { memory: Rc::clone(memory), address, bytes: bytes.into() }
    }

    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    pub(crate) fn hand_over(&self) {
        self.memory.copy_in(self.address, &self.bytes);
        self.memory.set_owner(self.address, true);
    }

    pub(crate) fn take_back(&mut self) {
        self.memory.copy_out(self.address, &mut self.bytes);
        self.memory.set_owner(self.address, false);
    }
}

impl AsRef<[u8]> for ModelBuf {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsMut<[u8]> for ModelBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl IoBuf for ModelBuf {
    fn split_off(&mut self, at: usize) -> Self {
        assert_cut(at, self.bytes.len());
        let rest = Self::new(&self.memory, &self.bytes[at..]);
        self.bytes = self.bytes[..at].into();
        rest
    }

    fn rejoin(&mut self, rest: Self) {
        *self = Self::new(&self.memory, &[&self.bytes[..], &rest.bytes].concat());
    }
}

impl Drop for ModelBuf {
    fn drop(&mut self) {
        let area = self.memory.areas.borrow_mut().remove(&self.address);
        if area.is_some_and(|area| area.is_device_owned) {
            self.memory.violation(format!("buffer at {:#x} freed while the device owns it", self.address));
        }
    }
}

impl fmt::Debug for ModelBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModelBuf({} bytes at {:#x})", self.bytes.len(), self.address)
    }
}

/// Queue memory: the device may touch it for ever.
#[derive(Debug)]
pub struct ModelQueue {
    memory: Rc<Memory>,
    address: u64,
    len: usize,
}

impl ModelQueue {
    pub(crate) fn new(memory: &Rc<Memory>, bytes: usize) -> Option<Self> {
        let left = memory.queue_bytes_left.get().checked_sub(bytes)?;
        memory.queue_bytes_left.set(left);
        Some(Self { memory: Rc::clone(memory), address: memory.add(bytes, true), len: bytes })
    }

    fn at(&self, at: usize, len: usize) -> u64 {
        assert!(
            at.is_multiple_of(len.min(8)) && at + len <= self.len,
            "aligned word inside the queue memory"
        );
        self.address + at as u64
    }
}

impl QueueMemory for ModelQueue {
    fn address(&self) -> u64 {
        self.address
    }

    fn load_u32(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        self.memory.copy_out(self.at(at, 4), &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn load_u64(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        self.memory.copy_out(self.at(at, 8), &mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn store_u64(&self, at: usize, value: u64) {
        self.memory.copy_in(self.at(at, 8), &value.to_le_bytes());
    }

    fn store_entry(&self, at: usize, entry: &[u8; 64]) {
        self.memory.copy_in(self.at(at, 64), entry);
    }
}
