//! A host for tests: `nvme_tcp::host::Connection` over a blocking socket. One queue each. (The tests of `engine` use this
//! file, too.)
#![allow(dead_code, reason = "each of the two crates uses a part of it")]

use block::Tick;
use nvme_spec::fabrics::{Connect, ConnectData, Nqns, Property};
use nvme_spec::register::{Cc, offset};
use nvme_spec::{AdminOpcode, Cqe, NvmOpcode, Sqe, Status};
use nvme_tcp::host::{Config, Connection, Data, Event};
use nvme_tcp::{Digests, Slot, Want, data_digest};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use zerocopy::IntoBytes;
use zerocopy::little_endian::U32;

/// Longest data of a command.
pub(crate) const DATA_MAX: usize = 1 << 20;

const DEPTH: u16 = 32;

/// One connected queue.
pub(crate) struct Queue {
    stream: TcpStream,
    connection: Connection,
    /// By slot.
    buffers: Vec<Vec<u8>>,
    completed: Vec<(Slot, Cqe)>,
    is_ready: bool,
    /// Identifier of the command whose capsule was sent last.
    pub(crate) last_cid: u16,
}

/// Which queue to connect.
#[derive(Clone, Copy)]
pub(crate) struct Which<'a> {
    pub(crate) subsystem: &'a str,
    pub(crate) host: &'a str,
    pub(crate) qid: u16,
    pub(crate) cntlid: u16,
}

impl Queue {
    /// A TCP connection with its initialization done.
    pub(crate) fn open(address: SocketAddr, digests: Digests) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let config = Config { digests, hpda_z: 0, depth: DEPTH, in_capsule_max: 0 };
        let mut queue = Self {
            stream,
            connection: Connection::new(config, Tick(0)),
            buffers: vec![Vec::new(); usize::from(DEPTH)],
            completed: Vec::new(),
            is_ready: false,
            last_cid: 0,
        };
        while !queue.is_ready {
            queue.turn()?;
        }
        Ok(queue)
    }

    /// The same, and Connect; the controller's identifier.
    pub(crate) fn connect(
        address: SocketAddr,
        which: Which<'_>,
        digests: Digests,
    ) -> io::Result<(Self, u16)> {
        let mut queue = Self::open(address, digests)?;
        let command = Connect { recfmt: 0, qid: which.qid, sqsize_z: DEPTH, cattr: 0, kato_ms: 60_000 };
        let nqns = Nqns { host: which.host, subsystem: which.subsystem };
        // Hosts whose names end differently have different identifiers.
        let last = which.host.bytes().last().unwrap_or(7);
        let data = ConnectData::new([last; 16], which.cntlid, nqns).expect("short names");
        let cqe = queue.write(command.to_sqe(), data.as_bytes().to_vec())?;
        if !cqe.status().is_success() {
            return Err(io::Error::other(cqe.status().to_string()));
        }
        let cntlid = u16::try_from(cqe.dw0.get() & 0xffff).expect("16 bits");
        Ok((queue, cntlid))
    }

    /// Starts a command.
    pub(crate) fn submit(&mut self, sqe: Sqe, data: Data, bytes: Vec<u8>) -> Slot {
        let slot = self.connection.submit(sqe, data).expect("fewer commands than slots");
        self.buffers[slot.index()] = match data {
            Data::Read(len) => vec![0; len as usize],
            Data::None | Data::Write(_) => bytes,
        };
        slot
    }

    /// Waits for a command.
    pub(crate) fn finish(&mut self, slot: Slot) -> io::Result<Cqe> {
        loop {
            if let Some(index) = self.completed.iter().position(|(done, _)| *done == slot) {
                return Ok(self.completed.swap_remove(index).1);
            }
            self.turn()?;
        }
    }

    /// Waits for any completion, or the end of the connection.
    pub(crate) fn finish_any(&mut self) -> io::Result<Cqe> {
        while self.completed.is_empty() {
            self.turn()?;
        }
        Ok(self.completed.remove(0).1)
    }

    /// A command without data.
    pub(crate) fn command(&mut self, sqe: Sqe) -> io::Result<Cqe> {
        let slot = self.submit(sqe, Data::None, Vec::new());
        self.finish(slot)
    }

    /// A command whose data goes to the controller.
    pub(crate) fn write(&mut self, sqe: Sqe, bytes: Vec<u8>) -> io::Result<Cqe> {
        let len = u32::try_from(bytes.len()).expect("at most 1 MiB");
        let slot = self.submit(sqe, Data::Write(len), bytes);
        self.finish(slot)
    }

    /// A command whose data comes to us.
    pub(crate) fn read(&mut self, sqe: Sqe, len: u32) -> io::Result<(Cqe, Vec<u8>)> {
        let slot = self.submit(sqe, Data::Read(len), Vec::new());
        let cqe = self.finish(slot)?;
        Ok((cqe, std::mem::take(&mut self.buffers[slot.index()])))
    }

    /// The same socket once more, for bytes that no good host sends.
    pub(crate) fn stream(&self) -> TcpStream {
        self.stream.try_clone().expect("a second handle")
    }

    pub(crate) fn set_in_capsule_max(&mut self, bytes: u32) {
        self.connection.set_in_capsule_max(bytes);
    }

    /// Sends what is to be sent, receives once.
    pub(crate) fn turn(&mut self) -> io::Result<()> {
        self.send()?;
        self.receive()?;
        self.send()
    }

    /// Receives once, and answers nothing.
    pub(crate) fn receive(&mut self) -> io::Result<()> {
        let mut input = vec![0; 64 << 10];
        let count = self.stream.read(&mut input)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut input = &input[..count];
        while !input.is_empty() {
            let used = match self.connection.want() {
                Want::Header { .. } => self.connection.on_header(input, Tick(0)).map_err(io::Error::other)?,
                Want::Payload { slot, offset, len } => {
                    let part = &input[..input.len().min(len as usize)];
                    self.buffers[slot.index()][offset as usize..][..part.len()].copy_from_slice(part);
                    self.connection.on_payload(part, Tick(0)).map_err(io::Error::other)?;
                    part.len()
                }
                Want::Discard { .. } | Want::Nothing => return Err(io::ErrorKind::InvalidData.into()),
            };
            input = &input[used..];
            while let Some(event) = self.connection.poll_event() {
                match event {
                    Event::Ready => self.is_ready = true,
                    Event::Complete { slot, cqe } => self.completed.push((slot, cqe)),
                }
            }
        }
        Ok(())
    }

    pub(crate) fn send(&mut self) -> io::Result<()> {
        while let Some(transmit) = self.connection.poll_transmit() {
            if let [4, _, _, _, _, _, _, _, _, _, low, high, ..] = *transmit.head() {
                self.last_cid = u16::from_le_bytes([low, high]);
            }
            self.stream.write_all(transmit.head())?;
            let Some(payload) = transmit.payload else { continue };
            let data = &self.buffers[payload.slot.index()][payload.offset as usize..][..payload.len as usize];
            self.stream.write_all(data)?;
            if transmit.has_digest {
                self.stream.write_all(&data_digest([data]))?;
            }
        }
        Ok(())
    }
}

/// Enables the controller of an admin queue.
pub(crate) fn enable(admin: &mut Queue) -> io::Result<()> {
    let cc = Cc::new().with_en(true).with_iosqes(6).with_iocqes(4);
    let property = Property { offset: offset::CC, is_wide: false };
    expect(admin.command(property.set(u64::from(cc.into_bits())))?)
}

/// A connected host: an admin queue and one IO queue.
pub(crate) struct Host {
    pub(crate) admin: Queue,
    pub(crate) io: Queue,
}

impl Host {
    pub(crate) fn connect(address: SocketAddr, subsystem: &str, digests: Digests) -> io::Result<Self> {
        Self::connect_as(address, subsystem, "nqn.2014-08.org.nvmexpress:uuid:host-a", digests)
    }

    pub(crate) fn connect_as(
        address: SocketAddr,
        subsystem: &str,
        host: &str,
        digests: Digests,
    ) -> io::Result<Self> {
        let which = Which { subsystem, host, qid: 0, cntlid: 0xffff };
        let (mut admin, cntlid) = Queue::connect(address, which, digests)?;
        enable(&mut admin)?;
        let (mut io, _) = Queue::connect(address, Which { qid: 1, cntlid, ..which }, digests)?;
        io.set_in_capsule_max(16 << 10);
        Ok(Self { admin, io })
    }

    /// Writes `data` at block `lba` and waits.
    pub(crate) fn write(&mut self, nsid: u32, lba: u64, data: Vec<u8>) -> io::Result<Status> {
        let sqe = transfer(NvmOpcode::WRITE, nsid, lba, data.len());
        Ok(self.io.write(sqe, data)?.status())
    }

    /// Reads `len` bytes from block `lba`.
    pub(crate) fn read(&mut self, nsid: u32, lba: u64, len: usize) -> io::Result<Vec<u8>> {
        let sqe = transfer(NvmOpcode::READ, nsid, lba, len);
        let (cqe, data) = self.io.read(sqe, u32::try_from(len).expect("at most 1 MiB"))?;
        expect(cqe)?;
        Ok(data)
    }

    /// Size in blocks, as Identify Namespace tells.
    pub(crate) fn size(&mut self, nsid: u32) -> io::Result<u64> {
        let (cqe, page) = self.admin.read(identify(nsid, 0), 4096)?;
        expect(cqe)?;
        Ok(u64::from_le_bytes(page[..8].try_into().expect("8 bytes")))
    }
}

/// An Identify command.
pub(crate) fn identify(nsid: u32, cns: u32) -> Sqe {
    let mut sqe = Sqe::new(AdminOpcode::IDENTIFY.0, nsid);
    sqe.cdw10 = U32::new(cns);
    sqe
}

/// A Read or Write of whole blocks.
pub(crate) fn transfer(opcode: NvmOpcode, nsid: u32, lba: u64, len: usize) -> Sqe {
    let mut sqe = Sqe::new(opcode.0, nsid);
    sqe.set_slba(lba);
    sqe.cdw12 = U32::new(u32::try_from(len / 4096 - 1).expect("at most 256 blocks"));
    sqe
}

/// An error unless the command succeeded.
pub(crate) fn expect(cqe: Cqe) -> io::Result<()> {
    if cqe.status().is_success() { Ok(()) } else { Err(io::Error::other(cqe.status().to_string())) }
}

/// Bytes that differ from block to block and from seed to seed.
pub(crate) fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(len).collect()
}
