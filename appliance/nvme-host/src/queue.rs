//! One queue: the host's end of a connection, and the socket that it runs over.

use crate::HostError;
use crate::limits::{BEYOND_BYTES, IN_BYTES, PLACED_BYTES_MIN};
use crate::outgoing::Outgoing;
use block::Tick;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nvme_spec::{Cqe, Sqe};
use nvme_tcp::host::{Config, Connection, Data, Event};
use nvme_tcp::{ConnectionError, Digests, Slot, Want};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSliceMut, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How a queue is set up.
#[derive(Clone, Copy, Debug)]
pub struct QueueConfig {
    /// Commands in flight.
    pub depth: u16,
    /// Bytes of each command's buffer.
    pub buffer_bytes: u32,
    /// Digests to ask for.
    pub digests: Digests,
    /// How long nothing may happen while something is awaited.
    pub timeout: Duration,
}

/// A command that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// Its slot; the buffer is valid until the next command is begun.
    pub slot: Slot,
    /// What the controller said.
    pub cqe: Cqe,
}

impl Completion {
    /// The completion of a command that must have succeeded.
    ///
    /// # Errors
    /// [`HostError::Refused`].
    pub fn into_result(self) -> Result<Self, HostError> {
        self.result_of("a command")
    }

    /// As [`Self::into_result`], with the name of the command for the error.
    ///
    /// # Errors
    /// [`HostError::Refused`].
    pub fn result_of(self, command: &'static str) -> Result<Self, HostError> {
        let status = self.cqe.status();
        if status.is_success() { Ok(self) } else { Err(HostError::Refused { command, status }) }
    }
}

/// One queue over one socket.
#[derive(Debug)]
pub struct Queue {
    portal: SocketAddr,
    stream: TcpStream,
    connection: Connection,
    is_ready: bool,
    /// By slot.
    buffers: Vec<Box<[u8]>>,
    completed: VecDeque<Completion>,
    out: Outgoing,
    input: Box<[u8]>,
    /// The last payload was long, so the next will be: what is read with a head is short, the rest is placed.
    is_long: bool,
    started: Instant,
    timeout: Duration,
}

impl Queue {
    /// Connects, and waits until the connection is initialized.
    ///
    /// # Errors
    /// When that fails or takes too long.
    pub fn open(portal: SocketAddr, config: QueueConfig) -> Result<Self, HostError> {
        let connect = || {
            let stream = TcpStream::connect_timeout(&portal, config.timeout)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        let stream = connect().map_err(|source| HostError::Connect { portal, source })?;
        let wanted = Config { digests: config.digests, depth: config.depth, ..Config::default() };
        let buffer = || vec![0; config.buffer_bytes as usize].into_boxed_slice();
        let mut queue = Self {
            portal,
            stream,
            connection: Connection::new(wanted, Tick(0)),
            is_ready: false,
            buffers: (0..config.depth).map(|_| buffer()).collect(),
            completed: VecDeque::with_capacity(usize::from(config.depth)),
            out: Outgoing::new(),
            input: vec![0; IN_BYTES].into_boxed_slice(),
            is_long: false,
            started: Instant::now(),
            timeout: config.timeout,
        };
        while !queue.is_ready {
            queue.advance()?;
        }
        Ok(queue)
    }

    /// Commands that fit in flight.
    #[must_use]
    pub fn depth(&self) -> u16 {
        u16::try_from(self.buffers.len()).unwrap_or(u16::MAX)
    }

    /// From Identify Controller: longest data that travels in a capsule.
    pub fn set_in_capsule_max(&mut self, bytes: u32) {
        self.connection.set_in_capsule_max(bytes);
    }

    /// Commands in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.connection.in_flight()
    }

    /// Begins a command. For a write, `fill` puts the data into the command's buffer. It is sent by the next turn or wait.
    /// It may take the slot and the buffer of any command that has ended, also of one that [`Self::poll`] has not given
    /// yet: first take all completions, and look at their data, then begin others.
    ///
    /// # Errors
    /// [`HostError::Full`].
    ///
    /// # Panics
    /// If the data is longer than the queue's buffers.
    pub fn begin(&mut self, sqe: Sqe, data: Data, fill: impl FnOnce(&mut [u8])) -> Result<Slot, HostError> {
        let (Data::Write(len) | Data::Read(len)) = data else {
            return self.connection.submit(sqe, data).map_err(|_| HostError::Full);
        };
        let slot = self.connection.submit(sqe, data).map_err(|_| HostError::Full)?;
        let buffer = &mut self.buffers[slot.index()][..len as usize];
        if matches!(data, Data::Write(_)) {
            fill(buffer);
        }
        Ok(slot)
    }

    /// Data of a read that has ended, until the next command is begun.
    #[must_use]
    pub fn data(&self, slot: Slot, len: u32) -> &[u8] {
        &self.buffers[slot.index()][..len as usize]
    }

    /// The next command that has ended already.
    pub fn poll(&mut self) -> Option<Completion> {
        self.completed.pop_front()
    }

    /// Waits until a command has ended.
    ///
    /// # Errors
    /// When the connection fails, or nothing happens for too long.
    pub fn wait(&mut self) -> Result<Completion, HostError> {
        loop {
            if let Some(done) = self.completed.pop_front() {
                return Ok(done);
            }
            self.advance()?;
        }
    }

    /// One command from begin to end, with nothing else in flight.
    ///
    /// # Errors
    /// As [`Self::wait`], or [`HostError::Refused`].
    pub(super) fn call(
        &mut self,
        name: &'static str,
        sqe: Sqe,
        data: Data,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<Completion, HostError> {
        assert_eq!(self.in_flight(), 0, "commands in flight would be mistaken for this one");
        self.begin(sqe, data, fill)?;
        self.wait()?.result_of(name)
    }

    /// Sends what waits and takes what has come, without waiting; says whether anything moved.
    ///
    /// # Errors
    /// When the connection fails.
    pub fn turn(&mut self) -> Result<bool, HostError> {
        let has_sent = self.send()?;
        let has_received = self.receive()?;
        Ok(has_sent || has_received)
    }

    /// Turns until something has moved.
    fn advance(&mut self) -> Result<(), HostError> {
        let began = Instant::now();
        while !self.turn()? {
            let left = self.timeout.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Err(HostError::TimedOut { portal: self.portal, limit: self.timeout });
            }
            self.sleep(left)?;
        }
        Ok(())
    }

    fn sleep(&self, limit: Duration) -> Result<(), HostError> {
        let mut flags = PollFlags::POLLIN;
        if !self.out.is_empty() {
            flags |= PollFlags::POLLOUT;
        }
        let mut fds = [PollFd::new(self.stream.as_fd(), flags)];
        let timeout = PollTimeout::try_from(limit.max(Duration::from_millis(1))).unwrap_or(PollTimeout::MAX);
        match nix::poll::poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(HostError::Socket { portal: self.portal, source: errno.into() }),
        }
    }

    /// Takes PDUs from the connection and gives them to the socket; says whether the socket took any.
    fn send(&mut self) -> Result<bool, HostError> {
        let mut has_sent = false;
        loop {
            while !self.out.is_full() {
                let Some(transmit) = self.connection.poll_transmit() else { break };
                self.out.push(transmit, &self.buffers);
            }
            if self.out.is_empty() {
                return Ok(has_sent);
            }
            let written = self.out.write(&mut self.stream, &self.buffers);
            match taken(written).map_err(|source| HostError::Socket { portal: self.portal, source })? {
                None => return Ok(has_sent),
                Some(0) => return Err(HostError::Closed { portal: self.portal }),
                Some(_) => has_sent = true,
            }
        }
    }

    /// Takes bytes from the socket and gives them to the connection; says whether there were any.
    fn receive(&mut self) -> Result<bool, HostError> {
        let placed = match self.connection.want() {
            Want::Payload { slot, offset, len } if len >= PLACED_BYTES_MIN => Some((slot, offset, len)),
            Want::Payload { .. } | Want::Header { .. } | Want::Discard { .. } | Want::Nothing => None,
        };
        let room = if self.is_long { BEYOND_BYTES } else { IN_BYTES };
        let read = match placed {
            // The range lies within what the command asked for, so within its buffer.
            Some((slot, offset, len)) => {
                let place = &mut self.buffers[slot.index()][offset as usize..][..len as usize];
                let beyond = &mut self.input[..BEYOND_BYTES];
                self.stream.read_vectored(&mut [IoSliceMut::new(place), IoSliceMut::new(beyond)])
            }
            None => self.stream.read(&mut self.input[..room]),
        };
        match taken(read).map_err(|source| HostError::Socket { portal: self.portal, source })? {
            None => Ok(false),
            Some(0) => Err(HostError::Closed { portal: self.portal }),
            Some(n) => {
                if let Err(source) = self.on_bytes(placed, n) {
                    // The termination request, if there is one, is a courtesy.
                    let _ = self.send();
                    return Err(HostError::Protocol { portal: self.portal, source });
                }
                Ok(true)
            }
        }
    }

    /// `n` bytes have come: first those that were placed, the others into `input`.
    fn on_bytes(&mut self, placed: Option<(Slot, u32, u32)>, n: usize) -> Result<(), ConnectionError> {
        let now = Tick(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX));
        let mut direct = 0;
        if let Some((slot, offset, len)) = placed {
            direct = n.min(len as usize);
            self.connection.on_payload(&self.buffers[slot.index()][offset as usize..][..direct], now)?;
            self.take_events();
        }
        let input = std::mem::take(&mut self.input);
        let result = self.feed(&input[..n - direct], now);
        self.input = input;
        result
    }

    fn feed(&mut self, mut input: &[u8], now: Tick) -> Result<(), ConnectionError> {
        while !input.is_empty() {
            let used = match self.connection.want() {
                Want::Header { .. } => self.connection.on_header(input, now)?,
                Want::Payload { slot, offset, len } => {
                    self.is_long = len >= PLACED_BYTES_MIN;
                    let len = input.len().min(len as usize);
                    self.buffers[slot.index()][offset as usize..][..len].copy_from_slice(&input[..len]);
                    self.connection.on_payload(&input[..len], now)?;
                    len
                }
                Want::Discard { len } => {
                    let len = input.len().min(len as usize);
                    self.connection.on_payload(&input[..len], now)?;
                    len
                }
                Want::Nothing => return Ok(()),
            };
            input = &input[used..];
            self.take_events();
        }
        Ok(())
    }

    fn take_events(&mut self) {
        while let Some(event) = self.connection.poll_event() {
            match event {
                Event::Ready => self.is_ready = true,
                Event::Complete { slot, cqe } => self.completed.push_back(Completion { slot, cqe }),
            }
        }
    }
}

/// How many bytes a socket moved; none if it would block.
fn taken(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(n) => Ok(Some(n)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}
