//! From the protocol to the socket: one vectored send per connection and round.

use crate::Target;
use crate::connection::{Connection, Life};
use block::Tick;
use net::Net;
use std::io;

impl Target {
    /// Remembers that a connection may have something to send.
    pub(crate) fn list(&mut self, place: usize, connection: &mut Connection) {
        if !connection.output.is_listed {
            connection.output.is_listed = true;
            self.listed.push(place);
        }
    }

    /// Sends what this round produced.
    pub(crate) fn send_all(&mut self, net: &mut Net, now: Tick) {
        while let Some(socket) = self.begun.pop() {
            net.expect_load(socket);
        }
        while let Some(place) = self.listed.pop() {
            let Some(mut connection) = self.take(place) else { continue };
            connection.output.is_listed = false;
            self.send(place, &mut connection, net, now);
            self.put(place, connection);
        }
    }

    fn send(&mut self, place: usize, connection: &mut Connection, net: &mut Net, now: Tick) {
        let may_send = matches!(connection.life, Life::Open | Life::Terminating);
        if !may_send || connection.output.is_sending {
            return;
        }
        let mut outgoing = net.outgoing();
        connection.fill(&mut outgoing);
        if outgoing.is_empty() {
            net.recycle(outgoing);
            if connection.is_ending {
                self.close(connection, net);
            } else if connection.life == Life::Terminating && !connection.output.is_finished {
                // Not before: what was in flight at the fault is followed by the termination request.
                connection.output.is_finished = true;
                net.finish_sending(connection.socket);
            }
            return;
        }
        match net.send(connection.socket, outgoing) {
            None => connection.output.is_sending = true,
            Some(result) => self.on_sent(place, connection, &result, net, now),
        }
    }

    /// A send has ended: what it carried is free again.
    pub(crate) fn on_sent(
        &mut self,
        place: usize,
        connection: &mut Connection,
        result: &io::Result<()>,
        net: &mut Net,
        now: Tick,
    ) {
        connection.output.is_sending = false;
        connection.output.idle_looks = 0;
        while let Some(slot) = connection.output.releases.pop() {
            connection.command(slot).reset();
            connection.tcp.release(slot);
            connection.page = connection.page.filter(|page| *page != slot);
        }
        if result.is_err() {
            self.close(connection, net);
            return;
        }
        // There may be more to send, and the protocol may have waited for a free slot.
        if connection.is_host || connection.input.unread().is_empty() {
            return self.pump(place, connection, net, now);
        }
        self.line_up(place, connection);
        self.list(place, connection);
    }
}
