//! The arrows between crates, against the layer table of docs/ARCHITECTURE.md.

use std::collections::BTreeMap;

/// A row `| 2 | \`pool\` | \`block\` | … |` of the table: layer and the crates of the same layer that it may use.
fn table() -> BTreeMap<String, (u8, Vec<String>)> {
    let text = std::fs::read_to_string(tidy::root().join("docs/ARCHITECTURE.md"))
        .expect("the architecture page exists");
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|l| l.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let (Some(layer), Some(name), Some(sideways)) = (cells.first(), cells.get(1), cells.get(2)) else {
            continue;
        };
        let Ok(layer) = layer.parse::<u8>() else { continue };
        let names =
            |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
        for name in names(name) {
            rows.insert(name, (layer, names(sideways)));
        }
    }
    rows
}

/// Goal: every crate has a place in the table, and the table names no crate that is gone.
#[test]
fn every_crate_is_in_the_table() {
    let table = table();
    let crates = tidy::crates();
    let missing: Vec<_> = crates.iter().map(|c| &c.name).filter(|n| !table.contains_key(*n)).collect();
    assert!(missing.is_empty(), "crates without a row in docs/ARCHITECTURE.md: {missing:?}");
    let gone: Vec<_> = table.keys().filter(|n| !crates.iter().any(|c| c.name == **n)).collect();
    assert!(gone.is_empty(), "rows in docs/ARCHITECTURE.md without a crate: {gone:?}");
}

/// Goal: a crate uses crates of lower layers only, and of its own layer only those that its row names.
#[test]
fn arrows_point_down() {
    let table = table();
    let mut wrong = Vec::new();
    for user in tidy::crates() {
        let Some((layer, sideways)) = table.get(&user.name) else { continue };
        for used in &user.dependencies {
            let Some((below, _)) = table.get(used) else { continue };
            if below > layer || (below == layer && !sideways.contains(used)) {
                wrong.push(format!("{} (layer {layer}) uses {used} (layer {below})", user.name));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that do not point down:\n{}", wrong.join("\n"));
}

/// Goal: layers 0 to 2 stay quiet: no runtime, socket, thread or logging crate below layer 3.
#[test]
fn the_quiet_core_stays_quiet() {
    let table = table();
    let loud = ["tokio", "tonic", "io-uring", "nix", "libc", "tracing", "rand", "vfio-ioctls"];
    for found in tidy::crates() {
        if table.get(&found.name).is_none_or(|(layer, _)| *layer > 2) {
            continue;
        }
        let used: Vec<_> = found.dependencies.iter().filter(|d| loud.contains(&d.as_str())).collect();
        assert!(used.is_empty(), "{} is part of the quiet core and may not use {used:?}", found.name);
    }
}
