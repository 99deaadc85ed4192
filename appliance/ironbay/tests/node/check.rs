//! Checking the drives of a node that has ended.

use crate::support::{Manage, Ran, client, dir, start};
use serde_json::Value;
use std::fs::{OpenOptions, read, write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// No node is asked: nothing listens there.
fn check(words: &[&str], paths: &[&Path]) -> Ran {
    let paths = paths.iter().map(|path| path.to_str().expect("a path of ours"));
    let words: Vec<&str> = words.iter().copied().chain(["check"]).chain(paths).collect();
    client("127.0.0.1:1", &words)
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {}", ran.stdout))
}

/// Goal: what a node wrote is clean, damage is named with exit code 1, and the drives stay as they were.
#[test]
fn drives_of_a_node_are_checked() {
    let dir = dir();
    let node = start(&dir, &["S0", "S1"]);
    node.run(&["pool", "create", "tank", "--drive", "S0", "--drive", "S1"]).done();
    node.run(&["volume", "create", "db", "--pool", "tank", "--size", "60MiB"]).done();
    node.stop();
    let paths = ["S0", "S1"].map(|serial| dir.path().join(format!("{serial}.img")));
    let [first, second] = [&*paths[0], &*paths[1]];
    let text = check(&[], &[first, second]).done();
    assert!(text.contains("tank") && text.ends_with("clean: nothing was found\n"), "{text}");
    let found = json(&check(&["--output", "json"], &[second, first]));
    assert_eq!(found["findings"], Value::Array(Vec::new()));
    assert_eq!(found["pools"][0]["volumes"][0]["size_bytes"], 60 << 20, "{found}");
    let alone = check(&["--output", "json"], &[second]);
    assert_eq!((alone.code, &json(&alone)["findings"][0]["code"]), (1, &Value::from("drive-missing")));
    // A bit of the label.
    let image = OpenOptions::new().write(true).open(first).expect("the image is there");
    image.write_all_at(&[0xff], 70).expect("it can be written");
    let before = read(first).expect("it can be read");
    let damaged = check(&[], &[first, second]);
    assert_eq!(damaged.code, 1, "{}{}", damaged.stdout, damaged.stderr);
    assert!(
        damaged.stdout.contains("repairable") && damaged.stdout.contains("the label is damaged"),
        "{}",
        damaged.stdout
    );
    assert_eq!(read(first).expect("it can be read"), before, "nothing was written");
}

/// Goal: what is not Ironbay's, or cannot be opened, is refused with exit code 2, its name and a remedy.
#[test]
fn other_paths_are_refused() {
    let dir = dir();
    let path = |name: &str| dir.path().join(name);
    for (name, contents) in
        [("blank", vec![0; 1 << 20]), ("foreign", vec![7; 1 << 20]), ("short", vec![1; 100])]
    {
        write(path(name), contents).expect("a file");
        let text = check(&[], &[&path(name)]).refused(2);
        assert!(text.contains(name), "{text}");
    }
    check(&[], &[&path("nowhere")]).refused(2);
    check(&[], &[dir.path()]).refused(2);
    assert_eq!(client("127.0.0.1:1", &["check"]).code, 2, "a path is needed");
}
