//! The files of the repository and a rough reading of Rust sources (rustfmt's layout is assumed).

use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's root directory.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Paths that git tracks and that still exist, relative to the root.
///
/// # Panics
/// If git cannot be run here.
#[must_use]
pub fn tracked() -> Vec<String> {
    listed(&[])
}

/// The same, and new files that git does not know yet and does not ignore.
///
/// # Panics
/// If git cannot be run here.
#[must_use]
pub fn tracked_and_new() -> Vec<String> {
    listed(&["--cached", "--others", "--exclude-standard"])
}

fn listed(options: &[&str]) -> Vec<String> {
    let mut git = Command::new("git");
    let out = git.arg("-C").arg(root()).arg("ls-files").args(options).output().expect("git ls-files runs");
    assert!(out.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).expect("tracked paths are UTF-8");
    text.lines().filter(|p| root().join(p).is_file()).map(str::to_owned).collect()
}

/// A Rust file.
#[derive(Debug)]
pub struct Source {
    /// Relative to the root.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// All tracked Rust files.
///
/// # Panics
/// If a tracked file cannot be read.
#[must_use]
pub fn rust_sources() -> Vec<Source> {
    tracked()
        .into_iter()
        .filter(|p| Path::new(p).extension().is_some_and(|e| e == "rs"))
        .map(|path| {
            let text = std::fs::read_to_string(root().join(&path)).expect("a tracked source is readable");
            Source { path, text }
        })
        .collect()
}

/// Name, first line (1-based) and number of lines of each function, found by rustfmt's indentation: a function ends
/// at the first line that is a lone brace at the depth of its `fn` line.
#[must_use]
pub fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let body = line.trim_start();
        let indent = line.len() - body.len();
        let Some(name) = function_name(body) else { continue };
        if body.ends_with('}') || body.ends_with(';') {
            continue;
        }
        let close = format!("{}}}", " ".repeat(indent));
        if let Some(length) = lines[index..].iter().position(|l| *l == close) {
            found.push((name, index + 1, length + 1));
        }
    }
    found
}

fn function_name(line: &str) -> Option<String> {
    let mut rest = line;
    for word in ["pub(crate) ", "pub(super) ", "pub ", "const ", "async ", "unsafe "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let rest = rest.strip_prefix("fn ")?;
    Some(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
}
