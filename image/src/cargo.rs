//! Builds crates of this workspace with cargo and says where the programs are.

use crate::debian::workspace;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a build made.
pub struct Built(Vec<Message>);

/// One line of cargo's JSON messages, as far as we read it.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    target: Option<Target>,
    #[serde(default)]
    manifest_path: Option<PathBuf>,
    #[serde(default)]
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

/// Builds packages. Flags of the caller's environment do not reach the compiler where `environment` sets others.
pub fn build(options: &[&str], packages: &[&str], environment: &[(&str, String)]) -> Result<Built> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--locked", "--message-format=json-render-diagnostics"]).args(options);
    for package in packages {
        command.args(["-p", package]);
    }
    if !environment.is_empty() {
        command.env_remove("RUSTFLAGS");
    }
    // `cargo run` tells a program about the package it came from; build scripts would take that for a change of theirs.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    let output = command
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(workspace())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo; is the Rust toolchain in PATH?")?;
    ensure!(output.status.success(), "{} cannot be built; cargo's reason stands above", packages.join(", "));
    let lines = String::from_utf8(output.stdout).context("cargo answered with something that is not text")?;
    let messages =
        lines.lines().map(|l| serde_json::from_str(l).context("cargo answered with an odd message"));
    Ok(Built(messages.collect::<Result<_>>()?))
}

impl Built {
    /// The program of the crate in the directory of this name.
    pub fn executable(&self, crate_dir: &str) -> Result<PathBuf> {
        let made = self.0.iter().filter(|m| m.reason == "compiler-artifact").find(|m| {
            let is_program = m.target.as_ref().is_some_and(|t| t.kind.iter().any(|k| k == "bin"));
            let dir = m.manifest_path.as_deref().and_then(Path::parent).and_then(Path::file_name);
            is_program && dir.is_some_and(|d| d == crate_dir)
        });
        made.and_then(|m| m.executable.clone())
            .with_context(|| format!("the crate {crate_dir} has no program"))
    }
}
