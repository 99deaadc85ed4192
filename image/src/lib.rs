//! Builds every bootable form of the appliance from Debian's packaged kernel and our own static binaries.
//!
//! ```text
//! debian.lock ─▶ package ─▶ deb ─▶ tar ─┬─ vmlinuz ───────────────────────────────▶ vmlinuz
//!                                       └─ *.ko.xz ─▶ modules (closure, modules.idx) ┐
//! cargo build (static, musl) ─▶ binaries: init, ironbayd ───────────────────────────┴▶ cpio ─▶ zstd ─▶ initramfs.zst
//! ```
//!
//! Invariants
//! - Same inputs, same bytes: no clock, no directory order, no owner, no path of the builder reaches an artefact.
//! - A package is used only if its SHA-256 is the locked one; apt has checked the signature of the list it came from.
//! - The initramfs holds no shell, no shared library and no secret.
//!
//! Layer 6. `hwtests` builds its Linux host from the same parts.
#![forbid(unsafe_code)]

pub mod binaries;
pub mod cargo;
pub mod cpio;
pub mod deb;
pub mod debian;
pub mod elf;
pub mod hash;
pub mod kit;
pub mod limits;
pub mod lock;
pub mod modules;
pub mod progress;
pub mod tar;
