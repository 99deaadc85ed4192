//! Runs `ironbayd` as a process of its own (test crate; tests of `ironbay` and of the Terraform provider use it).
//!
//! ```text
//!  daemon()  the program ── Node::start(dir, drives) ──▶ ironbayd run ── ready line ──▶ endpoint, portal, discovery
//! ```
//!
//! Invariants
//! - Every port is a free one that the kernel chose, so tests run beside each other.
//! - A node ends with its value, also when its test fails.
//!
//! Not here: machines (`hwtests`), the engine inside of a test (tests of `engine`).
#![forbid(unsafe_code)]

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

/// The daemon's program: named by `IRONBAYD_BIN`, or built into the directory from which the test runs.
///
/// # Panics
/// If it cannot be built.
#[must_use]
pub fn daemon() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match std::env::var_os("IRONBAYD_BIN") {
        Some(named) => named.into(),
        None => built(),
    })
}

/// Cargo knows best whether it is up to date, and waits for its own lock.
fn built() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let profile = test.ancestors().nth(2).expect("tests are in target/debug/deps");
    let target = profile.parent().expect("tests are in target/debug/deps");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--locked", "-p", "ironbayd", "--target-dir"])
        .arg(target)
        .status()
        .expect("cargo can be started");
    assert!(built.success(), "ironbayd cannot be built; or name it in IRONBAYD_BIN");
    profile.join("ironbayd")
}

/// Ends a process with SIGTERM, and gives its exit code.
///
/// # Panics
/// If it is no child that runs.
pub fn terminate(child: &mut Child) -> Option<i32> {
    let id = i32::try_from(child.id()).expect("process numbers are small");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGTERM)
        .expect("it runs");
    child.wait().expect("it is our child").code()
}

/// The drives of a node: files, made if they are not there.
#[derive(Clone, Copy, Debug)]
pub struct Drives<'a> {
    /// Where the files are.
    pub dir: &'a Path,
    /// A drive for each of these serial numbers.
    pub serials: &'a [&'a str],
    /// Size of each: `64MiB`.
    pub size: &'a str,
}

/// A running `ironbayd run`.
#[derive(Debug)]
pub struct Node {
    child: Child,
    // Kept open: the daemon may say more on it.
    _output: BufReader<ChildStdout>,
    /// Address of the API.
    pub endpoint: String,
    /// Address of the volumes.
    pub portal: String,
    /// Address of the discovery subsystem.
    pub discovery: String,
}

impl Node {
    /// Starts it, and waits until it is ready.
    ///
    /// # Panics
    /// If it cannot be started, or says something else.
    #[must_use]
    pub fn start(drives: Drives<'_>) -> Self {
        let mut command = Command::new(daemon());
        command.args(["--log", "warn", "run", "--arena-mib", "32"]);
        for serial in drives.serials {
            let path = drives.dir.join(format!("{serial}.img"));
            let spec = format!("file:{},size={},serial={serial}", path.display(), drives.size);
            command.args(["--drive", &spec]);
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

    /// Orderly end.
    ///
    /// # Panics
    /// If it was none.
    pub fn stop(mut self) {
        assert_eq!(terminate(&mut self.child), Some(0), "an orderly end");
    }

    /// As by a power cut, as far as a process can have one.
    ///
    /// # Panics
    /// If it has ended already.
    pub fn kill(mut self) {
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
