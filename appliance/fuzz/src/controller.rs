//! The controller's end of a connection against a host that does what it likes.
//!
//! The harness is host and owner at once. As host it sends capsules, data for R2Ts that it has seen (rightly or wrongly),
//! and plain nonsense, in pieces of any size; as owner it answers, asks for data and releases in any order.

use crate::choices::Choices;
use crate::wire::{Head, kind, push_pdu};
use block::Tick;
use nvme_spec::entry::DataPointer;
use nvme_spec::tcp::{CapsuleCmd, CapsuleResp, CommonHeader, DataPdu, IcReq, PduType, R2t, flag};
use nvme_spec::{Cqe, Sgl, SglKind, Sqe, Status};
use nvme_tcp::controller::{Config, Connection, Data, Event, Queue, Reply};
use nvme_tcp::limits::{REFUSALS_MAX, SLOTS_PER_ENTRY, TRANSFER_MAX};
use nvme_tcp::{ConnectionError, Digests, Slot, Transmit, Want};
use zerocopy::{FromZeros, IntoBytes};

/// A command that the connection told of, as the owner knows it.
#[derive(Debug)]
struct Command {
    slot: Slot,
    cid: u16,
    data: Data,
    /// Bytes that were placed, of those that are expected.
    placed: u32,
    expected: u32,
    is_complete: bool,
    reply: Option<Reply>,
    sent: u32,
    /// Its last PDU was handed out.
    is_done: bool,
}

struct Harness {
    connection: Connection,
    digests: Digests,
    align_z: u8,
    entries: u16,
    slots_max: u16,
    is_flow_control_disabled: bool,
    /// The ICResp was sent.
    is_initialized: bool,
    is_connected: bool,
    now: Tick,
    /// What the host has sent and we have not received.
    wire: Vec<u8>,
    piece: usize,
    commands: Vec<Command>,
    /// R2Ts that were sent: identifier, tag, what is asked for from where.
    requests: Vec<(u16, u16, u32, u32)>,
    refusals: usize,
    capsules: usize,
    error: Option<ConnectionError>,
}

/// Plays a conversation.
///
/// # Panics
/// If the connection does what it must not.
pub fn controller(input: &[u8]) {
    let mut choices = Choices::new(input);
    let mut harness = Harness::begin(&mut choices);
    while !choices.is_empty() {
        match choices.u8() % 16 {
            0..=3 => harness.send_capsule(&mut choices),
            4..=6 => harness.send_data(&mut choices),
            7 => {
                let len = choices.below(64);
                harness.wire.extend_from_slice(choices.bytes(len));
            }
            8 | 9 => harness.answer(&mut choices),
            10 => harness.ask_for_data(&mut choices),
            11 => harness.release(&mut choices),
            12 => harness.damage(&mut choices),
            13 => harness.piece = 1 + usize::from(choices.u16() % 5000),
            14 => harness.wait(u64::from(choices.u16())),
            _ => harness.connect(),
        }
        harness.receive();
        harness.transmit();
    }
    harness.end();
}

impl Harness {
    fn begin(choices: &mut Choices<'_>) -> Self {
        let flags = choices.u8();
        let align_z = choices.u8() % 40;
        let entries = 1 + u16::from(choices.u8() % 8);
        let now = Tick(0);
        let mut harness = Self {
            connection: Connection::new(Config::default(), now),
            digests: Digests::from_bits(flags & 3),
            align_z,
            entries,
            slots_max: if flags & 16 != 0 { 3 } else { u16::MAX },
            is_flow_control_disabled: flags & 4 != 0,
            is_initialized: false,
            is_connected: false,
            now,
            wire: Vec::new(),
            piece: usize::MAX,
            commands: Vec::new(),
            requests: Vec::new(),
            refusals: 0,
            capsules: 0,
            error: None,
        };
        if flags & 8 == 0 {
            let mut request = IcReq::new_zeroed();
            request.ch = kind(PduType::IC_REQ, 0);
            request.hpda_z = align_z;
            request.dgst = flags & 3;
            push_pdu(&mut harness.wire, &request, &[], Digests::default());
            harness.receive();
            harness.transmit();
            harness.connect();
        }
        harness
    }

    fn is_over(&self) -> bool {
        self.error.is_some()
    }

    /// What Connect would do, once the ICReq was taken.
    fn connect(&mut self) {
        if self.is_initialized && !self.is_connected && !self.is_over() {
            self.is_connected = true;
            self.connection.set_queue(Queue {
                entries: self.entries,
                slots_max: self.slots_max,
                is_admin: false,
                is_flow_control_disabled: self.is_flow_control_disabled,
            });
        }
    }

    fn send_capsule(&mut self, choices: &mut Choices<'_>) {
        let mut sqe = Sqe::new(choices.u8(), 1);
        sqe.flags = if choices.u8() == 1 { choices.u8() } else { 0x40 };
        sqe.cid = u16::from(choices.u8() % 12).into();
        let how = choices.u8();
        let len = choices.len();
        let mut carried = 0;
        let sgl = match how % 8 {
            0..=2 => Sgl::transport(len),
            3..=5 => {
                carried = len.min(20_000);
                Sgl::in_capsule(carried)
            }
            6 => {
                carried = choices.len().min(20_000);
                Sgl::in_capsule(len)
            }
            _ => {
                carried = choices.len().min(64);
                let kind = SglKind(choices.u8());
                let mut sgl = Sgl { kind, ..Sgl::transport(len) };
                sgl.address = u64::from(choices.u8()).into();
                sgl
            }
        };
        sqe.dptr = DataPointer::sgl(sgl);
        let header = CapsuleCmd { ch: kind(PduType::CAPSULE_CMD, 0), sqe };
        self.push(&header, carried);
    }

    fn push<T: IntoBytes + zerocopy::Immutable>(&mut self, header: &T, carried: u32) {
        let digests =
            if self.connection.digests() == self.digests { self.digests } else { Digests::default() };
        let data = vec![0x5a; carried as usize];
        push_pdu(&mut self.wire, header, &data, digests);
    }

    /// Data for an R2T that we have sent, as it was asked for or nearly so.
    fn send_data(&mut self, choices: &mut Choices<'_>) {
        let index = choices.below(self.requests.len().max(1));
        let (cid, tag, mut from, end) = self.requests.get(index).copied().unwrap_or((1, 1, 0, 4096));
        let mut header = DataPdu::new_zeroed();
        let flags = if choices.is_set() { flag::LAST } else { 0 };
        header.ch = kind(PduType::H2C_DATA, flags);
        (header.cccid, header.ttag) = (cid.into(), tag.into());
        let mut len = (end - from).min(choices.len()).min(300_000);
        match choices.u8() {
            1 => from = choices.len(),
            2 => len = choices.len().min(300_000),
            3 => header.cccid = u16::from(choices.u8()).into(),
            4 => header.ttag = choices.u16().into(),
            _ => {}
        }
        header.datao = from.into();
        header.datal = if choices.u8() == 1 { choices.u32().into() } else { len.into() };
        if let Some(request) = self.requests.get_mut(index) {
            request.2 = from.saturating_add(len).min(end);
            if request.2 == end {
                self.requests.remove(index);
            }
        }
        self.push(&header, len);
    }

    /// Changes a byte of what was not received yet, or of the next PDU.
    fn damage(&mut self, choices: &mut Choices<'_>) {
        if self.wire.is_empty() {
            self.send_capsule(choices);
        }
        let at = usize::from(choices.u16()) % self.wire.len();
        self.wire[at] ^= 1 << (choices.u8() % 8);
    }

    fn wait(&mut self, ms: u64) {
        if self.is_over() {
            return;
        }
        self.now = Tick(self.now.0 + ms * 1_000_000);
        if let Err(error) = self.connection.on_deadline(self.now) {
            assert!(self.connection.poll_deadline().is_some_and(|at| at <= self.now), "time was up");
            self.error = Some(error);
        }
    }

    /// The kernel's part: bytes arrive in pieces, payload is placed.
    fn receive(&mut self) {
        let wire = core::mem::take(&mut self.wire);
        let mut rest = wire.as_slice();
        while !rest.is_empty() && !self.is_over() {
            let some = &rest[..rest.len().min(self.piece)];
            let used = match self.connection.want() {
                Want::Header { len } => {
                    assert!((1..=256).contains(&len), "a step of {len} bytes");
                    self.connection.on_header(some, self.now)
                }
                Want::Payload { slot, offset, len } => {
                    let taken = some.len().min(len as usize);
                    self.place(slot, offset, len, taken);
                    self.connection.on_payload(&some[..taken], self.now).map(|()| taken)
                }
                Want::Discard { len } => {
                    let taken = some.len().min(len as usize);
                    self.connection.on_payload(&some[..taken], self.now).map(|()| taken)
                }
                // The owner has to do something first.
                Want::Nothing => break,
            };
            match used {
                Ok(used) => {
                    assert!(used <= some.len(), "no more is used than was shown");
                    rest = &rest[used..];
                }
                Err(error) => self.error = Some(error),
            }
            while let Some(event) = self.connection.poll_event() {
                self.on_event(event);
            }
        }
        self.wire = rest.to_vec();
    }

    fn place(&mut self, slot: Slot, offset: u32, len: u32, taken: usize) {
        let command = self.live(slot);
        assert!(command.reply.is_none(), "no data is placed for a command that was answered");
        assert_eq!(offset, command.placed, "data is placed in order");
        assert!(command.placed + len <= command.expected, "data is placed inside its buffer");
        command.placed += u32::try_from(taken).expect("short");
    }

    fn live(&mut self, slot: Slot) -> &mut Command {
        let found = self.commands.iter_mut().find(|command| command.slot == slot && !command.is_done);
        found.expect("a slot that is named belongs to a live command")
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Command { slot, sqe, data } => {
                let cid = sqe.cid.get();
                assert!(!self.commands.iter().any(|c| c.slot == slot), "a slot is free before it is taken");
                let is_live = |c: &Command| c.cid == cid && !c.is_done;
                assert!(!self.commands.iter().any(is_live), "identifier {cid} is live once");
                let expected = if let Data::InCapsule(len) = data { len } else { 0 };
                assert!(expected <= 16384, "a capsule carries {expected} bytes");
                self.capsules += 1;
                self.commands.push(Command {
                    slot,
                    cid,
                    data,
                    placed: 0,
                    expected,
                    is_complete: expected == 0,
                    reply: None,
                    sent: 0,
                    is_done: false,
                });
                let live = self.commands.iter().filter(|c| !c.is_done).count();
                assert_eq!(live, usize::from(self.connection.in_flight()), "commands in flight are counted");
                let most = if self.is_connected { self.entries } else { 1 };
                assert!(live <= usize::from(most), "no more commands than entries");
                let slots = (most * SLOTS_PER_ENTRY).min(self.slots_max);
                assert!(self.commands.len() <= usize::from(slots), "slots are bounded");
            }
            Event::Refused { .. } => {}
            Event::Data { slot, result } => {
                let (is_digested, command) = (self.digests.data, self.live(slot));
                assert!(!command.is_complete && command.reply.is_none(), "data ends once");
                assert_eq!(command.placed, command.expected, "all of it is there");
                assert!(result.is_ok() || is_digested, "only a digest can be wrong");
                command.is_complete = true;
            }
        }
    }

    fn answer(&mut self, choices: &mut Choices<'_>) {
        let status = if choices.is_set() { Status::SUCCESS } else { Status::LBA_OUT_OF_RANGE.dnr() };
        let result = choices.u8() & 1;
        let Some(command) = Self::choose(&mut self.commands, choices, |c| c.reply.is_none()) else { return };
        let mut cqe = Cqe::new(command.cid, status);
        cqe.dw0 = u32::from(result).into();
        let len = match command.data {
            Data::Transport(len) if command.expected == 0 => len.min(TRANSFER_MAX),
            Data::None | Data::InCapsule(_) | Data::Transport(_) => 0,
        };
        let reply = Reply::with_data(cqe, len);
        command.reply = Some(reply);
        let slot = command.slot;
        self.connection.respond(slot, reply);
    }

    fn ask_for_data(&mut self, choices: &mut Choices<'_>) {
        let is_fresh = |c: &Command| {
            c.reply.is_none() && c.expected == 0 && matches!(c.data, Data::Transport(1..=TRANSFER_MAX))
        };
        let Some(command) = Self::choose(&mut self.commands, choices, is_fresh) else { return };
        command.expected = command.data.len();
        command.is_complete = false;
        let (slot, len) = (command.slot, command.expected);
        self.connection.request_data(slot, len);
    }

    fn choose<'a>(
        commands: &'a mut [Command],
        choices: &mut Choices<'_>,
        of: impl Fn(&Command) -> bool,
    ) -> Option<&'a mut Command> {
        let count = commands.iter().filter(|c| of(c)).count();
        if count == 0 {
            return None;
        }
        let index = choices.below(count);
        commands.iter_mut().filter(|c| of(c)).nth(index)
    }

    fn release(&mut self, choices: &mut Choices<'_>) {
        let done: Vec<usize> = (0..self.commands.len()).filter(|i| self.commands[*i].is_done).collect();
        if !done.is_empty() {
            let index = done[choices.below(done.len())];
            let command = self.commands.remove(index);
            self.connection.release(command.slot);
        }
    }

    fn transmit(&mut self) {
        let mut count = 0;
        while let Some(transmit) = self.connection.poll_transmit() {
            self.check(&transmit);
            count += 1;
            // What is queued: answers, R2Ts, refusals, and four parts of each answer.
            assert!(count <= usize::from(self.entries) * 6 + REFUSALS_MAX + 2, "what is queued is bounded");
        }
    }

    fn check(&mut self, transmit: &Transmit) {
        let payload = transmit.payload.map_or(0, |payload| payload.len);
        let align_z = if payload > 0 { self.align_z } else { 0 };
        let head = Head::check(transmit.head(), payload, self.connection.digests(), align_z);
        assert_eq!(transmit.has_digest, payload > 0 && self.connection.digests().data);
        if let Some(ConnectionError::Protocol(_)) = self.error {
            assert_eq!(head.common.kind, PduType::C2H_TERM_REQ, "nothing else is sent after a fault");
            return;
        }
        match head.common.kind {
            PduType::IC_RESP => {
                assert!(!self.is_initialized, "there is one ICResp");
                self.is_initialized = true;
            }
            PduType::R2T => self.check_request(head.header()),
            PduType::C2H_DATA => self.check_data(transmit, head.header()),
            PduType::CAPSULE_RESP => self.check_response(transmit, head.header()),
            other => panic!("a controller does not send {other:?}"),
        }
    }

    fn check_request(&mut self, header: &R2t) {
        let (cid, tag) = (header.cccid.get(), header.ttag.get());
        let command = self.commands.iter().find(|c| c.cid == cid && !c.is_done);
        let command = command.expect("an R2T belongs to a live command");
        assert_eq!((header.r2to.get(), header.r2tl.get()), (0, command.data.len()));
        assert!(self.requests.iter().all(|(_, other, ..)| *other != tag), "a tag is used once");
        self.requests.push((cid, tag, 0, header.r2tl.get()));
    }

    fn check_data(&mut self, transmit: &Transmit, header: &DataPdu) {
        let payload = transmit.payload.expect("data PDUs have data");
        let is_flow_control_disabled = self.is_flow_control_disabled;
        let command = self.live(payload.slot);
        let reply = command.reply.expect("data is sent with the answer");
        assert_eq!(header.cccid.get(), command.cid);
        assert_eq!((payload.offset, header.datao.get()), (command.sent, command.sent), "data goes in order");
        assert_eq!(payload.len, header.datal.get());
        command.sent += payload.len;
        assert!(command.sent <= reply.data_len && reply.cqe.status().is_success(), "only what was answered");
        let flags = header.ch.flags;
        assert_eq!(flags & flag::LAST != 0, command.sent == reply.data_len, "LAST is on the last");
        let is_success = flags & flag::SUCCESS != 0;
        assert_eq!(transmit.done.is_some(), is_success);
        if is_success {
            assert!(flags & flag::LAST != 0 && is_flow_control_disabled && reply.cqe.result() == 0);
            command.is_done = true;
        }
    }

    fn check_response(&mut self, transmit: &Transmit, header: &CapsuleResp) {
        let CommonHeader { pdo, .. } = header.ch;
        assert_eq!((pdo, transmit.payload), (0, None));
        let Some(slot) = transmit.done else {
            self.refusals += 1;
            assert!(!header.cqe.status().is_success(), "a refusal says so");
            return;
        };
        let command = self.live(slot);
        let reply = command.reply.expect("a response is an answer");
        assert_eq!((header.cqe.cid.get(), command.sent), (command.cid, reply.data_len));
        assert_eq!(header.cqe.status(), reply.cqe.status());
        command.is_done = true;
        let cid = command.cid;
        assert!(self.requests.iter().all(|(c, ..)| *c != cid), "no answer while the host owes data");
    }

    /// Whatever was answered is sent, or waits for data that the host owes.
    fn end(mut self) {
        match self.error {
            Some(ConnectionError::TimedOut(_)) => return, // the owner closes it
            Some(_) => return assert_eq!(self.connection.want(), Want::Nothing),
            None => {}
        }
        let unanswered: Vec<_> = self.commands.iter().filter(|c| c.reply.is_none()).map(|c| c.slot).collect();
        for slot in unanswered {
            let reply = Reply::status(Status::SUCCESS);
            self.live(slot).reply = Some(reply);
            self.connection.respond(slot, reply);
        }
        self.transmit();
        for command in &self.commands {
            assert!(command.is_done || !command.is_complete, "an answer was kept back: {command:?}");
        }
    }
}
