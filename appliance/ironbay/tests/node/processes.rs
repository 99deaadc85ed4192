//! Engine and agent as processes of their own, joined by a socket path, as on an appliance.

use crate::support::{client, dir};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use test_node::{daemon, terminate};

/// A process that ends with this value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts the daemon, and waits for a line on standard error that contains `words`; gives that line.
fn start(arguments: &[&str], words: &str) -> (Process, String) {
    let mut command = Command::new(daemon());
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut process = Process(command.spawn().expect("ironbayd can be started"));
    let mut lines = BufReader::new(process.0.stderr.take().expect("stderr is a pipe")).lines();
    let line = lines.by_ref().map_while(Result::ok).find(|line| line.contains(words));
    let line = line.unwrap_or_else(|| panic!("ironbayd ended without saying \"{words}\""));
    // Whatever else it says is read, so that it never waits for us.
    std::thread::spawn(move || lines.for_each(drop));
    (process, line)
}

fn engine(bus: &Path, image: &Path) -> Process {
    let drive = format!("file:{},size=64MiB,serial=S0", image.display());
    let bus = bus.display().to_string();
    let ports = ["--listen", "127.0.0.1:0", "--discovery", "127.0.0.1:0", "--arena-mib", "32"];
    start(&[&["engine", "--bus", &bus, "--drive", &drive], &ports[..]].concat(), "Engine serves").0
}

/// Goal: the agent outlives the engine: while it is away the API says so, and when it is back all is as before.
#[test]
fn the_agent_outlives_the_engine() {
    let dir = dir();
    let (bus, image) = (dir.path().join("run/engine.sock"), dir.path().join("S0.img"));
    let arguments =
        ["agent", "--engine-bus", &bus.display().to_string(), "--listen", "127.0.0.1:0", "--insecure"];
    let (mut agent, line) = start(&arguments, "The API listens on ");
    let endpoint =
        line.split("listens on ").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address");
    let text = client(endpoint, &["node"]).refused(5);
    assert!(text.contains("engine"), "{text}");

    let mut first = engine(&bus, &image);
    client(endpoint, &["pool", "create", "tank", "--drive", "S0"]).done();
    first.0.kill().expect("it runs");
    first.0.wait().expect("it is our child");
    client(endpoint, &["pool", "list"]).refused(5);

    let mut second = engine(&bus, &image);
    assert!(client(endpoint, &["pool", "list"]).done().contains("tank"));
    assert_eq!(terminate(&mut second.0), Some(0), "an orderly end");
    assert!(!bus.exists(), "the socket is taken away");
    assert_eq!(terminate(&mut agent.0), Some(0), "an orderly end");
}

/// Goal: without --insecure the agent stays, listens nowhere, and says why and what to do.
#[test]
fn no_api_without_insecure() {
    let dir = dir();
    let bus = dir.path().join("engine.sock").display().to_string();
    let (mut agent, line) = start(&["agent", "--engine-bus", &bus], "does not listen");
    assert!(line.contains("ironbay.insecure=1"), "{line}");
    assert!(agent.0.try_wait().expect("it is our child").is_none(), "it stays");
    assert_eq!(terminate(&mut agent.0), Some(0));
}

/// Goal: an engine that cannot start says what is in its way and what to do, with exit code 1.
#[test]
fn an_engine_that_cannot_listen() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let ports = ["--listen", &address, "--discovery", "127.0.0.1:0", "--api", "127.0.0.1:0", "--insecure"];
    let output = Command::new(daemon()).arg("run").args(ports).output().expect("ironbayd can be started");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("object address/{address}")) && text.contains("\n  try: "), "{text}");
}
