//! What goes wrong, and what the client says then.

use crate::support::{Manage, client, dir, start};
use std::net::TcpListener;

/// Goal: an address where no node is gives exit code 5, the address, and what to check, in bounded time.
#[test]
fn unreachable_nodes() {
    // A port that was free a moment ago: nobody listens.
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").to_string();
    let text = client(&closed, &["node"]).refused(5);
    assert!(text.contains(&closed) && text.contains("ironbay.insecure=1"), "{text}");
    // A port that accepts and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("bound").to_string();
    let text = client(&address, &["--timeout", "0.2", "volume", "list"]).refused(5);
    assert!(text.contains("0.2 s"), "{text}");
    let json = client(&closed, &["--output", "json", "node"]);
    assert_eq!(json.code, 5);
    let error: serde_json::Value = serde_json::from_str(&json.stderr).expect("JSON on standard error");
    assert_eq!(error["error"]["kind"], "unavailable");
}

/// Goal: each kind of refusal has its exit code and names the object or the field.
#[test]
fn refusals() {
    let dir = dir();
    let node = start(&dir, &["S0"]);
    let text = node.run(&["volume", "get", "nothing"]).refused(3);
    assert!(text.contains("volume/nothing"), "{text}");
    let text = node.run(&["pool", "create", "tank", "--drive", "S9"]).refused(3);
    assert!(text.contains("S9"), "{text}");
    let text = node.run(&["volume", "create", "db", "--pool", "pond", "--size", "1MiB"]).refused(3);
    assert!(text.contains("pool/pond"), "{text}");
    let text = node.run(&["pool", "create", "Tank", "--drive", "S0"]).refused(2);
    assert!(text.contains("field name"), "{text}");
    node.run(&["pool", "create", "tank", "--drive", "S0"]).done();
    let text = node.run(&["volume", "create", "db", "--pool", "tank", "--size", "1000"]).refused(2);
    assert!(text.contains("field size_bytes") && text.contains("1048576"), "{text}");
    let wrong = node.run(&["volume", "create", "db", "--pool", "tank", "--size", "10GB"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("GiB"), "{}", wrong.stderr);
    let text = node.run(&["pool", "create", "tank2", "--drive", "S0"]).refused(4);
    assert!(text.contains("drive/S0"), "a drive of another pool: {text}");
}
