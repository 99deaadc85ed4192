//! Opening drives, and finding out what is on them. Runs once, at the start, on the core's thread.
//!
//! Invariants
//! - Nothing is written here.
//! - A drive that does not open or answer is kept in the list, with the reason.
//! - Serial numbers are unique among drives that work: people name drives by them.

use crate::DriveSpec;
use block::{BlockDevice, Bytes, Completion, Geometry, Op, Tag};
use control::limits::DRIVES_MAX;
use control::{DriveState, DriveStatus};
use dma::{Arena, DmaBuf};
use net::Waker;
use nvme_driver::DriveConfig;
use pool::{Drive, DriveId, Found, KnownDrive, Probe, Role};
use reactor::{Device, FileConfig, FileDevice, RamDevice, Sleep};
use target::limits::CHUNK_BYTES;
use target::{BoxedDevice, Devices};
use uuid::Uuid;
use vfio::nvme::VfioNvmeDrive;
use vfio::{Bdf, Container};

/// A drive of the command line, working or not.
#[derive(Debug)]
pub(crate) struct DriveEntry {
    pub(crate) id: DriveId,
    path: String,
    serial: String,
    model: String,
    lba_bytes: u32,
    geometry: Option<Geometry>,
    /// Why it does not work.
    failure: Option<String>,
}

/// An NVMe drive behind VFIO as a drive of a core.
struct Polled(VfioNvmeDrive);

impl BlockDevice for Polled {
    type Buf = DmaBuf;

    fn geometry(&self) -> Geometry {
        self.0.geometry()
    }

    fn submit(&mut self, tag: Tag, op: Op<DmaBuf>) -> Result<(), Op<DmaBuf>> {
        self.0.submit(tag, op)
    }

    fn kick(&mut self) {
        self.0.kick();
    }

    fn poll(&mut self) -> Option<Completion<DmaBuf>> {
        self.0.poll()
    }
}

impl Device for Polled {
    fn prepare_sleep(&mut self) -> Sleep {
        // No interrupts: completions are found by looking.
        Sleep::Poll
    }

    fn failure(&self) -> Option<String> {
        self.0.failure().map(|failure| failure.to_string())
    }

    fn shut_down(&mut self) -> Result<(), String> {
        self.0.shutdown().map_err(|failure| failure.to_string())
    }
}

/// What opening a drive gives.
struct Opened {
    device: BoxedDevice,
    serial: String,
    model: String,
    lba_bytes: u32,
}

/// Opens all drives into `devices`; the list is in the order of the specifications.
pub(crate) fn open_all(
    specs: &[DriveSpec],
    arena: &Arena,
    waker: &Waker,
    devices: &mut Devices,
) -> Vec<DriveEntry> {
    let mut container = None;
    let mut entries: Vec<DriveEntry> = Vec::with_capacity(specs.len());
    for (id, spec) in (0u32..).map(DriveId).zip(specs) {
        if entries.len() >= DRIVES_MAX {
            entries.push(failed(id, spec, format!("the engine takes at most {DRIVES_MAX} drives")));
            continue;
        }
        let opened = open(spec, arena, waker, &mut container).and_then(|opened| {
            check_transfer(&opened.device.geometry())?;
            let is_taken = entries.iter().any(|e| e.failure.is_none() && e.serial == opened.serial);
            if is_taken { Err(duplicate(&opened.serial)) } else { Ok(opened) }
        });
        entries.push(match opened {
            Ok(Opened { device, serial, model, lba_bytes }) => {
                let geometry = Some(device.geometry());
                devices.add(id, device);
                DriveEntry { id, path: spec.to_string(), serial, model, lba_bytes, geometry, failure: None }
            }
            Err(failure) => failed(id, spec, failure),
        });
    }
    entries
}

/// Commands of hosts reach a drive in buffers of [`CHUNK_BYTES`]: a drive that takes less at once would fail the long ones.
fn check_transfer(geometry: &Geometry) -> Result<(), String> {
    match geometry.transfer_max.buffer_len() {
        Some(bytes) if bytes < CHUNK_BYTES => Err(format!(
            "it takes at most {} at once, {} are needed; use another drive",
            Bytes(bytes as u64),
            Bytes(CHUNK_BYTES as u64)
        )),
        Some(_) | None => Ok(()),
    }
}

fn duplicate(serial: &str) -> String {
    format!("another drive of this node has the serial number {serial}; give each drive its own")
}

fn failed(id: DriveId, spec: &DriveSpec, failure: String) -> DriveEntry {
    let serial = match spec {
        // The serial number is on the drive; its place is all we know.
        DriveSpec::Vfio { address } => address.to_string(),
        DriveSpec::File { serial, .. } | DriveSpec::Ram { serial, .. } => serial.clone(),
    };
    DriveEntry {
        id,
        path: spec.to_string(),
        serial,
        model: String::new(),
        lba_bytes: 0,
        geometry: None,
        failure: Some(failure),
    }
}

fn open(
    spec: &DriveSpec,
    arena: &Arena,
    waker: &Waker,
    container: &mut Option<Container>,
) -> Result<Opened, String> {
    match spec {
        DriveSpec::Vfio { address } => open_vfio(*address, arena, container),
        DriveSpec::File { path, size_bytes, serial } => {
            let config = FileConfig { path: path.clone(), create: size_bytes.map(Bytes) };
            let device = FileDevice::open(&config, arena, waker).map_err(|e| e.to_string())?;
            Ok(simple(Box::new(device), serial, "File"))
        }
        DriveSpec::Ram { size_bytes, serial } => {
            Ok(simple(Box::new(RamDevice::new(Bytes(*size_bytes))), serial, "Memory"))
        }
    }
}

fn simple(device: BoxedDevice, serial: &str, model: &str) -> Opened {
    Opened { device, serial: serial.to_owned(), model: model.to_owned(), lba_bytes: 4096 }
}

fn open_vfio(address: Bdf, arena: &Arena, container: &mut Option<Container>) -> Result<Opened, String> {
    let container = match container {
        Some(container) => container,
        None => container.insert(Container::new().map_err(|e| e.to_string())?),
    };
    let drive =
        vfio::nvme::open(container, arena, address, DriveConfig::default()).map_err(|e| e.to_string())?;
    let info = drive.info();
    let (serial, model, lba_bytes) = (info.serial.clone(), info.model.clone(), info.lba_bytes);
    if serial.is_empty() {
        return Err("the drive has no serial number; it cannot be named".to_owned());
    }
    Ok(Opened { device: Box::new(Polled(drive)), serial, model, lba_bytes })
}

/// Reads what is on each drive that works.
pub(crate) fn probe_all(entries: &[DriveEntry], arena: &Arena, devices: &mut Devices) -> Vec<Found> {
    entries
        .iter()
        .filter_map(|entry| {
            let geometry = entry.geometry?;
            let mut probe = Probe::new(&geometry);
            // Nothing else runs yet, so a buffer is free, and each completion belongs to this drive.
            while probe.result().is_none() {
                let (tag, op) =
                    probe.poll_op(|len| arena.alloc(len)).expect("memory for one read at the start");
                devices.submit(entry.id, tag, op);
                devices.kick();
                probe.on_completion(wait(devices));
            }
            let drive = Drive { id: entry.id, serial: entry.serial.clone(), geometry };
            Some(Found { drive, finding: probe.into_result()? })
        })
        .collect()
}

/// Waits for the next completion. Drives bound the time: they complete everything, with an error if need be.
pub(crate) fn wait(devices: &mut Devices) -> Completion<DmaBuf> {
    loop {
        devices.begin_round();
        if let Some(completion) = devices.poll() {
            return completion;
        }
        std::thread::yield_now();
    }
}

/// All drives for people. `known` says what the working ones are to us.
pub(crate) fn statuses(entries: &[DriveEntry], known: &[KnownDrive], devices: &Devices) -> Vec<DriveStatus> {
    entries.iter().map(|entry| entry.status(known, devices)).collect()
}

impl DriveEntry {
    fn status(&self, known: &[KnownDrive], devices: &Devices) -> DriveStatus {
        let role = known.iter().find(|k| k.drive.id == self.id).map(|k| &k.role);
        let failure = self.failure.clone().or_else(|| devices.failure(self.id));
        let (state, detail, pool) = match (failure, role) {
            (Some(why), role) => (DriveState::Failed, why, role.map_or(Uuid::nil(), Role::pool)),
            (None, Some(role)) => (role.state(), role.detail(), role.pool()),
            (None, None) => (DriveState::Failed, "it was not looked at".to_owned(), Uuid::nil()),
        };
        DriveStatus {
            serial: self.serial.clone(),
            path: self.path.clone(),
            model: self.model.clone(),
            size_bytes: self.geometry.and_then(|g| g.blocks.bytes()).map_or(0, |bytes| bytes.0),
            lba_bytes: self.lba_bytes,
            state,
            detail,
            pool,
            is_volatile: self.geometry.is_some_and(|g| g.is_volatile),
            errors: devices.errors(self.id),
        }
    }

    /// Why it did not open, with its name.
    pub(crate) fn failure(&self) -> Option<(&str, &str)> {
        Some((&self.serial, self.failure.as_deref()?))
    }

    /// Why it stopped working, with its name; told once.
    pub(crate) fn take_failure(&mut self, devices: &Devices) -> Option<(String, String)> {
        if self.failure.is_some() {
            return None;
        }
        let why = devices.failure(self.id)?;
        self.failure = Some(why.clone());
        Some((self.serial.clone(), why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use block::Blocks;

    /// Goal: a drive that would fail the longer commands of hosts is refused when it is opened, with the reason.
    #[test]
    fn drives_take_whole_buffers() {
        let geometry =
            |blocks| Geometry { transfer_max: Blocks(blocks), ..RamDevice::new(Bytes(1 << 20)).geometry() };
        assert_eq!(check_transfer(&geometry(32)), Ok(()));
        let refusal = check_transfer(&geometry(16)).expect_err("64 KiB");
        assert_eq!(refusal, "it takes at most 64 KiB at once, 128 KiB are needed; use another drive");
    }
}
