//! Listeners at which nobody could be let in for a while.

use crate::{App, Mode, Polling, Round, Sleep, mailbox, run};
use block::Tick;
use net::{Event, Net, Waker};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::net::TcpStream;
use std::process::Command;

/// Rounds in which somebody must have been let in after there are descriptors again; one without work sleeps.
const ROUNDS_MAX: usize = 8;

/// An application that does nothing, has no deadline, and ends when somebody has come in. It allows descriptors again when it sees
/// that accepting has failed.
#[derive(Default)]
struct Patient {
    allowed: u64,
    rounds_since: Option<usize>,
    is_let_in: bool,
}

impl App for Patient {
    type Message = ();

    fn poll_devices(&mut self, round: &mut Round<'_>) -> usize {
        if let Some(rounds) = &mut self.rounds_since {
            *rounds += 1;
        } else if round.net.is_shut() {
            self.rounds_since = Some(0);
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
            setrlimit(Resource::RLIMIT_NOFILE, self.allowed, hard).expect("raised");
        }
        0
    }
    fn on_event(&mut self, _: &mut Round<'_>, event: Event) -> bool {
        self.is_let_in |= matches!(event, Event::Accepted { .. });
        true
    }
    fn start_requests(&mut self, _: &mut Round<'_>) -> usize {
        0
    }
    fn kick(&mut self, _: &mut Round<'_>) -> usize {
        0
    }
    fn on_message(&mut self, _: &mut Round<'_>, (): ()) {}
    fn deadline(&self) -> Option<Tick> {
        None
    }
    fn on_time(&mut self, _: &mut Round<'_>) {}
    fn prepare_sleep(&mut self) -> Sleep {
        Sleep::Fine
    }
    fn on_awake(&mut self) {}
    fn is_finished(&self) -> bool {
        self.is_let_in || self.rounds_since.is_some_and(|rounds| rounds > ROUNDS_MAX)
    }
}

/// Somebody connects while the process may open no file, and nothing else happens.
fn let_in_late() {
    let waker = Waker::new().expect("an eventfd");
    let (_sender, mut mailbox) = mailbox::<()>(waker.clone());
    let mut net = Net::new(waker).expect("an io_uring");
    let (_, address) = net.listen("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let _stream = TcpStream::connect(address).expect("there is room to wait");
    let (allowed, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).expect("lowered");
    let mut app = Patient { allowed, ..Patient::default() };
    run(&mut app, &mut net, &mut mailbox, Polling::before_bind(Mode::Eco));
    assert!(app.rounds_since.is_some(), "accepting has failed");
    assert!(app.is_let_in);
}

/// Goal: who comes while there is no descriptor is let in when there are some again, although nothing else happens on the node.
/// Method: this test once more, in a process of its own, whose limit is lowered.
#[test]
fn doors_open_again() {
    const SHUT: &str = "THE_DOORS_ARE_SHUT_HERE";
    if std::env::var_os(SHUT).is_some() {
        return let_in_late();
    }
    let own = std::env::current_exe().expect("this program");
    let mut child = Command::new(own);
    child.args(["--exact", "tests::doors::doors_open_again", "--nocapture"]).env(SHUT, "1");
    let output = child.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
