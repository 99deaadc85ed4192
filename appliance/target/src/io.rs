//! Between commands and drives: a command's blocks become operations, completions become its answer.
//!
//! Each buffer of a command lies in one piece on one drive (see `chunks`), so reads and writes are one operation for each
//! buffer. Write Zeroes follows the map; Flush goes to every drive of the pool.

use crate::Target;
use crate::command::{Failure, State};
use crate::connection::{Connection, Life};
use crate::limits::ZERO_BLOCKS_MAX;
use block::{Blocks, Completion, Lba, Op, Tag};
use core::ops::Range;
use dma::DmaBuf;
use nvme_spec::Status;
use nvme_subsystem::{Io, IoKind};
use nvme_tcp::Slot;
use nvme_tcp::controller::Reply;
use pool::{DriveId, MapError};

/// Tags of the control plane's work have this bit; all others belong to commands.
pub const JOB_TAG: u64 = 1 << 63;

/// A tag names connection, command and buffer: 32, 16 and 8 bits from below.
fn tag(place: usize, slot: Slot, chunk: usize) -> Tag {
    Tag(((chunk as u64) << 48) | ((slot.index() as u64) << 32) | place as u64)
}

/// Place, index of the slot, chunk.
fn untag(tag: Tag) -> (usize, usize, usize) {
    let field = |shift: u32, bits: u32| usize::try_from((tag.0 >> shift) & ((1 << bits) - 1)).unwrap_or(0);
    (field(0, 32), field(32, 16), field(48, 8))
}

/// Operations of one command and where they go.
type Batch = Vec<(DriveId, Tag, Op<DmaBuf>)>;

impl Target {
    /// Gives a command to the drives. Its data, if it is a write, is complete.
    pub(crate) fn start_io(&mut self, place: usize, connection: &mut Connection, slot: Slot, io: Io) {
        if connection.id.is_none() {
            // The host is forgotten, and may be back by another connection: what it wants now comes from there.
            return self.finish_io(place, connection, slot, io);
        }
        let mut batch = core::mem::take(&mut self.batch);
        if connection.command(slot).failure.is_none() {
            let result = self.plan(&mut batch, place, connection, slot, io);
            if let Err(error) = result {
                connection.command(slot).failure = Some(Failure::Status(status_of(error)));
            }
        }
        let count = batch.len();
        connection.command(slot).state = State::AtDevices(io, slot, count);
        connection.at_devices += count;
        for (drive, tag, op) in batch.drain(..) {
            self.devices.submit(drive, tag, op);
        }
        self.batch = batch;
        if count == 0 {
            self.finish_io(place, connection, slot, io);
        }
    }

    /// The operations of a command. After an error those that were planned are still done: their buffers are with them.
    fn plan(
        &self,
        batch: &mut Batch,
        place: usize,
        connection: &mut Connection,
        slot: Slot,
        io: Io,
    ) -> Result<(), MapError> {
        let chunks = &mut connection.command(slot).chunks;
        match io.kind {
            IoKind::Read { lba, .. } => {
                for index in 0..chunks.count() {
                    let (drive, lba) = self.locate(io.volume, lba, chunks.range(index))?;
                    let buf = chunks.take(index).expect("all buffers are here");
                    batch.push((drive, tag(place, slot, index), Op::Read { lba, buf }));
                }
            }
            IoKind::Write { lba, fua, .. } => {
                for index in 0..chunks.count() {
                    let (drive, lba) = self.locate(io.volume, lba, chunks.range(index))?;
                    let buf = chunks.take(index).expect("all buffers are here");
                    batch.push((drive, tag(place, slot, index), Op::Write { lba, buf, fua }));
                }
            }
            IoKind::WriteZeroes { lba, blocks, fua, deallocate: _ } => {
                self.plan_zeroes(batch, tag(place, slot, 0), io.volume, (lba, blocks), fua)?;
            }
            IoKind::Flush => {
                let (pool, _) = self.exported(io.volume).ok_or(MapError::NoVolume)?;
                let flush = |drive: &pool::Drive| (drive.id, tag(place, slot, 0), Op::Flush);
                batch.extend(pool.drives().iter().map(flush));
            }
        }
        Ok(())
    }

    /// Where the bytes of one buffer lie.
    fn locate(&self, volume: u64, lba: Lba, bytes: Range<usize>) -> Result<(DriveId, Lba), MapError> {
        let (pool, nsid) = self.exported(volume).ok_or(MapError::NoVolume)?;
        let (skip, blocks) = (Blocks::of_buffer(bytes.start), Blocks::of_buffer(bytes.len()));
        let (Some(skip), Some(blocks)) = (skip, blocks) else { return Err(MapError::OutOfRange) };
        let lba = lba.checked_add(skip).ok_or(MapError::OutOfRange)?;
        let segment = pool.map(nsid, lba, blocks)?.next().ok_or(MapError::OutOfRange)?;
        assert_eq!(segment.blocks, blocks, "a buffer's blocks lie in one extent");
        Ok((pool.drive(segment.member), segment.lba))
    }

    fn plan_zeroes(
        &self,
        batch: &mut Batch,
        tag: Tag,
        volume: u64,
        (lba, blocks): (Lba, Blocks),
        fua: bool,
    ) -> Result<(), MapError> {
        let (pool, nsid) = self.exported(volume).ok_or(MapError::NoVolume)?;
        for segment in pool.map(nsid, lba, blocks)? {
            let drive = pool.drive(segment.member);
            let (mut lba, mut left) = (segment.lba, segment.blocks.0);
            while left > 0 {
                let blocks = Blocks(left.min(ZERO_BLOCKS_MAX));
                batch.push((drive, tag, Op::WriteZeroes { lba, blocks, fua }));
                lba = Lba(lba.0 + blocks.0);
                left -= blocks.0;
            }
        }
        Ok(())
    }

    /// An operation of a command has ended.
    pub(crate) fn on_completion(&mut self, completion: Completion<DmaBuf>) {
        let (place, slot, chunk) = untag(completion.tag);
        let mut connection = self.take(place).expect("a connection stays until its operations have ended");
        connection.at_devices -= 1;
        let command = &mut connection.commands[slot];
        if let Some(buf) = completion.buf {
            command.chunks.put(chunk, buf);
        }
        if let Err(error) = completion.result {
            command.failure.get_or_insert(Failure::Media(error));
        }
        let State::AtDevices(io, slot, pending) = command.state else {
            unreachable!("an operation belongs to a command at the drives")
        };
        command.state = State::AtDevices(io, slot, pending - 1);
        if pending == 1 {
            self.finish_io(place, &mut connection, slot, io);
        }
        if connection.at_devices == 0
            && let Some(id) = connection.draining.take()
        {
            self.subsystems.on_drained(id);
        }
        self.put(place, connection);
    }

    /// All operations of a command have ended: it is answered, if there is still somebody to hear it.
    fn finish_io(&mut self, place: usize, connection: &mut Connection, slot: Slot, io: Io) {
        let id = connection.id.filter(|_| connection.life == Life::Open);
        let command = connection.command(slot);
        let is_read = matches!(io.kind, IoKind::Read { .. });
        let Some(id) = id else {
            command.reset();
            command.state = State::Answered;
            return;
        };
        let result = match command.failure {
            None => Ok(()),
            Some(Failure::Media(error)) => Err(error),
            Some(Failure::Status(status)) => {
                return self.answer(place, connection, slot, Reply::status(status));
            }
        };
        let sqe = command.sqe.expect("a command at the drives has its entry");
        let data_len = if is_read { u32::try_from(command.len).unwrap_or(0) } else { 0 };
        self.counters.commands += 1;
        let cqe = self.subsystems.on_io_done(id, &sqe, &io, result);
        self.answer(place, connection, slot, Reply::with_data(cqe, data_len));
    }
}

fn status_of(error: MapError) -> Status {
    match error {
        // The volume went away, or shrank, after the command was checked.
        MapError::NoVolume => Status::INVALID_NAMESPACE.dnr(),
        MapError::OutOfRange => Status::LBA_OUT_OF_RANGE.dnr(),
    }
}
