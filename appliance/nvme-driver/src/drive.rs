//! The drive as a block device.

use crate::bring_up::{Parts, Ready, bring_up};
use crate::controller::Controller;
use crate::error::{BringUpError, Failure};
use crate::identify::DriveInfo;
use crate::limits::{IO_ENTRIES_MAX, PAGE, TRANSFER_BYTES_DEFAULT};
use crate::platform::{Platform, QueueMemory};
use crate::prp::Pages;
use crate::recovery::State;
use crate::slot::{Reserved, Slots};
use crate::status::{Kind, result};
use crate::zeroes::{Part, ZeroJobs};
use block::{BLOCK_SIZE, BlockDevice, Blocks, Completion, Geometry, Lba, MediaError, Op, Tag, Tick};
use nvme_spec::entry::RwFlags;
use nvme_spec::{Cqe, DataPointer, NvmOpcode, Sqe};
use std::collections::VecDeque;
use zerocopy::little_endian::{U16, U32};

/// How to use a drive.
#[derive(Clone, Copy, Debug)]
pub struct DriveConfig {
    /// Entries of the I/O queues; one less than that many commands are in flight. Limited by the drive and by us.
    pub entries: u16,
    /// The longest transfer to prepare for. Limited by the drive and by us.
    pub transfer_bytes_max: usize,
}

impl Default for DriveConfig {
    fn default() -> Self {
        Self { entries: IO_ENTRIES_MAX, transfer_bytes_max: TRANSFER_BYTES_DEFAULT }
    }
}

/// A command in flight.
#[derive(Debug)]
pub(crate) enum Work<B> {
    /// A read, write or flush; flushes have no buffer.
    Op { tag: Tag, kind: Kind, buf: Option<B> },
    /// A share of a Write Zeroes operation.
    Zeroes { job: usize },
}

/// A read or write, without its buffer.
#[derive(Clone, Copy, Debug)]
struct Transfer {
    kind: Kind,
    lba: Lba,
    fua: bool,
}

/// An NVMe drive: its first active namespace, in blocks of 4 KiB.
///
/// Dropping it stops the controller and waits for that, a few seconds at most; [`NvmeDrive::shutdown`] is the way that
/// the drive likes better.
#[derive(Debug)]
pub struct NvmeDrive<P: Platform> {
    pub(crate) controller: Controller<P>,
    pub(crate) parts: Parts<P>,
    pub(crate) slots: Slots<Work<P::Buf>>,
    pub(crate) zeroes: ZeroJobs,
    /// Completions not yet collected; never more than `depth`.
    pub(crate) done: VecDeque<Completion<P::Buf>>,
    /// Operations accepted and not yet collected.
    outstanding: usize,
    depth: u16,
    pub(crate) state: State,
    /// The time when the driver last looked.
    pub(crate) now: Tick,
    /// When commands in flight are checked next.
    pub(crate) check_at: Tick,
    errors: u64,
    pub(crate) buffers_lost: u64,
}

impl<P: Platform> NvmeDrive<P> {
    /// Brings the controller up. Blocks for as long as that takes: well under a second for a healthy drive, bounded for
    /// others.
    ///
    /// # Errors
    /// If the drive cannot be used; it is stopped then.
    pub fn open(platform: P, config: DriveConfig) -> Result<Self, BringUpError> {
        let Ready { controller, parts } = bring_up(platform, config)?;
        let depth = parts.io.entries() - 1;
        let now = controller.platform.now();
        Ok(Self {
            controller,
            parts,
            slots: Slots::new(depth),
            zeroes: ZeroJobs::default(),
            done: VecDeque::with_capacity(usize::from(depth)),
            outstanding: 0,
            depth,
            state: State::Running,
            now,
            check_at: now,
            errors: 0,
            buffers_lost: 0,
        })
    }

    /// What the drive says about itself.
    #[must_use]
    pub fn info(&self) -> &DriveInfo {
        &self.parts.identity.info
    }

    /// Commands that failed.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// Buffers given up because the drive could not be kept from writing them.
    #[must_use]
    pub fn buffers_lost(&self) -> u64 {
        self.buffers_lost
    }

    /// Why the drive is not used any more; every operation then completes with an error.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        match self.state {
            State::Running => None,
            State::Stopping { cause, .. } | State::Failed(cause) => Some(cause),
        }
    }

    /// Ends an operation that was accepted.
    pub(crate) fn complete(&mut self, tag: Tag, buf: Option<P::Buf>, result: Result<(), MediaError>) {
        assert!(self.done.len() < usize::from(self.depth), "no more completions than operations");
        self.errors += u64::from(result.is_err());
        self.done.push_back(Completion { tag, buf, result });
    }

    /// Whether the blocks exist.
    fn is_inside(&self, lba: Lba, blocks: Blocks) -> bool {
        lba.checked_add(blocks).is_some_and(|end| end.0 <= self.info().blocks.0)
    }

    /// Starts a read or write. Gives the buffer back if no slot is free.
    fn begin_transfer(&mut self, tag: Tag, transfer: Transfer, mut buf: P::Buf) -> Result<(), P::Buf> {
        let Transfer { kind, lba, fua } = transfer;
        let bytes = buf.as_ref().len();
        let usable = Blocks::of_buffer(bytes).filter(|blocks| {
            (1..=self.parts.transfer_max.0).contains(&blocks.0) && self.is_inside(lba, *blocks)
        });
        let (Some(blocks), Some(address)) = (usable, self.controller.platform.address(&buf)) else {
            self.complete(tag, Some(buf), Err(MediaError::OutOfRange));
            return Ok(());
        };
        let Some(reserved) = self.slots.reserve() else { return Err(buf) };
        let opcode = match kind {
            Kind::Read => NvmOpcode::READ,
            Kind::Write => NvmOpcode::WRITE,
        };
        self.controller.platform.hand_over(&mut buf);
        let pointer = self.parts.prps.pointer(reserved.slot, Pages::Contiguous(address), bytes);
        let sqe = self.command(opcode, lba, blocks, fua, pointer);
        self.send(reserved, sqe, Work::Op { tag, kind, buf: Some(buf) });
        Ok(())
    }

    /// Starts a flush. Gives the operation back if no slot is free.
    fn begin_flush(&mut self, tag: Tag) -> Result<(), Op<P::Buf>> {
        if !self.info().has_volatile_cache {
            // Every completed write is durable already (Base 2.1 figure 312, VWC).
            self.complete(tag, None, Ok(()));
            return Ok(());
        }
        let Some(reserved) = self.slots.reserve() else { return Err(Op::Flush) };
        let sqe = Sqe::new(NvmOpcode::FLUSH.0, self.info().nsid);
        self.send(reserved, sqe, Work::Op { tag, kind: Kind::Write, buf: None });
        Ok(())
    }

    /// Takes a Write Zeroes operation on; its commands follow as slots are free.
    fn begin_zeroes(&mut self, tag: Tag, lba: Lba, blocks: Blocks, fua: bool) -> Result<(), Op<P::Buf>> {
        if !self.is_inside(lba, blocks) {
            self.complete(tag, None, Err(MediaError::OutOfRange));
        } else if blocks.0 == 0 {
            self.complete(tag, None, Ok(()));
        } else if self.zeroes.is_full() {
            return Err(Op::WriteZeroes { lba, blocks, fua });
        } else {
            self.zeroes.add(tag, lba, blocks, fua);
            self.send_zeroes();
        }
        Ok(())
    }

    /// Sends commands of Write Zeroes operations while slots are free.
    fn send_zeroes(&mut self) {
        let has_command = self.info().has_write_zeroes;
        let most = if has_command { self.parts.identity.zeroes_max } else { self.parts.transfer_max };
        while let Some(reserved) = self.slots.reserve() {
            let Some(Part { job, lba, blocks, fua }) = self.zeroes.next_part(most) else { return };
            let sqe = if has_command {
                self.command(NvmOpcode::WRITE_ZEROES, lba, blocks, fua, DataPointer::prp(0, 0))
            } else {
                let bytes = blocks.buffer_len().expect("at most the longest transfer");
                let zeroes = Pages::Repeated(self.parts.zero_page.address());
                let pointer = self.parts.prps.pointer(reserved.slot, zeroes, bytes);
                self.command(NvmOpcode::WRITE, lba, blocks, fua, pointer)
            };
            self.send(reserved, sqe, Work::Zeroes { job });
        }
    }

    /// A command on a range that was checked, in the drive's own blocks.
    fn command(&self, opcode: NvmOpcode, lba: Lba, blocks: Blocks, fua: bool, dptr: DataPointer) -> Sqe {
        let shift = self.parts.identity.lba_shift;
        let nlb_z = u16::try_from((blocks.0 << shift) - 1).expect("limits keep transfers below 65536 blocks");
        let mut sqe = Sqe::new(opcode.0, self.info().nsid);
        sqe.dptr = dptr;
        sqe.set_slba(lba.0 << shift);
        sqe.cdw12 = U32::new(RwFlags::new().with_nlb_z(nlb_z).with_fua(fua).into_bits());
        sqe
    }

    fn send(&mut self, reserved: Reserved, mut sqe: Sqe, work: Work<P::Buf>) {
        if self.slots.in_flight() == 0 {
            // Nobody asked for the time while nothing was in flight.
            self.now = self.controller.platform.now();
        }
        sqe.cid = U16::new(reserved.cid);
        self.slots.fill(reserved, work, self.now);
        self.parts.io.push(&sqe);
    }

    /// Collects what the controller has completed, with one doorbell for all of it.
    fn reap(&mut self) {
        // At most one pass over the ring, so that a controller gone wild cannot hold the core.
        for _ in 0..self.parts.io.entries() {
            let Some(cqe) = self.parts.io.pop() else { break };
            if !self.finish(cqe) {
                self.begin_recovery(Failure::WrongAnswer);
                return;
            }
        }
        let registers = self.controller.platform.registers();
        self.parts.io.acknowledge(registers);
        self.send_zeroes();
        let registers = self.controller.platform.registers();
        self.parts.io.ring(registers);
    }

    /// Ends the command of a completion; false if it names none that is in flight.
    fn finish(&mut self, cqe: Cqe) -> bool {
        match self.slots.finish(cqe.cid.get()) {
            Some(Work::Op { tag, kind, mut buf }) => {
                if let Some(buf) = &mut buf {
                    self.controller.platform.take_back(buf);
                }
                self.complete(tag, buf, result(kind, cqe.status()));
            }
            Some(Work::Zeroes { job }) => {
                if let Some((tag, result)) = self.zeroes.finish_part(job, result(Kind::Write, cqe.status())) {
                    self.complete(tag, None, result);
                }
            }
            None => return false,
        }
        true
    }
}

impl<P: Platform> BlockDevice for NvmeDrive<P> {
    type Buf = P::Buf;

    fn geometry(&self) -> Geometry {
        let info = self.info();
        Geometry {
            blocks: info.blocks,
            transfer_max: self.parts.transfer_max,
            depth_max: u32::from(self.depth),
            is_volatile: info.has_volatile_cache,
            is_block_atomic: info.is_block_atomic,
        }
    }

    fn submit(&mut self, tag: Tag, op: Op<P::Buf>) -> Result<(), Op<P::Buf>> {
        if self.outstanding >= usize::from(self.depth) {
            return Err(op);
        }
        match self.state {
            State::Running => match op {
                Op::Read { lba, buf } => {
                    let transfer = Transfer { kind: Kind::Read, lba, fua: false };
                    self.begin_transfer(tag, transfer, buf).map_err(|buf| Op::Read { lba, buf })?;
                }
                Op::Write { lba, buf, fua } => {
                    let transfer = Transfer { kind: Kind::Write, lba, fua };
                    self.begin_transfer(tag, transfer, buf).map_err(|buf| Op::Write { lba, buf, fua })?;
                }
                Op::WriteZeroes { lba, blocks, fua } => self.begin_zeroes(tag, lba, blocks, fua)?,
                Op::Flush => self.begin_flush(tag)?,
            },
            State::Stopping { .. } | State::Failed(_) => {
                self.complete(tag, op.into_buf(), Err(MediaError::Gone));
            }
        }
        self.outstanding += 1;
        Ok(())
    }

    fn kick(&mut self) {
        if self.state == State::Running {
            self.parts.io.ring(self.controller.platform.registers());
        }
    }

    fn poll(&mut self) -> Option<Completion<P::Buf>> {
        if self.done.is_empty() {
            if self.state == State::Running && self.slots.in_flight() > 0 {
                self.reap();
            }
            if self.done.is_empty() {
                self.check();
            }
        }
        let completion = self.done.pop_front()?;
        self.outstanding -= 1;
        Some(completion)
    }
}

const _: () = assert!(PAGE == BLOCK_SIZE);
