//! Tests of the tar reader on archives made by hand.

use super::{Entry, Kind, read};

/// A header with a right checksum.
fn header(name: &str, kind: u8, size: usize, link: &str) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000755\0");
    header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    header[148..156].copy_from_slice(b"        ");
    header[156] = kind;
    header[157..157 + link.len()].copy_from_slice(link.as_bytes());
    let sum: u64 = header.iter().map(|b| u64::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

fn archive(parts: &[(&str, u8, &[u8], &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, kind, content, link) in parts {
        bytes.extend(header(name, *kind, content.len(), link));
        bytes.extend(*content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn all(bytes: &[u8]) -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    read(
        bytes,
        |_| true,
        |e| {
            entries.push(e);
            Ok(())
        },
    )?;
    Ok(entries)
}

/// Goal: files, links and long names come out as they went in.
#[test]
fn reads_what_packages_contain() {
    let long = "usr/lib/".to_owned() + &"x".repeat(120);
    let bytes = archive(&[
        ("./", b'5', b"", ""),
        ("./usr/bin/tool", b'0', b"hello", ""),
        ("./usr/bin/alias", b'2', b"", "tool"),
        ("././@LongLink", b'L', format!("./{long}\0").as_bytes(), ""),
        ("./cut", b'0', &[7; 600], ""),
    ]);
    let entries = all(&bytes).expect("a good archive");
    let expected = [
        ("usr/bin/tool", Kind::File(b"hello".to_vec())),
        ("usr/bin/alias", Kind::Link("tool".to_owned())),
        (&long, Kind::File(vec![7; 600])),
    ];
    let found: Vec<_> = entries.iter().map(|e| (e.path.as_str(), e.kind.clone())).collect();
    assert_eq!(found, expected);
}

/// Goal: damaged and hostile archives are refused with a reason.
#[test]
fn refuses_damage() {
    let good = archive(&[("./a", b'0', b"hello", "")]);
    let mut flipped = good.clone();
    flipped[0] ^= 1;
    let cases = [
        (flipped, "checksum"),
        (good[..512 + 3].to_vec(), "ends inside a file"),
        (good[..1024].to_vec(), "ends early"),
        (archive(&[("./../etc/passwd", b'0', b"x", "")]), "leaves the archive"),
        (archive(&[("./dev/sda", b'4', b"", "")]), "no package should contain"),
    ];
    for (bytes, reason) in cases {
        let refusal = all(&bytes).expect_err(reason).to_string();
        assert!(refusal.contains(reason), "{refusal:?} does not say {reason:?}");
    }
}
