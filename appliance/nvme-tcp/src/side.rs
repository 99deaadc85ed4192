//! What both ends of a connection do alike: the loop over received bytes, and the clock.
//!
//! Invariant: a PDU that has begun is complete within [`PDU_TIMEOUT`], or the connection ends. A peer that sends half of one
//! and falls silent would keep a connection, and perhaps a buffer, for ever: it owes nothing that a keep alive timer sees.

use crate::limits::PDU_TIMEOUT;
use crate::receive::{Layout, Receiver, Step};
use crate::transmit::Transmit;
use crate::wire::{ConnectionError, Fault, Waiting};
use block::Tick;
use core::time::Duration;
use nvme_spec::tcp::{CommonHeader, Fes, PduType, TermReq};

/// When a connection's time is over.
#[derive(Debug)]
pub(crate) struct Clock {
    /// The latest time that was told.
    now: Tick,
    /// Waiting for one thing: initialization, Connect, the peer to close.
    stage: Option<(Tick, Waiting)>,
    /// The PDU that is being received.
    pdu: Option<Tick>,
}

impl Clock {
    /// So long for this.
    pub(crate) fn new(now: Tick, time: Duration, waiting: Waiting) -> Self {
        Self { now, stage: Some((now.after(time), waiting)), pdu: None }
    }

    /// Late by as much as the owner lets pass between two calls that tell the time.
    pub(crate) fn now(&self) -> Tick {
        self.now
    }

    pub(crate) fn set(&mut self, now: Tick, time: Duration, waiting: Waiting) {
        self.stage = Some((now.after(time), waiting));
    }

    pub(crate) fn clear(&mut self) {
        self.stage = None;
    }

    /// Bytes were received.
    fn track(&mut self, is_inside_pdu: bool, now: Tick) {
        self.now = now;
        self.pdu = match self.pdu {
            _ if !is_inside_pdu => None,
            None => Some(now.after(PDU_TIMEOUT)),
            begun => begun,
        };
    }

    /// The peer was kept from sending: its time begins anew.
    pub(crate) fn restart_pdu(&mut self, now: Tick) {
        self.pdu = self.pdu.map(|_| now.after(PDU_TIMEOUT));
    }

    pub(crate) fn next(&self) -> Option<Tick> {
        self.stage.map(|(at, _)| at).into_iter().chain(self.pdu).min()
    }

    pub(crate) fn check(&mut self, now: Tick) -> Result<(), ConnectionError> {
        self.now = now;
        let pdu = self.pdu.map(|at| (at, Waiting::Pdu));
        match self.stage.into_iter().chain(pdu).find(|(at, _)| now >= *at) {
            Some((_, waiting)) => Err(ConnectionError::TimedOut(waiting)),
            None => Ok(()),
        }
    }
}

/// One end of a connection, as the loop over received bytes sees it.
pub(crate) trait Side {
    /// The termination request that this end sends.
    const TERM_REQ: PduType;

    fn rx(&mut self) -> &mut Receiver;
    fn clock(&mut self) -> &mut Clock;
    /// Which PDUs may come now, and their shape.
    fn layout_of(&self, ch: &CommonHeader) -> Result<Layout, Fault>;
    /// A common header was accepted.
    fn begin(&mut self, kind: PduType);
    /// A head is complete, and intact.
    fn on_head(&mut self, layout: Layout, now: Tick) -> Result<(), ConnectionError>;
    /// The payload of a PDU is complete, and its digest compared.
    fn end_data(&mut self, is_intact: bool, now: Tick);
    /// The connection ends with this PDU; nothing else is sent.
    fn end_with(&mut self, request: Transmit, now: Tick);

    fn terminate(&mut self, fault: Fault, now: Tick) -> ConnectionError {
        let request = Transmit::termination(Self::TERM_REQ, fault, self.rx().quote());
        self.end_with(request, now);
        ConnectionError::Protocol(fault)
    }
}

/// Takes header bytes up to the next event; returns how many.
pub(crate) fn on_header<S: Side>(side: &mut S, bytes: &[u8], now: Tick) -> Result<usize, ConnectionError> {
    let mut used = 0usize;
    loop {
        let rest = bytes.get(used..).unwrap_or_default();
        let (taken, step) = side.rx().on_header(rest).map_err(|fault| side.terminate(fault, now))?;
        used = used.saturating_add(taken);
        match step {
            Step::Incomplete => break,
            Step::Common(ch) => {
                let layout = side.layout_of(&ch).map_err(|fault| side.terminate(fault, now))?;
                side.begin(ch.kind);
                side.rx().begin_head(layout);
            }
            Step::Head(layout) => {
                side.on_head(layout, now)?;
                side.rx().begin_payload(layout);
                break;
            }
            Step::Trailer { is_intact } => {
                side.end_data(is_intact, now);
                break;
            }
        }
    }
    let is_inside_pdu = side.rx().is_inside_pdu();
    side.clock().track(is_inside_pdu, now);
    Ok(used)
}

/// Sees payload; returns true if it was the last of its PDU and no digest follows.
pub(crate) fn on_payload<S: Side>(side: &mut S, bytes: &[u8], now: Tick) -> bool {
    let is_complete = side.rx().on_payload(bytes);
    let is_inside_pdu = side.rx().is_inside_pdu();
    side.clock().track(is_inside_pdu, now);
    is_complete
}

/// What the peer's termination request says.
pub(crate) fn peer_fault(rx: &Receiver) -> ConnectionError {
    let (fes, fei) = rx.header::<TermReq>().map_or((0, 0), |t| (t.fes.get(), t.fei.get()));
    ConnectionError::TerminatedByPeer(Fault { fes: Fes(fes), fei })
}
