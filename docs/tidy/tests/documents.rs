//! Links in documents resolve, and every dependency is explained and used.

use std::collections::BTreeSet;
use tidy::{crates, functions, root, rust_sources, tracked};

/// Goal: a reader never follows a link into nothing.
#[test]
fn links_resolve() {
    let mut broken = Vec::new();
    for path in tracked().iter().filter(|p| p.ends_with(".md")) {
        let text = std::fs::read_to_string(root().join(path)).expect("a tracked document is readable");
        let dir = root().join(path).parent().expect("a file has a directory").to_path_buf();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") || file.contains(' ') {
                continue;
            }
            if !dir.join(file).exists() {
                broken.push(format!("{path}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "links into nothing:\n{}", broken.join("\n"));
}

/// Goal: nobody wonders why a dependency is there.
#[test]
fn every_dependency_is_explained() {
    let text =
        std::fs::read_to_string(root().join("docs/DEPENDENCIES.md")).expect("the dependency list exists");
    let listed: BTreeSet<&str> =
        text.lines().filter_map(|l| l.strip_prefix("| `")?.split('`').next()).collect();
    let ours: BTreeSet<String> = crates().into_iter().map(|c| c.name).collect();
    let used: BTreeSet<String> = crates()
        .into_iter()
        .flat_map(|c| c.dependencies.into_iter().chain(c.other_dependencies))
        .filter(|d| !ours.contains(d))
        .collect();
    let missing: Vec<_> = used.iter().filter(|d| !listed.contains(d.as_str())).collect();
    assert!(missing.is_empty(), "dependencies without a line in docs/DEPENDENCIES.md: {missing:?}");
    let gone: Vec<_> = listed.iter().filter(|d| !used.contains(**d)).collect();
    assert!(gone.is_empty(), "lines in docs/DEPENDENCIES.md for what nobody uses: {gone:?}");
}

/// Goal: a crate names in its manifest only what its sources name.
#[test]
fn every_dependency_is_used() {
    // Named by the code that `tonic-prost-build` generates, which is not in the repository.
    let generated = ["prost", "tonic-prost"];
    let crates = crates();
    let sources = rust_sources();
    let mut unused = Vec::new();
    for user in &crates {
        // A crate may lie in the directory of another one.
        let inner: Vec<String> = crates
            .iter()
            .filter(|c| c.dir.starts_with(&format!("{}/", user.dir)))
            .map(|c| format!("{}/", c.dir))
            .collect();
        let own: Vec<&str> = sources
            .iter()
            .filter(|s| s.path.starts_with(&format!("{}/", user.dir)))
            .filter(|s| !inner.iter().any(|dir| s.path.starts_with(dir)))
            .map(|s| s.text.as_str())
            .collect();
        let is_generating = user.other_dependencies.iter().any(|d| d == "tonic-prost-build");
        for dependency in user.dependencies.iter().chain(&user.other_dependencies) {
            let name = dependency.replace('-', "_");
            let is_named = own.iter().any(|text| {
                [format!("{name}::"), format!("use {name}")].iter().any(|use_of| text.contains(use_of))
            });
            let is_generated = is_generating && generated.contains(&dependency.as_str());
            if !is_named && !is_generated {
                unused.push(format!("{}: {dependency}", user.dir));
            }
        }
    }
    assert!(unused.is_empty(), "dependencies that nothing uses:\n{}", unused.join("\n"));
}

/// Goal: what is said to be supported names a test, and each named test is there. (That the states are true is for the tests
/// of `nvme-subsystem`.)
#[test]
fn support_names_tests() {
    let text = std::fs::read_to_string(root().join("docs/nvme-support.md")).expect("the tables exist");
    let sources = rust_sources();
    let mut wrong = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let named: Vec<_> = line.split('`').filter_map(|part| part.split_once(".rs::")).collect();
        if line.contains("| supported") && named.is_empty() {
            wrong.push(format!("no test: {line}"));
        }
        for (path, name) in named {
            let path = format!("appliance/{path}.rs");
            let is_there = sources.iter().filter(|source| source.path == path).any(|source| {
                functions(&source.text).iter().any(|(function, line, _)| {
                    function == name
                        && source.text.lines().nth(line - 2).is_some_and(|l| l.trim() == "#[test]")
                })
            });
            if !is_there {
                wrong.push(format!("{path} has no test {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "docs/nvme-support.md:\n{}", wrong.join("\n"));
}
