//! A machine in QEMU: its parts, its command line, and the running process.
//!
//! Always the same base: q35, one serial line that firmware and kernel share, a monitor, nothing that is not named. KVM
//! is used only when asked for (`IRONBAY_ACCEL=kvm`): there are machines where it is present and hangs.

use crate::child::Tied;
use crate::network::Network;
use crate::qmp::Qmp;
use crate::serial::Serial;
use anyhow::{Context, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// What a machine is made of.
#[derive(Debug, Clone)]
pub struct MachineSpec {
    /// Name, for files and messages.
    pub name: String,
    /// Processors. Where each has a thread of its own in QEMU, QEMU 10.0 fails now and then in an assertion of its own while a
    /// kernel moves PCI windows (`iotlb_to_section`, seen in 1 of 20 boots); so several share one thread here.
    pub cpus: u32,
    /// Whether each has a thread of its own all the same: for machines without an IOMMU, when processors must be at work at the
    /// same time.
    pub has_thread_per_cpu: bool,
    /// Memory.
    pub memory_mib: u32,
    /// Network card.
    pub nic: Nic,
    /// How it boots.
    pub boot: Boot,
    /// NVMe drives.
    pub drives: Vec<NvmeDrive>,
    /// Whether it has an IOMMU (with interrupt remapping, which VFIO demands).
    pub has_iommu: bool,
    /// Whether it has a second line, `/dev/hvc0`, for commands.
    pub has_command_line: bool,
}

/// Models of network cards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NicModel {
    /// virtio-net.
    Virtio,
    /// Intel 82574, a real card.
    E1000e,
}

/// A network card.
#[derive(Debug, Clone)]
pub struct Nic {
    /// Model.
    pub model: NicModel,
    /// MAC address.
    pub mac: String,
}

/// How a machine boots.
#[derive(Debug, Clone)]
pub enum Boot {
    /// From its network card: BIOS, iPXE, DHCP, TFTP.
    Network,
    /// QEMU loads the kernel itself.
    Direct {
        /// Kernel.
        kernel: PathBuf,
        /// First file system.
        initrd: PathBuf,
        /// Kernel arguments.
        arguments: String,
    },
}

/// An emulated NVMe drive with 4096-byte blocks.
#[derive(Debug, Clone)]
pub struct NvmeDrive {
    /// Serial number.
    pub serial: String,
    /// Raw image file.
    pub file: PathBuf,
}

impl NvmeDrive {
    /// A new, empty drive: a sparse file.
    pub fn create(dir: &Path, serial: &str, size_bytes: u64) -> Result<Self> {
        let file = dir.join(format!("{serial}.img"));
        File::create_new(&file)
            .and_then(|f| f.set_len(size_bytes))
            .with_context(|| format!("cannot make the drive {}", file.display()))?;
        Ok(Self { serial: serial.to_owned(), file })
    }
}

/// A running machine. Dropping it pulls the power.
#[derive(Debug)]
pub struct Machine {
    process: Tied,
    /// The serial console; `None` while somebody else is attached to it.
    pub console: Option<Serial>,
    /// The second line, if the machine has one.
    pub commands: Option<Serial>,
    /// QEMU's monitor.
    pub qmp: Qmp,
    /// When it was switched on.
    pub powered_on: Instant,
    /// Socket of the serial console.
    pub console_path: PathBuf,
    /// Everything the console ever said, over all boots.
    pub log_path: PathBuf,
}

impl MachineSpec {
    /// Switches the machine on. Sockets and logs go into `dir`.
    pub fn power_on(&self, network: &Network, dir: &Path) -> Result<Machine> {
        let socket = |kind: &str| dir.join(format!("{}.{kind}", self.name));
        let (console, commands, monitor) = (socket("console"), socket("commands"), socket("qmp"));
        for path in [&console, &commands, &monitor] {
            // Left by the boot before this one; if there is none, there is nothing to remove.
            let _ = std::fs::remove_file(path);
        }
        let log_path = dir.join(format!("{}.log", self.name));
        let mut command = network.command("qemu-system-x86_64");
        self.base_arguments(&mut command);
        let line =
            |id: &str, path: &Path| format!("socket,id={id},path={},server=on,wait=off", path.display());
        command.arg("-chardev").arg(format!(
            "{},logfile={},logappend=on",
            line("ser0", &console),
            log_path.display()
        ));
        command.args(["-serial", "chardev:ser0"]);
        command.arg("-chardev").arg(line("qmp0", &monitor)).args(["-mon", "chardev=qmp0,mode=control"]);
        if self.has_command_line {
            command.arg("-chardev").arg(line("cmd0", &commands));
            command.args(["-device", "virtio-serial-pci", "-device", "virtconsole,chardev=cmd0"]);
        }
        self.network_arguments(&mut command, &network.add_tap()?);
        self.boot_arguments(&mut command);
        for (index, drive) in self.drives.iter().enumerate() {
            drive_arguments(&mut command, index, drive);
        }
        let powered_on = Instant::now();
        let process = Tied::start(&mut command)?;
        let console_line = Serial::connect(&console).with_context(|| {
            format!("the machine {} does not start; QEMU's complaint stands above", self.name)
        })?;
        Ok(Machine {
            process,
            console: Some(console_line),
            commands: self.has_command_line.then(|| Serial::connect(&commands)).transpose()?,
            qmp: Qmp::connect(&monitor)?,
            powered_on,
            console_path: console,
            log_path,
        })
    }

    fn base_arguments(&self, command: &mut Command) {
        let is_kvm = std::env::var("IRONBAY_ACCEL").is_ok_and(|accel| accel == "kvm");
        let accel = match (is_kvm, self.has_thread_per_cpu) {
            (true, _) => "kvm",
            (false, true) => "tcg,thread=multi",
            (false, false) => "tcg,thread=single",
        };
        // With these two, the kernel copies byte by byte: one instruction on hardware, one each under emulation.
        let cpu = if self.has_thread_per_cpu && !is_kvm { "max,-erms,-fsrm" } else { "max" };
        // Interrupt remapping under KVM needs the split interrupt controller.
        let machine = if is_kvm { "q35,graphics=off,kernel-irqchip=split" } else { "q35,graphics=off" };
        command.args(["-name", &self.name, "-machine", machine, "-accel", accel, "-cpu", cpu]);
        command.args(["-smp", &self.cpus.to_string(), "-m", &self.memory_mib.to_string()]);
        command.args(["-nodefaults", "-display", "none", "-no-reboot", "-device", "virtio-rng-pci"]);
        if self.has_iommu {
            command.args(["-device", "intel-iommu,intremap=on"]);
        }
    }

    fn network_arguments(&self, command: &mut Command, tap: &str) {
        let model = match self.nic.model {
            NicModel::Virtio => "virtio-net-pci",
            NicModel::E1000e => "e1000e",
        };
        // Without a boot ROM a machine that boots directly does not wait for one.
        let rom = match self.boot {
            Boot::Network => "",
            Boot::Direct { .. } => ",romfile=",
        };
        command.arg("-netdev").arg(format!("tap,id=net0,ifname={tap},script=no,downscript=no"));
        command.arg("-device").arg(format!("{model},netdev=net0,mac={}{rom}", self.nic.mac));
    }

    fn boot_arguments(&self, command: &mut Command) {
        match &self.boot {
            Boot::Network => {
                command.args(["-boot", "n"]);
            }
            Boot::Direct { kernel, initrd, arguments } => {
                command.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd).args(["-append", arguments]);
            }
        }
    }
}

fn drive_arguments(command: &mut Command, index: usize, drive: &NvmeDrive) {
    let file = drive.file.display();
    command.arg("-drive").arg(format!(
        "if=none,id=drive{index},file={file},format=raw,cache=writeback,discard=unmap,detect-zeroes=unmap"
    ));
    command.arg("-device").arg(format!("nvme,id=nvme{index},serial={},max_ioqpairs=8", drive.serial));
    command.arg("-device").arg(format!(
        "nvme-ns,bus=nvme{index},drive=drive{index},nsid=1,logical_block_size=4096,physical_block_size=4096"
    ));
}

impl Machine {
    /// Whether the machine still runs.
    pub fn alive(&mut self) -> Result<()> {
        self.process.alive()
    }

    /// Whether the boot failed for a reason of the emulation: QEMU itself crashed, or the kernel panicked in its timer set-up.
    pub fn is_unlucky(&mut self) -> bool {
        self.has_panicked() || self.process.has_crashed()
    }

    /// Whether the kernel has panicked.
    pub fn has_panicked(&self) -> bool {
        self.console.as_ref().is_some_and(|console| console.since(0).contains("Kernel panic"))
    }

    /// Pulls the power: no shutdown, no flush, nothing.
    pub fn cut_power(&mut self) {
        self.process.kill();
    }

    /// The serial console.
    pub fn console(&self) -> Result<&Serial> {
        self.console.as_ref().context("somebody else is attached to the console")
    }

    /// The last lines of the console, for messages.
    pub fn last_lines(&self) -> String {
        self.console.as_ref().map(Serial::last_lines).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Boot, MachineSpec, Nic, NicModel, NvmeDrive};
    use std::process::Command;

    fn words(build: impl FnOnce(&mut Command)) -> Vec<String> {
        let mut command = Command::new("qemu");
        build(&mut command);
        command.get_args().map(|a| a.to_string_lossy().into_owned()).collect()
    }

    /// Goal: a machine that boots from the network keeps its boot ROM, one that boots directly has none.
    #[test]
    fn the_boot_rom_follows_the_way_of_booting() {
        let mut spec = MachineSpec {
            name: "node".to_owned(),
            cpus: 1,
            has_thread_per_cpu: false,
            memory_mib: 512,
            nic: Nic { model: NicModel::E1000e, mac: "52:54:00:00:00:01".to_owned() },
            boot: Boot::Network,
            drives: Vec::new(),
            has_iommu: true,
            has_command_line: false,
        };
        let network = words(|c| spec.network_arguments(c, "tap0"));
        assert_eq!(network[3], "e1000e,netdev=net0,mac=52:54:00:00:00:01");
        spec.boot =
            Boot::Direct { kernel: "k".into(), initrd: "i".into(), arguments: "console=ttyS0".to_owned() };
        assert!(words(|c| spec.network_arguments(c, "tap0"))[3].ends_with(",romfile="));
        assert_eq!(
            words(|c| spec.boot_arguments(c)),
            ["-kernel", "k", "-initrd", "i", "-append", "console=ttyS0"]
        );
    }

    /// Goal: a new drive is empty, of the right size, and never replaces an existing one.
    #[test]
    fn drives_are_created_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let drive = NvmeDrive::create(dir.path(), "LAB01", 1 << 30).expect("made");
        assert_eq!(std::fs::metadata(&drive.file).expect("there").len(), 1 << 30);
        assert!(NvmeDrive::create(dir.path(), "LAB01", 1 << 30).is_err());
    }
}
