//! The host's end of a connection: used by tests, by `ironbay io` and by benchmarks.
//!
//! ```text
//!  AwaitIcResp ──ICResp──▶ Ready ──fault──▶ Terminating
//!
//!  submit(sqe, Data) ─▶ capsule (+ data) ─▶ [R2T ─▶ H2CData …] or [C2HData …] ─▶ Event::Complete { slot, cqe }
//! ```
//!
//! ```
//! use block::Tick;
//! use nvme_spec::{AdminOpcode, Sqe};
//! use nvme_tcp::host::{Config, Connection, Data, Event};
//!
//! let mut host = Connection::new(Config::default(), Tick(0));
//! let hello = host.poll_transmit().expect("the ICReq");
//! assert_eq!(hello.head().len(), 128);
//! let identify = host.submit(Sqe::new(AdminOpcode::IDENTIFY.0, 0), Data::Read(4096)).expect("room");
//! assert!(host.poll_transmit().is_none(), "capsules wait for the ICResp");
//! // The rest is the same loop as on the controller's side: want, on_header, on_payload, poll_event, poll_transmit.
//! # let _ = (identify, Event::Ready);
//! ```
//!
//! Invariants
//! - A slot is taken by `submit` and free again with its `Event::Complete`; its buffer belongs to the connection's ranges
//!   in between.
//! - The command identifier carries a generation, so that a late or repeated completion is a fault, not somebody else's.

use crate::limits::{HOST_DEPTH_MAX, IC_REQ_TIMEOUT, IN_CAPSULE_ADMIN_MAX, TERMINATION_TIMEOUT};
use crate::receive::{Layout, Receiver, Shape, is_known};
use crate::side::{self, Clock, Side, peer_fault};
use crate::transmit::{DataOptions, Payload, Transmit};
use crate::wire::{ConnectionError, Digests, Fault, Slot, Waiting, Want};
use block::Tick;
use nvme_spec::entry::{DataPointer, FLAGS_SGL};
use nvme_spec::tcp::{CapsuleCmd, CapsuleResp, CommonHeader, DataPdu, IcReq, IcResp, PduType, R2t, flag};
use nvme_spec::{AdminOpcode, Cqe, Sgl, Sqe, Status};
use std::collections::VecDeque;
use zerocopy::FromZeros;
use zerocopy::little_endian::{U16, U32};

/// What the host wants.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Digests to ask for; the controller must agree.
    pub digests: Digests,
    /// Alignment of data PDUs sent to us, 0's based in dwords.
    pub hpda_z: u8,
    /// Commands in flight.
    pub depth: u16,
    /// Longest in-capsule data; [`Connection::set_in_capsule_max`] when Identify has told.
    pub in_capsule_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { digests: Digests::default(), hpda_z: 0, depth: 32, in_capsule_max: 0 }
    }
}

/// The data of a command to submit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// None.
    None,
    /// This many bytes of the slot's buffer go to the controller.
    Write(u32),
    /// At most this many bytes come into the slot's buffer.
    Read(u32),
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The connection is initialized.
    Ready,
    /// A command ended; its slot is free.
    Complete {
        /// Which.
        slot: Slot,
        /// Its completion; Data Transfer Error if the data of a successful read was short or its digest wrong.
        cqe: Cqe,
    },
}

/// No slot is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    AwaitIcResp,
    Ready,
    Terminating,
}

#[derive(Clone, Copy, Debug)]
struct Command {
    is_live: bool,
    generation: u8,
    data: Data,
    /// Bytes of a write that are asked for by the R2T being answered: next and end.
    requested: (u32, u32),
    ttag: u16,
    received: u32,
    is_intact: bool,
}

#[derive(Clone, Copy, Debug)]
enum Outgoing {
    Capsule { slot: Slot, sqe: Sqe },
    Data(Slot),
}

/// The host's end of one connection: one queue.
#[derive(Debug)]
pub struct Connection {
    config: Config,
    stage: Stage,
    cpda_z: u8,
    h2c_data_max: u32,
    rx: Receiver,
    kind: PduType,
    receiving: Option<(Slot, u8)>,
    commands: Vec<Command>,
    free: Vec<u16>,
    event: Option<Event>,
    outgoing: VecDeque<Outgoing>,
    urgent: Option<Box<Transmit>>,
    clock: Clock,
}

const INDEX_BITS: u16 = 12;
const _: () = assert!(HOST_DEPTH_MAX == 1 << INDEX_BITS);

impl Side for Connection {
    const TERM_REQ: PduType = PduType::H2C_TERM_REQ;

    fn rx(&mut self) -> &mut Receiver {
        &mut self.rx
    }

    fn clock(&mut self) -> &mut Clock {
        &mut self.clock
    }

    fn layout_of(&self, ch: &CommonHeader) -> Result<Layout, Fault> {
        if !is_known(ch.kind) {
            return Err(Fault::field(0));
        }
        if ch.kind == PduType::C2H_TERM_REQ {
            return Layout::of_termination(ch);
        }
        if (self.stage == Stage::AwaitIcResp) != (ch.kind == PduType::IC_RESP) {
            return Err(Fault::sequence());
        }
        let digests = self.config.digests;
        match ch.kind {
            PduType::IC_RESP => {
                Layout::of(ch, Shape { hlen: 128, may_carry_data: false, digests: Digests::default() })
            }
            PduType::CAPSULE_RESP | PduType::R2T => {
                Layout::of(ch, Shape { hlen: 24, may_carry_data: false, digests })
            }
            PduType::C2H_DATA => Layout::of(ch, Shape { hlen: 24, may_carry_data: true, digests }),
            _ => Err(Fault::field(0)),
        }
    }

    fn on_head(&mut self, layout: Layout, now: Tick) -> Result<(), ConnectionError> {
        let result = match self.kind {
            PduType::IC_RESP => return self.on_ic_resp(now),
            PduType::CAPSULE_RESP => self.on_response(),
            PduType::R2T => self.on_r2t(),
            PduType::C2H_DATA => self.on_c2h_data(layout),
            _ => {
                self.stage = Stage::Terminating;
                return Err(peer_fault(&self.rx));
            }
        };
        result.map_err(|fault| self.terminate(fault, now))
    }

    fn begin(&mut self, kind: PduType) {
        self.kind = kind;
    }

    fn end_data(&mut self, is_intact: bool, _now: Tick) {
        let Some((slot, flags)) = self.receiving.take() else { return };
        let Some(command) = self.commands.get_mut(slot.index()) else { return };
        command.is_intact &= is_intact;
        if flags & flag::SUCCESS != 0 {
            let cid = u16::from(command.generation) << INDEX_BITS | slot.0;
            self.complete(slot, Cqe::new(cid, Status::SUCCESS));
        }
    }

    fn end_with(&mut self, request: Transmit, now: Tick) {
        self.stage = Stage::Terminating;
        self.outgoing.clear();
        self.urgent = Some(Box::new(request));
        self.clock = Clock::new(now, TERMINATION_TIMEOUT, Waiting::Close);
    }
}

impl Connection {
    /// A connection over a socket that was just connected; the ICReq waits in `poll_transmit`.
    ///
    /// # Panics
    /// If the depth is out of bounds.
    #[must_use]
    pub fn new(config: Config, now: Tick) -> Self {
        assert!((1..=HOST_DEPTH_MAX).contains(&config.depth), "depth is 1 to 4096");
        let mut request = IcReq::new_zeroed();
        request.hpda_z = config.hpda_z;
        request.dgst = config.digests.to_bits();
        let idle = Command {
            is_live: false,
            generation: 0,
            data: Data::None,
            requested: (0, 0),
            ttag: 0,
            received: 0,
            is_intact: true,
        };
        Self {
            config,
            stage: Stage::AwaitIcResp,
            cpda_z: 0,
            h2c_data_max: 0,
            rx: Receiver::new(),
            kind: PduType::IC_RESP,
            receiving: None,
            commands: vec![idle; usize::from(config.depth)],
            free: (0..config.depth).rev().collect(),
            event: None,
            outgoing: VecDeque::with_capacity(usize::from(config.depth).saturating_mul(2)),
            urgent: Some(Box::new(Transmit::header(&request, PduType::IC_REQ, Digests::default()))),
            clock: Clock::new(now, IC_REQ_TIMEOUT, Waiting::Initialization),
        }
    }

    /// From Identify Controller: IOCCSZ · 16 − 64.
    pub fn set_in_capsule_max(&mut self, bytes: u32) {
        self.config.in_capsule_max = bytes;
    }

    /// Queues a command; identifier and data pointer are filled in. For a write the buffer of the returned slot must hold
    /// the data before the next `poll_transmit`.
    ///
    /// # Errors
    /// [`Full`] if as many commands are in flight as the queue is deep.
    pub fn submit(&mut self, mut sqe: Sqe, data: Data) -> Result<Slot, Full> {
        let slot = Slot(self.free.pop().ok_or(Full)?);
        let in_capsule_max = self.in_capsule_max(&sqe);
        let Some(command) = self.commands.get_mut(slot.index()) else { return Err(Full) };
        let generation = command.generation.wrapping_add(1) & 0xf;
        *command = Command {
            is_live: true,
            generation,
            data,
            requested: (0, 0),
            ttag: 0,
            received: 0,
            is_intact: true,
        };
        sqe.cid = U16::new(u16::from(generation) << INDEX_BITS | slot.0);
        sqe.flags |= FLAGS_SGL;
        sqe.dptr = DataPointer::sgl(match data {
            Data::None => Sgl::transport(0),
            Data::Write(len) if len <= in_capsule_max => Sgl::in_capsule(len),
            Data::Write(len) | Data::Read(len) => Sgl::transport(len),
        });
        self.outgoing.push_back(Outgoing::Capsule { slot, sqe });
        Ok(slot)
    }

    fn in_capsule_max(&self, sqe: &Sqe) -> u32 {
        let is_fabrics = sqe.opc == AdminOpcode::FABRICS.0;
        if is_fabrics { IN_CAPSULE_ADMIN_MAX } else { self.config.in_capsule_max }
    }

    /// Commands in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.commands.len().saturating_sub(self.free.len())
    }

    /// Where the next received bytes belong. Poll events first.
    #[must_use]
    pub fn want(&self) -> Want {
        if self.event.is_some() || self.stage == Stage::Terminating {
            return Want::Nothing;
        }
        match (self.rx.payload_left(), self.receiving) {
            (Some(len), Some((slot, _))) => {
                let offset = self.commands.get(slot.index()).map_or(0, |command| command.received);
                Want::Payload { slot, offset, len }
            }
            (Some(len), None) => Want::Discard { len },
            (None, _) => {
                let missing = self.rx.header_missing().and_then(|n| u32::try_from(n).ok());
                Want::Header { len: missing.unwrap_or(0) }
            }
        }
    }

    /// Takes header bytes; returns how many.
    ///
    /// # Errors
    /// When the connection ends.
    ///
    /// # Panics
    /// If called while an event waits or after an error.
    pub fn on_header(&mut self, bytes: &[u8], now: Tick) -> Result<usize, ConnectionError> {
        assert!(self.event.is_none(), "events are polled before more is received");
        assert!(self.stage != Stage::Terminating, "nothing is received after a fault");
        side::on_header(self, bytes, now)
    }

    /// Sees payload that was placed where [`Connection::want`] said.
    ///
    /// # Errors
    /// None today: payload cannot be wrong before its digest.
    ///
    /// # Panics
    /// If more is shown than was wanted.
    pub fn on_payload(&mut self, bytes: &[u8], now: Tick) -> Result<(), ConnectionError> {
        let is_complete = side::on_payload(self, bytes, now);
        let taken = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if let Some((slot, _)) = self.receiving
            && let Some(command) = self.commands.get_mut(slot.index())
        {
            command.received = command.received.saturating_add(taken);
        }
        if is_complete {
            self.end_data(true, now);
        }
        Ok(())
    }

    /// What happened; to be asked after every `on_`.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.event.take()
    }

    /// The next PDU to send; to be asked after every `on_` and [`Connection::submit`].
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        if let Some(transmit) = self.urgent.take() {
            return Some(*transmit);
        }
        if self.stage != Stage::Ready {
            return None;
        }
        loop {
            match self.outgoing.pop_front()? {
                Outgoing::Capsule { slot, sqe } => return Some(self.transmit_capsule(slot, sqe)),
                // Nothing, if the command was answered before all its data was sent.
                Outgoing::Data(slot) => {
                    if let Some(transmit) = self.transmit_data(slot) {
                        return Some(transmit);
                    }
                }
            }
        }
    }

    /// When [`Connection::on_deadline`] is to be called.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Tick> {
        self.clock.next()
    }

    /// Time has passed.
    ///
    /// # Errors
    /// [`ConnectionError::TimedOut`] if it was too much.
    pub fn on_deadline(&mut self, now: Tick) -> Result<(), ConnectionError> {
        self.clock.check(now)
    }

    fn on_ic_resp(&mut self, now: Tick) -> Result<(), ConnectionError> {
        let Some(response) = self.rx.header::<IcResp>() else {
            return Err(self.terminate(Fault::field(2), now));
        };
        if response.pfv.get() != 0 {
            return Err(self.terminate(Fault::unsupported(8), now));
        }
        let granted = Digests::from_bits(response.dgst);
        let (cpda_z, max) = (response.cpda_z, response.maxh2cdata.get());
        if granted != self.config.digests {
            return Err(ConnectionError::Unsupported("the controller does not agree to the digests"));
        }
        if cpda_z > 31 || max < 4096 || !max.is_multiple_of(4) {
            return Err(self.terminate(Fault::field(if cpda_z > 31 { 10 } else { 12 }), now));
        }
        self.cpda_z = cpda_z;
        self.h2c_data_max = max;
        self.stage = Stage::Ready;
        self.clock.clear();
        self.event = Some(Event::Ready);
        Ok(())
    }

    /// The live command that an identifier from the controller names.
    fn named(&mut self, cid: u16) -> Result<(Slot, &mut Command), Fault> {
        let slot = Slot(cid & ((1 << INDEX_BITS) - 1));
        let generation = cid >> INDEX_BITS;
        self.commands
            .get_mut(slot.index())
            .filter(|command| command.is_live && u16::from(command.generation) == generation)
            .map(|command| (slot, command))
            .ok_or(Fault::sequence())
    }

    fn on_response(&mut self) -> Result<(), Fault> {
        let cqe = self.rx.header::<CapsuleResp>().ok_or(Fault::field(2))?.cqe;
        let (slot, _) = self.named(cqe.cid.get())?;
        self.complete(slot, cqe);
        Ok(())
    }

    fn on_r2t(&mut self) -> Result<(), Fault> {
        let header = *self.rx.header::<R2t>().ok_or(Fault::field(2))?;
        let (slot, command) = self.named(header.cccid.get())?;
        let Data::Write(len) = command.data else { return Err(Fault::sequence()) };
        let (start, wanted) = (header.r2to.get(), header.r2tl.get());
        let end = start.checked_add(wanted).ok_or(Fault::out_of_range())?;
        if command.requested.0 != command.requested.1 {
            return Err(Fault::limit()); // one R2T at a time: that is what our ICReq said
        }
        if wanted == 0 || start < command.requested.1 || end > len {
            return Err(Fault::out_of_range());
        }
        command.requested = (start, end);
        command.ttag = header.ttag.get();
        self.outgoing.push_back(Outgoing::Data(slot));
        Ok(())
    }

    fn on_c2h_data(&mut self, layout: Layout) -> Result<(), Fault> {
        let header = *self.rx.header::<DataPdu>().ok_or(Fault::field(2))?;
        let (slot, command) = self.named(header.cccid.get())?;
        let Data::Read(len) = command.data else { return Err(Fault::sequence()) };
        let flags = header.ch.flags;
        if flags & flag::SUCCESS != 0 && flags & flag::LAST == 0 {
            return Err(Fault::field(1));
        }
        let (offset, part) = (header.datao.get(), header.datal.get());
        let end = offset.checked_add(part).ok_or(Fault::out_of_range())?;
        if part == 0 || part != layout.data || offset != command.received || end > len {
            return Err(Fault::out_of_range());
        }
        self.receiving = Some((slot, flags));
        Ok(())
    }

    fn complete(&mut self, slot: Slot, mut cqe: Cqe) {
        let Some(command) = self.commands.get_mut(slot.index()) else { return };
        let is_short = matches!(command.data, Data::Read(len) if command.received < len);
        if cqe.status().is_success() && (is_short || !command.is_intact) {
            cqe.status_phase = U16::new(Status::DATA_TRANSFER_ERROR.to_field());
        }
        command.is_live = false;
        self.free.push(slot.0);
        self.event = Some(Event::Complete { slot, cqe });
    }

    fn transmit_capsule(&mut self, slot: Slot, sqe: Sqe) -> Transmit {
        let header = CapsuleCmd { ch: CommonHeader::new_zeroed(), sqe };
        let sgl = sqe.dptr.as_sgl();
        let len = sgl.length.get();
        if sgl.kind != nvme_spec::SglKind::DATA_BLOCK_OFFSET || len == 0 {
            return Transmit::header(&header, PduType::CAPSULE_CMD, self.config.digests);
        }
        if let Some(command) = self.commands.get_mut(slot.index()) {
            command.requested = (len, len); // all of it is on its way: an R2T would ask for what is behind its end
        }
        let options = DataOptions { digests: self.config.digests, align_z: self.cpda_z, flags: 0 };
        Transmit::with_payload(&header, PduType::CAPSULE_CMD, Payload { slot, offset: 0, len }, options)
    }

    fn transmit_data(&mut self, slot: Slot) -> Option<Transmit> {
        let command = self.commands.get_mut(slot.index()).filter(|command| command.is_live)?;
        let (offset, end) = command.requested;
        let len = end.saturating_sub(offset).min(self.h2c_data_max);
        if len == 0 {
            return None;
        }
        let next = offset.saturating_add(len);
        command.requested.0 = next;
        let mut header = DataPdu::new_zeroed();
        header.cccid = U16::new(u16::from(command.generation) << INDEX_BITS | slot.0);
        header.ttag = U16::new(command.ttag);
        header.datao = U32::new(offset);
        header.datal = U32::new(len);
        let flags = if next == end { flag::LAST } else { 0 };
        if next < end {
            self.outgoing.push_front(Outgoing::Data(slot));
        }
        let options = DataOptions { digests: self.config.digests, align_z: self.cpda_z, flags };
        Some(Transmit::with_payload(&header, PduType::H2C_DATA, Payload { slot, offset, len }, options))
    }
}
