//! Tests of the kit on a kernel and programs made by hand.

use super::{Kernel, Manifest, NODE_MODULES, boot_script, build};
use crate::binaries::NodePrograms;
use crate::hash;
use crate::lock::{Fetched, Locked};
use crate::modules::{Library, tests::module};
use expect_test::expect;
use std::path::{Path, PathBuf};

fn kernel(vmlinuz: &[u8]) -> Kernel {
    let mut modules = Library::default();
    for name in NODE_MODULES {
        modules.add(&format!("{name}.ko.xz"), module(&format!("alias=pci:{name}|depends=|")));
    }
    Kernel { release: "6.12.0-test".to_owned(), vmlinuz: vmlinuz.to_vec(), modules }
}

fn fetched() -> Fetched {
    let package = Locked {
        package: "linux-image-6.12.0-test".to_owned(),
        version: "6.12.0-1".to_owned(),
        sha256: hash::of_bytes(b"package"),
    };
    Fetched { package, path: PathBuf::from("unused.deb"), is_locked: true }
}

fn programs(dir: &Path) -> NodePrograms {
    let programs = NodePrograms { init: dir.join("init"), ironbayd: dir.join("ironbayd") };
    std::fs::write(&programs.init, "init").expect("written");
    std::fs::write(&programs.ironbayd, "ironbayd").expect("written");
    programs
}

/// Goal: two builds of the same inputs have the same bytes, another input has others, and the sums are those of the files.
#[test]
fn same_inputs_same_bytes() {
    let dir = tempfile::tempdir().expect("a directory");
    let programs = programs(dir.path());
    let kit = |name: &str, vmlinuz: &[u8]| -> (Manifest, String) {
        let out = dir.path().join(name);
        let manifest = build(&out, &fetched(), &kernel(vmlinuz), &programs, &[]).expect("built");
        for file in &manifest.files {
            assert_eq!(hash::of_file(&out.join(&file.name)).expect("there"), file.sha256, "{}", file.name);
        }
        let written: Manifest =
            serde_json::from_slice(&std::fs::read(out.join("manifest.json")).expect("there")).expect("JSON");
        assert_eq!(written, manifest);
        (manifest, std::fs::read_to_string(out.join("SHA256SUMS")).expect("there"))
    };
    let (one, two, other) = (kit("one", b"kernel"), kit("two", b"kernel"), kit("other", b"another"));
    assert_eq!(one, two);
    assert_ne!(one.1, other.1);
}

/// Goal: the boot script, as iPXE reads it.
#[test]
fn golden_boot_script() {
    expect![[r#"
        #!ipxe
        # Ironbay: boots this machine as a storage node.
        kernel vmlinuz initrd=initramfs.zst console=ttyS0,115200 intel_iommu=on no_timer_check panic=10 ironbay.insecure=1
        initrd initramfs.zst
        boot
    "#]]
    .assert_eq(&boot_script(&["ironbay.insecure=1".to_owned()]));
}

/// Goal: a missing program is named, and no half kit is left with a good name.
#[test]
fn a_missing_program_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let programs = NodePrograms { init: dir.path().join("gone"), ironbayd: dir.path().join("gone") };
    let out = dir.path().join("kit");
    let refusal = build(&out, &fetched(), &kernel(b"kernel"), &programs, &[]).expect_err("no init");
    assert!(format!("{refusal:#}").contains("gone"), "{refusal:#}");
    assert!(!out.join("vmlinuz").exists());
}
