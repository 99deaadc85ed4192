//! Writes cpio archives in the `newc` format, the form in which Linux takes its first file system.
//!
//! Invariant: the bytes depend on the tree alone. Entries are sorted by path, inode numbers count up, owner and times
//! are zero. Parent directories are added where they are missing.

use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use std::fmt::Write;

/// A tree of files, by path without a leading slash.
#[derive(Debug, Default, Clone)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
}

/// A node of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A file: permission bits and content.
    File(u32, Vec<u8>),
    /// A symbolic link to a path.
    Link(String),
    /// A directory and its permission bits.
    Directory(u32),
    /// A character device: permission bits, major and minor number.
    Device(u32, u32, u32),
}

impl Tree {
    /// Adds a node; a later one of the same path replaces the earlier.
    pub fn add(&mut self, path: impl Into<String>, node: Node) {
        let path = path.into();
        let mut end = 0;
        while let Some(slash) = path[end..].find('/') {
            let parent = &path[..end + slash];
            self.nodes.entry(parent.to_owned()).or_insert(Node::Directory(0o755));
            end += slash + 1;
        }
        self.nodes.insert(path, node);
    }

    /// A file that anyone may read.
    pub fn file(&mut self, path: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.add(path, Node::File(0o644, content.into()));
    }

    /// A program.
    pub fn program(&mut self, path: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.add(path, Node::File(0o755, content.into()));
    }

    /// A symbolic link.
    pub fn link(&mut self, path: impl Into<String>, to: impl Into<String>) {
        self.add(path, Node::Link(to.into()));
    }

    /// A directory.
    pub fn directory(&mut self, path: impl Into<String>) {
        self.add(path, Node::Directory(0o755));
    }

    /// The devices that a kernel wants before anything has mounted `/dev`.
    pub fn first_devices(&mut self) {
        self.add("dev/console", Node::Device(0o600, 5, 1));
        self.add("dev/null", Node::Device(0o666, 1, 3));
        self.add("dev/kmsg", Node::Device(0o644, 1, 11));
    }

    /// Nodes in order of their path.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// The node at a path.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// The archive.
    pub fn to_cpio(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        for (index, (path, node)) in self.nodes.iter().enumerate() {
            write_node(&mut out, index + 1, path, node)?;
        }
        write_entry(&mut out, &Fields { links: 1, ..Fields::default() }, "TRAILER!!!", &[])?;
        out.resize(out.len().next_multiple_of(512), 0);
        Ok(out)
    }
}

#[derive(Default)]
struct Fields {
    inode: usize,
    mode: u32,
    links: u32,
    major: u32,
    minor: u32,
}

fn write_node(out: &mut Vec<u8>, inode: usize, path: &str, node: &Node) -> Result<()> {
    let (mode, links, major, minor, content) = match node {
        Node::File(mode, content) => (0o100_000 | mode, 1, 0, 0, content.as_slice()),
        Node::Link(to) => (0o120_777, 1, 0, 0, to.as_bytes()),
        Node::Directory(mode) => (0o040_000 | mode, 2, 0, 0, [].as_slice()),
        Node::Device(mode, major, minor) => (0o020_000 | mode, 1, *major, *minor, [].as_slice()),
    };
    write_entry(out, &Fields { inode, mode, links, major, minor }, path, content)
}

/// Thirteen fields of eight hex digits, the name with its NUL, the content; name and content end on a multiple of 4.
fn write_entry(out: &mut Vec<u8>, fields: &Fields, path: &str, content: &[u8]) -> Result<()> {
    ensure!(u32::try_from(content.len()).is_ok(), "{path} is too large for a cpio archive");
    let Fields { inode, mode, links, major, minor } = fields;
    let mut header = String::from("070701");
    for value in [
        *inode as u64,
        u64::from(*mode),
        0, // uid
        0, // gid
        u64::from(*links),
        0, // mtime
        content.len() as u64,
        0, // device of the file itself
        0,
        u64::from(*major),
        u64::from(*minor),
        path.len() as u64 + 1,
        0, // no checksum in this format
    ] {
        let _ = write!(header, "{value:08x}");
    }
    out.extend(header.as_bytes());
    out.extend(path.as_bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend(content);
    out.resize(out.len().next_multiple_of(4), 0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Node, Tree};
    use expect_test::expect;

    /// Goal: the order in which nodes were added does not reach the bytes, and parents come before their children.
    #[test]
    fn the_tree_alone_decides_the_bytes() {
        let mut one = Tree::default();
        one.program("usr/bin/tool", "x");
        one.file("etc/release", "VERSION=1\n");
        one.first_devices();
        let mut two = Tree::default();
        two.first_devices();
        two.file("etc/release", "VERSION=1\n");
        two.program("usr/bin/tool", "x");
        assert_eq!(one.to_cpio().expect("small"), two.to_cpio().expect("small"));
        let paths: Vec<_> = one.nodes().map(|(path, _)| path).collect();
        assert_eq!(
            paths,
            [
                "dev",
                "dev/console",
                "dev/kmsg",
                "dev/null",
                "etc",
                "etc/release",
                "usr",
                "usr/bin",
                "usr/bin/tool"
            ]
        );
    }

    /// Goal: the format of one entry, byte by byte.
    #[test]
    fn golden_entry() {
        let mut tree = Tree::default();
        tree.add("init", Node::File(0o755, b"hello".to_vec()));
        let bytes = tree.to_cpio().expect("small");
        let text = String::from_utf8_lossy(&bytes).replace('\0', ".");
        let end = text.find("TRAILER!!!").expect("a trailer") + "TRAILER!!!".len();
        // The header of an entry has 6 + 13 * 8 = 110 characters.
        let lines: Vec<String> =
            text[..end].chars().collect::<Vec<_>>().chunks(110).map(|line| line.iter().collect()).collect();
        expect![[r#"
            07070100000001000081ed0000000000000000000000010000000000000005000000000000000000000000000000000000000500000000
            init..hello...070701000000000000000000000000000000000000000100000000000000000000000000000000000000000000000000
            00000b00000000TRAILER!!!
        "#]]
        .assert_eq(&(lines.join("\n") + "\n"));
    }
}
