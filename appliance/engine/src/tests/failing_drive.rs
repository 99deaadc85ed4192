//! Requests that meet a drive which does not work any more: a core without sockets, and one drive that fails when it is told to.

use super::{MIB, POOL, pool_request};
use crate::Mode;
use crate::answer::Answer;
use crate::core::{Core, Facts, Load, Parts};
use block::{BlockDevice, Bytes, Completion, Geometry, MediaError, Op, Tag, Tick};
use control::{ControlError, ErrorKind, PoolState, PoolStatus, Reply, Request, WipeDrive};
use dma::{Arena, ArenaConfig, DmaBuf};
use nvme_subsystem::TargetConfig;
use pool::{Drive, DriveId, KnownDrive, OfflinePool, Role};
use reactor::{Device, RamDevice, Sleep};
use std::cell::Cell;
use std::fs::File;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::time::Instant;
use target::limits::ARENA_BYTES_MIN;
use target::{Devices, Target};

#[derive(Clone, Copy, PartialEq)]
enum Health {
    Works,
    FailsToWrite,
    IsGone,
}

struct FailingDrive {
    ram: RamDevice,
    health: Rc<Cell<Health>>,
    failed: Vec<Completion<DmaBuf>>,
}

impl BlockDevice for FailingDrive {
    type Buf = DmaBuf;

    fn geometry(&self) -> Geometry {
        self.ram.geometry()
    }

    fn submit(&mut self, tag: Tag, op: Op<DmaBuf>) -> Result<(), Op<DmaBuf>> {
        let is_write = matches!(op, Op::Write { .. } | Op::WriteZeroes { .. });
        if is_write && self.health.get() == Health::FailsToWrite {
            self.failed.push(Completion { tag, buf: None, result: Err(MediaError::WriteFault) });
            return Ok(());
        }
        self.ram.submit(tag, op)
    }

    fn kick(&mut self) {
        self.ram.kick();
    }

    fn poll(&mut self) -> Option<Completion<DmaBuf>> {
        self.failed.pop().or_else(|| self.ram.poll())
    }
}

impl Device for FailingDrive {
    fn prepare_sleep(&mut self) -> Sleep {
        Sleep::Poll
    }

    fn failure(&self) -> Option<String> {
        (self.health.get() == Health::IsGone).then(|| "it does not answer".to_owned())
    }
}

/// A core with one drive, `R0`, of this role, and these pools.
fn core(role: Role, offline: Vec<OfflinePool>) -> (Core, Rc<Cell<Health>>) {
    let health = Rc::new(Cell::new(Health::Works));
    let ram = RamDevice::new(Bytes(64 * MIB));
    let drive = Drive { id: DriveId(0), serial: "R0".to_owned(), geometry: ram.geometry() };
    let mut devices = Devices::default();
    let failing = FailingDrive { ram, health: Rc::clone(&health), failed: Vec::new() };
    devices.add(drive.id, Box::new(failing));
    let arena =
        Arena::new(ArenaConfig { bytes: ARENA_BYTES_MIN, hugepages: false }).expect("memory for a test");
    let config =
        TargetConfig { discovery_nqn: "nqn.d".to_owned(), node: 0, io_port: 0, firmware: "1".to_owned() };
    let core = Core::new(Parts {
        target: Target::new(config, arena, devices),
        drives: Vec::new(),
        known: vec![KnownDrive { drive, role }],
        offline,
        facts: Facts {
            version: String::new(),
            mode: Mode::Balanced,
            portals: Vec::new(),
            started: Instant::now(),
            start_ms: 0,
        },
        random: File::open("/dev/urandom").expect("random bytes"),
        events: None,
    });
    (core, health)
}

/// Asks, and lets the core work until there is an answer.
fn call(core: &mut Core, request: Request) -> Result<Reply, ControlError> {
    let (answer, answered) = channel();
    let answer = Answer::new(move |result| answer.send(result).expect("somebody waits"));
    core.on_request(request, answer, Tick(0), Load { cores: 1, busy_permille: 0 });
    loop {
        core.begin_changes();
        core.changes.submit(&mut core.target);
        core.target.devices_mut().kick();
        core.target.poll_devices();
        while let Some(completion) = core.target.poll_job() {
            core.changes.on_completion(completion);
        }
        core.finish_changes();
        if let Ok(result) = answered.try_recv() {
            return result;
        }
    }
}

fn pools(core: &mut Core) -> Vec<PoolStatus> {
    match call(core, Request::ListPools) {
        Ok(Reply::Pools(pools)) => pools,
        other => panic!("pools, not {other:?}"),
    }
}

fn wipe(confirm: &str) -> Request {
    Request::WipeDrive(WipeDrive { serial: "R0".to_owned(), confirm: confirm.to_owned() })
}

/// Goal: a wipe that fails is told as such: the drive stays a member of its pool, which is listed as before, until the same
/// request succeeds.
#[test]
fn failed_wipe_is_not_told_as_done() {
    let tank = OfflinePool {
        uuid: POOL,
        record: None,
        state: PoolState::Damaged,
        detail: "no drive of it has a valid record".to_owned(),
        present: vec!["R0".to_owned()],
    };
    let (mut core, health) = core(Role::Member(POOL), vec![tank]);
    let before = pools(&mut core);
    health.set(Health::FailsToWrite);
    let error = call(&mut core, wipe(&POOL.to_string())).expect_err("writes fail");
    assert_eq!((error.kind, error.object.as_str()), (ErrorKind::Unavailable, "drive/R0"));
    assert_eq!((pools(&mut core), &core.known[0].role), (before, &Role::Member(POOL)));
    let error = call(&mut core, pool_request(&["R0"])).expect_err("it is a member");
    assert_eq!(error.kind, ErrorKind::FailedPrecondition, "{error}");
    health.set(Health::Works);
    call(&mut core, wipe(&POOL.to_string())).expect("writes work");
    assert_eq!((pools(&mut core), &core.known[0].role), (Vec::new(), &Role::Blank));
}

/// Goal: a drive that stopped working is not told to be blank, nor taken for a pool; the refusal says what is wrong with it.
#[test]
fn drive_that_stopped_working_is_refused() {
    let (mut core, health) = core(Role::Blank, Vec::new());
    health.set(Health::IsGone);
    for (request, field) in [(wipe(""), "serial"), (pool_request(&["R0"]), "drive_serials")] {
        let error = call(&mut core, request).expect_err("it does not work");
        assert_eq!(error.message, "drive R0 does not work: it does not answer");
        assert_eq!((error.kind, error.field.as_str()), (ErrorKind::FailedPrecondition, field));
    }
    health.set(Health::Works);
    call(&mut core, wipe("")).expect("a blank drive needs nothing");
}
