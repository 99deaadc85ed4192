//! Headers, lengths, unsafe code and left-over work in Rust files.

use tidy::{functions, rust_sources};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

/// Functions that are longer, each with its reason. This list only shrinks.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[];

/// Crates that may contain unsafe code; every other crate forbids it.
const UNSAFE_CRATES: &[&str] =
    &["appliance/dma", "appliance/vfio", "appliance/net", "appliance/reactor", "initrd", "hwtests"];

/// Goal: whoever opens a file learns in its first line what it is.
#[test]
fn every_file_has_a_header() {
    let bare: Vec<_> =
        rust_sources().into_iter().filter(|s| !s.text.starts_with("//!")).map(|s| s.path).collect();
    assert!(bare.is_empty(), "files without a `//!` header: {bare:#?}");
}

/// Goal: a file can be read in one sitting.
#[test]
fn files_are_short() {
    let long: Vec<_> = rust_sources()
        .into_iter()
        .filter(|s| s.text.lines().count() > FILE_LINES_MAX)
        .map(|s| format!("{} ({} lines)", s.path, s.text.lines().count()))
        .collect();
    assert!(long.is_empty(), "files over {FILE_LINES_MAX} lines: {long:#?}");
}

/// Goal: a function fits a screen.
#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    for source in rust_sources() {
        for (name, line, length) in functions(&source.text) {
            let known =
                LONG_FUNCTIONS.iter().any(|(path, function, _)| *path == source.path && *function == name);
            if length > FUNCTION_LINES_MAX && !known {
                long.push(format!("{}:{line} {name} ({length} lines)", source.path));
            }
        }
    }
    assert!(long.is_empty(), "functions over {FUNCTION_LINES_MAX} lines:\n{}", long.join("\n"));
}

/// Goal: unsafe code stays in the crates that exist for it.
#[test]
fn unsafe_code_is_forbidden_elsewhere() {
    let sources = rust_sources();
    let mut open = Vec::new();
    for found in tidy::crates() {
        if UNSAFE_CRATES.contains(&found.dir.as_str()) {
            continue;
        }
        let roots = [format!("{}/src/lib.rs", found.dir), format!("{}/src/main.rs", found.dir)];
        for source in sources.iter().filter(|s| roots.contains(&s.path)) {
            if !source.text.contains("#![forbid(unsafe_code)]") {
                open.push(source.path.clone());
            }
        }
    }
    assert!(open.is_empty(), "crate roots without #![forbid(unsafe_code)]: {open:#?}");
}

/// Goal: no unfinished place is left without an issue number.
#[test]
fn no_unfinished_places() {
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("#[ig", "nore")];
    let mut left = Vec::new();
    for source in rust_sources() {
        for (index, line) in source.text.lines().enumerate() {
            if words.iter().any(|w| line.contains(w)) && !line.contains("(#") {
                left.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    assert!(left.is_empty(), "unfinished places:\n{}", left.join("\n"));
}
