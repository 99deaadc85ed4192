//! Records of version 1, written before volumes had settings. Read only.

use super::load::{add_runs, load_member, load_name, table};
use super::{PoolRecord, VolumeRecord};
use crate::error::{Inconsistency, LoadError};
use crate::settings::{LbaSize, Settings};
use crate::stamp;
use crate::wire::{MemberV1, RecordHeaderV1, RunV1, VolumeV1};
use block::BLOCK_SIZE;
use uuid::Uuid;
use zerocopy::FromBytes;

/// As `load::load`, for version 1.
pub(super) fn load_v1(bytes: &[u8]) -> Result<(PoolRecord, u16), LoadError> {
    let len = bytes.len();
    let (header, tables) =
        RecordHeaderV1::ref_from_prefix(bytes).map_err(|_| LoadError::Truncated { len })?;
    stamp::zero(&header.reserved0)?;
    stamp::zero(&header.reserved1)?;
    let members = usize::from(header.member_count.get());
    let volumes = usize::from(header.volume_count.get());
    let runs = usize::from(header.run_count.get());
    let needed = size_of::<RecordHeaderV1>()
        .saturating_add(members.saturating_mul(size_of::<MemberV1>()))
        .saturating_add(volumes.saturating_mul(size_of::<VolumeV1>()))
        .saturating_add(runs.saturating_mul(size_of::<RunV1>()));
    if needed.next_multiple_of(BLOCK_SIZE) != len {
        return Err(Inconsistency::Length { needed, len }.into());
    }
    let short = || LoadError::from(Inconsistency::Length { needed, len });
    let (members, rest) = table::<MemberV1>(tables, members).ok_or_else(short)?;
    let (volumes, rest) = table::<VolumeV1>(rest, volumes).ok_or_else(short)?;
    let (runs, padding) = table::<RunV1>(rest, runs).ok_or_else(short)?;
    stamp::zero(padding)?;

    let mut volumes = volumes.iter().map(load_volume).collect::<Result<Vec<_>, _>>()?;
    add_runs(&mut volumes, runs)?;
    let record = PoolRecord {
        pool: Uuid::nil(),
        name: load_name(&header.name)?,
        generation: header.generation.get(),
        members: members.iter().map(load_member).collect::<Result<_, _>>()?,
        volumes,
    };
    Ok((record, header.member.get()))
}

fn load_volume(wire: &VolumeV1) -> Result<VolumeRecord, Inconsistency> {
    stamp::zero(&wire.reserved)?;
    Ok(VolumeRecord {
        uuid: stamp::identity(wire.uuid)?,
        name: load_name(&wire.name)?,
        nsid: wire.nsid.get(),
        extents: wire.extents.get(),
        revision: wire.revision.get(),
        settings: Settings::new(LbaSize::B4096),
        runs: Vec::new(),
    })
}
