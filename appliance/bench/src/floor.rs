//! The floor: bare requests and responses of the same sizes over TCP, with nothing behind them.
//!
//! A thread on the target's core answers each request with bytes that it has at hand. No target can be faster over the same
//! socket interface without moving fewer bytes; what it adds to this is its own.

use crate::machine::{Clock, Cores, pin};
use crate::sample::{Figures, Sample, Times};
use crate::workload::{Op, Workload};
use anyhow::{Context, Result, ensure};
use nvme_host::histogram::Histogram;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A command capsule without data, a response capsule, the header of a data PDU (TCP 1.1 §3.6.2).
const CAPSULE: usize = 72;
const HEADER: usize = 24;
/// Bytes taken from a socket at once, as both ends of the real thing do.
const READ: usize = 256 << 10;

/// Bytes of a request and of its response. A read is answered by data with the success flag, so by one PDU.
fn sizes(work: &Workload) -> (usize, usize) {
    match work.op {
        Op::Read => (CAPSULE, HEADER + work.bytes as usize),
        Op::Write | Op::DurableWrite => (CAPSULE + work.bytes as usize, HEADER),
    }
}

/// One end: what arrives is counted, what leaves is zeroes.
struct End {
    socket: TcpStream,
    room: Box<[u8]>,
    /// Bytes of the message that is arriving.
    arrived: usize,
    incoming: usize,
    /// Bytes that wait to be sent.
    owed: usize,
    zeroes: Box<[u8]>,
}

impl End {
    fn new(socket: TcpStream, incoming: usize) -> Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let zeroes = vec![0; READ].into_boxed_slice();
        Ok(Self { socket, room: vec![0; READ].into_boxed_slice(), arrived: 0, incoming, owed: 0, zeroes })
    }

    /// Messages that have arrived completely; none at the end of the stream.
    fn receive(&mut self) -> Result<Option<usize>> {
        match self.socket.read(&mut self.room) {
            Ok(0) => Ok(None),
            Ok(n) => {
                self.arrived += n;
                let whole = self.arrived / self.incoming;
                self.arrived %= self.incoming;
                Ok(Some(whole))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Some(0)),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn send(&mut self) -> Result<()> {
        while self.owed > 0 {
            let piece = &self.zeroes[..self.owed.min(READ)];
            match self.socket.write(piece) {
                Ok(n) => self.owed -= n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The server's thread: answers until all connections are closed.
fn serve(ends: &mut Vec<End>, response: usize) -> Result<()> {
    while !ends.is_empty() {
        let mut failed = None;
        ends.retain_mut(|end| match end.receive() {
            Ok(Some(whole)) => {
                end.owed += whole * response;
                end.send().is_ok()
            }
            Ok(None) => false,
            Err(error) => {
                failed = Some(error);
                false
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
    }
    Ok(())
}

/// Takes one sample.
pub(crate) fn take(work: &Workload, times: Times, cores: Cores) -> Result<Sample> {
    let (request, response) = sizes(work);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (is_there, failed) = (Barrier::new(2), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let mut clients = Vec::new();
        let mut servers = Vec::new();
        for _ in 0..work.queues {
            clients.push(End::new(TcpStream::connect(address)?, response)?);
            servers.push(End::new(listener.accept()?.0, request)?);
        }
        let (is_there, failed) = (&is_there, &failed);
        scope.spawn(move || {
            let pinned = pin(0, cores.target);
            is_there.wait();
            let served = pinned.and_then(|()| serve(&mut servers, response));
            failed.store(served.is_err(), Ordering::Release);
        });
        is_there.wait();
        let sample = drive(&mut clients, request, usize::from(work.depth), times);
        drop(clients);
        ensure!(!failed.load(Ordering::Acquire), "the floor's server failed");
        sample
    })
}

/// The initiator's side.
fn drive(ends: &mut [End], request: usize, depth: usize, times: Times) -> Result<Sample> {
    let mut begun = vec![VecDeque::with_capacity(depth); ends.len()];
    let mut latency = Histogram::default();
    let start = Instant::now();
    for (end, begun) in ends.iter_mut().zip(&mut begun) {
        begun.extend(std::iter::repeat_n(start, depth));
        end.owed = depth * request;
    }
    let (mut window, mut before) = (None, Clock::look(None));
    loop {
        let mut seen = None;
        for (end, begun) in ends.iter_mut().zip(&mut begun) {
            end.send()?;
            let whole = end.receive()?.context("the floor's server closed the connection")?;
            if whole == 0 {
                continue;
            }
            let now = Instant::now();
            for _ in 0..whole {
                let began = begun.pop_front().context("an answer that nobody asked for")?;
                latency.record(now.duration_since(began));
                begun.push_back(now);
            }
            end.owed += whole * request;
            seen = Some(now);
        }
        match (seen, window) {
            (Some(now), None) if now.duration_since(start) >= times.warm_up => {
                before = Clock::look(None);
                latency = Histogram::default();
                window = Some(now);
            }
            (Some(now), Some(began)) if now.duration_since(began) >= times.window => {
                let passed = Clock::look(None).since(&before);
                let figures = Figures::of(&latency, now.duration_since(began), &passed, false);
                return Ok(Sample { figures, passed });
            }
            _ => {}
        }
    }
}
