//! From power-on to a usable drive, and every way not to get there.

use crate::{Bench, refusal};
use block::{BlockDevice, Blocks, Geometry};
use nvme_driver::{BringUpError, DriveConfig, DriveInfo, NvmeDrive};
use nvme_model::{Fault, Model, ModelConfig, Rule};
use nvme_spec::register::{Cap, Vs};
use nvme_spec::{AdminOpcode, Status};

/// Goal: a healthy drive is described in our units.
#[test]
fn a_healthy_drive_comes_up() {
    let bench = Bench::new(ModelConfig { namespaces: vec![5, 6], ..ModelConfig::default() });
    let expected = DriveInfo {
        serial: "MODEL0".to_owned(),
        model: "Model drive".to_owned(),
        firmware: "1.0".to_owned(),
        nsid: 5,
        namespaces: 2,
        blocks: Blocks(1 << 20),
        lba_bytes: 4096,
        has_volatile_cache: true,
        atomic_bytes: 4096,
        is_block_atomic: true,
        has_write_zeroes: true,
        transfer_bytes_max: Some(128 << 10),
    };
    assert_eq!(bench.drive.info(), &expected);
    let geometry = Geometry {
        blocks: Blocks(1 << 20),
        transfer_max: Blocks(32),
        depth_max: 255,
        is_volatile: true,
        is_block_atomic: true,
    };
    assert_eq!(bench.drive.geometry(), geometry);
    assert_eq!((bench.drive.failure(), bench.drive.errors()), (None, 0));
    bench.end();
}

/// Goal: limits of the drive and of the caller both count.
#[test]
fn the_smaller_limit_counts() {
    let cap = ModelConfig::default().cap.with_mqes_z(3).with_dstrd(2);
    let small = ModelConfig { cap, mdts: 1, vs: Vs::new().with_mjr(1), ..ModelConfig::default() };
    let mut bench = Bench::new(small);
    let geometry = bench.drive.geometry();
    assert_eq!((geometry.depth_max, geometry.transfer_max), (3, Blocks(2)));
    let op = bench.read(0, 8192);
    assert_eq!(bench.run(op).result, Ok(()));
    bench.end();

    let config = DriveConfig { entries: 17, transfer_bytes_max: 12 << 10 };
    let bench = Bench::with(ModelConfig::default(), config);
    let geometry = bench.drive.geometry();
    assert_eq!((geometry.depth_max, geometry.transfer_max), (16, Blocks(3)));
    bench.end();
}

/// Goal: a controller that somebody left running, or that failed once, is reset and used.
#[test]
fn a_controller_in_any_state_is_taken_over() {
    let model = Model::new(ModelConfig::default());
    let first = NvmeDrive::open(model.platform(), DriveConfig::default()).expect("comes up");
    core::mem::forget(first);
    assert!(model.is_running());
    model.switch(|switches| switches.fatal = true);
    let second = NvmeDrive::open(model.platform(), DriveConfig::default()).expect("comes up again");
    drop(second);
    assert!(!model.is_running());

    model.switch(|switches| switches.fatal_starts = 1);
    let third = NvmeDrive::open(model.platform(), DriveConfig::default()).expect("the second start works");
    Bench { model, drive: third }.end();
}

/// Goal: waits for the controller end, with the reason.
#[test]
fn a_controller_that_does_not_follow_is_given_up() {
    let model = Model::new(ModelConfig::default());
    model.switch(|switches| switches.never_starts = true);
    assert_eq!(refusal(&model), BringUpError::NotReady { what: "start", seconds: 2 });

    let cap = ModelConfig::default().cap.with_to(20).with_crwms(true);
    let crto = ModelConfig::default().crto.with_crwmt(60);
    let model = Model::new(ModelConfig { cap, crto, ..ModelConfig::default() });
    let drive = NvmeDrive::open(model.platform(), DriveConfig::default()).expect("comes up");
    core::mem::forget(drive);
    model.switch(|switches| switches.never_stops = true);
    assert_eq!(refusal(&model), BringUpError::NotReady { what: "stop", seconds: 30 });

    let model = Model::new(ModelConfig::default());
    model.switch(|switches| switches.fatal_starts = 2);
    assert_eq!(refusal(&model), BringUpError::Fatal);

    let model = Model::new(ModelConfig::default());
    model.switch(|switches| switches.gone = true);
    assert_eq!(refusal(&model), BringUpError::Gone);
}

/// Goal: a controller that this driver cannot use is refused before it is touched.
#[test]
fn unusable_controllers_are_refused() {
    let cap = ModelConfig::default().cap;
    let refused = |cap: Cap| refusal(&Model::new(ModelConfig { cap, ..ModelConfig::default() })).to_string();
    assert_eq!(
        [
            refused(cap.with_css(0x80)),
            refused(cap.with_mpsmin(1)),
            refused(cap.with_dstrd(15)),
            refused(cap.with_mqes_z(0)),
        ],
        [
            "the controller cannot be used: it has no NVM command set; use another drive",
            "the controller cannot be used: it needs memory pages larger than 4 KiB; use another drive",
            "the controller cannot be used: its doorbells are out of reach; use another drive",
            "the controller cannot be used: its queues are too short; use another drive",
        ]
    );
    let model = Model::new(ModelConfig { queue_bytes: 64 << 10, ..ModelConfig::default() });
    assert_eq!(refusal(&model), BringUpError::NoMemory);
}

/// Goal: admin commands that fail, get lost or are answered wrongly end the bring-up, and the controller is stopped.
#[test]
fn failing_admin_commands_end_the_bring_up() {
    let refused = |opcode: AdminOpcode, fault| {
        let model = Model::new(ModelConfig::default());
        model.fault(Rule::admin(opcode.0, fault, 1));
        let error = refusal(&model);
        assert!(!model.is_running());
        error
    };
    let status = Status::INTERNAL_ERROR;
    let command = "Create I/O Submission Queue";
    assert_eq!(
        refused(AdminOpcode::CREATE_IO_SQ, Fault::Status(status)),
        BringUpError::Command { command, status }
    );
    let command = "Identify Controller";
    assert_eq!(refused(AdminOpcode::IDENTIFY, Fault::Lost), BringUpError::NoAnswer { command, seconds: 10 });
    assert_eq!(refused(AdminOpcode::IDENTIFY, Fault::WrongCid), BringUpError::WrongAnswer { command });
    let command = "Set Features (Number of Queues)";
    assert_eq!(
        refused(AdminOpcode::SET_FEATURES, Fault::Status(Status::INVALID_FIELD)),
        BringUpError::Command { command, status: Status::INVALID_FIELD }
    );
}

/// Goal: drives without a usable namespace are refused, with what to do.
#[test]
fn unusable_namespaces_are_refused() {
    let refused = |config| refusal(&Model::new(config));
    let none = ModelConfig { namespaces: Vec::new(), ..ModelConfig::default() };
    assert_eq!(refused(none), BringUpError::NoNamespace);
    let metadata = ModelConfig { metadata_bytes: 8, ..ModelConfig::default() };
    assert_eq!(
        refused(metadata).to_string(),
        "the drive is formatted with blocks of 4096 bytes and 8 bytes of metadata; \
         format it with 4096 or 512 bytes and no metadata (nvme format)"
    );
    let tiny = ModelConfig { lbads: 9, lbas: 7, ..ModelConfig::default() };
    assert_eq!(refused(tiny), BringUpError::Empty { nsid: 1 });
    // Without the page that version 2 brought, there is one limit less.
    Bench::new(ModelConfig { has_nvm_page: false, ..ModelConfig::default() }).end();
}
