//! What a command does, step by step: the operations that its next step needs, and what is made of those before.
//!
//! | command | steps |
//! |---|---|
//! | Read, Write, Verify, Write Zeroes, Flush | one |
//! | Write, Write Zeroes that start or end within a block | read these blocks (`edges`); write |
//! | Compare | read into buffers aside; compare |
//! | Compare and Write | read into buffers aside; compare, write |
//! | Copy | read a piece into a buffer aside, and the block of which it is a part; write it; the next piece |
//! | Dataset Management | zeroes, a bounded number of operations at a time |
//!
//! Each buffer of a command lies in one piece on one drive (see `chunks`), so reads and writes are one operation for each
//! buffer. Zeroes follow the map; Flush goes to every drive of the pool. A volume of the thin engine takes the same operations, at
//! its own addresses. Commands with a list of ranges go on in `lists`.
//!
//! Invariant: after a failure no step follows; operations of the step that failed still come back.

use crate::Target;
use crate::chunks::{Chunks, Shape};
use crate::command::Command;
use crate::edges;
use crate::exports::Export;
use crate::io::{Batch, Way, tag};
use crate::limits::{CHUNK_BYTES, CHUNKS_MAX, ZERO_BLOCKS_MAX};
use crate::lists::list;
use crate::ranges::Area;
use block::{Blocks, Lba, Op, Tag};
use core::ops::Range;
use nvme_spec::Status;
use nvme_subsystem::{Io, IoKind, Span};
use nvme_tcp::Slot;
use pool::MapError;

/// A command of which a step has come back may have another one.
pub(crate) fn has_more(io: &Io) -> bool {
    match io.kind {
        IoKind::Write { span, .. } | IoKind::WriteZeroes { span, .. } => !span.is_whole(),
        IoKind::Read { .. } | IoKind::Verify { .. } | IoKind::Flush => false,
        IoKind::Compare { .. } | IoKind::CompareAndWrite { .. } | IoKind::Dataset(_) | IoKind::Copy(_) => {
            true
        }
    }
}

/// Nobody else may be at the blocks while the command is: it writes what it makes of what it has read.
pub(crate) fn is_exclusive(io: &Io, command: &Command) -> bool {
    match io.kind {
        IoKind::CompareAndWrite { .. } => true,
        IoKind::Copy(copying) => copying.ranges(list(command)).is_ok_and(|ranges| !ranges.is_whole()),
        IoKind::Write { span, .. } | IoKind::WriteZeroes { span, .. } => !span.is_whole(),
        IoKind::Read { .. }
        | IoKind::Verify { .. }
        | IoKind::Compare { .. }
        | IoKind::Dataset(_)
        | IoKind::Flush => false,
    }
}

/// It may change what is stored.
pub(crate) fn is_write(io: &Io) -> bool {
    match io.kind {
        IoKind::Write { .. }
        | IoKind::CompareAndWrite { .. }
        | IoKind::WriteZeroes { .. }
        | IoKind::Dataset(_)
        | IoKind::Copy(_) => true,
        IoKind::Read { .. } | IoKind::Verify { .. } | IoKind::Compare { .. } | IoKind::Flush => false,
    }
}

/// A command that asks for its turn although nobody has a claim: it wants to be alone, or others must see which blocks it
/// reaches.
pub(crate) fn must_ask(io: &Io) -> bool {
    match io.kind {
        IoKind::CompareAndWrite { .. } | IoKind::Dataset(_) | IoKind::Copy(_) => true,
        IoKind::Write { span, .. } | IoKind::WriteZeroes { span, .. } => !span.is_whole(),
        IoKind::Read { .. } | IoKind::Verify { .. } | IoKind::Compare { .. } | IoKind::Flush => false,
    }
}

/// The blocks that a command reaches; for a list of ranges what is between them, too. `None` if there are none, or if the
/// list is refused.
pub(crate) fn area(io: &Io, command: &Command) -> Option<Area> {
    let of = |span: Span| Area::of(io.volume, span);
    match io.kind {
        IoKind::Dataset(dataset) => {
            let ranges = dataset.ranges(list(command)).ok()?;
            let spans = (0..).map_while(|index| ranges.get(index)).filter(|span| !span.is_empty());
            spans.map(of).reduce(Area::with)
        }
        IoKind::Copy(copying) => {
            let ranges = copying.ranges(list(command)).ok()?;
            let sources = (0..).map_while(|index| ranges.get(index)).map(of);
            Some(sources.fold(of(ranges.to()), Area::with))
        }
        IoKind::Read { .. }
        | IoKind::Write { .. }
        | IoKind::Verify { .. }
        | IoKind::Compare { .. }
        | IoKind::CompareAndWrite { .. }
        | IoKind::WriteZeroes { .. }
        | IoKind::Flush => io.kind.span().map(of),
    }
}

/// Buffers that a command needs beside those for its data.
pub(crate) fn aside(io: &Io) -> Option<Shape> {
    match io.kind {
        IoKind::Compare { span } | IoKind::CompareAndWrite { span, .. } => Some(Shape::of(span)),
        IoKind::Write { span, .. } | IoKind::WriteZeroes { span, .. } => {
            (!span.is_whole()).then_some(edges::SHAPE)
        }
        // One for what is read, one for what it becomes a part of.
        IoKind::Copy(copying) if copying.has_parts() => Some(Shape::plain(2 * CHUNK_BYTES)),
        IoKind::Copy(_) => Some(Shape::plain(CHUNK_BYTES)),
        IoKind::Read { .. } | IoKind::Verify { .. } | IoKind::Dataset(_) | IoKind::Flush => None,
    }
}

impl Target {
    /// The operations of a command's next step. After an error those that were planned are still done: their buffers are
    /// with them.
    pub(crate) fn plan(
        &self,
        batch: &mut Batch,
        (place, slot): (usize, Slot),
        command: &mut Command,
        io: Io,
    ) -> Result<(), Status> {
        let tag = |index| tag(place, slot, index);
        match io.kind {
            IoKind::Read { span } | IoKind::Verify { span } => {
                self.plan_reads(batch, tag, &mut command.chunks, io.volume, span)
            }
            IoKind::Write { span, .. } if !span.is_whole() && command.step == 0 => {
                self.plan_edge_reads(batch, tag, command, io.volume, span)
            }
            IoKind::Write { .. } if command.step > 1 => Ok(()),
            IoKind::Write { span, fua } => {
                if !span.is_whole() {
                    edges::merge(command, span);
                }
                self.plan_writes(batch, tag, &mut command.chunks, io.volume, (span, fua))
            }
            IoKind::Compare { span } if command.step == 0 => {
                let tag = |index| tag(CHUNKS_MAX + index);
                self.plan_reads(batch, tag, &mut command.rest_mut().aside, io.volume, span)
            }
            IoKind::Compare { .. } => {
                let (sent, stored) = command.all_chunks();
                compare(sent, stored)
            }
            IoKind::CompareAndWrite { span, .. } if command.step == 0 => {
                let data = core::mem::take(&mut command.rest_mut().bytes);
                command.chunks.put_data(&data);
                let tag = |index| tag(CHUNKS_MAX + index);
                self.plan_reads(batch, tag, &mut command.rest_mut().aside, io.volume, span)
            }
            IoKind::CompareAndWrite { span, fua } if command.step == 1 => {
                let rest = command.rest_mut();
                if !rest.aside.holds(&rest.expected) {
                    return Err(Status::COMPARE_FAILURE.dnr());
                }
                rest.is_equal = true;
                let (chunks, aside) = command.all_chunks();
                let (first, last) = aside.edges();
                chunks.put_edges(first, last);
                self.plan_writes(batch, tag, &mut command.chunks, io.volume, (span, fua))
            }
            IoKind::CompareAndWrite { .. } => Ok(()),
            IoKind::WriteZeroes { span, .. } if !span.is_whole() && command.step == 0 => {
                self.plan_edge_reads(batch, tag, command, io.volume, span)
            }
            IoKind::WriteZeroes { span, fua, .. } if command.step == 1 => {
                self.plan_edge_zeroes(batch, tag, command, io.volume, (span, fua))
            }
            IoKind::WriteZeroes { .. } if command.step > 1 => Ok(()),
            IoKind::WriteZeroes { span, fua, deallocate: _ } => {
                let (lba, blocks) = span.blocks();
                self.plan_zeroes(batch, tag(0), io.volume, (lba, blocks), fua).map_err(status_of)
            }
            IoKind::Dataset(dataset) => self.plan_dataset(batch, tag(0), command, io.volume, dataset),
            IoKind::Copy(copying) => self.plan_copy(batch, tag, command, io.volume, copying),
            IoKind::Flush => {
                let (export, _) = self.exported(io.volume).ok_or(MapError::NoVolume).map_err(status_of)?;
                plan_flush(batch, tag(0), export);
                Ok(())
            }
        }
    }

    fn plan_reads(
        &self,
        batch: &mut Batch,
        tag: impl Fn(usize) -> Tag,
        chunks: &mut Chunks,
        volume: u64,
        span: Span,
    ) -> Result<(), Status> {
        for index in 0..chunks.count() {
            let (drive, lba) = self.locate(volume, span.blocks().0, chunks.range(index))?;
            let buf = chunks.take(index).expect("all buffers are here");
            batch.push((drive, tag(index), Op::Read { lba, buf }));
        }
        Ok(())
    }

    fn plan_writes(
        &self,
        batch: &mut Batch,
        tag: impl Fn(usize) -> Tag,
        chunks: &mut Chunks,
        volume: u64,
        (span, fua): (Span, bool),
    ) -> Result<(), Status> {
        for index in 0..chunks.count() {
            let (drive, lba) = self.locate(volume, span.blocks().0, chunks.range(index))?;
            let buf = chunks.take(index).expect("all buffers are here");
            batch.push((drive, tag(index), Op::Write { lba, buf, fua }));
        }
        Ok(())
    }

    /// Where the bytes of one buffer lie.
    pub(crate) fn locate(&self, volume: u64, lba: Lba, bytes: Range<usize>) -> Result<(Way, Lba), Status> {
        let find = || {
            let (export, nsid) = self.exported(volume).ok_or(MapError::NoVolume)?;
            let (skip, blocks) = (Blocks::of_buffer(bytes.start), Blocks::of_buffer(bytes.len()));
            let (Some(skip), Some(blocks)) = (skip, blocks) else { return Err(MapError::OutOfRange) };
            let lba = lba.checked_add(skip).ok_or(MapError::OutOfRange)?;
            if let Some(way) = self.way_of(export, nsid)? {
                return Ok((way, lba));
            }
            let segment = export.pool.map(nsid, lba, blocks)?.next().ok_or(MapError::OutOfRange)?;
            assert_eq!(segment.blocks, blocks, "a buffer's blocks lie in one extent");
            Ok((Way::Drive(export.pool.drive(segment.member)), segment.lba))
        };
        find().map_err(status_of)
    }

    pub(crate) fn plan_zeroes(
        &self,
        batch: &mut Batch,
        tag: Tag,
        volume: u64,
        (lba, blocks): (Lba, Blocks),
        fua: bool,
    ) -> Result<(), MapError> {
        let (export, nsid) = self.exported(volume).ok_or(MapError::NoVolume)?;
        let mut zero = |way, mut lba: Lba, mut left: u64| {
            while left > 0 {
                let blocks = Blocks(left.min(ZERO_BLOCKS_MAX));
                batch.push((way, tag, Op::WriteZeroes { lba, blocks, fua }));
                lba = Lba(lba.0 + blocks.0);
                left -= blocks.0;
            }
        };
        if let Some(way) = self.way_of(export, nsid)? {
            zero(way, lba, blocks.0);
            return Ok(());
        }
        for segment in export.pool.map(nsid, lba, blocks)? {
            zero(Way::Drive(export.pool.drive(segment.member)), segment.lba, segment.blocks.0);
        }
        Ok(())
    }

    /// The way to a volume of the thin engine, which knows itself where blocks lie; `None` for others.
    fn way_of(&self, export: &Export, nsid: u32) -> Result<Option<Way>, MapError> {
        let Some(place) = export.thin else { return Ok(None) };
        let number = self.thin[place].as_ref().and_then(|thin| thin.number_of(nsid));
        let number = number.ok_or(MapError::NoVolume)?;
        Ok(Some(Way::Volume { thin: place, number }))
    }
}

fn plan_flush(batch: &mut Batch, tag: Tag, export: &Export) {
    match export.thin {
        // All volumes of a pool share its journal, so any of them does.
        Some(thin) => batch.push((Way::Volume { thin, number: 0 }, tag, Op::Flush)),
        None => {
            let flush = |drive: &pool::Drive| (Way::Drive(drive.id), tag, Op::Flush);
            batch.extend(export.pool.drives().iter().map(flush));
        }
    }
}

/// What is stored is what the host sent.
fn compare(sent: &Chunks, stored: &Chunks) -> Result<(), Status> {
    if sent.equals(stored) { Ok(()) } else { Err(Status::COMPARE_FAILURE.dnr()) }
}

pub(crate) fn status_of(error: MapError) -> Status {
    match error {
        // The volume went away, or shrank, after the command was checked.
        MapError::NoVolume => Status::INVALID_NAMESPACE.dnr(),
        MapError::OutOfRange => Status::LBA_OUT_OF_RANGE.dnr(),
    }
}
