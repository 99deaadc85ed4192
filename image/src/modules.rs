//! Kernel modules: which ones a machine needs, in which order, and the index by which init finds them.
//!
//! Debian's package carries no `modules.dep` (its post-install script makes that), so dependencies and aliases are read
//! from the section `.modinfo` of the modules themselves.
//!
//! The index is one text file, `modules.idx`; every line is a pattern, a tab, and files in load order:
//!
//! ```text
//! name:vfio_pci<TAB>irqbypass.ko.xz vfio.ko.xz vfio_pci_core.ko.xz vfio_pci.ko.xz
//! virtio:d00000001v*<TAB>failover.ko.xz net_failover.ko.xz virtio_net.ko.xz
//! ```
//!
//! Modules stay compressed and signed: the kernel unpacks `.ko.xz` itself and checks the signature.
//!
//! Not here: loading on the node (`initrd`), and choosing by hardware at build time (an image fits many machines).

use crate::elf;
use crate::limits::MODULE_LEN_MAX;
use anyhow::{Context, Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io::Read;

/// All modules of a kernel package, as they are there.
#[derive(Default)]
pub struct Library {
    files: BTreeMap<String, Vec<u8>>,
    builtin: BTreeSet<String>,
}

/// One module with what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Name with underscores, as the kernel shows it.
    pub name: String,
    /// Patterns of the hardware it is for.
    pub aliases: Vec<String>,
    /// Modules that must be loaded before it.
    pub depends: Vec<String>,
    /// As in the package, compressed where the package has them so.
    pub packed: Vec<u8>,
    /// Decompressed.
    pub plain: Vec<u8>,
}

/// Soft dependencies that name an alias instead of a module, and the module behind it. Read in their sources.
const BEHIND_ALIAS: &[(&str, &str)] = &[("crc32c", "crc32c_generic"), ("crc16", "crc16")];

impl Library {
    /// Adds a file `name.ko.xz`, or `name.ko` as older kernels have them; other names are ignored.
    pub fn add(&mut self, file_name: &str, packed: Vec<u8>) {
        if let Some(name) = file_name.strip_suffix(".ko.xz").or_else(|| file_name.strip_suffix(".ko")) {
            self.files.insert(canonical(name), packed);
        }
    }

    /// Takes note of what is built into the kernel: the text of `modules.builtin`, one path a line.
    pub fn add_builtin(&mut self, text: &str) {
        let names = text.lines().filter_map(|line| line.rsplit('/').next()?.strip_suffix(".ko"));
        self.builtin.extend(names.map(canonical));
    }

    /// How many modules there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The wanted modules and all they depend on, every module after those that it needs.
    pub fn closure(&self, wanted: &[&str]) -> Result<Vec<Module>> {
        let mut ordered = Vec::new();
        for name in wanted {
            let name = canonical(name);
            ensure!(
                self.has(&name),
                "the kernel package has no module {name}; is it a kernel of Debian for amd64?"
            );
            self.visit(&name, &mut ordered, &mut Vec::new())?;
        }
        Ok(ordered)
    }

    fn has(&self, name: &str) -> bool {
        self.files.contains_key(name) || self.builtin.contains(name)
    }

    fn visit(&self, name: &str, ordered: &mut Vec<Module>, path: &mut Vec<String>) -> Result<()> {
        if self.builtin.contains(name) || ordered.iter().any(|m| m.name == name) {
            return Ok(());
        }
        ensure!(!path.iter().any(|p| p == name), "modules depend on one another: {} {name}", path.join(" "));
        let Some(packed) = self.files.get(name) else {
            bail!("the module {} needs {name}, which the kernel package does not have", path.join(" → "))
        };
        let (mut module, soft) = parse(name, packed)?;
        for soft in soft.iter().map(|s| behind_alias(s)).filter(|s| self.files.contains_key(s)) {
            if !module.depends.contains(&soft) {
                module.depends.push(soft);
            }
        }
        path.push(name.to_owned());
        for needed in &module.depends {
            self.visit(needed, ordered, path)?;
        }
        path.pop();
        ordered.push(module);
        Ok(())
    }
}

/// The text of `modules.idx` for a closure: names first, then aliases, each with its files in load order.
pub fn index(closure: &[Module]) -> String {
    let mut lines = BTreeSet::new();
    for module in closure {
        let mut chain = Vec::new();
        collect(closure, &module.name, &mut chain);
        let files = chain.iter().map(|name| format!("{name}.ko.xz")).collect::<Vec<_>>().join(" ");
        lines.insert((0, format!("name:{}", module.name), files.clone()));
        for alias in &module.aliases {
            lines.insert((1, alias.clone(), files.clone()));
        }
    }
    lines.into_iter().fold(String::new(), |mut text, (_, pattern, files)| {
        let _ = writeln!(text, "{pattern}\t{files}");
        text
    })
}

fn collect(closure: &[Module], name: &str, chain: &mut Vec<String>) {
    let Some(module) = closure.iter().find(|m| m.name == name) else { return };
    if chain.iter().any(|c| c == name) {
        return;
    }
    for needed in &module.depends {
        collect(closure, needed, chain);
    }
    chain.push(name.to_owned());
}

/// The module, and its soft dependencies.
fn parse(name: &str, packed: &[u8]) -> Result<(Module, Vec<String>)> {
    let about = || format!("the module {name} cannot be read");
    let mut plain = Vec::new();
    if elf::is_elf(packed) {
        plain.extend_from_slice(packed);
    } else {
        let unpack = lzma_rust2::XzReader::new(packed, true);
        unpack.take(MODULE_LEN_MAX).read_to_end(&mut plain).with_context(about)?;
    }
    let info = elf::section(&plain, ".modinfo")
        .with_context(about)?
        .with_context(|| format!("the module {name} has no .modinfo, so nobody knows what it depends on"))?;
    let info = String::from_utf8_lossy(info);
    let (mut aliases, mut depends, mut soft) = (Vec::new(), Vec::new(), Vec::new());
    for (key, value) in info.split('\0').filter_map(|line| line.split_once('=')) {
        match key {
            "alias" => aliases.push(value.to_owned()),
            "depends" => depends.extend(value.split(',').filter(|d| !d.is_empty()).map(canonical)),
            // "pre: a b post: c": what comes after "post:" is none of our business.
            "softdep" => {
                let before = value.split("post:").next().unwrap_or_default();
                soft.extend(before.split_whitespace().filter(|w| *w != "pre:").map(canonical));
            }
            _ => {}
        }
    }
    let packed = packed.to_vec();
    Ok((Module { name: name.to_owned(), aliases, depends, packed, plain }, soft))
}

fn behind_alias(name: &str) -> String {
    let found = BEHIND_ALIAS.iter().find(|(alias, _)| *alias == name);
    found.map_or_else(|| name.to_owned(), |(_, module)| (*module).to_owned())
}

/// The kernel writes names with underscores, files have dashes.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
#[path = "modules_tests.rs"]
pub(crate) mod tests;
