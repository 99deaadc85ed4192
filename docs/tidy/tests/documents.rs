//! Links in documents resolve, and every dependency is explained.

use std::collections::BTreeSet;
use tidy::{crates, root, tracked};

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
