//! Slots do not overlap, come back, and run out; queue memory is words; both fall back to normal pages.

use crate::carve::Layout;
use crate::{Arena, ArenaConfig, Pages, limits};
use block::IoBuf;
use std::collections::BTreeMap;

fn arena() -> Arena {
    Arena::new(ArenaConfig { bytes: limits::ARENA_BYTES_MIN, hugepages: false }).expect("2 MiB of memory")
}

/// Goal: whatever the size, areas are in order, aligned to their slots, and nothing lies outside the arena.
#[test]
fn areas_never_overlap() {
    for bytes in [0, 1, 2 << 20, (2 << 20) + 1, 64 << 20, 1 << 30, 3 << 38, usize::MAX] {
        let layout = Layout::of(bytes);
        let [small, medium, large] = layout.classes;
        assert_eq!(large.start, layout.queue_bytes);
        assert_eq!(medium.start, large.end());
        assert_eq!(small.start, medium.end());
        assert!(small.end() <= layout.bytes && layout.bytes - small.end() < small.slot_bytes);
        for class in layout.classes {
            assert!(class.count > 0 && class.start.is_multiple_of(class.slot_bytes), "{bytes}: {class:?}");
        }
    }
}

/// Goal: no byte of the arena belongs to two buffers. Method: take every slot of every class and the queue memory,
/// compare the ranges, and check that each buffer keeps what was written to it.
#[test]
fn buffers_never_alias() {
    let arena = arena();
    let mut ranges = BTreeMap::new();
    let mut buffers = Vec::new();
    while let Some(queue) = arena.alloc_queue(4096) {
        ranges.insert(queue.offset(), queue.len());
    }
    for len in [limits::SLOT_LARGE, limits::SLOT_MEDIUM, limits::SLOT_SMALL] {
        while let Some(mut buf) = arena.alloc(len) {
            assert_eq!(buf.len(), len);
            assert_eq!(ranges.insert(buf.offset(), buf.len()), None);
            let mark = u8::try_from(buffers.len() % 251).expect("less than 251");
            buf.as_mut().fill(mark);
            buffers.push((mark, buf));
        }
    }
    let mut end = 0;
    for (start, len) in ranges {
        assert!(start >= end, "{start:#x} lies inside its predecessor");
        end = start + len;
    }
    assert!(end <= arena.len());
    for (mark, buf) in &buffers {
        assert!(buf.as_ref().iter().all(|byte| byte == mark));
    }
}

/// Goal: an exhausted arena says so, borrows from larger classes first, and recovers when buffers are dropped.
#[test]
fn exhaustion_borrows_larger_slots_and_recovers() {
    let arena = arena();
    let all: u32 = arena.usage().iter().map(|class| class.slots).sum();
    let mut held: Vec<_> = std::iter::from_fn(|| arena.alloc(1)).collect();
    assert_eq!(held.len(), all as usize);
    assert!(arena.alloc(4096).is_none());
    assert!(arena.usage().iter().all(|class| class.free == 0));
    let last = held.pop().expect("held");
    let offset = last.offset();
    drop(last);
    let again = arena.alloc(limits::BUFFER_BYTES_MAX).expect("the slot dropped last was a large one");
    assert_eq!(again.offset(), offset);
    drop(again);
    drop(held);
    assert!(arena.usage().iter().all(|class| class.free == class.slots));
}

/// Goal: stale data is there without, and gone with, a request for zeroes; and the length is the one asked for.
#[test]
fn zeroed_buffers_are_zero() {
    let arena = arena();
    let mut buf = arena.alloc(5000).expect("free");
    assert_eq!(buf.as_ref().len(), 5000);
    buf.as_mut().fill(7);
    drop(buf);
    let stale = arena.alloc(5000).expect("free");
    assert!(stale.as_ref().iter().all(|byte| *byte == 7), "slots go out last in, first out");
    drop(stale);
    let zeroed = arena.alloc_zeroed(5000).expect("free");
    assert!(zeroed.as_ref().iter().all(|byte| *byte == 0));
}

/// Goal: a length that never becomes available stops the caller instead of letting it wait for ever.
#[test]
#[should_panic(expected = "never available")]
fn a_buffer_over_the_largest_slot_is_a_fault() {
    let _ = arena().alloc(limits::BUFFER_BYTES_MAX + 1);
}

/// Goal: a buffer uses more or less of its slot, never another's.
#[test]
fn a_buffer_stays_in_its_slot() {
    let arena = arena();
    let mut buf = arena.alloc(limits::SLOT_MEDIUM - 1).expect("a free slot");
    for len in [1, limits::SLOT_MEDIUM, 4096] {
        buf.resize(len);
        assert_eq!((buf.len(), buf.as_ref().len(), buf.len_max()), (len, len, limits::SLOT_MEDIUM));
    }
    let refused =
        std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| buf.resize(limits::SLOT_MEDIUM + 1)));
    assert!(refused.is_err());
}

/// Goal: buffers and queues keep the memory alive after the last handle to the arena is gone.
#[test]
fn memory_outlives_the_handle() {
    let arena = arena();
    let id = arena.id();
    let (mut buf, queue) = (arena.alloc(4096).expect("free"), arena.alloc_queue(1).expect("free"));
    drop(arena);
    buf.as_mut().fill(9);
    queue.store_u64(8, 0x0102_0304_0506_0708);
    assert_eq!((buf.as_ref()[4095], queue.load_u32(8), queue.load_u32(12)), (9, 0x0506_0708, 0x0102_0304));
    assert_eq!((buf.arena_id(), queue.arena_id()), (id, id));
}

/// Goal: an entry is stored byte for byte where it belongs, and nowhere else.
#[test]
fn entries_are_copied_in_place() {
    let queue = arena().alloc_queue(4096).expect("free");
    let entry: [u8; 64] = core::array::from_fn(|i| u8::try_from(i + 1).expect("small"));
    queue.store_entry(64, &entry);
    let words: Vec<u64> = (0..192).step_by(8).map(|at| queue.load_u64(at)).collect();
    assert!(words[..8].iter().chain(&words[16..]).all(|word| *word == 0));
    let bytes: Vec<u8> = words[8..16].iter().flat_map(|word| word.to_le_bytes()).collect();
    assert_eq!(bytes, entry);
}

/// Goal: a word outside the memory, or across its grain, is refused.
#[test]
#[should_panic(expected = "aligned word inside")]
fn words_outside_are_refused() {
    let queue = arena().alloc_queue(4096).expect("free");
    let _ = queue.load_u32(4096);
}

/// Goal: without enough hugepages an arena still works and says why; with them it says so.
#[test]
fn hugepages_are_optional() {
    let arena = Arena::new(ArenaConfig { bytes: 4 << 20, hugepages: true }).expect("memory");
    match arena.pages() {
        Pages::Huge2MiB => assert!(arena.hugepages_refused().is_none()),
        Pages::Normal => assert!(arena.hugepages_refused().is_some()),
    }
    assert!(arena.base().is_multiple_of(4096));
    assert_eq!(arena.regions().iter().map(|region| region.len).sum::<usize>(), 4 << 20);
    assert_eq!(arena.alloc(4096).expect("free").as_ref().len(), 4096);
}

/// Goal: the parts of a buffer that is cut do not overlap, none grows into another, what was in the buffer is in them, and they can be
/// put together again; the slot is free when the last part is gone, whatever the order.
#[test]
fn parts_of_a_buffer_share_a_slot() {
    let arena = arena();
    let before = arena.usage();
    let mut first = arena.alloc(5 * 4096).expect("a slot");
    for (page, byte) in (0..).zip(first.as_mut().chunks_exact_mut(4096)) {
        byte.fill(page);
    }
    let start = first.offset();
    let mut rest = first.split_off(4096);
    let last = rest.split_off(3 * 4096);
    let place = |buf: &crate::DmaBuf| (buf.offset() - start, buf.len(), buf.len_max());
    let places = [&first, &rest, &last].map(place);
    assert_eq!(places, [(0, 4096, 4096), (4096, 12288, 12288), (16384, 4096, 128 * 1024 - 16384)]);
    assert_eq!((first.as_ref()[4095], rest.as_ref()[0], last.as_ref()[4095]), (0, 1, 4));
    rest.as_mut().fill(7);
    rest.rejoin(last);
    drop(first);
    assert_ne!(arena.usage(), before, "a part is left");
    assert_eq!((rest.len(), rest.as_ref()[12287], rest.as_ref()[12288]), (16384, 7, 4));
    drop(rest);
    assert_eq!(arena.usage(), before);
}

/// Goal: a buffer takes nothing that was not cut off it.
#[test]
#[should_panic(expected = "only what was cut off comes back")]
fn strange_parts_are_refused() {
    let arena = arena();
    let mut buffers = [(); 2].map(|()| arena.alloc(8192).expect("a slot"));
    let [rest, _] = buffers.each_mut().map(|buf| buf.split_off(4096));
    buffers[1].rejoin(rest);
}

/// Goal: what was set aside is there although everything else is used up, and comes back to whom it was set aside for; who asks for
/// more than there is gets nothing and takes nothing.
#[test]
fn slots_set_aside_are_nobody_elses() {
    let arena = arena();
    let before = arena.usage();
    assert!(arena.set_aside([0, 0, 100]).is_none());
    assert_eq!(arena.usage(), before);
    let aside = arena.set_aside([2, 0, 1]).expect("there is room");
    let held: Vec<_> = std::iter::from_fn(|| arena.alloc(1)).collect();
    for _ in 0..2 {
        let own = [4096, 4096, 1 << 17].map(|len| aside.alloc(len).expect("it was set aside"));
        assert!(aside.alloc(1).is_none() && own.iter().all(|buf| buf.arena_id() == arena.id()));
    }
    drop(held);
    let free = |arena: &Arena| arena.usage().map(|class| class.free);
    assert_eq!(free(&aside), [2, 0, 1]);
    let left = [0, 1, 2].map(|class| before[class].free - free(&aside)[class]);
    assert_eq!(free(&arena), left);
}
