//! PDUs on their way into a socket: heads kept here, payload in the commands' buffers, one vectored write for many.
//!
//! Invariants
//! - Bytes leave in the order of [`Outgoing::push`]; what a short write left is sent first.
//! - Payload is not copied. A command that is answered before its data has left may be followed, in the same slot, by
//!   another that changes the buffer; the controller drops the data of an answered command, so nobody reads the mixture.

use crate::limits::PDUS_MAX;
use nvme_tcp::{Transmit, data_digest};
use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

/// Head, payload and data digest.
const PIECES: usize = 3;

#[derive(Debug)]
struct Pdu {
    transmit: Transmit,
    digest: [u8; 4],
}

impl Pdu {
    fn len(&self) -> usize {
        let payload = self.transmit.payload.map_or(0, |part| part.len as usize);
        self.transmit.head().len() + payload + self.digest().len()
    }

    fn digest(&self) -> &[u8] {
        if self.transmit.has_digest { &self.digest } else { &[] }
    }
}

/// What waits to be sent.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pdus: VecDeque<Pdu>,
    /// Bytes of the first that have left.
    sent: usize,
}

/// The payload of a PDU within the buffers.
fn payload<'a>(transmit: &Transmit, buffers: &'a [Box<[u8]>]) -> &'a [u8] {
    transmit
        .payload
        .map_or(&[], |part| &buffers[part.slot.index()][part.offset as usize..][..part.len as usize])
}

impl Outgoing {
    pub(crate) fn new() -> Self {
        Self { pdus: VecDeque::with_capacity(PDUS_MAX), sent: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pdus.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.pdus.len() >= PDUS_MAX
    }

    pub(crate) fn push(&mut self, transmit: Transmit, buffers: &[Box<[u8]>]) {
        let digest = if transmit.has_digest { data_digest([payload(&transmit, buffers)]) } else { [0; 4] };
        self.pdus.push_back(Pdu { transmit, digest });
    }

    /// Gives as much as it takes to the socket, in one call; says how many bytes.
    pub(crate) fn write(&mut self, socket: &mut impl Write, buffers: &[Box<[u8]>]) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); PDUS_MAX * PIECES];
        let pieces = self
            .pdus
            .iter()
            .flat_map(|pdu| [pdu.transmit.head(), payload(&pdu.transmit, buffers), pdu.digest()]);
        let mut count = 0;
        for piece in pieces.filter(|piece| !piece.is_empty()) {
            slices[count] = IoSlice::new(piece);
            count += 1;
        }
        let mut slices = &mut slices[..count];
        IoSlice::advance_slices(&mut slices, self.sent);
        let n = socket.write_vectored(slices)?;
        self.sent += n;
        while let Some(first) = self.pdus.front().map(Pdu::len).filter(|len| *len <= self.sent) {
            self.sent -= first;
            self.pdus.pop_front();
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use block::Tick;
    use nvme_spec::{NvmOpcode, Sqe};
    use nvme_tcp::Digests;
    use nvme_tcp::host::{Config, Connection, Data};

    /// A socket that takes `limit` bytes at a time.
    struct Narrow {
        limit: usize,
        taken: Vec<u8>,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.limit);
            self.taken.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let mut n = 0;
            for slice in slices {
                let taken = slice.len().min(self.limit - n);
                self.taken.extend_from_slice(&slice[..taken]);
                n += taken;
            }
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A connection that a controller has greeted, with digests; its ICReq is gone.
    fn ready() -> Connection {
        let digests = Digests { header: true, data: true };
        let mut connection =
            Connection::new(Config { digests, depth: 4, in_capsule_max: 8192, hpda_z: 0 }, Tick(0));
        assert!(connection.poll_transmit().is_some());
        let mut answer = [0u8; 128];
        // ICResp: type, HLEN and PLEN, digests as asked, MAXH2CDATA (TCP 1.1 §3.6.2.3).
        (answer[0], answer[2], answer[4], answer[11], answer[13]) = (1, 128, 128, 3, 0x10);
        connection.on_header(&answer, Tick(0)).expect("an ICResp");
        assert!(connection.poll_event().is_some());
        connection
    }

    fn sent(limit: usize) -> Vec<u8> {
        let mut connection = ready();
        let buffers: Vec<Box<[u8]>> = (1..=4).map(|n| vec![n; 4096].into_boxed_slice()).collect();
        let mut outgoing = Outgoing::new();
        for len in [4096, 512] {
            connection.submit(Sqe::new(NvmOpcode::WRITE.0, 1), Data::Write(len)).expect("room");
        }
        connection.submit(Sqe::new(NvmOpcode::READ.0, 1), Data::Read(4096)).expect("room");
        while let Some(transmit) = connection.poll_transmit() {
            outgoing.push(transmit, &buffers);
        }
        let mut socket = Narrow { limit, taken: Vec::new() };
        while !outgoing.is_empty() {
            assert!(outgoing.write(&mut socket, &buffers).expect("it takes some") > 0);
        }
        socket.taken
    }

    /// Goal: however little a socket takes at once, the same bytes arrive in the same order: heads, data, digests.
    #[test]
    fn short_writes_lose_nothing() {
        let whole = sent(usize::MAX);
        let head = 72 + 4;
        assert_eq!(whole.len(), (head + 4096 + 4) + (head + 512 + 4) + head);
        assert!(whole[head..][..4096].iter().all(|b| *b == 1));
        assert_eq!(whole[head + 4096..][..4], data_digest([&[1; 4096][..]]));
        for limit in [1, 7, 76, 4097, 5000] {
            assert_eq!(sent(limit), whole, "{limit} bytes at a time");
        }
    }
}
