//! Drives that are given up, on drives that are files.

use super::{MIB, POOL, call, create_pool, create_volume, engine, file, pool_request, refused};
use crate::{Engine, Mode};
use control::{DriveState, DriveStatus, ErrorKind, PoolState, PoolStatus, Reply, Request, WipeDrive};
use std::os::unix::fs::FileExt;

fn wipe(serial: &str, confirm: &str) -> Request {
    Request::WipeDrive(WipeDrive { serial: serial.to_owned(), confirm: confirm.to_owned() })
}

fn drives(engine: &Engine) -> Vec<DriveStatus> {
    match call(engine, Request::ListDrives) {
        Ok(Reply::Drives(drives)) => drives,
        other => panic!("drives, not {other:?}"),
    }
}

fn pools(engine: &Engine) -> Vec<PoolStatus> {
    match call(engine, Request::ListPools) {
        Ok(Reply::Pools(pools)) => pools,
        other => panic!("pools, not {other:?}"),
    }
}

/// Goal: the drives of a pool that lost one for good can be given up, each by naming the pool, and make a new pool; while the pool
/// is online they cannot. The same after a restart.
#[test]
fn drives_of_a_lost_pool_can_be_used_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let specs = ["F0", "F1", "F2"].map(|name| file(dir.path(), name, 96));
    let first = engine(&specs, Mode::Balanced);
    create_pool(&first, &["F0", "F1", "F2"]);
    create_volume(&first, 1, 8);
    let error = refused(&first, wipe("F0", "tank"));
    assert_eq!((error.kind, error.object.as_str()), (ErrorKind::FailedPrecondition, "drive/F0"));
    assert!(error.message.contains("member of pool \"tank\""), "{}", error.message);
    first.stop();

    let second = engine(&specs[..2], Mode::Balanced);
    assert_eq!(pools(&second)[0].state, PoolState::Incomplete);
    for confirm in ["", "pond", "F0"] {
        let error = refused(&second, wipe("F0", confirm));
        assert_eq!((error.kind, error.field.as_str()), (ErrorKind::FailedPrecondition, "confirm"));
        assert!(error.remedy.ends_with("confirm with its name: tank"), "{}", error.remedy);
    }
    assert_eq!(refused(&second, wipe("F2", "tank")).kind, ErrorKind::NotFound);
    let Ok(Reply::Drives(wiped)) = call(&second, wipe("F0", "tank")) else { panic!("it is wiped") };
    assert_eq!((wiped[0].serial.as_str(), wiped[0].state), ("F0", DriveState::Blank));
    assert!(pools(&second)[0].detail.contains("drive F0 was wiped"), "{:?}", pools(&second));
    call(&second, wipe("F1", &POOL.to_string())).expect("by its UUID, too");
    assert!(pools(&second).is_empty(), "a pool without drives is no pool");
    second.stop();

    let third = engine(&specs[..2], Mode::Balanced);
    assert!(drives(&third).iter().all(|drive| drive.state == DriveState::Blank), "{:?}", drives(&third));
    create_pool(&third, &["F0", "F1"]);
    create_volume(&third, 1, 8);
    third.stop();
}

/// Goal: foreign data is given up only by saying what it is; a drive that does not open is told as such.
#[test]
fn foreign_data_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let foreign = std::fs::File::create(dir.path().join("F0")).expect("a file");
    foreign.set_len(96 * MIB).expect("its size");
    foreign.write_all_at(b"EFI PART", 512).expect("written");
    let missing = format!("file:{},serial=X0", dir.path().join("none").display());
    let engine = engine(&[file(dir.path(), "F0", 96), missing], Mode::Balanced);
    let found = drives(&engine)[0].detail.clone();
    for confirm in ["", "F0", "yes"] {
        let error = refused(&engine, wipe("F0", confirm));
        assert!(error.remedy.ends_with(&format!("confirm with: {found}")), "{}", error.remedy);
    }
    assert!(call(&engine, pool_request(&["F0"])).is_err(), "it is as it was");
    let error = refused(&engine, wipe("X0", ""));
    assert_eq!((error.object.as_str(), error.field.as_str()), ("drive/X0", "serial"));
    assert!(error.message.contains("does not work"), "{}", error.message);
    call(&engine, wipe("F0", &found)).expect("it is wiped");
    call(&engine, wipe("F0", "")).expect("a blank drive needs nothing");
    create_pool(&engine, &["F0"]);
    engine.stop();
}
