//! Drives of the kernel and of memory behave alike; the loop runs, sleeps and wakes.

mod doors;

use crate::{
    App, Device, FileConfig, FileDevice, FileError, Mode, Polling, RamDevice, Round, Sleep, mailbox, run,
};
use block::{BlockDevice, Blocks, Bytes, Completion, Lba, MediaError, Op, Tag, Tick};
use dma::{Arena, ArenaConfig, DmaBuf};
use net::{Event, Net, Waker};
use std::fs;
use std::path::Path;

/// Looks at a drive before a test gives up; the loop yields in between.
const LOOKS_MAX: usize = 50_000_000;

fn arena() -> Arena {
    Arena::new(ArenaConfig { bytes: 16 << 20, hugepages: false }).expect("16 MiB")
}

fn finish(device: &mut dyn Device<Buf = DmaBuf>, op: Op<DmaBuf>) -> Completion<DmaBuf> {
    device.submit(Tag(7), op).expect("an empty drive has room");
    device.kick();
    for _ in 0..LOOKS_MAX {
        if let Some(completion) = device.poll() {
            assert_eq!(completion.tag, Tag(7));
            return completion;
        }
        std::thread::yield_now();
    }
    panic!("the drive does not answer");
}

fn filled(arena: &Arena, len: usize, byte: u8) -> DmaBuf {
    let mut buf = arena.alloc(len).expect("a slot");
    buf.as_mut().fill(byte);
    buf
}

fn file_device(path: &Path, size: u64, arena: &Arena) -> FileDevice {
    let config = FileConfig { path: path.to_owned(), create: Some(Bytes(size)) };
    FileDevice::open(&config, arena, &Waker::new().expect("an eventfd")).expect("a drive")
}

/// Goal: what is written is read back, zeroes are zeroes, and the neighbours keep their data; on every kind of drive.
fn stores_blocks(device: &mut dyn Device<Buf = DmaBuf>) {
    let arena = arena();
    for (lba, byte) in [(1, 0x11), (2, 0x22), (3, 0x33)] {
        let op = Op::Write { lba: Lba(lba), buf: filled(&arena, 4096, byte), fua: lba == 2 };
        assert_eq!(finish(device, op).result, Ok(()));
    }
    let zeroes = Op::WriteZeroes { lba: Lba(2), blocks: Blocks(1), fua: true };
    assert_eq!(finish(device, zeroes).result, Ok(()));
    assert_eq!(finish(device, Op::Flush).result, Ok(()));
    let read = finish(device, Op::Read { lba: Lba(0), buf: filled(&arena, 5 * 4096, 0xEE) });
    assert_eq!(read.result, Ok(()));
    let data = read.buf.expect("the buffer comes back");
    let firsts: Vec<u8> = data.as_ref().chunks(4096).map(|block| block[0]).collect();
    assert_eq!(firsts, [0, 0x11, 0, 0x33, 0]);
}

/// Goal: a range outside the drive is an answer, not a transfer.
fn refuses_ranges_outside(device: &mut dyn Device<Buf = DmaBuf>) {
    let arena = arena();
    let last = device.geometry().blocks.0 - 1;
    let buf = filled(&arena, 8192, 0);
    let completion = finish(device, Op::Write { lba: Lba(last), buf, fua: false });
    assert_eq!(completion.result, Err(MediaError::OutOfRange));
    assert!(completion.buf.is_some());
    let zeroes = Op::WriteZeroes { lba: Lba(u64::MAX), blocks: Blocks(2), fua: false };
    assert_eq!(finish(device, zeroes).result, Err(MediaError::OutOfRange));
}

#[test]
fn memory_drive_stores_blocks() {
    let mut device = RamDevice::new(Bytes(1 << 20));
    stores_blocks(&mut device);
    refuses_ranges_outside(&mut device);
}

#[test]
fn file_drive_stores_blocks() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut device = file_device(&dir.path().join("a.img"), 1 << 20, &arena());
    stores_blocks(&mut device);
    refuses_ranges_outside(&mut device);
}

/// Goal: what a file drive said was written is there when it is opened again.
#[test]
fn file_drive_keeps_its_data() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.img");
    let arena = arena();
    let mut device = file_device(&path, 1 << 20, &arena);
    let write = Op::Write { lba: Lba(9), buf: filled(&arena, 4096, 0x5A), fua: false };
    assert_eq!(finish(&mut device, write).result, Ok(()));
    device.shut_down().expect("synchronised");
    drop(device);
    let mut device = file_device(&path, 1 << 20, &arena);
    let read = finish(&mut device, Op::Read { lba: Lba(9), buf: filled(&arena, 4096, 0) });
    assert_eq!(read.buf.expect("the buffer").as_ref()[4095], 0x5A);
}

/// Goal: two engines never share a file; other wrong paths are refused with the path and the reason.
#[test]
fn unusable_files_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let arena = arena();
    let waker = Waker::new().expect("an eventfd");
    let path = dir.path().join("a.img");
    let first = file_device(&path, 1 << 20, &arena);
    let config = FileConfig { path: path.clone(), create: None };
    assert!(matches!(FileDevice::open(&config, &arena, &waker), Err(FileError::InUse { .. })));
    drop(first);
    // Not by another name either.
    let linked = dir.path().join("link.img");
    std::os::unix::fs::symlink(&path, &linked).expect("linked");
    let config = FileConfig { path: linked, create: Some(Bytes(1 << 20)) };
    let first = file_device(&path, 1 << 20, &arena);
    let refused = FileDevice::open(&config, &arena, &waker).expect_err("it is in use");
    assert!(refused.to_string().contains("link.img is in use already; name it once"), "{refused}");
    drop(first);
    let missing = FileConfig { path: dir.path().join("b.img"), create: None };
    let refused = FileDevice::open(&missing, &arena, &waker).expect_err("there is none");
    assert!(refused.to_string().contains("b.img; check the path, or let the drive be made with size="));
    let nowhere = FileConfig { path: dir.path().join("none/b.img"), create: Some(Bytes(1 << 20)) };
    assert!(matches!(FileDevice::open(&nowhere, &arena, &waker), Err(FileError::Open { .. })));
    let tiny = dir.path().join("c.img");
    fs::write(&tiny, b"x").expect("written");
    let refused = FileDevice::open(&FileConfig { path: tiny, create: None }, &arena, &waker);
    assert!(matches!(refused, Err(FileError::Unusable { .. })));
}

/// Goal: a drive takes operations up to its depth, gives the next one back, and completes each once.
#[test]
fn full_drive_gives_the_operation_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let arena = arena();
    let mut device = file_device(&dir.path().join("a.img"), 4 << 20, &arena);
    let depth = u64::from(device.geometry().depth_max);
    let read = |tag: u64| Op::Read { lba: Lba(tag), buf: filled(&arena, 4096, 0) };
    for tag in 0..depth {
        assert!(device.submit(Tag(tag), read(tag)).is_ok());
    }
    assert!(device.submit(Tag(999), read(1)).is_err());
    let mut seen = vec![0u32; usize::try_from(depth).expect("small")];
    let mut left = depth;
    for _ in 0..LOOKS_MAX {
        device.kick();
        while let Some(completion) = device.poll() {
            assert_eq!(completion.result, Ok(()));
            seen[usize::try_from(completion.tag.0).expect("small")] += 1;
            left -= 1;
        }
        if left == 0 {
            break;
        }
        std::thread::yield_now();
    }
    assert!(seen.iter().all(|count| *count == 1));
}

/// An application that adds up the numbers it is sent, and ends at zero.
struct Adder {
    sum: u64,
    is_finished: bool,
    device: FileDevice,
    reads: usize,
}

impl App for Adder {
    type Message = u64;

    fn poll_devices(&mut self, _: &mut Round<'_>) -> usize {
        let count = core::iter::from_fn(|| self.device.poll()).count();
        self.reads += count;
        count
    }
    fn on_event(&mut self, _: &mut Round<'_>, _: Event) -> bool {
        true
    }
    fn start_requests(&mut self, _: &mut Round<'_>) -> usize {
        0
    }
    fn kick(&mut self, _: &mut Round<'_>) -> usize {
        self.device.kick();
        0
    }
    fn on_message(&mut self, _: &mut Round<'_>, message: u64) {
        self.sum += message;
        self.is_finished = message == 0;
        self.device.submit(Tag(message), Op::Flush).expect("room");
    }
    fn deadline(&self) -> Option<Tick> {
        None
    }
    fn on_time(&mut self, _: &mut Round<'_>) {}
    fn prepare_sleep(&mut self) -> Sleep {
        self.device.prepare_sleep()
    }
    fn on_awake(&mut self) {
        self.device.on_awake();
    }
    fn is_finished(&self) -> bool {
        self.is_finished && self.reads == 101
    }
}

/// Goal: no message and no completion of a file drive is slept through, in any mode. A lost wake-up costs a second each
/// time, which the file's 101 flushes turn into more than the test runner's patience.
#[test]
fn messages_and_completions_wake_the_core() {
    let dir = tempfile::tempdir().expect("a directory");
    for mode in [Mode::Eco, Mode::Balanced, Mode::Latency] {
        let waker = Waker::new().expect("an eventfd");
        let (sender, mut mailbox) = mailbox::<u64>(waker.clone());
        let path = dir.path().join(mode.to_string());
        let core = std::thread::spawn(move || {
            let config = FileConfig { path, create: Some(Bytes(1 << 20)) };
            let device = FileDevice::open(&config, &arena(), &waker).expect("a drive");
            let mut net = Net::new(waker).expect("an io_uring");
            let mut app = Adder { sum: 0, is_finished: false, device, reads: 0 };
            run(&mut app, &mut net, &mut mailbox, Polling::before_bind(mode));
            app.sum
        });
        for number in (0..=100).rev() {
            sender.send(number).expect("the core runs");
        }
        assert_eq!(core.join().expect("the core ends"), 5050);
    }
}
