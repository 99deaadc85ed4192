//! QEMU's monitor: one command, one answer; events in between are skipped.

use crate::limits::QMP_ANSWER;
use crate::serial;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// A connection to the monitor.
#[derive(Debug)]
pub struct Qmp {
    socket: BufReader<UnixStream>,
}

impl Qmp {
    /// Connects and leaves the negotiation mode.
    pub fn connect(path: &Path) -> Result<Self> {
        let socket = serial::connect(path)?;
        socket.set_read_timeout(Some(QMP_ANSWER)).context("cannot bound the waits for QEMU's monitor")?;
        let mut qmp = Self { socket: BufReader::new(socket) };
        qmp.read().context("QEMU's monitor does not greet")?;
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Executes a command and returns its result.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let request = json!({ "execute": command, "arguments": arguments });
        writeln!(self.socket.get_mut(), "{request}").context("QEMU's monitor is gone")?;
        loop {
            let mut answer =
                self.read().with_context(|| format!("QEMU's monitor does not answer to {command}"))?;
            if let Some(error) = answer.get("error") {
                bail!("QEMU refuses {command}: {error}");
            }
            if let Some(result) = answer.get_mut("return") {
                return Ok(result.take());
            }
        }
    }

    fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.socket.read_line(&mut line)? == 0 {
            bail!("the connection is closed");
        }
        serde_json::from_str(&line).with_context(|| format!("not JSON: {line:?}"))
    }
}
