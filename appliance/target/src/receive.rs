//! From the socket to the protocol: where received bytes go.
//!
//! ```text
//!           ┌─ payload that is awaited ─ received into the command's buffer ─▶ on_payload
//!  socket ──┤
//!           └─ what is behind it ─▶ staging ─ header ──▶ on_header
//!                                      └─ payload ─▶ copied into the command's buffer ─▶ on_payload
//! ```
//! One system call fills both. Sockets of other cores receive before they are asked: they are told beforehand where the payload
//! belongs, and have the buffer meanwhile. The staging memory is one for the core, lent to the connection that has news: it stays in
//! the nearest cache, and connections that are silent have none.

use crate::Target;
use crate::chunks::Part;
use crate::connection::{Connection, Life};
use crate::limits::{
    BULK_STAGING_BYTES, PLACED_BYTES_MIN, STAGING_BYTES, STAGING_SHALLOW_BYTES, STRANGER_STAGING_BYTES,
    STRANGER_TURNS_PER_ROUND_MAX,
};
use block::Tick;
use dma::DmaBuf;
use net::{Ahead, Net, Received};
use nvme_tcp::{ConnectionError, Slot, Want};

/// How the loop over received bytes goes on.
enum Next {
    Again,
    Stop,
}

impl Target {
    /// Uses what has arrived, and says whether more is wanted. What arrives after the subsystems have forgotten the host
    /// stays where it is: there is nobody to say what its data is for, so no buffer for it either.
    pub(crate) fn pump(&mut self, place: usize, connection: &mut Connection, net: &mut Net, now: Tick) {
        while connection.life == Life::Open && connection.may_receive() {
            if connection.input.unread().is_empty() || self.is_stopping {
                break;
            }
            match use_bytes(connection, now) {
                Ok(Next::Stop) => break,
                Ok(Next::Again) => self.on_protocol_events(place, connection, now),
                Err(error) => self.on_protocol_error(connection, error, net),
            }
        }
        self.watch(connection, net);
        self.list(place, connection);
    }

    /// Says whether more bytes have a place to go.
    fn watch(&self, connection: &mut Connection, net: &mut Net) {
        let is_wanted = match connection.life {
            Life::Open => {
                connection.may_receive()
                    && !self.is_stopping
                    && connection.input.unread().is_empty()
                    && connection.tcp.want() != Want::Nothing
            }
            // Nothing is understood any more, but the end of the stream is to be noticed.
            Life::Terminating => {
                connection.input.forget();
                true
            }
            Life::Closing | Life::Gone => false,
        };
        connection.input.tidy();
        if is_wanted && net.receives_ahead(connection.socket) {
            prepare(connection, net);
        }
        if connection.input.is_watched != is_wanted {
            connection.input.is_watched = is_wanted;
            net.watch(connection.socket, is_wanted);
        }
    }

    /// There may be something to receive; says whether there was.
    pub(crate) fn on_readable(
        &mut self,
        place: usize,
        connection: &mut Connection,
        net: &mut Net,
        now: Tick,
    ) -> bool {
        if self.is_stopping || !connection.input.is_watched {
            self.watch(connection, net);
            return false;
        }
        let mut staging = core::mem::take(&mut self.staging);
        let (received, placed) = receive(connection, &mut staging, net);
        match received {
            Received::Nothing => self.staging = staging,
            Received::End => {
                self.staging = staging;
                self.close(connection, net);
            }
            Received::Bytes(count) if connection.life == Life::Open => {
                connection.input.lend(staging, count - placed.as_ref().map_or(0, Placed::len));
                if let Some(placed) = placed {
                    self.on_placed(place, connection, placed, net, now);
                }
                self.pump(place, connection, net, now);
                self.staging = connection.input.take_back();
                // What is unread then waits for something else than the socket.
                self.watch(connection, net);
            }
            Received::Bytes(_) => self.staging = staging,
        }
        received != Received::Nothing
    }

    /// A stranger waits for a turn: it has sent something, or what it was answered has left.
    pub(crate) fn line_up(&mut self, place: usize, connection: &mut Connection) {
        if !connection.input.is_in_line {
            connection.input.is_in_line = true;
            self.line.push_back(place);
        }
    }

    /// Gives a turn to those in line, as many as a round has time for; says whether there was anything to do.
    pub(crate) fn serve_strangers(&mut self, net: &mut Net, now: Tick) -> usize {
        let mut work = 0;
        for _ in 0..STRANGER_TURNS_PER_ROUND_MAX {
            let Some(place) = self.line.pop_front() else { break };
            let Some(mut connection) = self.take(place) else { continue };
            connection.input.is_in_line = false;
            if connection.input.unread().is_empty() {
                work += usize::from(self.on_readable(place, &mut connection, net, now));
            } else {
                self.pump(place, &mut connection, net, now);
                work += 1;
            }
            self.put(place, connection);
        }
        work + self.line.len()
    }

    fn on_placed(
        &mut self,
        place: usize,
        connection: &mut Connection,
        placed: Placed,
        net: &mut Net,
        now: Tick,
    ) {
        let Placed { slot, part, lent } = placed;
        let chunks = &mut connection.commands[slot.index()].chunks;
        if let Some(buffer) = lent {
            let is_awaited =
                matches!(connection.tcp.want(), Want::Payload { slot: other, .. } if other == slot);
            assert!(is_awaited, "a command whose data is on its way is not answered before that has arrived");
            chunks.put(part.index, buffer);
        }
        let bytes = chunks.bytes(&part).expect("a command that awaits data has its buffers");
        match connection.tcp.on_payload(bytes, now) {
            Ok(()) => self.on_protocol_events(place, connection, now),
            Err(error) => self.on_protocol_error(connection, error, net),
        }
    }

    fn on_protocol_error(&mut self, connection: &mut Connection, error: ConnectionError, net: &mut Net) {
        self.counters.protocol_errors += 1;
        match error {
            ConnectionError::Protocol(_) => {
                connection.life = Life::Terminating;
                self.forget_host(connection);
            }
            ConnectionError::TerminatedByPeer(_)
            | ConnectionError::TimedOut(_)
            | ConnectionError::Unsupported(_) => self.close(connection, net),
        }
    }
}

/// The place of payload that comes next, if it is worth being received there.
fn awaited_payload(connection: &Connection) -> Option<(Slot, Part)> {
    let Want::Payload { slot, offset, len } = connection.tcp.want() else { return None };
    let chunks = &connection.commands[slot.index()].chunks;
    // Strangers have no memory that could be lent.
    let is_long = connection.is_host && connection.life == Life::Open && len as usize >= PLACED_BYTES_MIN;
    is_long.then(|| (slot, chunks.part(offset as usize, len as usize)))
}

/// Payload that was received into a command's own buffer.
struct Placed {
    slot: Slot,
    part: Part,
    /// The buffer, if it was the network's meanwhile.
    lent: Option<DmaBuf>,
}

impl Placed {
    fn len(&self) -> usize {
        self.part.range.len()
    }

    /// The first `count` bytes of a place.
    fn new((slot, part): (Slot, Part), count: usize, lent: Option<DmaBuf>) -> Self {
        let end = part.range.end.min(part.range.start + count);
        Self { slot, part: Part { range: part.range.start..end, ..part }, lent }
    }
}

/// Bytes that may land in the staging memory. While long data is on its way, whatever lands there has to be copied from there:
/// only a little does.
fn staged_max(connection: &Connection) -> usize {
    match connection.input.requested {
        _ if !connection.is_host => STRANGER_STAGING_BYTES,
        0 if connection.input.is_deep => STAGING_BYTES,
        0 => STAGING_SHALLOW_BYTES,
        _ => BULK_STAGING_BYTES,
    }
}

/// Receives; says which awaited payload has come.
fn receive(
    connection: &mut Connection,
    staging: &mut Box<[u8]>,
    net: &mut Net,
) -> (Received, Option<Placed>) {
    let staged_max = staged_max(connection);
    if net.has_cores() {
        let received = net.receive(connection.socket, &mut [], staging, staged_max);
        let Received::Bytes(count) = received else { return (received, None) };
        let lent = connection.input.lent.take();
        let buffer = net.take_placed(connection.socket);
        return (received, lent.map(|place| Placed::new(place, count, buffer)));
    }
    let Some((slot, part)) = awaited_payload(connection) else {
        return (net.receive(connection.socket, &mut [], staging, staged_max), None);
    };
    let bytes = connection.commands[slot.index()].chunks.bytes_mut(&part);
    let bytes = bytes.expect("a command that awaits data has its buffers");
    match net.receive(connection.socket, bytes, staging, staged_max) {
        Received::Bytes(count) => (Received::Bytes(count), Some(Placed::new((slot, part), count, None))),
        nothing @ (Received::Nothing | Received::End) => (nothing, None),
    }
}

/// Tells sockets of other cores, which receive before they are asked, where the next bytes belong.
fn prepare(connection: &mut Connection, net: &mut Net) {
    let place = awaited_payload(connection).and_then(|(slot, part)| {
        let buffer = connection.command(slot).chunks.take(part.index)?;
        let range = part.range.clone();
        connection.input.lent = Some((slot, part));
        Some((buffer, range))
    });
    net.prepare(connection.socket, Ahead { staged_max: staged_max(connection), place });
}

/// Uses bytes of the staging memory for one step of the protocol.
fn use_bytes(connection: &mut Connection, now: Tick) -> Result<Next, ConnectionError> {
    let used = match connection.tcp.want() {
        Want::Header { .. } => connection.tcp.on_header(connection.input.unread(), now)?,
        Want::Payload { slot, offset, len } => {
            let count = copy_payload(connection, slot, offset as usize, len as usize);
            connection.tcp.on_payload(&connection.input.unread()[..count], now)?;
            count
        }
        Want::Discard { len } => {
            let count = connection.input.unread().len().min(len as usize);
            connection.tcp.on_payload(&connection.input.unread()[..count], now)?;
            count
        }
        Want::Nothing => return Ok(Next::Stop),
    };
    connection.input.consume(used);
    Ok(Next::Again)
}

/// Copies unread bytes to where they belong; says how many.
fn copy_payload(connection: &mut Connection, slot: Slot, offset: usize, len: usize) -> usize {
    let unread = connection.input.unread();
    let command = &mut connection.commands[slot.index()];
    if !connection.is_host {
        let count = len.min(unread.len());
        command.rest_mut().bytes[offset..offset + count].copy_from_slice(&unread[..count]);
        return count;
    }
    let chunks = &mut command.chunks;
    let part = chunks.part(offset, len.min(unread.len()));
    let count = part.range.len();
    let buffer = chunks.bytes_mut(&part).expect("a command that awaits data has its buffers");
    buffer.copy_from_slice(&unread[..count]);
    count
}
