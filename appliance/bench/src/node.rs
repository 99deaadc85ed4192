//! A node of our own: `ironbayd run` as a process, with a pool and a volume.

use crate::workload::Medium;
use anyhow::{Context, Result, bail};
use api::{Client, Timeouts, v1};
use nvme_host::Target;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use uuid::Uuid;

/// Room on the drive for what the pool keeps there itself.
const POOL_BYTES: u64 = 64 << 20;

/// How a node is started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeConfig<'a> {
    /// The program.
    pub(crate) daemon: &'a Path,
    pub(crate) mode: &'a str,
    pub(crate) medium: Medium,
    /// Where the file of a file drive is made.
    pub(crate) dir: &'a Path,
    pub(crate) volume_bytes: u64,
    /// Where it listens.
    pub(crate) address: IpAddr,
}

/// A running node; it ends with its value.
#[derive(Debug)]
pub(crate) struct Node {
    child: Child,
    // Kept open: the daemon may say more on it.
    _output: BufReader<ChildStdout>,
    pub(crate) target: Target,
}

impl Node {
    /// Starts it, and makes the volume.
    pub(crate) fn start(config: NodeConfig<'_>) -> Result<Self> {
        let drive_bytes = config.volume_bytes + POOL_BYTES;
        let drive = match config.medium {
            Medium::Ram => format!("ram:{drive_bytes},serial=BENCH"),
            Medium::File => {
                format!("file:{},size={drive_bytes},serial=BENCH", config.dir.join("bench.img").display())
            }
        };
        let mut command = Command::new(config.daemon);
        command.args(["--log", "warn", "run", "--insecure", "--output", "json", "--mode", config.mode]);
        command.args(["--drive", &drive]);
        for port in ["--listen", "--discovery", "--api"] {
            command.args([port, &SocketAddr::new(config.address, 0).to_string()]);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} cannot be started", config.daemon.display()))?;
        let Some(stdout) = child.stdout.take() else { bail!("the daemon has no output") };
        let mut output = BufReader::new(stdout);
        let made = make_volume(&mut output, config.volume_bytes);
        if made.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        Ok(Self { child, _output: output, target: made? })
    }

    pub(crate) fn pid(&self) -> Result<i32> {
        Ok(i32::try_from(self.child.id())?)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn make_volume(output: &mut impl BufRead, volume_bytes: u64) -> Result<Target> {
    let mut line = String::new();
    output.read_line(&mut line)?;
    let ready: Value =
        serde_json::from_str(&line).with_context(|| format!("not the ready line: {line:?}"))?;
    let Some(endpoint) = ready["api"].as_str() else { bail!("the ready line names no API: {line:?}") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let volume = runtime.block_on(async {
        let client = Client::connect(endpoint, Timeouts::default()).await?;
        let id = || Uuid::new_v4().to_string();
        let pool = v1::CreatePoolRequest {
            id: id(),
            name: "bench".to_owned(),
            drive_serials: vec!["BENCH".to_owned()],
            overwrite_foreign_data: true,
        };
        client.create_pool(pool).await?;
        let volume = v1::CreateVolumeRequest {
            id: id(),
            name: "bench".to_owned(),
            pool: "bench".to_owned(),
            size_bytes: volume_bytes,
            block_size: 0,
            allowed_hosts: None,
        };
        client.create_volume(volume).await
    })?;
    let connection = volume.connection.unwrap_or_default();
    let Some(portal) = ready["portals"][0].as_str() else {
        bail!("the ready line names no portal: {line:?}")
    };
    Ok(Target::new(portal.parse()?, &connection.subsystem_nqn, connection.nsid))
}
