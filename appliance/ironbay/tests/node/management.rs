//! Pools and volumes, from blank drives and back.

use crate::support::{Manage, dir, start};

const MIB: u64 = 1 << 20;

/// Goal: the whole life of pools and volumes, with what each step shows.
#[test]
fn from_blank_drives_and_back() {
    let dir = dir();
    let node = start(&dir, &["S0", "S1"]);
    let drives = node.json(&["drive", "list"]);
    assert_eq!(drives.as_array().map(Vec::len), Some(2), "{drives}");
    assert_eq!((&drives[0]["serial"], &drives[0]["state"]), (&"S0".into(), &"blank".into()), "{drives}");
    assert!(node.run(&["pool", "list"]).done().contains("ironbay pool create"), "the next step is named");

    let pool = node.json(&["pool", "create", "tank", "--drive", "S0", "--drive", "S1"]);
    assert_eq!((&pool["name"], &pool["state"]), (&"tank".into(), &"online".into()), "{pool}");
    let drives = node.json(&["drive", "list"]);
    assert_eq!(
        (&drives[1]["state"], &drives[1]["pool_name"]),
        (&"member".into(), &"tank".into()),
        "{drives}"
    );

    let volume = node.json(&["volume", "create", "db", "--pool", "tank", "--size", "16MiB"]);
    assert_eq!((&volume["size_bytes"], &volume["state"]), (&(16 * MIB).into(), &"online".into()), "{volume}");
    assert_eq!(volume["connection"]["nsid"], 1, "{volume}");
    assert_eq!(volume["connection"]["subsystem_nqn"], pool["subsystem_nqn"], "{volume}");
    let port = node.portal.rsplit(':').next().expect("a port");
    assert_eq!(volume["connection"]["portals"][0]["port"].to_string(), port, "{volume}");
    let free = node.json(&["pool", "get", "tank"])["free_bytes"].as_u64().expect("a number");
    assert_eq!(
        free + 16 * MIB,
        pool["free_bytes"].as_u64().expect("a number"),
        "a volume takes what it is big"
    );

    let grown = node.json(&["volume", "resize", "db", "--size", "24MiB"]);
    assert_eq!((&grown["size_bytes"], &grown["id"]), (&(24 * MIB).into(), &volume["id"]), "{grown}");
    let shrunk = node.run(&["volume", "resize", "db", "--size", "8MiB"]);
    assert!([2, 4].contains(&shrunk.code), "{}", shrunk.stderr);
    assert!(shrunk.stderr.contains("volume/db") && shrunk.stderr.contains("try:"), "{}", shrunk.stderr);
    assert_eq!(node.json(&["volume", "get", "db"])["size_bytes"], 24 * MIB, "a refusal changes nothing");

    let text = node.run(&["pool", "delete", "tank"]).refused(4);
    assert!(text.contains("pool/tank"), "{text}");
    assert_eq!(node.run(&["volume", "delete", "db"]).done(), "volume db is deleted\n");
    assert_eq!(node.run(&["pool", "delete", "tank"]).done(), "pool tank is deleted\n");
    let drives = node.json(&["drive", "list"]);
    assert_eq!(drives[0]["state"], "blank", "a deleted pool leaves blank drives: {drives}");
    node.stop();
}

/// Goal: a creation with its own id can be repeated, and is told from one that conflicts.
#[test]
fn creation_is_repeatable() {
    let dir = dir();
    let node = start(&dir, &["S0"]);
    node.run(&["pool", "create", "tank", "--drive", "S0"]).done();
    let id = "0191b1c2-7d3e-4f5a-8b6c-1d2e3f4a5b6c";
    let create = ["volume", "create", "db", "--pool", "tank", "--size", "4MiB", "--id", id];
    let first = node.json(&create);
    assert_eq!(first["id"], id);
    assert_eq!(node.json(&create), first, "the same volume comes back");
    let other = ["volume", "create", "db", "--pool", "tank", "--size", "4MiB"];
    let text = node.run(&other).refused(4);
    assert!(text.contains("db"), "the name is taken: {text}");
    assert_eq!(node.json(&["volume", "get", id]), first, "found by id as well");
    assert_eq!(node.json(&["volume", "list"]).as_array().map(Vec::len), Some(1));
}

/// Goal: a volume may have 512-byte blocks, which are shown, stay when it grows, and are what hosts count in; another size is
/// refused with those that there are.
#[test]
fn blocks_of_512_bytes() {
    let dir = dir();
    let node = start(&dir, &["S0"]);
    node.run(&["pool", "create", "tank", "--drive", "S0"]).done();
    let small = ["volume", "create", "esx", "--pool", "tank", "--size", "8MiB", "--block-size", "512"];
    assert_eq!(node.json(&small)["block_size"], 512);
    let plain = node.json(&["volume", "create", "db", "--pool", "tank", "--size", "8MiB"]);
    assert_eq!(plain["block_size"], 4096, "{plain}");
    assert_eq!(node.json(&["volume", "resize", "esx", "--size", "16MiB"])["block_size"], 512);
    assert!(node.run(&["volume", "get", "esx"]).done().contains("blocks     512 bytes\n"));
    let list = node.run(&["volume", "list"]).done();
    assert!(list.lines().any(|line| line.starts_with("esx") && line.contains(" 512 ")), "{list}");
    let range = ["--offset", "512", "--length", "1536", "--io-size", "512"];
    node.run(&[&["io", "--volume", "esx", "write"], &range[..]].concat()).done();
    node.run(&[&["io", "--volume", "esx", "verify"], &range[..]].concat()).done();
    let text = node.run(&[&["io", "--volume", "db", "write"], &range[..]].concat()).stderr;
    assert!(text.contains("4096"), "that one has larger blocks: {text}");
    let wrong =
        node.run(&["volume", "create", "x", "--pool", "tank", "--size", "8MiB", "--block-size", "1024"]);
    assert_eq!(wrong.code, 2);
    assert!(
        wrong.stderr.contains("--block-size") && wrong.stderr.contains("512 or 4096"),
        "{}",
        wrong.stderr
    );
    node.stop();
}

/// Goal: more than there is, is refused with how much there is.
#[test]
fn no_space_says_how_much_there_is() {
    let dir = dir();
    let node = start(&dir, &["S0"]);
    let pool = node.json(&["pool", "create", "tank", "--drive", "S0"]);
    let free = pool["free_bytes"].as_u64().expect("a number").to_string();
    let text = node.run(&["volume", "create", "db", "--pool", "tank", "--size", "1TiB"]).refused(4);
    assert!(text.contains(&free), "{free} bytes are free: {text}");
    assert!(node.json(&["volume", "list"]).as_array().is_some_and(Vec::is_empty), "nothing was made");
}

/// Goal: a drive with somebody else's data is shown with the evidence, and taken only when that is asked for.
#[test]
fn foreign_data_is_not_overwritten_unasked() {
    let dir = dir();
    // An ext4 superblock: magic number 0xef53 at byte 56 of the superblock at 1024.
    let mut image = vec![0u8; 64 << 20];
    image[1024 + 56..1024 + 58].copy_from_slice(&[0x53, 0xef]);
    std::fs::write(dir.path().join("S0.img"), &image).expect("written");
    let node = start(&dir, &["S0"]);
    let drives = node.json(&["drive", "list"]);
    assert_eq!(drives[0]["state"], "foreign", "{drives}");
    assert!(drives[0]["detail"].as_str().is_some_and(|d| !d.is_empty()), "the evidence is named: {drives}");
    let text = node.run(&["pool", "create", "tank", "--drive", "S0"]).refused(4);
    assert!(text.contains("drive/S0"), "{text}");
    assert!(std::fs::read(dir.path().join("S0.img")).expect("read") == image, "not a byte has changed");
    node.run(&["pool", "create", "tank", "--drive", "S0", "--overwrite-foreign-data"]).done();
}

/// Goal: a drive is wiped only by who says what is lost; the refusal says what to write, and shown as it is it does.
#[test]
fn a_drive_is_given_up_by_name() {
    let dir = dir();
    let node = start(&dir, &["S0", "S1"]);
    node.run(&["pool", "create", "tank", "--drive", "S0", "--drive", "S1"]).done();
    let text = node.run(&["drive", "wipe", "S0", "--confirm", "tank"]).refused(4);
    assert!(text.contains("drive/S0") && text.contains("in use"), "{text}");
    node.stop();
    std::fs::remove_file(dir.path().join("S1.img")).expect("it was there");
    let node = start(&dir, &["S0"]);
    let text = node.run(&["drive", "wipe", "S0"]).refused(4);
    assert!(text.contains("missing drive S1") && text.contains("confirm with its name: tank"), "{text}");
    assert_eq!(node.run(&["drive", "wipe", "S0", "--confirm", "tank"]).done(), "drive S0 is blank\n");
    assert!(node.json(&["pool", "list"]).as_array().is_some_and(Vec::is_empty));
    node.run(&["pool", "create", "tank", "--drive", "S0"]).done();
    node.stop();
}

/// Goal: hosts that may use a volume are named when it is made or later, and shown; a wrong one is pointed at.
#[test]
fn hosts_of_a_volume() {
    let dir = dir();
    let node = start(&dir, &["S0"]);
    node.run(&["pool", "create", "tank", "--drive", "S0"]).done();
    let volume = node.json(&["volume", "create", "db", "--pool", "tank", "--size", "16MiB"]);
    assert_eq!(volume["allowed_hosts"], serde_json::Value::Null, "no list: {volume}");
    let listed = node.json(&[
        "volume",
        "hosts",
        "db",
        "--allow-host",
        "nqn.2014-08.org:b",
        "--allow-host",
        "nqn.2014-08.org:a",
    ]);
    assert_eq!(
        listed["allowed_hosts"],
        serde_json::json!(["nqn.2014-08.org:a", "nqn.2014-08.org:b"]),
        "{listed}"
    );
    let text = node.run(&["volume", "hosts", "db", "--allow-host", "host-a"]).refused(2);
    assert!(text.contains("allowed_hosts[0]") && text.contains("hostnqn"), "{text}");
    assert!(node.run(&["volume", "get", "db"]).done().contains("nqn.2014-08.org:a, nqn.2014-08.org:b"));
    assert!(node.run(&["volume", "hosts", "db", "--nobody"]).done().contains("nobody"));
    assert!(node.run(&["volume", "hosts", "db", "--no-list"]).done().contains("no list"));
    let named = node.json(&[
        "volume",
        "create",
        "log",
        "--pool",
        "tank",
        "--size",
        "1MiB",
        "--allow-host",
        "nqn.2014-08.org:a",
    ]);
    assert_eq!(named["allowed_hosts"], serde_json::json!(["nqn.2014-08.org:a"]), "{named}");
    node.stop();
}
