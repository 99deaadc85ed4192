//! A host and a controller joined by two byte strings; the controller's owner is a small memory of blocks.

use crate::controller::{self, Reply};
use crate::host::{self, Event};
use crate::wire::{ConnectionError, Slot, Want};
use crate::{Transmit, data_digest};
use block::Tick;
use nvme_spec::{Cqe, NvmOpcode, Sqe, Status};

pub(super) const NOW: Tick = Tick(0);

/// Data that tells where it belongs.
pub(super) fn pattern(len: u32, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i / 7 + i / 251) as u8 ^ seed).collect()
}

pub(super) struct Options {
    pub(super) host: host::Config,
    pub(super) controller: controller::Config,
    pub(super) queue: controller::Queue,
    /// Bytes that cross at a time.
    pub(super) chunk: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: host::Config { in_capsule_max: 16384, ..host::Config::default() },
            controller: controller::Config::default(),
            queue: controller::Queue {
                entries: 32,
                slots_max: u16::MAX,
                is_admin: false,
                is_flow_control_disabled: false,
            },
            chunk: usize::MAX,
        }
    }
}

pub(super) struct Pair {
    pub(super) host: host::Connection,
    pub(super) controller: controller::Connection,
    host_buffers: Vec<Vec<u8>>,
    controller_buffers: Vec<Vec<u8>>,
    commands: Vec<Option<Sqe>>,
    /// Everything that was ever sent, either way.
    pub(super) to_controller: Vec<u8>,
    pub(super) to_host: Vec<u8>,
    read: (usize, usize),
    chunk: usize,
    /// What the memory holds; reads start at its beginning.
    pub(super) stored: Vec<u8>,
    pub(super) completed: Vec<(Slot, Cqe, Vec<u8>)>,
}

impl Pair {
    /// Both ends, initialized, and the queue set as Connect would.
    pub(super) fn new(options: &Options) -> Self {
        let depth = usize::from(options.host.depth);
        let mut pair = Self {
            host: host::Connection::new(options.host, NOW),
            controller: controller::Connection::new(options.controller, NOW),
            host_buffers: vec![Vec::new(); depth],
            controller_buffers: Vec::new(),
            commands: Vec::new(),
            to_controller: Vec::new(),
            to_host: Vec::new(),
            read: (0, 0),
            chunk: options.chunk,
            stored: Vec::new(),
            completed: Vec::new(),
        };
        pair.run().expect("the initialization succeeds");
        pair.controller.set_queue(options.queue);
        let slots = pair.controller.slot_count();
        pair.controller_buffers.resize(slots, Vec::new());
        pair.commands.resize(slots, None);
        pair
    }

    pub(super) fn write(&mut self, data: Vec<u8>) -> Slot {
        let len = u32::try_from(data.len()).expect("tests write little");
        let slot = self.host.submit(Sqe::new(NvmOpcode::WRITE.0, 1), host::Data::Write(len)).expect("room");
        self.host_buffers[slot.index()] = data;
        slot
    }

    pub(super) fn read(&mut self, len: u32) -> Slot {
        let slot = self.host.submit(Sqe::new(NvmOpcode::READ.0, 1), host::Data::Read(len)).expect("room");
        self.host_buffers[slot.index()] = vec![0; len as usize];
        slot
    }

    pub(super) fn submit(&mut self, opcode: u8) -> Slot {
        self.host.submit(Sqe::new(opcode, 1), host::Data::None).expect("room")
    }

    /// Lets bytes cross until both sides are silent.
    pub(super) fn run(&mut self) -> Result<(), ConnectionError> {
        loop {
            let before = (self.read, self.to_controller.len(), self.to_host.len());
            while let Some(transmit) = self.host.poll_transmit() {
                append(&mut self.to_controller, &transmit, &self.host_buffers);
            }
            self.feed_controller()?;
            while let Some(transmit) = self.controller.poll_transmit() {
                append(&mut self.to_host, &transmit, &self.controller_buffers);
                if let Some(slot) = transmit.done {
                    self.controller.release(slot);
                }
            }
            self.feed_host()?;
            if before == (self.read, self.to_controller.len(), self.to_host.len()) {
                return Ok(());
            }
        }
    }

    fn feed_controller(&mut self) -> Result<(), ConnectionError> {
        loop {
            let rest = &self.to_controller[self.read.0..];
            let some = &rest[..rest.len().min(self.chunk)];
            if some.is_empty() {
                return Ok(());
            }
            self.read.0 += match self.controller.want() {
                Want::Header { .. } => self.controller.on_header(some, NOW)?,
                Want::Payload { slot, offset, len } => {
                    let data = &some[..some.len().min(len as usize)];
                    let buffer = &mut self.controller_buffers[slot.index()];
                    buffer[offset as usize..][..data.len()].copy_from_slice(data);
                    self.controller.on_payload(data, NOW)?;
                    data.len()
                }
                Want::Discard { len } => {
                    let data = &some[..some.len().min(len as usize)];
                    self.controller.on_payload(data, NOW)?;
                    data.len()
                }
                Want::Nothing => return Ok(()),
            };
            while let Some(event) = self.controller.poll_event() {
                self.serve(event);
            }
        }
    }

    /// The owner: writes replace what is stored, reads return its beginning, anything else is refused.
    fn serve(&mut self, event: controller::Event) {
        match event {
            controller::Event::Command { slot, sqe, data } => {
                self.commands[slot.index()] = Some(sqe);
                self.controller_buffers[slot.index()] = vec![0; data.len() as usize];
                match (NvmOpcode(sqe.opc), data) {
                    (NvmOpcode::WRITE, controller::Data::InCapsule(_)) => {}
                    (NvmOpcode::WRITE, controller::Data::Transport(len)) => {
                        self.controller.request_data(slot, len)
                    }
                    (NvmOpcode::READ, controller::Data::Transport(len)) => {
                        let data = &self.stored[..len as usize];
                        self.controller_buffers[slot.index()].copy_from_slice(data);
                        self.controller.respond(slot, Reply::with_data(Cqe::new(0, Status::SUCCESS), len));
                    }
                    _ => self.controller.respond(slot, Reply::status(Status::INVALID_OPCODE.dnr())),
                }
            }
            controller::Event::Refused { .. } => {}
            controller::Event::Data { slot, result } => {
                if result.is_ok() {
                    self.stored = self.controller_buffers[slot.index()].clone();
                }
                self.controller.respond(slot, Reply::status(result.err().unwrap_or(Status::SUCCESS)));
            }
        }
    }

    fn feed_host(&mut self) -> Result<(), ConnectionError> {
        loop {
            let rest = &self.to_host[self.read.1..];
            let some = &rest[..rest.len().min(self.chunk)];
            if some.is_empty() {
                return Ok(());
            }
            self.read.1 += match self.host.want() {
                Want::Header { .. } => self.host.on_header(some, NOW)?,
                Want::Payload { slot, offset, len } => {
                    let data = &some[..some.len().min(len as usize)];
                    self.host_buffers[slot.index()][offset as usize..][..data.len()].copy_from_slice(data);
                    self.host.on_payload(data, NOW)?;
                    data.len()
                }
                Want::Discard { .. } | Want::Nothing => return Ok(()),
            };
            while let Some(event) = self.host.poll_event() {
                if let Event::Complete { slot, cqe } = event {
                    let data = std::mem::take(&mut self.host_buffers[slot.index()]);
                    self.completed.push((slot, cqe, data));
                }
            }
        }
    }
}

fn append(wire: &mut Vec<u8>, transmit: &Transmit, buffers: &[Vec<u8>]) {
    wire.extend_from_slice(transmit.head());
    if let Some(part) = transmit.payload {
        let data = &buffers[part.slot.index()][part.offset as usize..][..part.len as usize];
        wire.extend_from_slice(data);
        if transmit.has_digest {
            wire.extend_from_slice(&data_digest([data]));
        }
    }
}
