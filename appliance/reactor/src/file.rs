//! A drive that is a file or a block device of the kernel, over io_uring.
//!
//! ```text
//!  Read, Write   -> READ, WRITE (RWF_DSYNC for fua); a short transfer goes on where it stopped
//!  Flush         -> FSYNC(DATASYNC)
//!  WriteZeroes   -> FALLOCATE: punch a hole; else zero the range; else writes of zeroes.   fua: then FSYNC
//! ```
//!
//! Invariants
//! - The buffer of an operation stays in its place in `in_flight` until the kernel's completion was seen.
//! - After a flush that failed none succeeds. The kernel tells of a failed write-back once and then takes the data for
//!   stored: the next host that flushes would be told that its writes are durable, and they are not.
//! - Direct IO where the file system can (the page cache would hold every block twice), else through the page cache.
//! - One user per drive: a lock keeps a second engine away from a file, exclusive opening (`O_EXCL`) also file systems,
//!   swap and RAID away from a block device, whichever of its names is used.
//!
//! A file is always volatile: completed writes are in the kernel's or the drive's cache until a flush. A 4 KiB block is
//! taken to be atomic, as the page cache and current drives make it.

use crate::limits::{DROP_ROUNDS_MAX, FILE_DEPTH_MAX, FILE_TRANSFER_BLOCKS_MAX, ZERO_BYTES};
use crate::{Device, Sleep};
use block::{BLOCK_SIZE, BlockDevice, Blocks, Bytes, Completion, Geometry, MediaError, Op, Tag};
use core::mem;
use core::time::Duration;
use dma::{Arena, DmaBuf};
use io_uring::{opcode, squeue, types};
use net::{Key, Ring, RingKind, Slab, Waker};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Which file, and what to do if it does not exist.
#[derive(Clone, Debug)]
pub struct FileConfig {
    /// The file or block device.
    pub path: PathBuf,
    /// Create a sparse file of this size if there is none.
    pub create: Option<Bytes>,
}

/// Why a file is no drive.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is no such file, and it is not to be created.
    #[error("there is no {path}; check the path, or let the drive be made with size=: file:PATH,size=1GiB", path = path.display())]
    Missing {
        /// As configured.
        path: PathBuf,
    },
    /// It cannot be opened or created.
    #[error("cannot open {path}: {source}; check path and permissions", path = path.display())]
    Open {
        /// As configured.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is a drive already, of this process or another one, or a block device that the system itself uses.
    #[error("{path} is in use already; name it once, end the other daemon, unmount the file system on it", path = path.display())]
    InUse {
        /// As configured.
        path: PathBuf,
    },
    /// It is neither a file nor a block device, or too small for one block.
    #[error("{path} is {problem}", path = path.display())]
    Unusable {
        /// As configured.
        path: PathBuf,
        /// What it is.
        problem: &'static str,
    },
    /// No memory in the arena, or no io_uring.
    #[error("cannot serve {path}: {source}", path = path.display())]
    Setup {
        /// As configured.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// How this file makes zeroes; found out by trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Zeroing {
    Punch,
    ZeroRange,
    Write,
}

/// Where an operation is.
#[derive(Debug)]
enum Step {
    /// Bytes done so far.
    Transfer(usize),
    /// One call for the whole range.
    Allocate(Zeroing),
    /// Bytes of zeroes written so far.
    WriteZeroes(usize),
    /// Making durable what was done.
    Sync,
}

#[derive(Debug)]
struct InFlight {
    tag: Tag,
    op: Op<DmaBuf>,
    step: Step,
}

/// A file as a drive.
#[derive(Debug)]
pub struct FileDevice {
    ring: Ring,
    file: File,
    blocks: Blocks,
    in_flight: Slab<InFlight>,
    done: VecDeque<Completion<DmaBuf>>,
    zeroing: Zeroing,
    zeroes: DmaBuf,
    /// A flush failed.
    has_lost_writes: bool,
}

impl FileDevice {
    /// Opens the file for the calling thread. `waker` is the core's: completions end its sleep.
    ///
    /// # Errors
    /// If the file cannot serve as a drive; nothing of it was changed then.
    pub fn open(config: &FileConfig, arena: &Arena, waker: &Waker) -> Result<Self, FileError> {
        let path = &config.path;
        let mut file = open(path, config.create)?;
        let blocks = Bytes(size(path, &mut file)?).blocks_floor();
        if blocks.0 == 0 {
            return Err(FileError::Unusable {
                path: path.clone(),
                problem: "smaller than one block of 4 KiB",
            });
        }
        let setup = |source| FileError::Setup { path: path.clone(), source };
        let mut ring = Ring::new(RingKind::Side, FILE_DEPTH_MAX, 2 * FILE_DEPTH_MAX).map_err(setup)?;
        ring.register_notify(waker.as_fd()).map_err(setup)?;
        let zeroes = arena
            .alloc_zeroed(ZERO_BYTES)
            .ok_or_else(|| setup(io::Error::other("the arena for IO buffers is too small")))?;
        Ok(Self {
            ring,
            file,
            blocks,
            in_flight: Slab::new(FILE_DEPTH_MAX as usize),
            done: VecDeque::with_capacity(FILE_DEPTH_MAX as usize),
            zeroing: Zeroing::Punch,
            zeroes,
            has_lost_writes: false,
        })
    }

    fn is_in_range(&self, op: &Op<DmaBuf>) -> bool {
        let Some((lba, blocks)) = op.range() else { return matches!(op, Op::Flush) };
        let is_short = blocks.0 <= FILE_TRANSFER_BLOCKS_MAX || matches!(op, Op::WriteZeroes { .. });
        is_short && blocks.0 > 0 && lba.checked_add(blocks).is_some_and(|end| end.0 <= self.blocks.0)
    }

    /// Queues the next call of an operation.
    fn push(&mut self, key: Key) {
        let fd = types::Fd(self.file.as_raw_fd());
        let item = self.in_flight.get_mut(key).expect("an operation in flight");
        let entry = entry(fd, item, &mut self.zeroes).user_data(key.to_bits());
        // SAFETY: the entry names memory of the operation's buffer, which stays in `in_flight` until the completion, or
        // of `zeroes`, which is only read and lives as long as the device; `Drop` waits for the kernel.
        unsafe { self.ring.push(entry) };
    }

    /// A call has returned: the operation is over, or goes on with its next call.
    fn on_finished(&mut self, key: Key, result: io::Result<usize>) {
        let item = self.in_flight.get_mut(key).expect("an operation in flight");
        let is_sync = matches!(item.step, Step::Sync);
        match next_step(item, result) {
            Next::Step(step) => {
                // What one operation found out about the file system, the next ones need not try.
                match (&item.step, &step) {
                    (Step::Allocate(_), Step::Allocate(other)) => self.zeroing = *other,
                    (Step::Allocate(_), Step::WriteZeroes(_)) => self.zeroing = Zeroing::Write,
                    _ => {}
                }
                item.step = step;
                self.push(key);
            }
            Next::Done(mut result) => {
                if is_sync {
                    self.has_lost_writes |= result.is_err();
                    // A flush that was on its way beside the one that failed.
                    result =
                        if self.has_lost_writes { result.and(Err(MediaError::WriteFault)) } else { result };
                }
                let item = self.in_flight.remove(key).expect("an operation in flight");
                self.done.push_back(Completion { tag: item.tag, buf: item.op.into_buf(), result });
            }
        }
    }
}

impl BlockDevice for FileDevice {
    type Buf = DmaBuf;

    fn geometry(&self) -> Geometry {
        Geometry {
            blocks: self.blocks,
            transfer_max: Blocks(FILE_TRANSFER_BLOCKS_MAX),
            depth_max: FILE_DEPTH_MAX,
            is_volatile: true,
            is_block_atomic: true,
        }
    }

    fn submit(&mut self, tag: Tag, op: Op<DmaBuf>) -> Result<(), Op<DmaBuf>> {
        if !self.is_in_range(&op) {
            self.done.push_back(Completion { tag, buf: op.into_buf(), result: Err(MediaError::OutOfRange) });
            return Ok(());
        }
        let must_be_durable = match &op {
            Op::Write { fua, .. } | Op::WriteZeroes { fua, .. } => *fua,
            Op::Flush => true,
            Op::Read { .. } => false,
        };
        if must_be_durable && self.has_lost_writes {
            self.done.push_back(Completion { tag, buf: op.into_buf(), result: Err(MediaError::WriteFault) });
            return Ok(());
        }
        let step = match &op {
            Op::Read { .. } | Op::Write { .. } => Step::Transfer(0),
            Op::WriteZeroes { .. } if self.zeroing == Zeroing::Write => Step::WriteZeroes(0),
            Op::WriteZeroes { .. } => Step::Allocate(self.zeroing),
            Op::Flush => Step::Sync,
        };
        let key = self.in_flight.insert(InFlight { tag, op, step }).map_err(|item| item.op)?;
        self.push(key);
        Ok(())
    }

    fn kick(&mut self) {
        self.ring.flush();
    }

    fn poll(&mut self) -> Option<Completion<DmaBuf>> {
        loop {
            if let Some(completion) = self.done.pop_front() {
                return Some(completion);
            }
            let Some(finished) = self.ring.poll() else {
                // Operations that need one more call go on without waiting for the next kick, and the kernel delivers
                // what it has finished.
                self.ring.flush();
                if self.ring.has_finished() {
                    continue;
                }
                return None;
            };
            self.on_finished(Key::from_bits(finished.user_data), finished.count());
        }
    }
}

impl Device for FileDevice {
    fn failure(&self) -> Option<String> {
        let why = "a flush failed, and what was written before it may be lost; check the disk below it, then restart";
        self.has_lost_writes.then(|| why.to_owned())
    }

    fn prepare_sleep(&mut self) -> Sleep {
        self.ring.flush();
        self.ring.set_notify(true);
        // What finished before the line above does not wake anybody.
        if self.done.is_empty() && !self.ring.has_finished() { Sleep::Fine } else { Sleep::Poll }
    }

    fn on_awake(&mut self) {
        self.ring.set_notify(false);
    }

    fn shut_down(&mut self) -> Result<(), String> {
        self.file.sync_data().map_err(|e| e.to_string())
    }
}

impl Drop for FileDevice {
    fn drop(&mut self) {
        for _ in 0..DROP_ROUNDS_MAX {
            while self.poll().is_some() {}
            if self.in_flight.is_empty() {
                return;
            }
            self.ring.wait(Duration::from_millis(20));
        }
        // Keep the memory for ever rather than let somebody else use what the kernel may still write.
        mem::forget(mem::replace(&mut self.in_flight, Slab::new(0)));
    }
}

/// What follows a call.
enum Next {
    Step(Step),
    Done(Result<(), MediaError>),
}

fn next_step(item: &InFlight, result: io::Result<usize>) -> Next {
    let count = match result {
        Ok(count) => count,
        Err(error) => return on_error(item, &error),
    };
    let (is_fua, len) = match &item.op {
        Op::Read { buf, .. } | Op::Write { buf, .. } => (false, buf.len()),
        Op::WriteZeroes { blocks, fua, .. } => (*fua, blocks.buffer_len().unwrap_or(usize::MAX)),
        Op::Flush => (false, 0),
    };
    let is_over = match &item.step {
        // Nothing more comes: the file became shorter than it was.
        Step::Transfer(_) | Step::WriteZeroes(_) if count == 0 => return Next::Done(Err(fault(&item.op))),
        Step::Transfer(before) if before + count < len => return Next::Step(Step::Transfer(before + count)),
        Step::WriteZeroes(before) if before + count < len => {
            return Next::Step(Step::WriteZeroes(before + count));
        }
        Step::Transfer(_) | Step::Sync => true,
        Step::WriteZeroes(_) | Step::Allocate(_) => !is_fua,
    };
    if is_over { Next::Done(Ok(())) } else { Next::Step(Step::Sync) }
}

fn on_error(item: &InFlight, error: &io::Error) -> Next {
    let code = error.raw_os_error().unwrap_or(0);
    if [libc::EINTR, libc::EAGAIN].contains(&code) {
        return Next::Step(match &item.step {
            Step::Transfer(at) => Step::Transfer(*at),
            Step::Allocate(how) => Step::Allocate(*how),
            Step::WriteZeroes(at) => Step::WriteZeroes(*at),
            Step::Sync => Step::Sync,
        });
    }
    // Not every file system can do every kind of zeroing; each is tried once.
    if let Step::Allocate(tried) = &item.step
        && [libc::EOPNOTSUPP, libc::ENOSYS, libc::EINVAL, libc::ENODEV].contains(&code)
    {
        return Next::Step(match tried {
            Zeroing::Punch => Step::Allocate(Zeroing::ZeroRange),
            Zeroing::ZeroRange | Zeroing::Write => Step::WriteZeroes(0),
        });
    }
    Next::Done(Err(match code {
        libc::ENOSPC | libc::EROFS | libc::EPERM | libc::EDQUOT => MediaError::ReadOnly,
        libc::ENODEV | libc::ENXIO => MediaError::Gone,
        libc::ETIMEDOUT => MediaError::TimedOut,
        _ => fault(&item.op),
    }))
}

fn fault(op: &Op<DmaBuf>) -> MediaError {
    match op {
        Op::Read { .. } => MediaError::Unreadable,
        Op::Write { .. } | Op::WriteZeroes { .. } | Op::Flush => MediaError::WriteFault,
    }
}

/// The call for the step of an operation.
fn entry(fd: types::Fd, item: &mut InFlight, zeroes: &mut DmaBuf) -> squeue::Entry {
    let start = item.op.range().and_then(|(lba, _)| lba.byte_offset()).unwrap_or(0);
    match (&mut item.op, &item.step) {
        (_, Step::Sync) | (Op::Flush, _) => opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build(),
        (Op::Read { buf, .. }, step) => {
            let at = transferred(step);
            let part = &mut buf.as_mut()[at..];
            opcode::Read::new(fd, part.as_mut_ptr(), length(part.len())).offset(start + at as u64).build()
        }
        (Op::Write { buf, fua, .. }, step) => {
            let at = transferred(step);
            let part = &buf.as_ref()[at..];
            let flags = if *fua { libc::RWF_DSYNC } else { 0 };
            opcode::Write::new(fd, part.as_ptr(), length(part.len()))
                .offset(start + at as u64)
                .rw_flags(flags)
                .build()
        }
        (Op::WriteZeroes { blocks, .. }, Step::Allocate(how)) => {
            let mode = match how {
                Zeroing::Punch => libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
                Zeroing::ZeroRange | Zeroing::Write => libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE,
            };
            opcode::Fallocate::new(fd, blocks.0 * BLOCK_SIZE as u64).offset(start).mode(mode).build()
        }
        (Op::WriteZeroes { blocks, .. }, step) => {
            let at = transferred(step);
            let rest = blocks.buffer_len().unwrap_or(0).saturating_sub(at).min(ZERO_BYTES);
            opcode::Write::new(fd, zeroes.as_mut_ptr().cast_const(), length(rest))
                .offset(start + at as u64)
                .build()
        }
    }
}

fn transferred(step: &Step) -> usize {
    match step {
        Step::Transfer(at) | Step::WriteZeroes(at) => *at,
        Step::Allocate(_) | Step::Sync => 0,
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a transfer is at most 1 MiB")
}

/// Opens with direct IO if possible, and takes the lock.
fn open(path: &Path, create: Option<Bytes>) -> Result<File, FileError> {
    let failed = |source| FileError::Open { path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    match (create, path.exists()) {
        (Some(size), false) => {
            let file = options.clone().create_new(true).open(path).map_err(failed)?;
            file.set_len(size.0).map_err(failed)?;
        }
        (None, false) if is_missing(path) => return Err(FileError::Missing { path: path.to_owned() }),
        (_, _) => {}
    }
    let exclusive = exclusive_flag(path.metadata().is_ok_and(|m| m.file_type().is_block_device()));
    let open = |flags| options.clone().custom_flags(flags | exclusive).open(path);
    let opened = match open(libc::O_DIRECT) {
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => open(0),
        other => other,
    };
    let in_use = || FileError::InUse { path: path.to_owned() };
    let file = match opened {
        Ok(file) => file,
        Err(e) if e.raw_os_error() == Some(libc::EBUSY) => return Err(in_use()),
        Err(e) => return Err(failed(e)),
    };
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(in_use()),
        Err(TryLockError::Error(e)) => Err(failed(e)),
    }
}

/// Linux opens a block device with `O_EXCL` only while nobody else claims it: another daemon, under whatever name, or
/// the kernel itself. The lock alone would miss both: it belongs to one device node, and file systems do not take it.
/// For other files the flag means nothing without `O_CREAT` (open(2): "undefined").
fn exclusive_flag(is_block_device: bool) -> i32 {
    if is_block_device { libc::O_EXCL } else { 0 }
}

/// Nothing there, as opposed to a path that cannot be looked at.
fn is_missing(path: &Path) -> bool {
    matches!(path.try_exists(), Ok(false))
}

fn size(path: &Path, file: &mut File) -> Result<u64, FileError> {
    let failed = |source| FileError::Open { path: path.to_owned(), source };
    let kind = file.metadata().map_err(failed)?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Err(FileError::Unusable {
            path: path.to_owned(),
            problem: "neither a file nor a block device",
        });
    }
    file.seek(SeekFrom::End(0)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use block::Lba;
    use dma::ArenaConfig;

    /// Goal: a flush that the kernel could not do is never followed by one that says all is well.
    #[test]
    fn no_flush_succeeds_after_a_failed_one() {
        let path = std::env::temp_dir().join(format!("ironbay-flush-{}", std::process::id()));
        let arena = Arena::new(ArenaConfig { bytes: 16 << 20, hugepages: false }).expect("16 MiB");
        let config = FileConfig { path: path.clone(), create: Some(Bytes(1 << 20)) };
        let mut device =
            FileDevice::open(&config, &arena, &Waker::new().expect("an eventfd")).expect("a drive");
        let finish = |device: &mut FileDevice, op| {
            device.submit(Tag(1), op).expect("room");
            loop {
                if let Some(completion) = device.poll() {
                    return completion.result;
                }
            }
        };
        assert_eq!((finish(&mut device, Op::Flush), device.failure()), (Ok(()), None));
        let flush = InFlight { tag: Tag(2), op: Op::Flush, step: Step::Sync };
        let key = device.in_flight.insert(flush).expect("room");
        device.on_finished(key, Err(io::Error::from_raw_os_error(libc::EIO)));
        assert_eq!(device.poll().map(|completion| completion.result), Some(Err(MediaError::WriteFault)));
        assert_eq!(finish(&mut device, Op::Flush), Err(MediaError::WriteFault));
        let write = |fua| Op::Write { lba: Lba(0), buf: arena.alloc_zeroed(4096).expect("a slot"), fua };
        assert_eq!(finish(&mut device, write(true)), Err(MediaError::WriteFault));
        assert_eq!(finish(&mut device, write(false)), Ok(()));
        assert!(device.failure().is_some());
        std::fs::remove_file(path).expect("removed");
    }
}
