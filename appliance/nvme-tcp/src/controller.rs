//! The controller's end of a connection.
//!
//! ```text
//!  AwaitIcReq ──ICReq──▶ Ready ──fault──▶ Terminating ──time, or the owner closes──▶ (dropped)
//!
//!  a command:  Event::Command ─┬─ data in the capsule: follows by itself ─┐
//!                              ├─ request_data() ─ R2T ─ H2CData … ───────┴▶ Event::Data ─┐
//!                              └──────────────────────────────────────────────────────────┴▶ respond() ─▶ release()
//! ```
//!
//! Invariants
//! - A command may be answered at any time. If its data is still on the way, the answer waits and the rest of the data is
//!   thrown away: a host that got its completion may reuse the memory it is still sending from.
//! - A host has at most as many commands outstanding as its queue has entries; one more ends the connection. So nothing here
//!   grows with what a host sends.
//! - A command identifier is live until its last PDU was handed out; a second command with it is refused and not executed.
//!
//! Commands in flight when a connection dies belong to the owner, who drops the connection and drains them.

mod slots;

pub use slots::Reply;

use crate::limits::{
    C2H_DATA_MAX, CONNECT_TIMEOUT, DATA_TIMEOUT, H2C_DATA_MAX, IC_REQ_TIMEOUT, IN_CAPSULE_ADMIN_MAX,
    IN_CAPSULE_MAX, QUEUE_ENTRIES_MAX, REFUSALS_MAX, SLOTS_PER_ENTRY, TERMINATION_TIMEOUT, TRANSFER_MAX,
};
use crate::receive::{Layout, Receiver, Shape, is_known};
use crate::side::{self, Clock, Side, peer_fault};
use crate::transmit::{DataOptions, Payload, Transmit};
use crate::wire::{ConnectionError, Digests, Fault, Slot, Waiting, Want};
use block::Tick;
use core::time::Duration;
use nvme_spec::entry::{FLAGS_PSDT_MASK, FLAGS_SGL};
use nvme_spec::opcode::DataDirection;
use nvme_spec::tcp::{CapsuleCmd, CapsuleResp, CommonHeader, DataPdu, IcReq, IcResp, PduType, R2t, flag};
use nvme_spec::{Cqe, SglKind, Sqe, Status};
use slots::{Part, Slots};
use std::collections::VecDeque;
use zerocopy::FromZeros;
use zerocopy::little_endian::{U16, U32};

/// Choices of the owner.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Digests that are granted if the host asks for them.
    pub digests: Digests,
    /// Time for all the data that an R2T asks for.
    pub data_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { digests: Digests { header: true, data: true }, data_timeout: DATA_TIMEOUT }
    }
}

/// What Connect decided about the queue.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    /// Entries, as a real count.
    pub entries: u16,
    /// Slots at most, answered commands whose last PDU is being sent counted in. Who is given fewer than two for each entry has
    /// to wait, with its queue full, until some of its answers were sent; nothing else changes for it.
    pub slots_max: u16,
    /// It is the admin queue.
    pub is_admin: bool,
    /// The host wants no submission queue flow control (CATTR.DISSQFC): reads may then end without a response capsule.
    pub is_flow_control_disabled: bool,
}

/// Where the data of a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// There is none.
    None,
    /// In the capsule: it follows now, and ends with [`Event::Data`]. Only commands that send data to us have it.
    InCapsule(u32),
    /// In the host's memory: this many bytes may be asked for ([`Connection::request_data`]) or sent ([`Reply::data_len`]).
    Transport(u32),
}

impl Data {
    /// Its length.
    #[must_use]
    pub fn len(self) -> u32 {
        match self {
            Self::None => 0,
            Self::InCapsule(len) | Self::Transport(len) => len,
        }
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A command arrived. It is answered with [`Connection::respond`], sooner or later.
    Command {
        /// Its name from now on.
        slot: Slot,
        /// The command.
        sqe: Sqe,
        /// Its data.
        data: Data,
    },
    /// A command was refused here (its identifier is in use, or its SGL is wrong); the host is told. It still was between those
    /// around it.
    Refused {
        /// The command.
        sqe: Sqe,
    },
    /// The data of a command is complete in its buffer.
    Data {
        /// Which command.
        slot: Slot,
        /// Transient Transport Error if the data digest was wrong: to be answered with it, without touching the medium.
        result: Result<(), Status>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    AwaitIcReq,
    Ready,
    Terminating,
}

/// For whom the payload is that is being received.
#[derive(Clone, Copy, Debug)]
enum Receiving {
    Slot(Slot),
    Nobody,
}

#[derive(Clone, Copy, Debug)]
enum Outgoing {
    IcResp,
    R2t(Slot),
    Reply(Slot),
    Refusal { cid: u16, status: Status },
}

/// The controller's end of one connection: one queue.
#[derive(Debug)]
pub struct Connection {
    config: Config,
    stage: Stage,
    digests: Digests,
    hpda_z: u8,
    queue: Queue,
    in_capsule_max: u32,
    sq_head: u16,
    rx: Receiver,
    kind: PduType,
    receiving: Receiving,
    slots: Slots,
    event: Option<Event>,
    outgoing: VecDeque<Outgoing>,
    refusals: usize,
    termination: Option<Box<Transmit>>,
    clock: Clock,
    /// No data that an R2T asked for is due before.
    data_due: Option<Tick>,
}

impl Side for Connection {
    const TERM_REQ: PduType = PduType::C2H_TERM_REQ;

    fn rx(&mut self) -> &mut Receiver {
        &mut self.rx
    }

    fn clock(&mut self) -> &mut Clock {
        &mut self.clock
    }

    fn layout_of(&self, ch: &CommonHeader) -> Result<Layout, Fault> {
        let (digests, kind) = (self.digests, ch.kind);
        // TCP 1.1 §3.5.2.1: FEI is the offset of the wrong field from the start of the PDU, and the type is byte 0.
        if !is_known(kind) {
            return Err(Fault::field(0));
        }
        if kind == PduType::H2C_TERM_REQ {
            return Layout::of_termination(ch);
        }
        if self.stage == Stage::AwaitIcReq {
            if kind != PduType::IC_REQ {
                return Err(Fault::sequence());
            }
            return Layout::of(ch, Shape { hlen: 128, may_carry_data: false, digests });
        }
        match kind {
            PduType::CAPSULE_CMD => Layout::of(ch, Shape { hlen: 72, may_carry_data: true, digests }),
            PduType::H2C_DATA => Layout::of(ch, Shape { hlen: 24, may_carry_data: true, digests }),
            PduType::IC_REQ => Err(Fault::sequence()),
            _ => Err(Fault::field(0)), // what only controllers send
        }
    }

    fn begin(&mut self, kind: PduType) {
        self.kind = kind;
    }

    fn on_head(&mut self, layout: Layout, now: Tick) -> Result<(), ConnectionError> {
        let result = match self.kind {
            PduType::IC_REQ => self.on_ic_req(now),
            PduType::CAPSULE_CMD => self.on_capsule(layout),
            PduType::H2C_DATA => self.on_h2c_data(layout),
            _ => {
                self.stage = Stage::Terminating;
                return Err(peer_fault(&self.rx));
            }
        };
        result.map_err(|fault| self.terminate(fault, now))
    }

    fn end_data(&mut self, is_intact: bool, _now: Tick) {
        let Receiving::Slot(slot) = core::mem::replace(&mut self.receiving, Receiving::Nobody) else {
            return;
        };
        match self.slots.end_part(slot, is_intact) {
            Part::More => {}
            Part::Complete(result) => self.event = Some(Event::Data { slot, result }),
            Part::Answered => self.outgoing.push_back(Outgoing::Reply(slot)),
        }
    }

    fn end_with(&mut self, request: Transmit, now: Tick) {
        self.stage = Stage::Terminating;
        self.outgoing.clear();
        self.termination = Some(Box::new(request));
        self.clock = Clock::new(now, TERMINATION_TIMEOUT, Waiting::Close);
        self.data_due = None;
    }
}

impl Connection {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(config: Config, now: Tick) -> Self {
        // Until Connect has succeeded there is one command at a time.
        let queue =
            Queue { entries: 1, slots_max: SLOTS_PER_ENTRY, is_admin: true, is_flow_control_disabled: false };
        Self {
            config,
            stage: Stage::AwaitIcReq,
            digests: Digests::default(),
            hpda_z: 0,
            queue,
            in_capsule_max: IN_CAPSULE_ADMIN_MAX,
            sq_head: 0,
            rx: Receiver::new(),
            kind: PduType::IC_REQ,
            receiving: Receiving::Nobody,
            slots: Slots::new(SLOTS_PER_ENTRY),
            event: None,
            outgoing: VecDeque::new(),
            refusals: 0,
            termination: None,
            clock: Clock::new(now, IC_REQ_TIMEOUT, Waiting::Initialization),
            data_due: None,
        }
    }

    /// Connect succeeded: the queue has its size from now on, and everything it needs is allocated. To be called before
    /// the Connect command is answered.
    ///
    /// # Panics
    /// If the number of entries is out of bounds or the connection is not initialized: Connect checks that.
    pub fn set_queue(&mut self, queue: Queue) {
        assert!(self.stage == Stage::Ready, "Connect came over an initialized connection");
        assert!((1..=QUEUE_ENTRIES_MAX).contains(&queue.entries), "the queue size was checked");
        self.in_capsule_max = if queue.is_admin { IN_CAPSULE_ADMIN_MAX } else { IN_CAPSULE_MAX };
        let slots = queue.entries.saturating_mul(SLOTS_PER_ENTRY).min(queue.slots_max);
        self.slots.grow(slots);
        self.outgoing.reserve(usize::from(slots));
        self.sq_head = u16::from(queue.entries > 1); // Connect itself was entry 0
        self.queue = queue;
        self.clock.clear();
    }

    /// Upper bound of [`Slot::index`] plus one.
    #[must_use]
    pub fn slot_count(&self) -> usize {
        self.slots.len()
    }

    /// Commands received and not yet answered completely.
    #[must_use]
    pub fn in_flight(&self) -> u16 {
        self.slots.live_count()
    }

    /// The digests in use.
    #[must_use]
    pub fn digests(&self) -> Digests {
        self.digests
    }

    /// The command that uses this identifier now (for Abort).
    #[must_use]
    pub fn find(&self, cid: u16) -> Option<Slot> {
        self.slots.find(cid)
    }

    /// Where the next received bytes belong. Poll events first.
    #[must_use]
    pub fn want(&self) -> Want {
        if self.event.is_some() || self.stage == Stage::Terminating {
            return Want::Nothing;
        }
        if let Some(len) = self.rx.payload_left() {
            return match self.receiving {
                Receiving::Slot(slot) => match self.slots.incoming(slot) {
                    Some(incoming) if incoming.answer.is_none() => {
                        Want::Payload { slot, offset: incoming.received, len }
                    }
                    Some(_) | None => Want::Discard { len },
                },
                Receiving::Nobody => Want::Discard { len },
            };
        }
        if self.slots.is_full() || self.refusals >= REFUSALS_MAX {
            return Want::Nothing;
        }
        Want::Header { len: self.rx.header_missing().and_then(|n| u32::try_from(n).ok()).unwrap_or(0) }
    }

    /// Takes header bytes; returns how many. It stops after each PDU head and before payload: poll events, ask `want` again.
    ///
    /// # Errors
    /// When the connection ends; see [`ConnectionError`] for what is left to do.
    ///
    /// # Panics
    /// If called while an event waits or after an error: calling rules.
    pub fn on_header(&mut self, bytes: &[u8], now: Tick) -> Result<usize, ConnectionError> {
        assert!(self.event.is_none(), "events are polled before more is received");
        assert!(self.stage != Stage::Terminating, "nothing is received after a fault");
        side::on_header(self, bytes, now)
    }

    /// Sees payload that was placed where [`Connection::want`] said (or thrown away, for [`Want::Discard`]).
    ///
    /// # Errors
    /// None today: payload cannot be wrong before its digest.
    ///
    /// # Panics
    /// If more is shown than was wanted.
    pub fn on_payload(&mut self, bytes: &[u8], now: Tick) -> Result<(), ConnectionError> {
        let is_complete = side::on_payload(self, bytes, now);
        if let Receiving::Slot(slot) = self.receiving
            && let Some(incoming) = self.slots.incoming_mut(slot)
        {
            let taken = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            incoming.received = incoming.received.saturating_add(taken);
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

    /// Asks the host for all the data of a write, as one R2T. The buffer must be there now.
    ///
    /// # Panics
    /// If the command is not waiting for its owner, or the length is out of bounds: `nvme-subsystem` checks it.
    pub fn request_data(&mut self, slot: Slot, len: u32) {
        assert!((1..=TRANSFER_MAX).contains(&len), "the length of a transfer was checked");
        let due = self.clock.now().after(self.config.data_timeout);
        self.slots.expect_data(slot, len, Some(due));
        self.data_due = self.data_due.or(Some(due));
        self.outgoing.push_back(Outgoing::R2t(slot));
    }

    /// Answers a command, with data from its buffer if [`Reply::data_len`] says so.
    ///
    /// # Panics
    /// If it was answered before.
    pub fn respond(&mut self, slot: Slot, reply: Reply) {
        if self.slots.answer(slot, reply) {
            self.outgoing.push_back(Outgoing::Reply(slot));
        }
    }

    /// The buffer of a command that ended is free again ([`Transmit::done`]).
    ///
    /// # Panics
    /// If the command has not ended.
    pub fn release(&mut self, slot: Slot) {
        self.slots.release(slot);
    }

    /// The next PDU to send; to be asked after every `on_`, [`Connection::respond`] and [`Connection::request_data`].
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        if let Some(transmit) = self.termination.take() {
            return Some(*transmit);
        }
        if self.stage == Stage::Terminating {
            return None; // a termination request is the last PDU; answers that come now go nowhere
        }
        let next = *self.outgoing.front()?;
        if let Outgoing::Reply(slot) = next {
            return Some(self.transmit_reply(slot));
        }
        self.outgoing.pop_front();
        Some(match next {
            Outgoing::IcResp => self.transmit_ic_resp(),
            Outgoing::R2t(slot) => self.transmit_r2t(slot),
            Outgoing::Refusal { cid, status } => {
                self.refusals = self.refusals.saturating_sub(1);
                self.transmit_cqe(Cqe::new(cid, status))
            }
            Outgoing::Reply(slot) => self.transmit_reply(slot),
        })
    }

    /// When [`Connection::on_deadline`] is to be called.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Tick> {
        self.clock.next().into_iter().chain(self.data_due).min()
    }

    /// Time has passed.
    ///
    /// # Errors
    /// [`ConnectionError::TimedOut`] if it was too much.
    pub fn on_deadline(&mut self, now: Tick) -> Result<(), ConnectionError> {
        if self.want() == Want::Nothing && self.stage == Stage::Ready {
            // Nothing can be received before slots are released: that is not the host's silence.
            self.on_resumed(now);
        }
        self.clock.check(now)?;
        if self.data_due.is_some_and(|due| now >= due) {
            self.data_due = self.slots.data_due();
            if self.data_due.is_some_and(|due| now >= due) {
                return Err(ConnectionError::TimedOut(Waiting::Data));
            }
        }
        Ok(())
    }

    /// The owner did not receive for a while, for want of memory: whatever the host was sending has its whole time again.
    pub fn on_resumed(&mut self, now: Tick) {
        self.clock.restart_pdu(now);
        if self.data_due.is_some() {
            let due = now.after(self.config.data_timeout);
            self.slots.postpone_data(due);
            self.data_due = Some(due);
        }
    }

    /// TCP 1.1 §3.6.2.2.
    fn on_ic_req(&mut self, now: Tick) -> Result<(), Fault> {
        let request = self.rx.header::<IcReq>().ok_or(Fault::field(2))?;
        if request.pfv.get() != 0 {
            return Err(Fault::unsupported(8));
        }
        if request.hpda_z > 31 {
            return Err(Fault::field(10));
        }
        let wanted = Digests::from_bits(request.dgst);
        self.hpda_z = request.hpda_z;
        self.digests = Digests {
            header: wanted.header && self.config.digests.header,
            data: wanted.data && self.config.digests.data,
        };
        self.stage = Stage::Ready;
        self.clock.set(now, CONNECT_TIMEOUT, Waiting::Connect);
        self.outgoing.push_back(Outgoing::IcResp);
        Ok(())
    }

    fn on_capsule(&mut self, layout: Layout) -> Result<(), Fault> {
        let sqe = self.rx.header::<CapsuleCmd>().ok_or(Fault::field(2))?.sqe;
        if self.slots.live_count() >= self.queue.entries {
            return Err(Fault::sequence());
        }
        if layout.data > self.in_capsule_max {
            return Err(Fault::limit());
        }
        let cid = sqe.cid.get();
        let data = match locate_data(&sqe, layout.data)? {
            Ok(_) if self.slots.is_live(cid) => Err(Status::COMMAND_ID_CONFLICT),
            other => other,
        };
        self.sq_head = next_entry(self.sq_head, self.queue.entries);
        self.receiving = Receiving::Nobody;
        match data {
            Err(status) => {
                self.refusals = self.refusals.saturating_add(1);
                self.outgoing.push_back(Outgoing::Refusal { cid, status });
                self.event = Some(Event::Refused { sqe });
            }
            Ok(data) => {
                // `want` asks for no header while there is no free slot.
                let Some(slot) = self.slots.take(cid) else { return Err(Fault::sequence()) };
                if let Data::InCapsule(len) = data {
                    self.slots.expect_data(slot, len, None);
                    self.receiving = Receiving::Slot(slot);
                }
                self.event = Some(Event::Command { slot, sqe, data });
            }
        }
        Ok(())
    }

    fn on_h2c_data(&mut self, layout: Layout) -> Result<(), Fault> {
        let header = self.rx.header::<DataPdu>().ok_or(Fault::field(2))?;
        let (cid, ttag) = (header.cccid.get(), header.ttag.get());
        let (offset, len) = (header.datao.get(), header.datal.get());
        let slot = ttag.checked_sub(1).map(Slot).ok_or(Fault::sequence())?;
        let incoming = self.slots.incoming(slot).ok_or(Fault::sequence())?;
        if !incoming.is_requested() || self.slots.cid(slot) != Some(cid) {
            return Err(Fault::sequence());
        }
        if len > H2C_DATA_MAX {
            return Err(Fault::limit());
        }
        let end = offset.checked_add(len).ok_or(Fault::out_of_range())?;
        if len == 0 || len != layout.data || offset != incoming.received || end > incoming.len {
            return Err(Fault::out_of_range());
        }
        self.receiving = Receiving::Slot(slot);
        Ok(())
    }

    fn transmit_ic_resp(&self) -> Transmit {
        let mut header = IcResp::new_zeroed();
        header.dgst = self.digests.to_bits();
        // CPDA stays 0: we ask for no alignment, and Linux accepts no other value.
        header.maxh2cdata = U32::new(H2C_DATA_MAX);
        Transmit::header(&header, PduType::IC_RESP, Digests::default())
    }

    fn transmit_r2t(&mut self, slot: Slot) -> Transmit {
        self.slots.request_sent(slot);
        let mut header = R2t::new_zeroed();
        header.cccid = U16::new(self.slots.cid(slot).unwrap_or(0));
        header.ttag = U16::new(slot.0.saturating_add(1)); // never 0, so that a zeroed tag is no valid one
        header.r2tl = U32::new(self.slots.incoming(slot).map_or(0, |incoming| incoming.len));
        Transmit::header(&header, PduType::R2T, self.digests)
    }

    fn transmit_cqe(&self, mut cqe: Cqe) -> Transmit {
        // With flow control disabled the head pointer is reserved, and FFFFh says so in the response to Connect.
        cqe.sqhd = U16::new(if self.queue.is_flow_control_disabled { 0xffff } else { self.sq_head });
        let header = CapsuleResp { ch: CommonHeader::new_zeroed(), cqe };
        Transmit::header(&header, PduType::CAPSULE_RESP, self.digests)
    }

    /// The next PDU of a reply: its data in parts, then the response, unless the last part already says it all.
    fn transmit_reply(&mut self, slot: Slot) -> Transmit {
        let (reply, offset) = self.slots.replying(slot);
        let left = reply.data_len.saturating_sub(offset);
        if left == 0 {
            self.outgoing.pop_front();
            let mut cqe = reply.cqe;
            cqe.cid = U16::new(self.slots.cid(slot).unwrap_or(0));
            self.slots.finish(slot);
            let mut transmit = self.transmit_cqe(cqe);
            transmit.done = Some(slot);
            return transmit;
        }
        let len = left.min(C2H_DATA_MAX);
        let is_last = len == left;
        // TCP 1.1 §3.3.2: only with flow control disabled, and only if the response would say nothing.
        let says_it_all = is_last && self.queue.is_flow_control_disabled && reply.cqe.result() == 0;
        let mut header = DataPdu::new_zeroed();
        header.cccid = U16::new(self.slots.cid(slot).unwrap_or(0));
        header.datao = U32::new(offset);
        header.datal = U32::new(len);
        let flags = if is_last { flag::LAST } else { 0 } | if says_it_all { flag::SUCCESS } else { 0 };
        let options = DataOptions { digests: self.digests, align_z: self.hpda_z, flags };
        let payload = Payload { slot, offset, len };
        let mut transmit = Transmit::with_payload(&header, PduType::C2H_DATA, payload, options);
        self.slots.sent(slot, len);
        if says_it_all {
            self.outgoing.pop_front();
            self.slots.finish(slot);
            transmit.done = Some(slot);
        }
        transmit
    }
}

fn next_entry(entry: u16, entries: u16) -> u16 {
    let next = entry.saturating_add(1);
    if next >= entries { 0 } else { next }
}

/// Where a command's data is, from its SGL and from what the capsule carries. A wrong SGL costs the connection only if data
/// follows that nobody can attribute (Base 2.1 §4.3.2, TCP 1.1 §3.2.1).
fn locate_data(sqe: &Sqe, carried: u32) -> Result<Result<Data, Status>, Fault> {
    const SGL_ADDRESS: u32 = 8 + 24;
    const SGL_KIND: u32 = 8 + 39;
    let sgl = sqe.dptr.as_sgl();
    let len = sgl.length.get();
    let refuse = |fault: Fault, status: Status| if carried > 0 { Err(fault) } else { Ok(Err(status.dnr())) };
    if sqe.flags & FLAGS_PSDT_MASK != FLAGS_SGL {
        return Ok(Err(Status::INVALID_FIELD.dnr()));
    }
    match sgl.kind {
        SglKind::DATA_BLOCK_OFFSET if sgl.address.get() != 0 => {
            refuse(Fault::unsupported(SGL_ADDRESS), Status::INVALID_SGL_OFFSET)
        }
        SglKind::DATA_BLOCK_OFFSET if len != carried => refuse(Fault::field(4), Status::INVALID_SGL_LENGTH),
        SglKind::DATA_BLOCK_OFFSET if len == 0 => Ok(Ok(Data::None)),
        SglKind::DATA_BLOCK_OFFSET => match sqe.direction() {
            DataDirection::ToController | DataDirection::Both => Ok(Ok(Data::InCapsule(len))),
            DataDirection::ToHost | DataDirection::None => Ok(Err(Status::INVALID_FIELD.dnr())),
        },
        _ if carried > 0 => Err(Fault::unsupported(SGL_KIND)),
        _ if len == 0 => Ok(Ok(Data::None)),
        SglKind::TRANSPORT_DATA_BLOCK => Ok(Ok(Data::Transport(len))),
        _ => Ok(Err(Status::INVALID_SGL_TYPE.dnr())),
    }
}
