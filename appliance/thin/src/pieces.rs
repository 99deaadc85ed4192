//! Operations of volumes, cut into pieces of one unit each, and put together again.

use crate::limits::{OPERATIONS_MAX, PIECES_MAX};
use block::{Blocks, Completion, IoBuf, Lba, MediaError, Op, Tag};
use ondisk::thin::AU_BLOCKS;
use std::collections::VecDeque;
use std::rc::Rc;
use task::{Core, Mailbox};
use volume::EngineError;

/// What a task does.
#[derive(Debug)]
pub(crate) enum Work<B> {
    Read { first: u64, buf: B },
    Write { first: u64, buf: B, fua: bool },
    Trim { first: u64, blocks: Blocks, fua: bool },
    Flush,
}

/// A part of an operation.
#[derive(Debug)]
pub(crate) struct Piece<B> {
    /// Whose part it is, and which.
    pub(crate) at: (usize, usize),
    pub(crate) volume: u32,
    pub(crate) work: Work<B>,
}

/// A part that has ended. The buffer of one that failed may be gone.
#[derive(Debug)]
pub(crate) struct Ended<B> {
    pub(crate) at: (usize, usize),
    pub(crate) result: Result<Option<B>, EngineError>,
}

#[derive(Debug)]
struct Operation<B> {
    tag: Tag,
    left: usize,
    parts: [Option<B>; PIECES_MAX],
    result: Result<(), MediaError>,
}

/// The operations that a pool has.
#[derive(Debug)]
pub(crate) struct Operations<B> {
    places: Vec<Option<Operation<B>>>,
    free: Vec<usize>,
    pub(crate) pieces: Rc<Mailbox<Piece<B>>>,
    pub(crate) ended: Rc<Mailbox<Ended<B>>>,
    done: VecDeque<Completion<B>>,
}

impl<B: IoBuf> Operations<B> {
    pub(crate) fn new(core: &Rc<Core>) -> Self {
        Self {
            places: (0..OPERATIONS_MAX).map(|_| None).collect(),
            free: (0..OPERATIONS_MAX).rev().collect(),
            pieces: Rc::new(Mailbox::new(core, OPERATIONS_MAX * PIECES_MAX)),
            ended: Rc::new(Mailbox::new(core, OPERATIONS_MAX * PIECES_MAX)),
            done: VecDeque::with_capacity(OPERATIONS_MAX),
        }
    }

    /// Accepts an operation; it comes back if there is no place for it now.
    pub(crate) fn submit(&mut self, tag: Tag, volume: u32, op: Op<B>) -> Result<(), Op<B>> {
        let Some(place) = self.free.pop() else { return Err(op) };
        let mut count = 0;
        let mut put = |work| {
            let piece = Piece { at: (place, count), volume, work };
            assert!(self.pieces.put(piece).is_ok(), "there is room for the pieces of all operations");
            count += 1;
        };
        match op {
            Op::Read { lba, buf } => cut(lba, buf, |first, buf| put(Work::Read { first, buf })),
            Op::Write { lba, buf, fua } => cut(lba, buf, |first, buf| put(Work::Write { first, buf, fua })),
            Op::WriteZeroes { lba, blocks, fua } => put(Work::Trim { first: lba.0, blocks, fua }),
            Op::Flush => put(Work::Flush),
        }
        let parts = [const { None }; PIECES_MAX];
        self.places[place] = Some(Operation { tag, left: count, parts, result: Ok(()) });
        Ok(())
    }

    /// Sees which pieces have ended.
    pub(crate) fn collect(&mut self) {
        while let Some(Ended { at: (place, index), result }) = self.ended.try_take() {
            let slot = &mut self.places[place];
            let operation = slot.as_mut().expect("an operation stays until all its pieces have ended");
            match result {
                Ok(buf) => operation.parts[index] = buf,
                Err(error) => operation.result = operation.result.and_then(|()| Err(media_error(error))),
            }
            operation.left -= 1;
            if operation.left > 0 {
                continue;
            }
            if let Some(Operation { tag, parts, result, .. }) = slot.take() {
                self.free.push(place);
                let buf = if result.is_ok() { join(parts) } else { None };
                self.done.push_back(Completion { tag, buf, result });
            }
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Completion<B>> {
        self.done.pop_front()
    }

    /// Nothing is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.places.len() && self.done.is_empty()
    }
}

/// Cuts a buffer where units end.
fn cut<B: IoBuf>(lba: Lba, buf: B, mut put: impl FnMut(u64, B)) {
    let (mut first, mut rest) = (lba.0, Some(buf));
    while let Some(mut piece) = rest.take() {
        let blocks = AU_BLOCKS - first % AU_BLOCKS;
        let len = Blocks(blocks).buffer_len().expect("a unit is short");
        if len < piece.as_ref().len() {
            rest = Some(piece.split_off(len));
        }
        put(first, piece);
        // Past the end of the number range there is no volume, wherever a piece is thought to be.
        first = first.saturating_add(blocks);
    }
}

/// Puts the buffer together again.
fn join<B: IoBuf>(parts: [Option<B>; PIECES_MAX]) -> Option<B> {
    parts.into_iter().flatten().reduce(|mut all, part| {
        all.rejoin(part);
        all
    })
}

/// What a drive would say in the place of the engine.
#[must_use]
pub fn media_error(error: EngineError) -> MediaError {
    match error {
        EngineError::Media(error) => error,
        EngineError::Damaged { .. } => MediaError::Unreadable,
        EngineError::Full | EngineError::Frozen => MediaError::ReadOnly,
        EngineError::NoSuchVolume | EngineError::OutOfRange => MediaError::OutOfRange,
        EngineError::Exists | EngineError::TooLong | EngineError::TearsBlocks => MediaError::WriteFault,
    }
}
