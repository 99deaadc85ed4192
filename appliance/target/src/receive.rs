//! From the socket to the protocol: where received bytes go.
//!
//! ```text
//!           ┌─ payload that is awaited ─ received into the command's buffer ─▶ on_payload
//!  socket ──┤
//!           └─ what is behind it ─▶ staging ─ header ──▶ on_header
//!                                      └─ payload ─▶ copied into the command's buffer ─▶ on_payload
//! ```
//! One system call fills both. The staging memory is one for the core, lent to the connection that has news: it stays in
//! the nearest cache, and connections that are silent have none.

use crate::Target;
use crate::chunks::Part;
use crate::connection::{Connection, Life};
use crate::limits::{BULK_STAGING_BYTES, PLACED_BYTES_MIN, STAGING_SHALLOW_BYTES};
use block::Tick;
use net::{Net, Received};
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
        while connection.life == Life::Open && connection.id.is_some() && connection.blocked.is_none() {
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
                connection.id.is_some()
                    && connection.blocked.is_none()
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
        let awaited = awaited_payload(connection);
        let (received, placed) = receive(connection, awaited.as_ref(), &mut staging, net);
        match received {
            Received::Nothing => self.staging = staging,
            Received::End => {
                self.staging = staging;
                self.close(connection, net);
            }
            Received::Bytes(count) if connection.life == Life::Open => {
                connection.input.lend(staging, count - placed);
                if let Some((slot, part)) = awaited {
                    let part = Part { range: part.range.start..part.range.start + placed, ..part };
                    self.on_placed(place, connection, (slot, &part), net, now);
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

    fn on_placed(
        &mut self,
        place: usize,
        connection: &mut Connection,
        (slot, part): (Slot, &Part),
        net: &mut Net,
        now: Tick,
    ) {
        let bytes = connection.commands[slot.index()].chunks.bytes(part);
        let bytes = bytes.expect("a command that awaits data has its buffers");
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
    let is_long = connection.life == Life::Open && len as usize >= PLACED_BYTES_MIN;
    is_long.then(|| (slot, chunks.part(offset as usize, len as usize)))
}

/// Receives; says how many bytes went to the awaited payload.
fn receive(
    connection: &mut Connection,
    awaited: Option<&(Slot, Part)>,
    staging: &mut [u8],
    net: &mut Net,
) -> (Received, usize) {
    // While long data is on its way, whatever lands in the staging memory has to be copied from there: only a little does.
    let len = match connection.input.requested {
        0 if connection.input.is_deep => staging.len(),
        0 => STAGING_SHALLOW_BYTES,
        _ => BULK_STAGING_BYTES,
    };
    let staging = &mut staging[..len];
    let Some((slot, part)) = awaited else { return (net.receive(connection.socket, &mut [], staging), 0) };
    let bytes = connection.commands[slot.index()].chunks.bytes_mut(part);
    let bytes = bytes.expect("a command that awaits data has its buffers");
    match net.receive(connection.socket, bytes, staging) {
        Received::Bytes(count) => (Received::Bytes(count), count.min(bytes.len())),
        nothing @ (Received::Nothing | Received::End) => (nothing, 0),
    }
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
    let chunks = &mut connection.commands[slot.index()].chunks;
    let part = chunks.part(offset, len.min(unread.len()));
    let count = part.range.len();
    let buffer = chunks.bytes_mut(&part).expect("a command that awaits data has its buffers");
    buffer.copy_from_slice(&unread[..count]);
    count
}
