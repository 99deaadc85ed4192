//! Phase `mounts`: the file systems that everything else needs, and the few settings of the kernel, as data.

use super::files;
use crate::failure::Failure;
use crate::phase::Outcome;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

struct Mount {
    kind: &'static str,
    at: &'static str,
    flags: MsFlags,
    options: &'static str,
    why: &'static str,
}

const NO_PROGRAMS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC);

/// In this order. `MS_NODEV` must not be set on devtmpfs.
const MOUNTS: [Mount; 6] = [
    Mount {
        kind: "devtmpfs",
        at: "/dev",
        flags: NO_PROGRAMS,
        options: "mode=0755",
        why: "without device nodes neither console nor drives work",
    },
    Mount {
        kind: "proc",
        at: "/proc",
        flags: NO_PROGRAMS.union(MsFlags::MS_NODEV),
        options: "",
        why: "without it the kernel arguments cannot be read",
    },
    Mount {
        kind: "sysfs",
        at: "/sys",
        flags: NO_PROGRAMS.union(MsFlags::MS_NODEV),
        options: "",
        why: "without it no device is found",
    },
    Mount {
        kind: "tmpfs",
        at: "/run",
        flags: NO_PROGRAMS.union(MsFlags::MS_NODEV),
        options: "mode=0755,size=16m",
        why: "without it the processes of the node cannot reach each other",
    },
    Mount {
        kind: "devpts",
        at: "/dev/pts",
        flags: NO_PROGRAMS,
        options: "mode=0600,ptmxmode=0000",
        why: "nothing of Ironbay needs it; the boot goes on",
    },
    Mount {
        kind: "hugetlbfs",
        at: "/dev/hugepages",
        flags: NO_PROGRAMS.union(MsFlags::MS_NODEV),
        options: "mode=0700",
        why: "the engine then uses normal pages",
    },
];

struct Setting {
    file: &'static str,
    /// The kernel's default: a kernel argument that changed it wins.
    only_if: Option<&'static str>,
    value: &'static str,
}

/// Settings of the kernel, each with its reason.
const SETTINGS: [Setting; 2] = [
    // Lines of services must not be lost in the kernel log because there were more than ten in five seconds.
    // The line end belongs to the value: without it the kernel says EINVAL.
    Setting { file: "/proc/sys/kernel/printk_devkmsg", only_if: None, value: "on\n" },
    // A panic of the kernel must end in a reboot: nobody may be near the machine.
    Setting { file: "/proc/sys/kernel/panic", only_if: Some("0"), value: "10" },
];

/// Mounts everything and applies the settings.
#[must_use]
pub fn run() -> Outcome {
    let mut outcome = Outcome::default();
    let mut mounted = 0;
    for m in &MOUNTS {
        match mount_one(m) {
            Ok(()) => mounted += 1,
            Err(failure) => outcome.failures.push(failure.remedy(m.why)),
        }
    }
    for setting in &SETTINGS {
        if let Err(failure) = apply(setting) {
            outcome.warnings.push(failure);
        }
    }
    if let Err(e) = std::fs::create_dir_all("/run/ironbay") {
        outcome.failures.push(Failure::io("create", "/run/ironbay", &e));
    }
    outcome.summary = format!("{mounted} file systems");
    outcome
}

fn apply(setting: &Setting) -> Result<(), Failure> {
    match setting.only_if {
        Some(default) if files::read(setting.file)? != default => Ok(()),
        Some(_) | None => files::write(setting.file, setting.value),
    }
}

fn mount_one(m: &Mount) -> Result<(), Failure> {
    std::fs::create_dir_all(m.at).map_err(|e| Failure::io("create", m.at, &e))?;
    let options = Some(m.options).filter(|o| !o.is_empty());
    match mount(Some(m.kind), m.at, Some(m.kind), m.flags, options) {
        // Busy: the kernel or an earlier init has mounted it already.
        Ok(()) | Err(Errno::EBUSY) => Ok(()),
        Err(errno) => Err(Failure::errno("mount", format!("{} at {}", m.kind, m.at), errno)),
    }
}
