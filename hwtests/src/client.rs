//! The `ironbay` program, asking one node something; the answers are JSON.

use crate::child::run;
use crate::limits::CLIENT;
use crate::network::Network;
use anyhow::{Context, Result};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A program and the node that it asks.
#[derive(Debug, Clone)]
pub struct Client {
    /// The `ironbay` program.
    pub program: PathBuf,
    /// Address of the API, inside the lab's network.
    pub endpoint: SocketAddr,
}

impl Client {
    /// Runs one command of the program.
    pub fn ask(&self, network: &Network, arguments: &[&str]) -> Result<Value> {
        let mut command = network.command(&self.program);
        command.args(["--endpoint", &self.endpoint.to_string(), "--output", "json"]).args(arguments);
        let what = format!("ironbay {}", arguments.join(" "));
        let text = run(&mut command, CLIENT)?.ok(&what)?;
        serde_json::from_str(&text).with_context(|| format!("`{what}` did not answer with JSON: {text}"))
    }
}
