//! `ironbayd run` on file drives in a temporary directory.

use tempfile::TempDir;
use test_node::{Drives, Node};

/// A daemon and its drives.
pub(crate) struct RealNode {
    // Ends before its drives go.
    node: Node,
    _dir: TempDir,
}

impl RealNode {
    /// On two blank drives of 1 GiB, `S0` and `S1`.
    pub(crate) fn start() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let node = Node::start(Drives { dir: dir.path(), serials: &["S0", "S1"], size: "1GiB" });
        Self { node, _dir: dir }
    }

    /// Address of its API.
    pub(crate) fn endpoint(&self) -> &str {
        &self.node.endpoint
    }
}
