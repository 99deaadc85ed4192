//! I/O commands of two hosts at the same namespaces: what is accepted, with which status the rest ends, and what the storage
//! is asked to do.
//!
//! ```text
//!  command ─▶ target ─▶ Io ─▶ `stored`: what the storage is asked for      ┐ never differ
//!      └────▶ the standard's rules, by themselves ─▶ `expected` ───────────┘
//! ```
//! A third host, the witness, reads reservation reports and write protection, so that the rules know what the target has
//! told everybody.

use crate::choices::Choices;
use crate::requests::{Made, make};
use crate::reservations::{Report, Request};
use crate::rules::{Before, Place, mean, refusals};
use crate::storage::{SECTOR, Sectors};
use crate::world::{HOST, HOST_NQN, Half, Known, OPEN_NQN, OTHER, Pending, Taken, Who, World};
use block::MediaError;
use core::ops::Range;
use nvme_spec::feature::FeatureId;
use nvme_spec::{AdminOpcode, NvmOpcode, Sqe, Status};
use nvme_subsystem::{ConnectionId, Io, IoKind, Span};
use std::collections::BTreeMap;

/// Always there, and never in the way; sees what [`HOST`] sees.
const WITNESS: Who = Who { nqn: HOST_NQN, id: [9; 16], kato_ms: 0 };
/// I/O queues of each host.
const QUEUES: u16 = 2;

#[derive(Debug)]
struct Play {
    world: World,
    stored: Sectors,
    expected: Sectors,
    /// What stands in the data of a command, by its tag; a number that no other has.
    /// And its namespace as it was when it was accepted.
    stamps: BTreeMap<(ConnectionId, u32), (u32, Known)>,
    next_stamp: u32,
    /// Per connection, the fused half that was its last command.
    before: BTreeMap<ConnectionId, Before>,
}

/// Plays I/O commands on the queues of two hosts, while namespaces and their protection change, connections end, and the
/// storage ends what it was given in any order.
///
/// # Panics
/// If the target does what it must not.
pub fn nvm(input: &[u8]) {
    let mut choices = Choices::new(input);
    let mut play = Play {
        world: World::with_queues(QUEUES),
        stored: Sectors::default(),
        expected: Sectors::default(),
        stamps: BTreeMap::new(),
        next_stamp: 1,
        before: BTreeMap::new(),
    };
    let cntlid = play.world.connect(WITNESS, OPEN_NQN, 0xffff, 0);
    play.world.connect(WITNESS, OPEN_NQN, cntlid, 1);
    while !choices.is_empty() {
        match choices.u8() % 16 {
            0..=5 => play.command(&mut choices),
            6 => play.pair(&mut choices),
            7 | 8 => play.end(&mut choices),
            9 => play.begin(&mut choices),
            10 => play.world.change_namespace(&mut choices),
            11 => play.protect(&mut choices),
            12 => play.abort(&mut choices),
            13 => play.disconnect(&mut choices),
            14 => {
                play.world.is_prompt = choices.is_set();
                play.world.settle_later(&mut choices);
            }
            _ => play.world.wait(u64::from(choices.u16() % 4096)),
        }
        play.check();
    }
    play.finish();
}

fn sectors(span: Span) -> Range<u64> {
    span.start().0 / SECTOR..span.end().0 / SECTOR
}

impl Play {
    /// A queue of one of the two hosts; a host that was disconnected comes again.
    fn queue(&mut self, choices: &mut Choices<'_>) -> usize {
        let how = choices.u8();
        let who = if how & 1 == 0 { HOST } else { OTHER };
        let qid = 1 + u16::from(how >> 1) % QUEUES;
        if let Some(index) = self.world.find(who, qid) {
            return index;
        }
        let Some(admin) = self.world.find(who, 0) else {
            let cntlid = self.world.connect(who, OPEN_NQN, 0xffff, 0);
            for qid in 1..=QUEUES {
                self.world.connect(who, OPEN_NQN, cntlid, qid);
            }
            return self.world.find(who, qid).expect("it is connected");
        };
        let cntlid = self.world.open[admin].cntlid;
        self.world.connect(who, OPEN_NQN, cntlid, qid);
        self.world.find(who, qid).expect("it is connected")
    }

    fn command(&mut self, choices: &mut Choices<'_>) {
        let index = self.queue(choices);
        let mut made = make(choices, |nsid| self.world.namespaces.get(&nsid).copied());
        if choices.u8() >= 250 {
            made.sqe.flags |= choices.u8() & 3;
        }
        self.submit(index, made, choices);
    }

    /// Compare and Write: both halves, or nearly so.
    fn pair(&mut self, choices: &mut Choices<'_>) {
        let index = self.queue(choices);
        let how = choices.u8();
        let nsid = [1, 4, 3, 5][usize::from(how & 3)];
        let known = self.world.namespaces.get(&nsid).copied();
        let shift = known.map_or(12, |known| known.lba_shift);
        let slba = u64::from(choices.u8() % 16);
        let nlb_z = if choices.u8() >= 250 { choices.u16() } else { u16::from(how >> 2 & 7) };
        let half = |opcode: NvmOpcode, flags: u8| {
            let mut sqe = Sqe::new(opcode.0, nsid);
            sqe.set_slba(slba);
            (sqe.cdw12, sqe.flags) = (u32::from(nlb_z).into(), flags);
            Made { data_len: sqe.nlb().saturating_mul(1 << shift), sqe, data: Vec::new() }
        };
        self.submit(index, half(NvmOpcode::COMPARE, 1), choices);
        let mut second = half(NvmOpcode::WRITE, 2);
        match choices.u8() {
            // Something between the two: on this queue it separates them, on another one it does not.
            250 => self.command(choices),
            251 => self.abort(choices),
            252 => second.sqe.nsid = 3.into(),
            253 => second.sqe.set_slba(slba ^ u64::from(choices.u8())),
            254 => return,
            255 => second.sqe.opc = choices.u8(),
            249 => self.begin(choices),
            _ => {}
        }
        // The first may have gone with its connection.
        let index = if index < self.world.open.len() { index } else { self.queue(choices) };
        if self.world.open[index].queue.is_some_and(|q| q.qid > 0) && self.world.open[index].who != WITNESS {
            self.submit(index, second, choices);
        }
    }

    /// Sends a command, and holds what becomes of it against the rules.
    fn submit(&mut self, index: usize, mut made: Made, choices: &mut Choices<'_>) {
        let cid = choices.u16();
        made.sqe.cid = cid.into();
        let (who, id) = (self.world.open[index].who, self.world.open[index].id);
        let sqe = made.sqe;
        // What has become possible happens now: between the report and the command it would be taken for the command's doing.
        self.world.settle();
        let known = self.world.namespaces.get(&sqe.nsid.get()).copied().filter(|known| known.is_for(who));
        let place = self.place(who, known, sqe.nsid.get());
        let before = self.before.remove(&id).unwrap_or(Before::Nothing);
        let reasons = refusals(&made, &place, before);
        let report = place.report.clone();
        let is_prompt = self.world.is_prompt && self.world.is_settled();
        let answered_before = self.world.answered.len();
        let taken = self.world.submit(index, sqe, made.data_len, &made.data);
        let fuse = sqe.flags & 3;
        let is_fabrics = sqe.opc == NvmOpcode::FABRICS.0;
        match taken {
            Taken::Pending => {
                assert!(reasons.is_empty(), "{sqe:?} is accepted in spite of {reasons:?}");
                let volume = known.expect("it exists").volume;
                let pending = self.world.open[index].pending.last().expect("it is there");
                assert_eq!(pending.io.volume, volume, "it is for that volume and no other");
                let tag = pending.tag;
                let stamp = self.stamp(&sqe, known.expect("it exists"), choices);
                self.stamps.insert((id, tag), (stamp, known.expect("it exists")));
                if fuse == 1 {
                    self.before.insert(id, Before::First(sqe));
                }
            }
            Taken::Answered(answer) => {
                let status = answer.cqe.status();
                if is_fabrics {
                    return;
                }
                if fuse == 1 {
                    self.before.insert(id, Before::Refused);
                }
                if NvmOpcode(sqe.opc) == NvmOpcode::RESERVATION_REPORT && status.is_success() && fuse == 0 {
                    assert!(reasons.is_empty(), "{reasons:?}");
                    return;
                }
                if is_reservation(sqe.opc) && fuse == 0 && reasons.is_empty() {
                    return self.check_reservation((who, &made), report, status, is_prompt);
                }
                assert!(
                    !status.is_success() && reasons.iter().any(|reason| status.is(*reason)),
                    "{sqe:?} of {made:?} ends with {status:?} instead of {reasons:?}"
                );
            }
            Taken::Held => {
                assert!(
                    is_reservation(sqe.opc) && reasons.is_empty(),
                    "only changes of reservations wait: {sqe:?}"
                );
                let answered = self.world.answered[answered_before..].iter();
                let status =
                    answered.rev().find(|(of, named, _)| (*of, *named) == (id, cid)).map(|(.., s)| *s);
                if let Some(status) = status {
                    self.check_reservation((who, &made), report, status, is_prompt);
                }
            }
            Taken::Abort { .. } => panic!("there is no Abort on I/O queues"),
        }
    }

    /// A number for the data of a command: one that is new, or for a Compare often the one that is there.
    fn stamp(&mut self, sqe: &Sqe, known: Known, choices: &mut Choices<'_>) -> u32 {
        self.next_stamp += 1;
        if NvmOpcode(sqe.opc) == NvmOpcode::COMPARE && choices.u8() < 192 {
            return self.expected.stamp(known.volume, (sqe.slba() << known.lba_shift) / SECTOR);
        }
        self.next_stamp
    }

    /// Commands that change a reservation: the report says what the standard says.
    fn check_reservation(
        &mut self,
        (who, made): (Who, &Made),
        before: Report,
        status: Status,
        is_prompt: bool,
    ) {
        if !is_prompt {
            return;
        }
        let nsid = made.sqe.nsid.get();
        let after = self.report(nsid);
        let expected = before.after(who, Request::of(made));
        assert_eq!(status.is_success(), expected.is_some(), "{made:?} after {before:?} ends with {status:?}");
        assert_eq!(after, expected.unwrap_or(before), "after {made:?}");
    }

    fn report(&mut self, nsid: u32) -> Report {
        let mut sqe = Sqe::new(NvmOpcode::RESERVATION_REPORT.0, nsid);
        (sqe.cdw10, sqe.cdw11) = (1023.into(), 1.into());
        let index = self.world.find(WITNESS, 1).expect("it is always there");
        let answer = self.world.command(index, sqe, 4096, &[]).expect("reports are answered at once");
        if answer.cqe.status().is_success() { Report::read(&answer.data) } else { Report::default() }
    }

    fn is_protected(&mut self, nsid: u32) -> bool {
        let mut sqe = Sqe::new(AdminOpcode::GET_FEATURES.0, nsid);
        sqe.cdw10 = u32::from(FeatureId::WRITE_PROTECTION.0).into();
        let index = self.world.find(WITNESS, 0).expect("it is always there");
        let answer = self.world.command(index, sqe, 0, &[]).expect("features are answered at once");
        answer.cqe.status().is_success() && answer.cqe.dw0.get() != 0
    }

    /// What the rules have to know about the namespace of a command.
    fn place(&mut self, who: Who, known: Option<Known>, nsid: u32) -> Place {
        if known.is_none() {
            return Place { who, known, report: Report::default(), is_protected: false };
        }
        Place { who, known, report: self.report(nsid), is_protected: self.is_protected(nsid) }
    }

    /// Commands reach the drives.
    fn begin(&mut self, choices: &mut Choices<'_>) {
        let index = self.queue(choices);
        for pending in &mut self.world.open[index].pending {
            pending.has_begun |= pending.half != Half::First && pending.failure.is_none();
        }
    }

    /// The storage ends one of a queue's commands, or two if they are one.
    fn end(&mut self, choices: &mut Choices<'_>) {
        let index = self.queue(choices);
        let ready: Vec<u32> =
            self.world.open[index].pending.iter().filter(|p| p.half != Half::First).map(|p| p.tag).collect();
        if ready.is_empty() {
            return;
        }
        let tag = ready[choices.below(ready.len())];
        let error = match choices.u8() {
            255 => Some(MediaError::Unreadable),
            254 => Some(MediaError::TimedOut),
            _ => None,
        };
        let pending = self.world.take(index, tag);
        self.finish_one(index, &pending, error);
        if let Half::Second(first) = pending.half {
            let first = self.world.take(index, first);
            let id = self.world.open[index].id;
            self.stamps.remove(&(id, first.tag));
            self.world.end_io(index, &first, error.map_or(Ok(()), Err));
        }
        self.stamps.remove(&(self.world.open[index].id, tag));
    }

    fn finish_one(&mut self, index: usize, pending: &Pending, error: Option<MediaError>) {
        if let Some(status) = pending.failure.filter(|_| !pending.has_begun) {
            assert!(
                [Status::WRITE_PROTECTED, Status::RESERVATION_CONFLICT, Status::ABORTED_PREEMPT]
                    .iter()
                    .chain([&Status::INVALID_NAMESPACE])
                    .any(|of| status.is(*of)),
                "{status:?}"
            );
            return;
        }
        let is_there = self.world.namespaces.values().any(|known| known.volume == pending.io.volume);
        let (true, None) = (is_there, error) else {
            // The volume is gone, or a drive has failed: nothing has happened.
            self.world.end_io(index, pending, Err(error.unwrap_or(MediaError::OutOfRange)));
            return;
        };
        let id = self.world.open[index].id;
        let (stamp, known) = self.stamps[&(id, pending.tag)];
        let compared = match pending.half {
            Half::Second(first) => Some(self.stamps[&(id, first)].0),
            Half::First | Half::No => None,
        };
        let asked = self.store(pending, stamp, compared);
        let meant = mean(&mut self.expected, pending, known, (stamp, compared));
        assert_eq!(asked, meant, "{:?} of {:?}", pending.io, pending.sqe);
        match asked {
            Ok(_) => drop(self.world.end_io(index, pending, Ok(()))),
            Err(status) => assert!(!status.is_success()),
        }
    }

    /// Does what the target asks for. Says what is read.
    fn store(
        &mut self,
        pending: &Pending,
        stamp: u32,
        compared: Option<u32>,
    ) -> Result<Vec<(u64, u32)>, Status> {
        let Io { volume, kind } = pending.io;
        match kind {
            IoKind::Read { span } => return Ok(self.stored.read(volume, sectors(span))),
            IoKind::Write { span, .. } => self.stored.fill(volume, sectors(span), stamp),
            IoKind::Compare { span } => {
                if !self.stored.is_filled(volume, sectors(span), stamp) {
                    return Err(Status::COMPARE_FAILURE);
                }
            }
            IoKind::CompareAndWrite { span, .. } => {
                let compared = compared.expect("there is a first half");
                if !self.stored.is_filled(volume, sectors(span), compared) {
                    return Err(Status::COMPARE_FAILURE);
                }
                self.stored.fill(volume, sectors(span), stamp);
            }
            IoKind::WriteZeroes { span, .. } => self.stored.zero(volume, sectors(span)),
            IoKind::Dataset(dataset) => {
                let ranges = dataset.ranges(&pending.data).map_err(plain)?;
                if dataset.is_deallocate() {
                    (0..)
                        .map_while(|index| ranges.get(index))
                        .for_each(|s| self.stored.zero(volume, sectors(s)));
                }
            }
            IoKind::Copy(copying) => {
                let ranges = copying.ranges(&pending.data).map_err(plain)?;
                let mut to = ranges.to().start().0 / SECTOR;
                for from in (0..).map_while(|index| ranges.get(index)).map(sectors) {
                    let len = from.end - from.start;
                    self.stored.copy(volume, from, to);
                    to += len;
                }
            }
            IoKind::Verify { .. } | IoKind::Flush => {}
        }
        Ok(Vec::new())
    }

    /// Write protection, set by one of the hosts.
    fn protect(&mut self, choices: &mut Choices<'_>) {
        let who = choices.one_of(&[HOST, OTHER]);
        let Some(index) = self.world.find(who, 0) else { return };
        let mut sqe = Sqe::new(AdminOpcode::SET_FEATURES.0, choices.one_of(&[1, 3, 4, 5, 2]));
        let feature = choices.one_of(&[
            FeatureId::WRITE_PROTECTION,
            FeatureId::WRITE_PROTECTION,
            FeatureId::RESERVATION_PERSISTENCE,
        ]);
        let value = match choices.u8() {
            255 => choices.u32(),
            254 => 3,
            253 => 2,
            few => u32::from(few & 1),
        };
        (sqe.cdw10, sqe.cdw11) = (u32::from(feature.0).into(), value.into());
        drop(self.world.command(index, sqe, 0, &[]));
    }

    /// An Abort of a host for one of its commands: what has not begun ends.
    fn abort(&mut self, choices: &mut Choices<'_>) {
        let who = choices.one_of(&[HOST, OTHER]);
        let (Some(admin), qid) = (self.world.find(who, 0), choices.u8() % 3) else { return };
        let Some(target) = self.world.find(who, u16::from(qid)) else { return };
        let cids: Vec<u16> = self.world.open[target].pending.iter().map(|p| p.sqe.cid.get()).collect();
        let cid = if cids.is_empty() { choices.u16() } else { cids[choices.below(cids.len())] };
        let mut sqe = Sqe::new(AdminOpcode::ABORT.0, 0);
        sqe.cdw10 = (u32::from(qid) | u32::from(cid) << 16).into();
        if let Taken::Abort { connection, cid: named } = self.world.submit(admin, sqe, 0, &[]) {
            assert_eq!((connection, named), (self.world.open[target].id, cid), "the command that is meant");
            let pending = &self.world.open[target].pending;
            let found = pending.iter().find(|p| p.sqe.cid.get() == cid && !p.has_begun && p.half == Half::No);
            if let Some(tag) = found.map(|pending| pending.tag) {
                self.world.take(target, tag);
                self.stamps.remove(&(connection, tag));
            }
        }
    }

    fn disconnect(&mut self, choices: &mut Choices<'_>) {
        let who = choices.one_of(&[HOST, OTHER]);
        if let Some(index) = self.world.find(who, u16::from(choices.u8() % 3)) {
            self.world.close(index);
        }
    }

    fn check(&mut self) {
        self.world.answered.clear();
        let open: Vec<ConnectionId> = self.world.open.iter().map(|open| open.id).collect();
        self.stamps.retain(|(id, _), _| open.contains(id));
        self.before.retain(|id, _| open.contains(id));
    }

    /// What was asked for in the end is what was meant.
    fn finish(mut self) {
        assert!(self.stored == self.expected, "what is stored is what hosts have written");
        // Everything that is still under way ends when it can: nothing waits for ever.
        self.world.is_prompt = true;
        for _ in 0..64 {
            self.world.settle_later(&mut Choices::new(&[]));
        }
        for index in 0..self.world.open.len() {
            while let Some(pending) = self.world.open[index].pending.pop() {
                let has_failed = pending.failure.is_some() || pending.half == Half::First;
                if !has_failed {
                    self.world.end_io(index, &pending, Ok(()));
                }
            }
        }
        for open in self.world.open.iter().filter(|open| open.queue.is_some_and(|queue| queue.qid > 0)) {
            assert!(open.held.is_empty(), "every change of a reservation is answered");
        }
    }
}

fn plain(status: Status) -> Status {
    Status::new(status.sct(), status.sc())
}

fn is_reservation(opcode: u8) -> bool {
    [
        NvmOpcode::RESERVATION_REGISTER,
        NvmOpcode::RESERVATION_ACQUIRE,
        NvmOpcode::RESERVATION_RELEASE,
        NvmOpcode::RESERVATION_REPORT,
    ]
    .contains(&NvmOpcode(opcode))
}
