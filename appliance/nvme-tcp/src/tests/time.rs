//! Peers that fall silent in the middle of something.

use super::pair::{NOW, Options, Pair, pattern};
use crate::controller::{self, Event, Reply};
use crate::host;
use crate::limits::{DATA_TIMEOUT, PDU_TIMEOUT};
use crate::wire::{ConnectionError, Digests, Waiting, Want};
use block::Tick;
use core::time::Duration;
use nvme_spec::Status;

fn digested() -> Options {
    let host = host::Config {
        digests: Digests { header: true, data: true },
        in_capsule_max: 512,
        ..host::Config::default()
    };
    Options { host, ..Options::default() }
}

/// Takes bytes as they come; the data of writes is thrown away.
fn receive(connection: &mut controller::Connection, bytes: &[u8], now: Tick) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let used = match connection.want() {
            Want::Header { .. } => connection.on_header(rest, now).expect("good bytes"),
            Want::Payload { len, .. } | Want::Discard { len } => {
                let len = rest.len().min(len as usize);
                connection.on_payload(&rest[..len], now).expect("good bytes");
                len
            }
            Want::Nothing => panic!("there are slots"),
        };
        rest = &rest[used..];
        while connection.poll_event().is_some() {}
    }
}

/// Goal: wherever a host stops inside a PDU, its time runs, and at the end of the PDU it does not.
#[test]
fn half_a_pdu_times_out() {
    let wire = {
        let mut pair = Pair::new(&digested());
        let start = pair.to_controller.len();
        pair.write(pattern(512, 1));
        pair.run().expect("the write succeeds");
        pair.to_controller.split_off(start)
    };
    let late = NOW.after(PDU_TIMEOUT);
    for cut in 1..=wire.len() {
        let mut pair = Pair::new(&digested());
        receive(&mut pair.controller, &wire[..cut], NOW);
        let (due, result) = if cut < wire.len() {
            (Some(late), Err(ConnectionError::TimedOut(Waiting::Pdu)))
        } else {
            (None, Ok(()))
        };
        assert_eq!(pair.controller.poll_deadline(), due, "after {cut} bytes");
        assert_eq!(pair.controller.on_deadline(Tick(late.0 - 1)), Ok(()), "after {cut} bytes");
        assert_eq!(pair.controller.on_deadline(late), result, "after {cut} bytes");
    }
}

/// Goal: bytes that trickle in do not buy time: it is the PDU that has to be complete. The next PDU has its own time.
#[test]
fn trickling_does_not_help() {
    let mut pair = Pair::new(&Options::default());
    let mut now = NOW;
    for byte in [4, 0, 72, 0] {
        pair.controller.on_header(&[byte], now).expect("a good beginning");
        now = now.after(Duration::from_secs(9));
    }
    assert_eq!(pair.controller.on_deadline(now), Err(ConnectionError::TimedOut(Waiting::Pdu)));

    let mut pair = Pair::new(&Options::default());
    for step in 0..10 {
        let now = NOW.after(Duration::from_secs(20 * step));
        let start = pair.to_controller.len();
        pair.write(pattern(512, 1));
        pair.run().expect("the write succeeds");
        let wire = pair.to_controller[start..].to_vec();
        let mut fresh = Pair::new(&Options::default());
        receive(&mut fresh.controller, &wire[..100], now);
        receive(&mut fresh.controller, &wire[100..], now.after(Duration::from_secs(19)));
        assert_eq!(fresh.controller.poll_deadline(), None);
    }
}

/// Goal: the host notices a controller that stops inside a PDU.
#[test]
fn host_does_not_wait_for_ever() {
    let mut pair = Pair::new(&Options::default());
    pair.host.on_header(&[5, 0, 24], NOW).expect("a good beginning");
    assert_eq!(pair.host.poll_deadline(), Some(NOW.after(PDU_TIMEOUT)));
    let late = pair.host.on_deadline(NOW.after(PDU_TIMEOUT));
    assert_eq!(late, Err(ConnectionError::TimedOut(Waiting::Pdu)));
}

/// A pair whose host has been asked for the data of a write, and sends none.
fn asked(data_timeout: Duration) -> Pair {
    let mut options = Options::default();
    options.controller.data_timeout = data_timeout;
    let mut pair = Pair::new(&options);
    pair.write(pattern(100_000, 1));
    let capsule = pair.host.poll_transmit().expect("the capsule");
    pair.controller.on_header(capsule.head(), NOW).expect("a good capsule");
    let Some(Event::Command { slot, .. }) = pair.controller.poll_event() else { panic!("it arrives") };
    pair.controller.request_data(slot, 100_000);
    assert!(pair.controller.poll_transmit().is_some(), "the R2T");
    pair
}

/// Goal: data that was asked for and never comes ends the connection, after the time that the owner chose; an answer in
/// the meantime changes nothing, since the host still owes the data.
#[test]
fn missing_data_times_out() {
    for time in [DATA_TIMEOUT, Duration::from_secs(3)] {
        let mut pair = asked(time);
        let due = NOW.after(time);
        assert_eq!(pair.controller.poll_deadline(), Some(due));
        assert_eq!(pair.controller.on_deadline(Tick(due.0 - 1)), Ok(()));
        let slot = pair.controller.find(0x1000);
        let slot = slot.expect("the write is there");
        pair.controller.respond(slot, Reply::status(Status::ABORT_REQUESTED));
        assert_eq!(pair.controller.on_deadline(due), Err(ConnectionError::TimedOut(Waiting::Data)));
    }
}

/// Goal: data that came in time is not waited for.
#[test]
fn complete_data_is_not_due() {
    let mut pair = Pair::new(&Options::default());
    pair.write(pattern(100_000, 1));
    pair.run().expect("the write succeeds");
    assert_eq!(pair.controller.on_deadline(NOW.after(DATA_TIMEOUT)), Ok(()));
    assert_eq!(pair.controller.poll_deadline(), None);
}

/// Goal: while the owner has no memory to receive into, the host's time stands still.
#[test]
fn our_own_delays_do_not_count() {
    let mut pair = asked(DATA_TIMEOUT);
    pair.controller.on_header(&[6, 0], NOW).expect("a good beginning");
    let later = NOW.after(DATA_TIMEOUT + PDU_TIMEOUT);
    pair.controller.on_resumed(later);
    assert_eq!(pair.controller.on_deadline(later), Ok(()));
    assert_eq!(pair.controller.poll_deadline(), Some(later.after(PDU_TIMEOUT)));
    let late = pair.controller.on_deadline(later.after(PDU_TIMEOUT));
    assert_eq!(late, Err(ConnectionError::TimedOut(Waiting::Pdu)));
}
