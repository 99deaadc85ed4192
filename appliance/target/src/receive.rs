//! From the socket to the protocol: where received bytes go.
//!
//! ```text
//!  staging ─ header ──▶ on_header
//!     │   └─ payload ─▶ copied into the command's buffer ─▶ on_payload
//!  socket ── long payload ─ placed into the command's buffer ─▶ on_payload
//! ```

use crate::Target;
use crate::connection::{Connection, Life, Placed};
use crate::limits::{PLACED_BYTES_MIN, STAGING_BYTES};
use block::Tick;
use net::{Landing, Net};
use nvme_tcp::{ConnectionError, Slot, Want};
use std::io;

/// How the loop over received bytes goes on.
enum Next {
    Again,
    Stop,
}

impl Target {
    /// Uses what has arrived, and asks for more. What arrives after the subsystems have forgotten the host stays where it
    /// is: there is nobody to say what its data is for, so no buffer for it either.
    pub(crate) fn pump(&mut self, place: usize, connection: &mut Connection, net: &mut Net, now: Tick) {
        while connection.life == Life::Open && connection.id.is_some() && connection.blocked.is_none() {
            if connection.input.is_receiving() || self.is_stopping {
                break;
            }
            let want = connection.tcp.want();
            let next = if want == Want::Nothing {
                Ok(Next::Stop)
            } else if connection.input.unread().is_empty() {
                begin_receive(connection, want, net);
                Ok(Next::Stop)
            } else {
                use_bytes(connection, want, now)
            };
            match next {
                Ok(Next::Stop) => break,
                Ok(Next::Again) => self.on_protocol_events(place, connection, now),
                Err(error) => self.on_protocol_error(connection, error, net),
            }
        }
        if connection.life == Life::Terminating && !connection.input.is_receiving() {
            // Nothing is understood any more, but the end of the stream is to be noticed.
            let unread = connection.input.unread().len();
            connection.input.consume(unread);
            let staging = connection.input.take_staging();
            net.recv(connection.socket, Landing::Staging(staging), 0..STAGING_BYTES, false);
        }
        self.list(place, connection);
    }

    /// A receive has ended.
    pub(crate) fn on_received(
        &mut self,
        place: usize,
        connection: &mut Connection,
        landing: Landing,
        result: io::Result<usize>,
        net: &mut Net,
        now: Tick,
    ) {
        let count = result.unwrap_or(0);
        match landing {
            Landing::Staging(staging) => connection.input.put_staging(staging, count),
            Landing::Payload(buffer) => {
                let placed = connection.input.placed.take().expect("a placed receive was in flight");
                let command = &mut connection.commands[placed.slot.index()];
                command.chunks.put(placed.chunk, buffer);
                if count > 0 && connection.life == Life::Open {
                    self.on_placed(place, connection, &placed, count, net, now);
                }
            }
        }
        if count == 0 {
            self.close(connection, net);
            return;
        }
        self.pump(place, connection, net, now);
    }

    fn on_placed(
        &mut self,
        place: usize,
        connection: &mut Connection,
        placed: &Placed,
        count: usize,
        net: &mut Net,
        now: Tick,
    ) {
        let start = placed.range.start;
        let part = crate::chunks::Part { index: placed.chunk, range: start..start + count };
        let bytes = connection.commands[placed.slot.index()].chunks.bytes(&part);
        let bytes = bytes.expect("the buffer was just put back");
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

/// Starts to receive what is wanted: long payload to its place, everything else into the staging memory.
fn begin_receive(connection: &mut Connection, want: Want, net: &mut Net) {
    if let Want::Payload { slot, offset, len } = want
        && len as usize >= PLACED_BYTES_MIN
    {
        let chunks = &mut connection.commands[slot.index()].chunks;
        let part = chunks.part(offset as usize, len as usize);
        if let Some(buffer) = chunks.take(part.index) {
            let placed = Placed { slot, chunk: part.index, range: part.range.clone() };
            connection.input.placed = Some(placed);
            net.recv(connection.socket, Landing::Payload(buffer), part.range, true);
            return;
        }
    }
    let staging = connection.input.take_staging();
    net.recv(connection.socket, Landing::Staging(staging), 0..STAGING_BYTES, false);
}

/// Uses bytes of the staging memory for one step of the protocol.
fn use_bytes(connection: &mut Connection, want: Want, now: Tick) -> Result<Next, ConnectionError> {
    let used = match want {
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
