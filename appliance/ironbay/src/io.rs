//! A run of IO over a range of a namespace: write a pattern, read, or verify.

use nvme_host::histogram::Histogram;
use nvme_host::pattern::{self, Mismatch};
use nvme_host::{Completion, HostError, Session};
use nvme_tcp::Slot;
use std::time::{Duration, Instant};

/// What to do with each piece of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Write the pattern, and flush at the end.
    Write,
    /// Read.
    Read,
    /// Read, and compare with the pattern.
    Verify,
}

/// A run.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// What to do.
    pub kind: Kind,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// Seed of the pattern.
    pub seed: u64,
    /// Bytes of one command.
    pub io_size: u32,
    /// Commands in flight.
    pub depth: u16,
}

/// How it went.
#[derive(Clone, Debug)]
pub struct Report {
    /// Bytes moved.
    pub bytes: u64,
    /// From the first command to the last completion, the flush included.
    pub elapsed: Duration,
    /// Latencies of the reads or writes.
    pub latency: Histogram,
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum IoError {
    /// The host failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// What was read is not what was written.
    #[error("byte {} is {:#04x}, the pattern of seed {seed} has {:#04x} there", at.offset, at.found, at.expected)]
    Mismatch {
        /// The first such byte of the command that was found first.
        at: Mismatch,
        /// The seed.
        seed: u64,
    },
}

/// A command in flight.
#[derive(Clone, Copy)]
struct Piece {
    offset: u64,
    len: u32,
    begun: Instant,
}

/// Does it.
///
/// # Errors
/// With the first command that fails, or the first byte that differs.
pub fn run(session: &mut Session, run: &Run) -> Result<Report, IoError> {
    check_range(session, run)?;
    let started = Instant::now();
    let mut pieces: Vec<Option<Piece>> = Vec::new();
    let mut report = Report { bytes: 0, elapsed: Duration::ZERO, latency: Histogram::default() };
    let end = run.offset.saturating_add(run.length);
    let mut next = run.offset;
    while next < end || session.in_flight() > 0 {
        while next < end && session.in_flight() < usize::from(run.depth) {
            let left = u32::try_from(end - next).unwrap_or(u32::MAX);
            let len = run.io_size.min(left);
            let slot = match begin(session, run, next, len) {
                Ok(slot) => slot,
                Err(HostError::Full) => break,
                Err(error) => return Err(error.into()),
            };
            if pieces.len() <= slot.index() {
                pieces.resize(slot.index() + 1, None);
            }
            pieces[slot.index()] = Some(Piece { offset: next, len, begun: Instant::now() });
            next += u64::from(len);
        }
        let mut done = Some(session.wait()?);
        while let Some(completion) = done {
            let piece = pieces.get_mut(completion.slot.index()).and_then(Option::take);
            let piece = piece.expect("a completion belongs to a command of ours");
            end_piece(session, run, completion, piece, &mut report)?;
            done = session.poll();
        }
    }
    if run.kind == Kind::Write {
        session.begin_flush()?;
        session.wait()?.result_of("Flush")?;
    }
    report.elapsed = started.elapsed();
    Ok(report)
}

/// Before anything is written: the range is whole blocks within the namespace, and so is each command.
fn check_range(session: &Session, run: &Run) -> Result<(), HostError> {
    let namespace = session.namespace();
    let (block, size) = (u64::from(namespace.block_bytes), namespace.size_bytes());
    let is_whole = |bytes: u64| bytes.is_multiple_of(block);
    let ends_inside = run.offset.checked_add(run.length).is_some_and(|end| end <= size);
    let fits = run.io_size <= session.transfer_bytes_max() && run.io_size > 0;
    if !is_whole(run.offset) || !is_whole(run.length) || !ends_inside {
        let (offset, len) = (run.offset, run.length);
        return Err(HostError::BadRange { offset, len, block_bytes: namespace.block_bytes, size });
    }
    if !fits || !is_whole(u64::from(run.io_size)) {
        let len = u64::from(run.io_size);
        return Err(HostError::BadRange {
            offset: run.offset,
            len,
            block_bytes: namespace.block_bytes,
            size,
        });
    }
    Ok(())
}

fn begin(session: &mut Session, run: &Run, offset: u64, len: u32) -> Result<Slot, HostError> {
    match run.kind {
        Kind::Write => session.begin_write(offset, len, |data| pattern::fill(run.seed, offset, data)),
        Kind::Read | Kind::Verify => session.begin_read(offset, len),
    }
}

fn end_piece(
    session: &Session,
    run: &Run,
    completion: Completion,
    piece: Piece,
    report: &mut Report,
) -> Result<(), IoError> {
    let name = if run.kind == Kind::Write { "Write" } else { "Read" };
    let Completion { slot, .. } = completion.result_of(name)?;
    report.latency.record(piece.begun.elapsed());
    report.bytes += u64::from(piece.len);
    if run.kind == Kind::Verify
        && let Some(at) = pattern::check(run.seed, piece.offset, session.data(slot, piece.len))
    {
        return Err(IoError::Mismatch { at, seed: run.seed });
    }
    Ok(())
}
