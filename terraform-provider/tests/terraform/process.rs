//! The provider as a process: started by hand, interrupted, left behind.

use crate::cli::{PROVIDER, Terraform};
use crate::fake::{Fake, Fault};
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Goal: somebody who runs the program learns what it is for; nothing hangs.
#[test]
fn run_by_hand() {
    let output = Command::new(PROVIDER).env_remove("TF_PLUGIN_MAGIC_COOKIE").output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"");
    assert!(String::from_utf8_lossy(&output.stderr).contains("is a Terraform provider"));
}

/// Goal: the documented installation works: a directory named like the address, `terraform init`, no other configuration.
#[test]
fn installed_in_a_plugin_directory() {
    let fake = Fake::start();
    let Some(terraform) = Terraform::new(&fake.endpoint) else { return };
    std::fs::write(terraform.dir().join("terraform.rc"), "").expect("the directory is ours");
    let version = env!("CARGO_PKG_VERSION");
    let place = format!("terraform.d/plugins/{}/{version}/linux_amd64", crate::cli::SOURCE);
    let place = terraform.dir().join(place);
    std::fs::create_dir_all(&place).expect("the directory is ours");
    std::fs::copy(PROVIDER, place.join(format!("terraform-provider-ironbay_v{version}"))).expect("a copy");
    terraform.configure("resource \"ironbay_pool\" \"tank\" {\n  name = \"tank\"\n  drives = [\"S0\"]\n}\n");
    terraform.run(&["init", "-no-color", "-input=false"]);
    terraform.apply();
    terraform.assert_empty_plan();
}

/// Goal: Ctrl-C in the middle of a creation is answered at once, and what may exist stays in the state.
/// Method: the signal goes to the whole process group, as a terminal does it.
#[test]
fn interrupt_keeps_the_volume_in_the_state() {
    let fake = Fake::start();
    let Some(terraform) = Terraform::new(&fake.endpoint) else { return };
    let pool = "resource \"ironbay_pool\" \"tank\" {\n  name = \"tank\"\n  drives = [\"S0\"]\n}\n";
    terraform.configure(pool);
    terraform.apply();
    terraform.configure(&format!(
        "{pool}resource \"ironbay_volume\" \"db\" {{\n  name = \"db\"\n  pool = ironbay_pool.tank.id\n  size_bytes = 1048576\n}}\n"
    ));
    fake.table().fault = Fault::CreateHangs;
    let mut command = terraform.command(&["apply", "-auto-approve", "-json", "-input=false"]);
    let child = command.process_group(0).stdout(Stdio::piped()).spawn().expect("terraform can be started");
    fake.create_began();
    signal("INT", &format!("-{}", child.id()));
    let output = child.wait_with_output().expect("terraform ends");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("Cannot create volume \\\"db\\\": interrupted"), "{text}");

    assert!(terraform.state("ironbay_volume.db")["id"].is_string());
    fake.table().fault = Fault::None;
    terraform.apply();
    terraform.assert_empty_plan();
    assert_eq!(fake.table().volumes.len(), 1);
}

/// Goal: a provider without certificate from its parent (TLS turned off) serves, and leaves on SIGTERM; its socket goes.
#[test]
fn terminates_and_cleans_up() {
    let mut provider = Started::new();
    signal("TERM", &provider.child.id().to_string());
    provider.assert_gone();
}

/// Goal: when Terraform is killed, the provider does not stay behind.
/// Method: the only connection closes without a word.
#[test]
fn leaves_when_abandoned() {
    let mut provider = Started::new();
    drop(UnixStream::connect(&provider.socket).expect("it listens"));
    provider.assert_gone();
}

/// The provider, started as Terraform does it, but without TLS.
struct Started {
    child: Child,
    socket: PathBuf,
    dir: tempfile::TempDir,
}

impl Started {
    fn new() -> Self {
        let dir = tempfile::TempDir::new().expect("a temporary directory");
        let mut child = Command::new(PROVIDER)
            .env("TF_PLUGIN_MAGIC_COOKIE", "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2")
            .env("PLUGIN_PROTOCOL_VERSIONS", "5,6")
            .env("PLUGIN_UNIX_SOCKET_DIR", dir.path())
            .env_remove("PLUGIN_CLIENT_CERT")
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        stdout.read_line(&mut line).expect("a handshake line");
        let fields: Vec<&str> = line.trim_end().split('|').collect();
        let [core, protocol, network, path, kind, certificate] = fields[..] else { panic!("{line:?}") };
        assert_eq!((core, protocol, network, kind, certificate), ("1", "6", "unix", "grpc", ""));
        assert!(path.starts_with(dir.path().to_str().expect("plain")), "{path}");
        Self { child, socket: path.into(), dir }
    }

    fn assert_gone(&mut self) {
        assert!(self.child.wait().expect("it ends").success());
        assert_eq!(std::fs::read_dir(self.dir.path()).expect("it is ours").count(), 0);
    }
}

/// By the shell's own `kill`: a small machine may have no program of that name.
fn signal(name: &str, target: &str) {
    let script = format!("kill -s {name} -- {target}");
    let sent = Command::new("/bin/sh").args(["-c", &script]).status().expect("a shell can be started");
    assert!(sent.success());
}
