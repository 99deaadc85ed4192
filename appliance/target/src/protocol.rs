//! Between the transport and the subsystems: commands go in, answers and actions come out.

use crate::Target;
use crate::command::{Failure, Purpose, State, Transfer};
use crate::connection::{Connection, Life};
use crate::io::forget;
use crate::limits::{STRANGER_SLOTS_MAX, TRANSFER_BYTES_MAX};
use block::Tick;
use nvme_spec::{Sqe, Status};
use nvme_subsystem::{Action, Answer, Command, ConnectionId, Io, IoKind, Outcome};
use nvme_tcp::Slot;
use nvme_tcp::controller::{Data, Event, Queue, Reply};

// Both sides must have announced and accepted the same.
const _: () = assert!(nvme_subsystem::limits::IN_CAPSULE_MAX == nvme_tcp::limits::IN_CAPSULE_MAX);
const _: () = assert!(nvme_subsystem::limits::TRANSFER_MAX == nvme_tcp::limits::TRANSFER_MAX);
const _: () = assert!(nvme_subsystem::limits::TRANSFER_MAX as usize == TRANSFER_BYTES_MAX);
const _: () = assert!(nvme_subsystem::limits::MQES_Z < nvme_tcp::limits::QUEUE_ENTRIES_MAX);

impl Target {
    /// Takes what the transport found in the bytes.
    pub(crate) fn on_protocol_events(&mut self, place: usize, connection: &mut Connection, now: Tick) {
        while let Some(event) = connection.tcp.poll_event() {
            match event {
                Event::Command { slot, sqe, data } => {
                    self.on_command(place, connection, slot, (sqe, data), now);
                }
                Event::Refused { sqe } => {
                    let Some(id) = connection.id else { continue };
                    self.subsystems.on_refused(id, &sqe);
                    if let Some(status) = self.subsystems.poll_abort() {
                        self.abort_first(place, connection, status);
                    }
                }
                Event::Data { slot, result } => self.on_data(place, connection, slot, result, now),
            }
        }
    }

    fn on_command(
        &mut self,
        place: usize,
        connection: &mut Connection,
        slot: Slot,
        (sqe, data): (Sqe, Data),
        now: Tick,
    ) {
        let Some(id) = connection.id else { return };
        connection.command(slot).sqe = Some(sqe);
        let tag = u32::try_from(slot.index()).expect("slots are numbered in 16 bits");
        let command = Command { tag, sqe: &sqe, data_len: data.len() };
        let outcome = self.subsystems.on_command(id, &command, now);
        if let Some(status) = self.subsystems.poll_abort() {
            self.abort_first(place, connection, status);
        }
        match outcome {
            Outcome::NeedsData { len } => {
                self.need_data(place, connection, slot, (len as usize, data), Purpose::Data);
            }
            // What strangers get is made at once, outside the arena.
            Outcome::Page { .. } if !connection.is_host => {
                self.answer_stranger(place, connection, slot, data.len());
            }
            Outcome::Page { len } => {
                let purpose = Purpose::Page(data.len());
                self.need_memory(place, connection, slot, len as usize, purpose, Transfer::ToHost);
            }
            Outcome::Io(io) => self.on_io(place, connection, slot, io, data),
            Outcome::First(io) => self.on_first(place, connection, slot, io, data),
            Outcome::Second(io) => self.on_second(place, connection, slot, io, data),
            Outcome::Abort { connection: other, cid } => {
                let is_aborted = self.abort((place, connection), other, cid);
                self.answer(place, connection, slot, Reply::result(u64::from(!is_aborted)));
            }
            outcome @ (Outcome::Done(_) | Outcome::Connected { .. } | Outcome::Held) => {
                self.on_outcome(place, connection, slot, outcome);
            }
        }
    }

    /// Aborts a command of a connection that is in its place, or of the one at hand; says whether.
    fn abort(&mut self, (place, connection): (usize, &mut Connection), id: ConnectionId, cid: u16) -> bool {
        if connection.id == Some(id) {
            return self.abort_waiting(place, connection, cid);
        }
        let Some(place) = self.by_id.get(&id).copied() else { return false };
        let Some(mut connection) = self.take(place) else { return false };
        let is_aborted = self.abort_waiting(place, &mut connection, cid);
        self.put(place, connection);
        is_aborted
    }

    /// Ends a command that waits for memory, for data of its host, or for others: no drive has heard of it. One that a drive works on
    /// runs to its end: it could not be told what of it was done.
    fn abort_waiting(&mut self, place: usize, connection: &mut Connection, cid: u16) -> bool {
        let Some(slot) = connection.tcp.find(cid).filter(|_| connection.life == Life::Open) else {
            return false;
        };
        let command = connection.command(slot);
        match command.state {
            State::AwaitMemory(_, Transfer::OnRequest | Transfer::ToHost) => {
                self.waiting.retain(|other| *other != (place, slot));
                self.refuse(place, connection, slot, Status::ABORT_REQUESTED);
                true
            }
            State::AwaitTurn(io, slot) => {
                self.leave(place, connection, slot, &io);
                self.refuse(place, connection, slot, Status::ABORT_REQUESTED);
                true
            }
            // With its partner it is under way, by that one's name.
            State::AwaitPartner(..) if command.partner().is_none() => {
                self.refuse(place, connection, slot, Status::ABORT_REQUESTED);
                true
            }
            // The data is on its way, or behind bytes that wait for memory: it is thrown away, and then comes the answer.
            // Before that the host may not use its memory for anything else (TCP 1.1 §3.3.2.2).
            State::AwaitMemory(_, Transfer::InCapsule) | State::AwaitData(_) => {
                command.failure.get_or_insert(Failure::Status(Status::ABORT_REQUESTED));
                true
            }
            State::Idle
            | State::AtDevices(..)
            | State::AwaitPartner(..)
            | State::Held(_)
            | State::Answered => false,
        }
    }

    fn on_io(&mut self, place: usize, connection: &mut Connection, slot: Slot, io: Io, data: Data) {
        let len = io.kind.data_len() as usize;
        match io.kind {
            IoKind::Read { span } | IoKind::Verify { span } => {
                let len = usize::try_from(span.len().0).expect("at most a transfer");
                self.need_memory(place, connection, slot, len, Purpose::Io(io), Transfer::ToHost);
            }
            IoKind::Write { .. } | IoKind::Compare { .. } | IoKind::Dataset(_) | IoKind::Copy(_) => {
                self.need_data(place, connection, slot, (len, data), Purpose::Io(io));
            }
            IoKind::WriteZeroes { span, .. } if !span.is_whole() => {
                self.need_memory(place, connection, slot, 0, Purpose::Io(io), Transfer::ToHost);
            }
            IoKind::WriteZeroes { .. } | IoKind::Flush => self.start_io(place, connection, slot, io),
            IoKind::CompareAndWrite { .. } => unreachable!("it is half of something"),
        }
    }

    /// Memory for data from the host, where it is in the capsule or still with the host.
    pub(crate) fn need_data(
        &mut self,
        place: usize,
        connection: &mut Connection,
        slot: Slot,
        (len, data): (usize, Data),
        purpose: Purpose,
    ) {
        let transfer = match data {
            Data::InCapsule(_) => Transfer::InCapsule,
            Data::Transport(_) => Transfer::OnRequest,
            Data::None => {
                let reply = Reply::status(Status::INVALID_SGL_LENGTH.dnr());
                return self.answer(place, connection, slot, reply);
            }
        };
        if matches!(purpose, Purpose::Data) && !connection.is_host {
            // A Connect. It may take its host two minutes to send it all: no memory of the arena for that.
            let command = connection.command(slot);
            command.len = len;
            command.rest_mut().bytes = vec![0; len];
            return self.on_memory(place, connection, slot, purpose, transfer);
        }
        self.need_memory(place, connection, slot, len, purpose, transfer);
    }

    /// The data of a command is complete in its buffers, or its digest was wrong.
    fn on_data(
        &mut self,
        place: usize,
        connection: &mut Connection,
        slot: Slot,
        result: Result<(), Status>,
        now: Tick,
    ) {
        connection.end_request(slot);
        let command = connection.command(slot);
        let State::AwaitData(purpose) = command.state else {
            unreachable!("data arrives for commands that wait for it")
        };
        let failure = match command.failure {
            Some(Failure::Status(status)) => Some(status),
            Some(Failure::Media(_)) | None => result.err(),
        };
        if let Some(status) = failure {
            return self.refuse(place, connection, slot, status);
        }
        match purpose {
            Purpose::Half(io) => self.on_half_data(place, connection, slot, io),
            Purpose::Io(io) => self.start_io(place, connection, slot, io),
            Purpose::Data => {
                let is_aside = command.rest().is_some_and(|rest| !rest.bytes.is_empty());
                let data = if is_aside {
                    core::mem::take(&mut command.rest_mut().bytes)
                } else {
                    command.chunks.to_vec()
                };
                let sqe = command.sqe;
                let (Some(id), Some(sqe)) = (connection.id, sqe) else { return };
                let tag = u32::try_from(slot.index()).expect("slots are numbered in 16 bits");
                let data_len = u32::try_from(data.len()).expect("admin data is short");
                let command = Command { tag, sqe: &sqe, data_len };
                let outcome = self.subsystems.on_data(id, &command, &data, now);
                connection.command(slot).chunks.clear();
                self.on_outcome(place, connection, slot, outcome);
            }
            Purpose::Page(_) => unreachable!("pages go to the host"),
        }
    }

    /// What the subsystems say about a command that needs nothing more from the host.
    fn on_outcome(&mut self, place: usize, connection: &mut Connection, slot: Slot, outcome: Outcome) {
        match outcome {
            Outcome::Done(answer) => {
                self.answer(place, connection, slot, Reply::with_data(answer.cqe, 0));
            }
            Outcome::Connected { answer, queue } => {
                self.on_connected(connection, queue);
                self.answer(place, connection, slot, Reply::with_data(answer.cqe, 0));
            }
            Outcome::Held => connection.command(slot).state = State::Held(slot),
            Outcome::Io(_)
            | Outcome::First(_)
            | Outcome::Second(_)
            | Outcome::NeedsData { .. }
            | Outcome::Page { .. }
            | Outcome::Abort { .. } => {
                unreachable!("handled where the command arrived")
            }
        }
    }

    fn on_connected(&mut self, connection: &mut Connection, queue: nvme_subsystem::Queue) {
        connection.tcp.set_queue(Queue {
            entries: queue.entries,
            slots_max: if queue.is_discovery { STRANGER_SLOTS_MAX } else { u16::MAX },
            is_admin: queue.qid == 0,
            is_flow_control_disabled: queue.is_flow_control_disabled,
        });
        connection.grow(&queue);
        if queue.qid != 0 {
            self.begun.push(connection.socket);
        }
        if !queue.is_discovery {
            self.strangers.leave(connection.socket);
            connection.is_host = true;
            self.host_connections += 1;
        }
        self.session_changes += 1;
    }

    /// What the protocol answers now that there is room for it; `None` if there is nobody to hear it.
    fn page(&mut self, connection: &mut Connection, slot: Slot, room: u32) -> Option<Answer> {
        let (id, command) = (connection.id?, connection.command(slot));
        let sqe = command.sqe.expect("a command in progress has its entry");
        let tag = u32::try_from(slot.index()).expect("slots are numbered in 16 bits");
        Some(self.subsystems.on_page(id, &Command { tag, sqe: &sqe, data_len: room }))
    }

    /// There is memory for the page that a command is answered with.
    pub(crate) fn answer_with_page(
        &mut self,
        place: usize,
        connection: &mut Connection,
        slot: Slot,
        room: u32,
    ) {
        let Some(Answer { cqe, data, len }) = self.page(connection, slot, room) else {
            return forget(connection.command(slot));
        };
        connection.command(slot).chunks.fill(&data);
        self.answer(place, connection, slot, Reply::with_data(cqe, len));
    }

    /// A page for a stranger. Nothing more of it is looked at until that was sent.
    fn answer_stranger(&mut self, place: usize, connection: &mut Connection, slot: Slot, room: u32) {
        let Some(Answer { cqe, mut data, len }) = self.page(connection, slot, room) else { return };
        data.resize(len as usize, 0);
        if len > 0 {
            connection.page = Some(slot);
            connection.command(slot).rest_mut().bytes = data;
        }
        self.answer(place, connection, slot, Reply::with_data(cqe, len));
    }

    /// Answers a command; buffers that do not go to the host are free from here on.
    pub(crate) fn answer(&mut self, place: usize, connection: &mut Connection, slot: Slot, reply: Reply) {
        connection.end_request(slot);
        let command = connection.command(slot);
        command.free_aside();
        if reply.data_len == 0 {
            command.chunks.clear();
        }
        command.state = State::Answered;
        connection.tcp.respond(slot, reply);
        self.list(place, connection);
    }

    /// Does what the subsystems want without being asked. Called after everything that may have changed them.
    pub(crate) fn do_actions(&mut self) {
        self.look_for_quiet();
        while let Some(action) = self.subsystems.poll_action() {
            let id = match action {
                Action::Complete { connection, .. }
                | Action::Connected { connection, .. }
                | Action::Close { connection } => connection,
                Action::Persist { volume } => {
                    self.to_persist.push_back(volume);
                    continue;
                }
                Action::Quiesce { volume } => {
                    self.quiesce(volume);
                    continue;
                }
            };
            let Some(place) = self.by_id.get(&id).copied() else { continue };
            let Some(mut connection) = self.take(place) else { continue };
            match action {
                Action::Complete { tag, cqe, .. } => {
                    let slot = connection.held(tag as usize);
                    if let Some(slot) = slot.filter(|_| connection.life == Life::Open) {
                        self.answer(place, &mut connection, slot, Reply::with_data(cqe, 0));
                    }
                }
                Action::Connected { tag, cqe, queue, .. } => {
                    let slot = connection.held(tag as usize);
                    if let Some(slot) = slot.filter(|_| connection.life == Life::Open) {
                        self.on_connected(&mut connection, queue);
                        self.answer(place, &mut connection, slot, Reply::with_data(cqe, 0));
                    }
                }
                Action::Close { .. } => {
                    // Answers that are queued still go out: the host waits for the one that caused this.
                    connection.is_ending = true;
                    self.list(place, &mut connection);
                    self.forget_host(&mut connection);
                }
                Action::Persist { .. } | Action::Quiesce { .. } => unreachable!("they have no connection"),
            }
            self.put(place, connection);
        }
    }

    /// The subsystems forget a connection; nothing that it sends counts any more.
    pub(crate) fn forget_host(&mut self, connection: &mut Connection) {
        if let Some(id) = connection.id.take() {
            self.by_id.remove(&id);
            if connection.at_devices > 0 {
                connection.draining = Some((id, self.ranges.begin_loss()));
                self.subsystems.on_draining(id);
            }
            self.subsystems.on_close(id);
            self.session_changes += 1;
        }
    }
}
