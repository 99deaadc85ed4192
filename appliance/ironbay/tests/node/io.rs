//! Reading and writing volumes through our own host.

use crate::support::{Manage, dir, start};
use nvme_host::{HostError, Session, SessionConfig, Target};
use serde_json::Value;

fn target(volume: &Value) -> Target {
    let connection = &volume["connection"];
    let portal = &connection["portals"][0];
    let portal = format!("{}:{}", portal["address"].as_str().expect("an address"), portal["port"]);
    let nqn = connection["subsystem_nqn"].as_str().expect("an NQN");
    let nsid = connection["nsid"].as_u64().and_then(|n| u32::try_from(n).ok()).expect("an NSID");
    Target::new(portal.parse().expect("a socket address"), nqn, nsid)
}

/// Goal: what was written is there, under the same names, after an orderly restart and after a kill; other sizes of IO,
/// depths and digests read the same bytes.
#[test]
fn data_and_identity_survive_restarts() {
    let dir = dir();
    let node = start(&dir, &["S0", "S1"]);
    node.run(&["pool", "create", "tank", "--drive", "S0", "--drive", "S1"]).done();
    node.run(&["volume", "create", "spare", "--pool", "tank", "--size", "1MiB"]).done();
    let made = node.json(&["volume", "create", "db", "--pool", "tank", "--size", "32MiB"]);
    let identity = |volume: &Value| {
        (
            volume["id"].clone(),
            volume["connection"]["subsystem_nqn"].clone(),
            volume["connection"]["nsid"].clone(),
        )
    };
    let written = node.json(&["io", "--volume", "db", "write", "--seed", "7", "--io-size", "128KiB"]);
    assert_eq!(written["bytes"], 32 << 20, "{written}");
    assert_eq!(written["commands"], 256, "{written}");
    node.stop();

    let node = start(&dir, &["S0", "S1"]);
    let found = node.json(&["volume", "get", "db"]);
    assert_eq!(identity(&found), identity(&made));
    let verify = ["io", "--volume", "db", "verify", "--seed", "7"];
    assert_eq!(node.json(&verify)["bytes"], 32 << 20);
    // Over what is there, in small pieces, with digests; then as after a power cut.
    let again =
        ["io", "--volume", "db", "--digests", "write", "--seed", "8", "--offset", "4MiB", "--length", "2MiB"];
    node.run(&[&again[..], &["--io-size", "4KiB", "--queue-depth", "64"]].concat()).done();
    node.kill();

    let node = start(&dir, &["S0", "S1"]);
    assert_eq!(identity(&node.json(&["volume", "get", "db"])), identity(&made));
    node.run(&[
        "io",
        "--volume",
        "db",
        "--digests",
        "verify",
        "--seed",
        "8",
        "--offset",
        "4MiB",
        "--length",
        "2MiB",
    ])
    .done();
    node.run(&["io", "--volume", "db", "verify", "--seed", "7", "--length", "4MiB", "--io-size", "1MiB"])
        .done();
    let text = node.run(&verify).refused(1);
    assert!(text.contains("byte 4194304 "), "the first byte that differs is named: {text}");
    node.run(&["io", "--volume", "db", "read", "--queue-depth", "1", "--length", "1MiB"]).done();
    node.stop();
}

/// Goal: a grown volume keeps its data, the new part reads as zeroes, and a connected host can use it.
#[test]
fn a_volume_grows_under_a_host() {
    let dir = dir();
    let node = start(&dir, &["S0"]);
    node.run(&["pool", "create", "tank", "--drive", "S0"]).done();
    let volume = node.json(&["volume", "create", "db", "--pool", "tank", "--size", "2MiB"]);
    let mut session = Session::connect(&target(&volume), SessionConfig::default()).expect("a session");
    assert_eq!(session.namespace().size_bytes(), 2 << 20);
    assert_eq!(
        uuid::Uuid::from_bytes(session.namespace().nguid).to_string(),
        volume["id"],
        "NGUID is the id"
    );
    session.begin_write(0, 4096, |data| data.fill(7)).expect("room");
    session.wait().and_then(nvme_host::Completion::into_result).expect("written");
    node.run(&["volume", "resize", "db", "--size", "4MiB"]).done();
    assert_eq!(session.refresh().expect("identified").size_bytes(), 4 << 20);
    for (offset, expected) in [(0, 7), (2 << 20, 0), ((4 << 20) - 4096, 0)] {
        let slot = session.begin_read(offset, 4096).expect("room");
        session.wait().and_then(nvme_host::Completion::into_result).expect("read");
        assert!(session.data(slot, 4096).iter().all(|b| *b == expected), "at {offset}");
    }
    assert!(matches!(session.begin_read(4 << 20, 4096), Err(HostError::BadRange { .. })));
    session.close();
}

/// Goal: a volume that a host is connected to is not deleted by mistake.
#[test]
fn a_volume_in_use_is_not_deleted() {
    let dir = dir();
    let node = start(&dir, &["S0"]);
    node.run(&["pool", "create", "tank", "--drive", "S0"]).done();
    let volume = node.json(&["volume", "create", "db", "--pool", "tank", "--size", "2MiB"]);
    let mut place = target(&volume);
    place.host_nqn = "nqn.2014-08.org.example:tester".into();
    let session = Session::connect(&place, SessionConfig::default()).expect("a session");
    let sessions = node.json(&["session", "list"]);
    assert_eq!(sessions[0]["host_nqn"], "nqn.2014-08.org.example:tester", "{sessions}");
    let text = node.run(&["volume", "delete", "db"]).refused(4);
    assert!(text.contains("tester") && text.contains("volume/db"), "who uses it is named: {text}");
    assert_eq!(node.json(&["volume", "get", "db"])["hosts"][0], "nqn.2014-08.org.example:tester");
    node.run(&["volume", "delete", "db", "--force"]).done();
    session.close();
}

/// Goal: wrong places are told apart: no such subsystem, no such namespace, nobody listens.
#[test]
fn wrong_places() {
    let dir = dir();
    let node = start(&dir, &["S0"]);
    node.run(&["pool", "create", "tank", "--drive", "S0"]).done();
    let volume = node.json(&["volume", "create", "db", "--pool", "tank", "--size", "2MiB"]);
    let nqn = volume["connection"]["subsystem_nqn"].as_str().expect("an NQN");
    let io = |portal: &str, nqn: &str, nsid: &str| {
        node.run(&[
            "--timeout",
            "2",
            "io",
            "--portal",
            portal,
            "--nqn",
            nqn,
            "--nsid",
            nsid,
            "read",
            "--length",
            "4KiB",
        ])
    };
    let none = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-0000-0000-000000000000";
    assert!(io(&node.portal, none, "1").refused(3).contains("subsystem/nqn"));
    assert!(io(&node.portal, nqn, "9").refused(3).contains("namespace/9"));
    io(&node.endpoint, nqn, "1"); // a port of another protocol: it ends, whatever it says
    let text = node.run(&["io", "--volume", "db", "read", "--offset", "2MiB", "--length", "4KiB"]).refused(2);
    assert!(text.contains("namespace/1"), "{text}");
    assert_eq!(io(&node.portal, nqn, "1").code, 0);
    assert!(!node.discovery.is_empty());
}
