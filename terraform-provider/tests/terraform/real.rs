//! `ironbayd run` on file drives in a temporary directory.

use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use tempfile::TempDir;

/// The running daemon; it ends when this value goes.
pub(crate) struct Node {
    child: Child,
    // Kept open: the daemon may say more on it.
    _output: BufReader<ChildStdout>,
    pub(crate) endpoint: String,
    _dir: TempDir,
}

/// The daemon's program: named by IRONBAYD_BIN, or built beside the provider.
fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("IRONBAYD_BIN") {
        return named.into();
    }
    let beside = Path::new(crate::cli::PROVIDER).with_file_name("ironbayd");
    // Built on every call: cargo knows best whether it is up to date, and waits for its own lock.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = beside.ancestors().nth(2).expect("programs are in target/debug");
    let built = Command::new(cargo)
        .args(["build", "--locked", "-p", "ironbayd", "--target-dir"])
        .arg(target)
        .status()
        .expect("cargo can be started");
    assert!(built.success(), "ironbayd cannot be built; or name it in IRONBAYD_BIN");
    beside
}

impl Node {
    /// A daemon on two blank drives of 1 GiB, `S0` and `S1`, on free ports.
    pub(crate) fn start() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let mut command = Command::new(program());
        command.arg("run");
        for serial in ["S0", "S1"] {
            let path = dir.path().join(format!("{serial}.img"));
            command.arg("--drive").arg(format!("file:{},size=1GiB,serial={serial}", path.display()));
        }
        for port in ["--listen", "--discovery", "--api"] {
            command.args([port, "127.0.0.1:0"]);
        }
        let log = dir.path().join("log");
        command.args(["--insecure", "--output", "json"]).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(File::create(&log).expect("the directory is ours"));
        let mut child = command.spawn().expect("ironbayd can be started");
        let mut output = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("ironbayd says when it is ready");
        let ready: Value =
            serde_json::from_str(&line).unwrap_or_else(|e| panic!("not the ready line ({e}): {line:?}"));
        let endpoint = ready["api"].as_str().expect("the ready line names the API").to_owned();
        Self { child, _output: output, endpoint, _dir: dir }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself; the test that cares has failed already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
