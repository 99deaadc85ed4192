//! The list of mutations fits the code.

use std::collections::BTreeSet;
use tidy::{crates, mutations, root};

/// Goal: whoever changes a protection finds out at once that its mutation must follow: the old lines of every entry are in its
/// file exactly once, its package exists, and names are used once.
#[test]
fn every_mutation_has_its_place() {
    let packages: BTreeSet<String> = crates().into_iter().map(|found| found.name).collect();
    let (mut names, mut wrong) = (BTreeSet::new(), Vec::new());
    for mutation in mutations() {
        let text = std::fs::read_to_string(root().join(&mutation.file)).unwrap_or_default();
        wrong.extend(mutation.apply(&text).err());
        if !packages.contains(&mutation.package) {
            wrong.push(format!("[{}]: there is no package {}", mutation.name, mutation.package));
        }
        if !names.insert(mutation.name.clone()) {
            wrong.push(format!("[{}] is there twice", mutation.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(names.len() >= 20, "{} mutations", names.len());
}
