//! The crates of the workspace and whom they use, read from their manifests.

use crate::tree::{root, tracked};

/// One crate.
#[derive(Debug)]
pub struct Crate {
    /// Package name.
    pub name: String,
    /// Directory relative to the root.
    pub dir: String,
    /// Names under `[dependencies]`.
    pub dependencies: Vec<String>,
    /// Names under `[dev-dependencies]` and `[build-dependencies]`.
    pub other_dependencies: Vec<String>,
}

/// All crates of the workspace.
///
/// # Panics
/// If a manifest cannot be read.
#[must_use]
pub fn crates() -> Vec<Crate> {
    tracked()
        .iter()
        .filter_map(|path| path.strip_suffix("/Cargo.toml"))
        .map(read)
        .filter(|c| !c.name.is_empty())
        .collect()
}

fn read(dir: &str) -> Crate {
    let text =
        std::fs::read_to_string(root().join(dir).join("Cargo.toml")).expect("a tracked manifest is readable");
    let mut found = Crate {
        name: String::new(),
        dir: dir.to_owned(),
        dependencies: Vec::new(),
        other_dependencies: Vec::new(),
    };
    let mut section = "";
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        if line.starts_with('[') {
            section = line;
            continue;
        }
        let key: String = line.chars().take_while(|c| c.is_alphanumeric() || "-_".contains(*c)).collect();
        match section {
            "[package]" if key == "name" => {
                found.name = line.split('"').nth(1).unwrap_or_default().to_owned();
            }
            "[dependencies]" => found.dependencies.push(key),
            "[dev-dependencies]" | "[build-dependencies]" => found.other_dependencies.push(key),
            _ => {}
        }
    }
    found
}
