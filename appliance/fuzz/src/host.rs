//! The host's end of a connection against a controller that does what it likes.
//!
//! What a broken or hostile controller could gain: data of the host that it did not ask for (or twice), bytes written
//! outside a read's buffer, a success that is none, a completion for somebody else's command.

use crate::choices::Choices;
use crate::wire::{Head, kind, push_pdu};
use block::Tick;
use nvme_spec::tcp::{CapsuleCmd, CapsuleResp, DataPdu, IcReq, IcResp, PduType, R2t, flag};
use nvme_spec::{Cqe, NvmOpcode, Sqe, Status};
use nvme_tcp::host::{Config, Connection, Data, Event};
use nvme_tcp::{ConnectionError, Digests, Slot, Transmit, Want};
use zerocopy::{FromZeros, Immutable, IntoBytes};

#[derive(Debug)]
struct Command {
    slot: Slot,
    /// Known once its capsule was handed out.
    cid: Option<u16>,
    data: Data,
    /// Bytes of a read that were placed.
    placed: u32,
    /// Bytes of a write that the controller has asked for, in R2Ts that reached us, and those that left.
    asked: u64,
    left: u64,
}

struct Harness {
    connection: Connection,
    config: Config,
    cpda_z: u8,
    now: Tick,
    wire: Vec<u8>,
    piece: usize,
    commands: Vec<Command>,
    /// Identifiers that were ever used: a controller may come back to them.
    cids: Vec<u16>,
    is_ready: bool,
    /// What was sent before that was not damaged: the alignment asked for is known.
    is_exact: bool,
    error: Option<ConnectionError>,
}

/// Plays a conversation.
///
/// # Panics
/// If the connection does what it must not.
pub fn host(input: &[u8]) {
    let mut choices = Choices::new(input);
    let mut harness = Harness::begin(&mut choices);
    while !choices.is_empty() {
        match choices.u8() % 16 {
            0..=2 => harness.submit(&mut choices),
            3 | 4 => harness.send_response(&mut choices),
            5 | 6 => harness.send_request(&mut choices),
            7..=10 => harness.send_data(&mut choices),
            11 => {
                harness.is_exact &= harness.is_ready;
                let len = choices.below(64);
                harness.wire.extend_from_slice(choices.bytes(len));
            }
            12 => harness.damage(&mut choices),
            13 => harness.piece = 1 + usize::from(choices.u16() % 5000),
            14 => harness.wait(u64::from(choices.u16())),
            _ => harness.send_ic_resp(&mut choices),
        }
        harness.receive();
        harness.transmit();
    }
}

impl Harness {
    fn begin(choices: &mut Choices<'_>) -> Self {
        let flags = choices.u8();
        let config = Config {
            digests: Digests::from_bits(flags & 3),
            hpda_z: choices.u8() % 32,
            depth: 1 + u16::from(choices.u8() % 8),
            in_capsule_max: choices.len().min(16384),
        };
        let now = Tick(0);
        let mut harness = Self {
            connection: Connection::new(config, now),
            config,
            cpda_z: 0,
            now,
            wire: Vec::new(),
            piece: usize::MAX,
            commands: Vec::new(),
            cids: Vec::new(),
            is_ready: false,
            is_exact: true,
            error: None,
        };
        harness.transmit();
        if flags & 8 == 0 {
            harness.send_ic_resp(choices);
            harness.receive();
            harness.transmit();
        }
        harness
    }

    fn send_ic_resp(&mut self, choices: &mut Choices<'_>) {
        let mut response = IcResp::new_zeroed();
        response.ch = kind(PduType::IC_RESP, 0);
        response.cpda_z = choices.u8() % 33;
        response.dgst = self.config.digests.to_bits();
        response.maxh2cdata = match choices.u8() {
            0 => choices.u32().into(),
            small => (u32::from(small) * 4096).into(),
        };
        if !self.is_ready {
            self.cpda_z = response.cpda_z;
        }
        push_pdu(&mut self.wire, &response, &[], Digests::default());
    }

    fn submit(&mut self, choices: &mut Choices<'_>) {
        let data = match choices.u8() % 4 {
            0 => Data::None,
            1 => Data::Read(choices.len().clamp(1, 1 << 20)),
            _ => Data::Write(choices.len().clamp(1, 1 << 20)),
        };
        let opcode = if choices.u8() == 1 { 0x7f } else { NvmOpcode::WRITE.0 };
        let is_full = self.commands.len() >= usize::from(self.config.depth);
        match self.connection.submit(Sqe::new(opcode, 1), data) {
            Ok(slot) => {
                assert!(!is_full && self.commands.iter().all(|c| c.slot != slot), "slots are used once");
                self.commands.push(Command { slot, cid: None, data, placed: 0, asked: 0, left: 0 });
            }
            Err(_) => assert!(is_full, "there is room"),
        }
        assert_eq!(self.connection.in_flight(), self.commands.len());
    }

    /// An identifier, mostly of a live command.
    fn cid(&self, choices: &mut Choices<'_>) -> u16 {
        let live: Vec<u16> = self.commands.iter().filter_map(|command| command.cid).collect();
        let how = choices.u8();
        match how {
            250.. => choices.u16(),
            200..250 if !self.cids.is_empty() => self.cids[choices.below(self.cids.len())],
            _ if live.is_empty() => u16::from(how),
            _ => live[usize::from(how) % live.len()],
        }
    }

    fn push<T: IntoBytes + Immutable>(&mut self, header: &T, carried: u32) {
        let data = vec![0xa5; carried as usize];
        push_pdu(&mut self.wire, header, &data, self.config.digests);
    }

    fn send_response(&mut self, choices: &mut Choices<'_>) {
        let status = if choices.is_set() { Status::LBA_OUT_OF_RANGE } else { Status::SUCCESS };
        let cqe = Cqe::new(self.cid(choices), status);
        self.push(&CapsuleResp { ch: kind(PduType::CAPSULE_RESP, 0), cqe }, 0);
    }

    fn send_request(&mut self, choices: &mut Choices<'_>) {
        let cid = self.cid(choices);
        let mut header = R2t::new_zeroed();
        header.ch = kind(PduType::R2T, 0);
        (header.cccid, header.ttag) = (cid.into(), choices.u16().into());
        let command = self.commands.iter().find(|c| c.cid == Some(cid));
        let (start, end) = match command.map(|c| (c.data, c.asked)) {
            Some((Data::Write(len), asked)) => (u32::try_from(asked).expect("lengths are short"), len),
            Some(_) | None => (0, 4096),
        };
        header.r2to = if choices.u8() == 1 { choices.len().into() } else { start.into() };
        let rest = end.saturating_sub(start);
        header.r2tl = if choices.is_set() { choices.len().into() } else { rest.into() };
        self.push(&header, 0);
    }

    fn send_data(&mut self, choices: &mut Choices<'_>) {
        let cid = self.cid(choices);
        let mut header = DataPdu::new_zeroed();
        header.ch = kind(PduType::C2H_DATA, choices.u8() & (flag::LAST | flag::SUCCESS));
        header.cccid = cid.into();
        let command = self.commands.iter().find(|c| c.cid == Some(cid));
        let (from, end) = match command.map(|c| (c.data, c.placed)) {
            Some((Data::Read(len), placed)) => (placed, len),
            Some(_) | None => (0, 4096),
        };
        let rest = end.saturating_sub(from);
        let len = if choices.is_set() { choices.len().min(300_000) } else { rest.min(300_000) };
        header.datao = if choices.u8() == 1 { choices.len().into() } else { from.into() };
        header.datal = if choices.u8() == 1 { choices.u32().into() } else { len.into() };
        self.push(&header, len);
    }

    fn damage(&mut self, choices: &mut Choices<'_>) {
        self.is_exact &= self.is_ready;
        if self.wire.is_empty() {
            self.send_data(choices);
        }
        let at = usize::from(choices.u16()) % self.wire.len();
        self.wire[at] ^= 1 << (choices.u8() % 8);
    }

    fn wait(&mut self, ms: u64) {
        if self.error.is_some() {
            return;
        }
        self.now = Tick(self.now.0 + ms * 1_000_000);
        if let Err(error) = self.connection.on_deadline(self.now) {
            assert!(self.connection.poll_deadline().is_some_and(|at| at <= self.now), "time was up");
            self.error = Some(error);
        }
    }

    fn receive(&mut self) {
        let wire = core::mem::take(&mut self.wire);
        let mut rest = wire.as_slice();
        while !rest.is_empty() && self.error.is_none() {
            let some = &rest[..rest.len().min(self.piece)];
            let used = match self.connection.want() {
                Want::Header { len } => {
                    assert!((1..=256).contains(&len), "a step of {len} bytes");
                    self.connection.on_header(some, self.now)
                }
                Want::Payload { slot, offset, len } => {
                    let taken = some.len().min(len as usize);
                    let command = self.live(slot);
                    assert!(
                        matches!(command.data, Data::Read(max) if offset + len <= max),
                        "inside its buffer"
                    );
                    assert_eq!(offset, command.placed, "data is placed in order");
                    command.placed += u32::try_from(taken).expect("short");
                    self.connection.on_payload(&some[..taken], self.now).map(|()| taken)
                }
                Want::Discard { len } => {
                    let taken = some.len().min(len as usize);
                    self.connection.on_payload(&some[..taken], self.now).map(|()| taken)
                }
                Want::Nothing => panic!("a host always listens"),
            };
            match used {
                Ok(used) => rest = &rest[used..],
                Err(error) => self.error = Some(error),
            }
            while let Some(event) = self.connection.poll_event() {
                self.on_event(event);
            }
            self.transmit();
        }
    }

    fn live(&mut self, slot: Slot) -> &mut Command {
        self.commands.iter_mut().find(|c| c.slot == slot).expect("a slot that is named is live")
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Ready => {
                assert!(!self.is_ready, "a connection is initialized once");
                self.is_ready = true;
            }
            Event::Complete { slot, cqe } => {
                let index = self.commands.iter().position(|c| c.slot == slot);
                let command = self.commands.remove(index.expect("a command ends once"));
                assert!(command.cid.is_some(), "only what was sent can end");
                if cqe.status().is_success()
                    && let Data::Read(len) = command.data
                {
                    assert_eq!(command.placed, len, "a read that succeeded is whole");
                }
            }
        }
    }

    fn transmit(&mut self) {
        let mut count = 0;
        while let Some(transmit) = self.connection.poll_transmit() {
            self.check(&transmit);
            count += 1;
            // Each command's capsule, and a write of 1 MiB in parts of 4 KiB.
            assert!(count <= usize::from(self.config.depth) * 258 + 1, "what is queued is bounded");
        }
    }

    fn check(&mut self, transmit: &Transmit) {
        assert!(transmit.done.is_none());
        let payload = transmit.payload.map_or(0, |payload| payload.len);
        let align_z = if payload > 0 && self.is_exact { self.cpda_z } else { 0 };
        let head = Head::check(transmit.head(), payload, self.config.digests, align_z);
        match head.common.kind {
            PduType::IC_REQ => assert_eq!(head.header::<IcReq>().hpda_z, self.config.hpda_z),
            PduType::H2C_TERM_REQ => {
                assert!(matches!(self.error, Some(ConnectionError::Protocol(_))), "{:?}", self.error);
            }
            PduType::CAPSULE_CMD => self.check_capsule(transmit, head.header()),
            PduType::H2C_DATA => self.check_data(transmit, head.header()),
            other => panic!("a host does not send {other:?}"),
        }
    }

    fn check_capsule(&mut self, transmit: &Transmit, header: &CapsuleCmd) {
        let cid = header.sqe.cid.get();
        assert!(self.is_ready, "capsules wait for the ICResp");
        assert!(self.commands.iter().all(|c| c.cid != Some(cid)), "identifier {cid} is live once");
        let command = self.commands.iter_mut().find(|c| c.cid.is_none()).expect("a command was submitted");
        command.cid = Some(cid);
        self.cids.push(cid);
        if let Some(payload) = transmit.payload {
            assert_eq!((payload.slot, payload.offset), (command.slot, 0));
            assert_eq!(command.data, Data::Write(payload.len), "a capsule carries all of a write");
            command.left = u64::from(payload.len); // an R2T cannot ask for it once more
        }
    }

    fn check_data(&mut self, transmit: &Transmit, header: &DataPdu) {
        let payload = transmit.payload.expect("data PDUs have data");
        let command = self.live(payload.slot);
        assert_eq!(command.cid, Some(header.cccid.get()), "data of the command that is named");
        assert!(matches!(command.data, Data::Write(len) if payload.offset + payload.len <= len));
        assert_eq!((payload.offset, payload.len), (header.datao.get(), header.datal.get()));
        // Offsets only rise: nothing is sent twice.
        assert!(u64::from(payload.offset) >= command.left, "data goes in order");
        command.left = u64::from(payload.offset) + u64::from(payload.len);
        command.asked = command.left;
    }
}
