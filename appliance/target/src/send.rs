//! From the protocol to the socket: one vectored send per connection and round.

use crate::Target;
use crate::connection::{Connection, Life};
use block::Tick;
use net::{Net, Outgoing};
use std::io;

impl Target {
    /// Remembers that a connection may have something to send.
    pub(crate) fn list(&mut self, place: usize, connection: &mut Connection) {
        if !connection.output.is_listed {
            connection.output.is_listed = true;
            self.listed.push(place);
        }
    }

    /// Starts the sends of this round.
    pub(crate) fn send_all(&mut self, net: &mut Net) {
        while let Some(place) = self.listed.pop() {
            let Some(mut connection) = self.take(place) else { continue };
            connection.output.is_listed = false;
            self.send(&mut connection, net);
            self.put(place, connection);
        }
    }

    fn send(&mut self, connection: &mut Connection, net: &mut Net) {
        let may_send = matches!(connection.life, Life::Open | Life::Terminating);
        if !may_send || connection.output.is_sending {
            return;
        }
        let mut outgoing = self.spare_sends.pop().unwrap_or_else(|| Box::new(Outgoing::new()));
        connection.fill(&mut outgoing);
        if outgoing.is_empty() {
            self.spare_sends.push(outgoing);
            if connection.is_ending {
                self.close(connection, net);
            }
            return;
        }
        connection.output.is_sending = true;
        net.send(connection.socket, outgoing);
    }

    /// A send has ended: what it carried is free again.
    pub(crate) fn on_sent(
        &mut self,
        place: usize,
        connection: &mut Connection,
        mut outgoing: Box<Outgoing>,
        result: &io::Result<()>,
        net: &mut Net,
        now: Tick,
    ) {
        outgoing.clear();
        self.spare_sends.push(outgoing);
        connection.output.is_sending = false;
        connection.output.idle_looks = 0;
        while let Some(slot) = connection.output.releases.pop() {
            connection.command(slot).reset();
            connection.tcp.release(slot);
        }
        if result.is_err() {
            self.close(connection, net);
            return;
        }
        if connection.life == Life::Terminating {
            net.finish_sending(connection.socket);
        }
        self.list(place, connection);
        // The protocol may have waited for a free slot.
        self.pump(place, connection, net, now);
    }
}
