//! NVMe drives behind VFIO: the hardware side of `nvme-driver`, and one call that does it all.
//!
//! | trait | here |
//! |---|---|
//! | `Registers` | BAR 0, mapped |
//! | `QueueMemory` | queue area of an arena, at its mapped address |
//! | `Platform` | both, slots of the arena as buffers, bus mastering as the switch that cuts the device off |

use crate::{Bar, Bdf, Container, Device, VfioError};
use block::Tick;
use core::time::Duration;
use dma::{Arena, DmaBuf, DmaQueue};
use nvme_driver::{BringUpError, DriveConfig, NvmeDrive, Platform, QueueMemory, Registers};
use std::time::Instant;

/// Between looks at a register while a controller starts or stops. Short against the milliseconds that takes, long
/// against a register read.
const PAUSE: Duration = Duration::from_micros(100);

/// A drive of this process.
pub type VfioNvmeDrive = NvmeDrive<Hardware>;

/// Why a drive was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// VFIO refuses the device.
    #[error(transparent)]
    Vfio(#[from] VfioError),
    /// The controller does not come up.
    #[error("{device}: {cause}")]
    Drive {
        /// The address.
        device: Bdf,
        /// Why.
        cause: BringUpError,
    },
}

/// Opens the drive at `device` and brings it up. Its buffers come from `arena`. Takes as long as the reset of the
/// function and the start of the controller: some hundred milliseconds.
///
/// # Errors
/// If the device cannot be opened or the drive cannot be used; the text names the device, the cause and the remedy.
pub fn open(
    container: &Container,
    arena: &Arena,
    device: Bdf,
    config: DriveConfig,
) -> Result<VfioNvmeDrive, OpenError> {
    let hardware = Hardware::new(container.open(device)?, arena)?;
    NvmeDrive::open(hardware, config).map_err(|cause| OpenError::Drive { device, cause })
}

/// A PCI device with its registers and the memory it may reach.
#[derive(Debug)]
pub struct Hardware {
    /// Before the device: see there.
    registers: BarRegisters,
    device: Device,
    arena: Arena,
    /// Where devices see the first byte of the arena.
    base: u64,
    epoch: Instant,
}

impl Hardware {
    fn new(device: Device, arena: &Arena) -> Result<Self, VfioError> {
        let base = device.map(arena)?;
        let registers = BarRegisters { bar: device.bar0()? };
        device.enable()?;
        Ok(Self { registers, device, arena: arena.clone(), base, epoch: Instant::now() })
    }
}

impl Platform for Hardware {
    type Registers = BarRegisters;
    type Queue = MappedQueue;
    type Buf = DmaBuf;

    fn registers(&self) -> &BarRegisters {
        &self.registers
    }

    fn alloc_queue(&self, bytes: usize) -> Option<MappedQueue> {
        let queue = self.arena.alloc_queue(bytes)?;
        let address = self.base + queue.offset() as u64;
        Some(MappedQueue { queue, address })
    }

    fn address(&self, buf: &DmaBuf) -> Option<u64> {
        (buf.arena_id() == self.arena.id()).then(|| self.base + buf.offset() as u64)
    }

    fn isolate(&self) -> bool {
        self.device.disable()
    }

    fn now(&self) -> Tick {
        Tick(0).after(self.epoch.elapsed())
    }

    fn pause(&self) {
        std::thread::sleep(PAUSE);
    }
}

/// BAR 0.
#[derive(Debug)]
pub struct BarRegisters {
    bar: Bar,
}

impl Registers for BarRegisters {
    fn bytes(&self) -> u64 {
        self.bar.len() as u64
    }

    fn read32(&self, offset: u64) -> u32 {
        self.bar.read32(index(offset))
    }

    fn read64(&self, offset: u64) -> u64 {
        self.bar.read64(index(offset))
    }

    fn write32(&self, offset: u64, value: u32) {
        self.bar.write32(index(offset), value);
    }

    fn write64(&self, offset: u64, value: u64) {
        self.bar.write64(index(offset), value);
    }
}

/// Out of range stays out of range.
fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// Queue memory and where devices see it.
#[derive(Debug)]
pub struct MappedQueue {
    queue: DmaQueue,
    address: u64,
}

impl QueueMemory for MappedQueue {
    fn address(&self) -> u64 {
        self.address
    }

    fn load_u32(&self, at: usize) -> u32 {
        self.queue.load_u32(at)
    }

    fn load_u64(&self, at: usize) -> u64 {
        self.queue.load_u64(at)
    }

    fn store_u64(&self, at: usize, value: u64) {
        self.queue.store_u64(at, value);
    }

    fn store_entry(&self, at: usize, entry: &[u8; 64]) {
        self.queue.store_entry(at, entry);
    }
}
