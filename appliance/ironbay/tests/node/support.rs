//! Starting nodes and running the client.

use serde_json::Value;
use std::process::{Command, Output};
use tempfile::TempDir;
use test_node::{Drives, Node};

const CLIENT: &str = env!("CARGO_BIN_EXE_ironbay");

/// What a run of the client gave.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().expect("the client is not killed"),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The output of a run that must have succeeded.
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self.stdout
    }

    /// The error of a run that must have ended with this code; it always names a remedy.
    pub(crate) fn refused(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        assert!(self.stderr.starts_with("error: "), "{}", self.stderr);
        assert!(self.stderr.contains("\n  try: "), "no remedy: {}", self.stderr);
        self.stderr
    }
}

/// Runs the client against an endpoint.
pub(crate) fn client(endpoint: &str, words: &[&str]) -> Ran {
    let mut command = Command::new(CLIENT);
    command.args(["--endpoint", endpoint]).args(words).env_remove("IRONBAY_ENDPOINT");
    Ran::of(&command.output().expect("the client can be started"))
}

/// A node on drives of 64 MiB each, made in `dir` if they are not there.
pub(crate) fn start(dir: &TempDir, serials: &[&str]) -> Node {
    Node::start(Drives { dir: dir.path(), serials, size: "64MiB" })
}

/// The client, run against a node.
pub(crate) trait Manage {
    /// Runs it.
    fn run(&self, words: &[&str]) -> Ran;

    /// Runs it, and reads what it says as JSON.
    fn json(&self, words: &[&str]) -> Value {
        let ran = self.run(&[&["--output", "json"], words].concat()).done();
        serde_json::from_str(&ran).unwrap_or_else(|e| panic!("not JSON ({e}): {ran}"))
    }
}

impl Manage for Node {
    fn run(&self, words: &[&str]) -> Ran {
        client(&self.endpoint, words)
    }
}

pub(crate) fn dir() -> TempDir {
    TempDir::new().expect("a temporary directory")
}
