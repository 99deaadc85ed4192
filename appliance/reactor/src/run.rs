//! The loop of one core, on one page.

use crate::idle::{Idle, Rest};
use crate::limits::{EVENTS_PER_ROUND_MAX, REOPEN_PERIOD};
use crate::{Mailbox, Polling, Sleep};
use block::Tick;
use net::{Event, Net};
use std::thread;
use std::time::Instant;

/// What a round offers to the application.
#[derive(Debug)]
pub struct Round<'a> {
    /// The sockets.
    pub net: &'a mut Net,
    /// When the round began.
    pub now: Tick,
    /// Thousandths of the last second in which the core had work.
    pub busy_permille: u32,
}

/// What a core works on. Each method does what is there and returns; none waits.
pub trait App {
    /// Messages from other threads.
    type Message: Send;

    /// Takes completions from the devices and acts on them; says how many.
    fn poll_devices(&mut self, round: &mut Round<'_>) -> usize;
    /// Something happened on the sockets; says whether there was anything to do.
    fn on_event(&mut self, round: &mut Round<'_>, event: Event) -> bool;
    /// Starts requests that wait and for which there is room now; says how many.
    fn start_requests(&mut self, round: &mut Round<'_>) -> usize;
    /// Hands to devices and sockets what this round produced, once for each; says how much of it has ended already.
    fn kick(&mut self, round: &mut Round<'_>) -> usize;
    /// One message.
    fn on_message(&mut self, round: &mut Round<'_>, message: Self::Message);
    /// When [`App::on_time`] shall be called.
    fn deadline(&self) -> Option<Tick>;
    /// The deadline has come.
    fn on_time(&mut self, round: &mut Round<'_>);
    /// The core wants to sleep: may it?
    fn prepare_sleep(&mut self) -> Sleep;
    /// The core is awake again.
    fn on_awake(&mut self);
    /// The loop ends.
    fn is_finished(&self) -> bool;
}

/// Runs the loop until the application is finished.
pub fn run<A: App>(app: &mut A, net: &mut Net, mailbox: &mut Mailbox<A::Message>, polling: Polling) {
    let epoch = Instant::now();
    let clock = || Tick(u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let mut start = clock();
    let mut idle = Idle::new(polling, start);
    let mut doors = Doors::default();
    while !app.is_finished() {
        let mut round = Round { net, now: start, busy_permille: idle.busy_permille() };
        let mut work = app.poll_devices(&mut round);
        for _ in 0..EVENTS_PER_ROUND_MAX {
            let Some(event) = round.net.poll() else { break };
            work += usize::from(app.on_event(&mut round, event));
        }
        work += app.start_requests(&mut round);
        work += app.kick(&mut round);
        round.net.flush();
        if let Some(message) = mailbox.take() {
            app.on_message(&mut round, message);
            work += 1;
        }
        if app.deadline().is_some_and(|at| at <= start) {
            app.on_time(&mut round);
            // What it started is handed on in the next round; there must be one.
            work += 1;
        }
        work += usize::from(doors.on_round(round.net, start));
        // The end of a round is the start of the next: the clock is read once.
        let end = clock();
        idle.on_round(work > 0, start, end);
        start = end;
        if work == 0 && rest(app, net, mailbox, (&idle, &doors), end) == Rested::AWhile {
            start = clock();
        }
    }
}

/// When listeners are tried again at which nobody could be let in.
#[derive(Debug, Default)]
struct Doors {
    reopen_at: Option<Tick>,
}

impl Doors {
    /// Says whether some are tried now.
    fn on_round(&mut self, net: &mut Net, now: Tick) -> bool {
        if !net.is_shut() {
            self.reopen_at = None;
            return false;
        }
        let at = *self.reopen_at.get_or_insert_with(|| now.after(REOPEN_PERIOD));
        if now < at {
            return false;
        }
        self.reopen_at = None;
        net.rearm();
        true
    }
}

/// Whether time has passed.
#[derive(PartialEq, Eq)]
enum Rested {
    NoTime,
    AWhile,
}

fn rest<A: App>(
    app: &mut A,
    net: &mut Net,
    mailbox: &mut Mailbox<A::Message>,
    (idle, doors): (&Idle, &Doors),
    now: Tick,
) -> Rested {
    if !idle.wants_sleep(now) {
        return pause(idle.rest(now, None, None));
    }
    let mut rested = Rested::AWhile;
    // From here on senders wake us; so a message that the next line does not see ends the sleep.
    mailbox.waker().begin_sleep();
    if !mailbox.has_message() {
        let deadline = [app.deadline(), doors.reopen_at].into_iter().flatten().min();
        match idle.rest(now, deadline, Some(app.prepare_sleep())) {
            Rest::Wait(time) | Rest::Sleep(time) => net.wait(time),
            rest @ (Rest::Spin | Rest::Yield) => rested = pause(rest),
        }
        app.on_awake();
    }
    mailbox.waker().end_sleep();
    rested
}

fn pause(rest: Rest) -> Rested {
    match rest {
        Rest::Yield => {
            thread::yield_now();
            Rested::AWhile
        }
        Rest::Spin | Rest::Wait(_) | Rest::Sleep(_) => {
            core::hint::spin_loop();
            Rested::NoTime
        }
    }
}
