//! The signatures of statuses on the bus, spelled out because their enumerations travel by name.
//!
//! `DriveState::Blank` is the string `Blank` on the bus, so that a person with a D-Bus tool can read it and a new variant
//! between two old ones changes nothing. The derived signature would promise a byte.

use control::{DriveStatus, PoolStatus, VolumeStatus};
use serde::{Deserialize, Serialize};
use zbus::Type;

#[derive(Debug, Serialize, Deserialize, Type)]
#[zbus(signature = "(ssstussaybt)")]
pub(crate) struct Drive(pub(crate) DriveStatus);

#[derive(Debug, Serialize, Deserialize, Type)]
#[zbus(signature = "(aysssasttst)")]
pub(crate) struct Pool(pub(crate) PoolStatus);

#[derive(Debug, Serialize, Deserialize, Type)]
#[zbus(signature = "(aysaystsusast)")]
pub(crate) struct Volume(pub(crate) VolumeStatus);
