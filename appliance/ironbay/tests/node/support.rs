//! Starting nodes and running the client.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

const CLIENT: &str = env!("CARGO_BIN_EXE_ironbay");

/// The daemon's program: named by IRONBAYD_BIN, or built beside the client.
pub(crate) fn daemon() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(named) = std::env::var_os("IRONBAYD_BIN") {
            return named.into();
        }
        let beside = Path::new(CLIENT).with_file_name("ironbayd");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let target = beside.ancestors().nth(2).expect("programs are in target/debug");
        let built = Command::new(cargo)
            .args(["build", "--locked", "-p", "ironbayd", "--target-dir"])
            .arg(target)
            .status()
            .expect("cargo can be started");
        assert!(built.success(), "ironbayd cannot be built; or name it in IRONBAYD_BIN");
        beside
    })
}

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

/// Ends a process with SIGTERM, and gives its exit code.
pub(crate) fn terminate(child: &mut Child) -> Option<i32> {
    let id = i32::try_from(child.id()).expect("process numbers are small");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGTERM)
        .expect("it runs");
    child.wait().expect("it is our child").code()
}

/// A running `ironbayd run`.
pub(crate) struct Node {
    child: Child,
    // Kept open: the daemon may say more on it.
    _output: BufReader<ChildStdout>,
    pub(crate) endpoint: String,
    pub(crate) portal: String,
    pub(crate) discovery: String,
}

impl Node {
    /// On drives of 64 MiB each, made in `dir` if they are not there.
    pub(crate) fn start(dir: &TempDir, serials: &[&str]) -> Self {
        let mut command = Command::new(daemon());
        command.args(["--log", "warn", "run", "--arena-mib", "32"]);
        for serial in serials {
            let path = dir.path().join(format!("{serial}.img"));
            command.arg("--drive").arg(format!("file:{},size=64MiB,serial={serial}", path.display()));
        }
        for port in ["--listen", "--discovery", "--api"] {
            command.args([port, "127.0.0.1:0"]);
        }
        command.args(["--insecure", "--output", "json"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("ironbayd can be started");
        let mut output = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("ironbayd says when it is ready");
        let ready: Value =
            serde_json::from_str(&line).unwrap_or_else(|e| panic!("not the ready line ({e}): {line:?}"));
        let text = |value: &Value| value.as_str().expect("an address").to_owned();
        Self {
            child,
            _output: output,
            endpoint: text(&ready["api"]),
            portal: text(&ready["portals"][0]),
            discovery: text(&ready["discovery"][0]),
        }
    }

    /// Runs the client against this node.
    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        client(&self.endpoint, words)
    }

    /// Runs the client, and reads what it says as JSON.
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let ran = self.run(&[&["--output", "json"], words].concat()).done();
        serde_json::from_str(&ran).unwrap_or_else(|e| panic!("not JSON ({e}): {ran}"))
    }

    /// Orderly end.
    pub(crate) fn stop(mut self) {
        assert_eq!(terminate(&mut self.child), Some(0), "an orderly end");
    }

    /// As by a power cut, as far as a process can have one.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is our child");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn dir() -> TempDir {
    TempDir::new().expect("a temporary directory")
}
