//! Tests of the module closure on modules made by hand: an ELF file with nothing but a `.modinfo`.

use super::{Library, index};
use expect_test::expect;
use std::io::{Read, Write};

/// The smallest ELF file with a section `.modinfo`, compressed as in the package.
pub(crate) fn module(info: &str) -> Vec<u8> {
    let names = b"\0.modinfo\0.shstrtab\0";
    let info = info.replace('|', "\0");
    let (info_at, names_at) = (64, 64 + info.len());
    let table_at = names_at + names.len();
    let mut elf = vec![0; 64];
    elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
    elf[40..48].copy_from_slice(&(table_at as u64).to_le_bytes());
    elf[58..60].copy_from_slice(&64u16.to_le_bytes());
    elf[60..62].copy_from_slice(&2u16.to_le_bytes());
    elf[62..64].copy_from_slice(&1u16.to_le_bytes());
    elf.extend(info.as_bytes());
    elf.extend(names);
    for (name, at, len) in [(1u32, info_at, info.len()), (10, names_at, names.len())] {
        let mut header = vec![0; 64];
        header[..4].copy_from_slice(&name.to_le_bytes());
        header[24..32].copy_from_slice(&(at as u64).to_le_bytes());
        header[32..40].copy_from_slice(&(len as u64).to_le_bytes());
        elf.extend(header);
    }
    let mut packed =
        lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::default()).expect("a writer");
    packed.write_all(&elf).expect("memory");
    packed.finish().expect("memory")
}

fn library(modules: &[(&str, &str)]) -> Library {
    let mut library = Library::default();
    for (name, info) in modules {
        library.add(&format!("{name}.ko.xz"), module(info));
    }
    library.add_builtin("kernel/drivers/virtio/virtio_pci.ko\nkernel/lib/crc16.ko\n");
    library
}

/// Goal: every module comes after all it needs, dashes and underscores are one, built-in modules and missing soft
/// dependencies do no harm.
#[test]
fn closure_is_in_load_order() {
    let library = library(&[
        ("virtio_net", "alias=virtio:d00000001v*|depends=net_failover,virtio-pci|"),
        ("net_failover", "depends=failover|"),
        ("failover", "license=GPL|"),
        ("ext4", "softdep=pre: crc32c spapr post: tail|depends=|"),
        ("crc32c_generic", "alias=crc32c|"),
        ("tail", "depends=|"),
    ]);
    let closure = library.closure(&["virtio-net", "ext4"]).expect("complete");
    let text = index(&closure).replace('\t', " -> ");
    expect![[r#"
        name:crc32c_generic -> crc32c_generic.ko.xz
        name:ext4 -> crc32c_generic.ko.xz ext4.ko.xz
        name:failover -> failover.ko.xz
        name:net_failover -> failover.ko.xz net_failover.ko.xz
        name:virtio_net -> failover.ko.xz net_failover.ko.xz virtio_net.ko.xz
        crc32c -> crc32c_generic.ko.xz
        virtio:d00000001v* -> failover.ko.xz net_failover.ko.xz virtio_net.ko.xz
    "#]]
    .assert_eq(&text);
}

/// Goal: what cannot be resolved is named.
#[test]
fn unresolvable_modules_are_named() {
    let library = library(&[("lonely", "depends=gone|"), ("one", "depends=two|"), ("two", "depends=one|")]);
    for (wanted, reason) in
        [("missing", "no module missing"), ("lonely", "needs gone"), ("one", "depend on one another")]
    {
        let refusal = library.closure(&[wanted]).expect_err(reason).to_string();
        assert!(refusal.contains(reason), "{refusal:?} does not say {reason:?}");
    }
}

/// Goal: kernels whose packages hold modules uncompressed (Debian 12's own) are read like the others.
#[test]
fn plain_modules_are_read_too() {
    let mut plain = Vec::new();
    lzma_rust2::XzReader::new(module("depends=other|").as_slice(), true)
        .read_to_end(&mut plain)
        .expect("it was packed here");
    let mut library = library(&[("other", "depends=|")]);
    library.add("nvme-tcp.ko", plain.clone());
    let closure = library.closure(&["nvme_tcp"]).expect("complete");
    assert_eq!(closure.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["other", "nvme_tcp"]);
    assert_eq!(closure[1].plain, plain);
}
