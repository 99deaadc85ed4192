//! Bytes as a record: the tables, each entry checked. The rules between them are in `rules`.

use super::{Counts, MemberRecord, PoolRecord, Run, VolumeRecord};
use crate::error::{Inconsistency, LoadError};
use crate::limits::HOSTS_MAX;
use crate::settings::{
    Access, LbaSize, Registrant, Reservation, ReservationType, Reserved, Settings, WriteProtect,
};
use crate::stamp;
use crate::text::{self, HostNqn, Name, Serial};
use crate::wire::{HostV2, MemberV1, RecordHeaderV2, RegistrantV2, RunV1, VolumeV2};
use block::BLOCK_SIZE;
use uuid::Uuid;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Bytes of the header and the tables.
pub(super) fn table_len(counts: &Counts) -> usize {
    size_of::<RecordHeaderV2>()
        .saturating_add(counts.members.saturating_mul(size_of::<MemberV1>()))
        .saturating_add(counts.volumes.saturating_mul(size_of::<VolumeV2>()))
        .saturating_add(counts.runs.saturating_mul(size_of::<RunV1>()))
        .saturating_add(counts.hosts.saturating_mul(size_of::<HostV2>()))
        .saturating_add(counts.registrants.saturating_mul(size_of::<RegistrantV2>()))
}

/// The record in exactly these bytes, whose stamp was checked, and the number of the member that holds it. Its pool's
/// UUID, which is in the stamp, is for the caller to fill in.
pub(super) fn load(bytes: &[u8]) -> Result<(PoolRecord, u16), LoadError> {
    let len = bytes.len();
    let (header, tables) =
        RecordHeaderV2::ref_from_prefix(bytes).map_err(|_| LoadError::Truncated { len })?;
    stamp::zero(&header.reserved)?;
    let counts = Counts {
        members: header.member_count.get().into(),
        volumes: header.volume_count.get().into(),
        runs: header.run_count.get().into(),
        hosts: header.host_count.get().into(),
        registrants: header.registrant_count.get().into(),
    };
    let needed = table_len(&counts);
    if needed.next_multiple_of(BLOCK_SIZE) != len {
        return Err(Inconsistency::Length { needed, len }.into());
    }
    let short = || LoadError::from(Inconsistency::Length { needed, len });
    let (members, rest) = table::<MemberV1>(tables, counts.members).ok_or_else(short)?;
    let (volumes, rest) = table::<VolumeV2>(rest, counts.volumes).ok_or_else(short)?;
    let (runs, rest) = table::<RunV1>(rest, counts.runs).ok_or_else(short)?;
    let (hosts, rest) = table::<HostV2>(rest, counts.hosts).ok_or_else(short)?;
    let (registrants, padding) = table::<RegistrantV2>(rest, counts.registrants).ok_or_else(short)?;
    stamp::zero(padding)?;

    let hosts = load_hosts(hosts)?;
    let mut registrants = registrants.iter();
    let mut loaded = Vec::with_capacity(volumes.len());
    for volume in volumes {
        let own = registrants.by_ref().take(volume.registrant_count.get().into());
        loaded.push(load_volume(volume, &hosts, own.copied().collect())?);
    }
    if registrants.next().is_some() {
        return Err(Inconsistency::Length { needed, len }.into());
    }
    add_runs(&mut loaded, runs)?;
    let record = PoolRecord {
        pool: Uuid::nil(),
        name: load_name(&header.name)?,
        generation: header.generation.get(),
        members: members.iter().map(load_member).collect::<Result<_, _>>()?,
        volumes: loaded,
    };
    // One stored form for one set of hosts.
    if !record.hosts().into_iter().eq(&hosts) {
        return Err(Inconsistency::Hosts.into());
    }
    Ok((record, header.member.get()))
}

pub(super) fn table<T>(bytes: &[u8], count: usize) -> Option<(&[T], &[u8])>
where
    T: FromBytes + Immutable + KnownLayout + Unaligned,
{
    <[T]>::ref_from_prefix_with_elems(bytes, count).ok()
}

pub(super) fn load_name(field: &[u8]) -> Result<Name, Inconsistency> {
    Ok(text::load(field).and_then(Name::new)?)
}

pub(super) fn load_member(wire: &MemberV1) -> Result<MemberRecord, Inconsistency> {
    stamp::zero(&wire.reserved)?;
    Ok(MemberRecord {
        drive: stamp::identity(wire.drive)?,
        serial: text::load(&wire.serial).and_then(Serial::new)?,
        extents: wire.extents.get(),
    })
}

/// Gives each volume its runs.
pub(super) fn add_runs(volumes: &mut [VolumeRecord], runs: &[RunV1]) -> Result<(), Inconsistency> {
    let mut last = 0;
    for run in runs {
        let index = run.volume.get();
        let volume = volumes.get_mut(usize::from(index)).ok_or(Inconsistency::VolumeOrder)?;
        // Ordered by volume: one stored form for one set of volumes.
        if index < last {
            return Err(Inconsistency::VolumeOrder);
        }
        last = index;
        volume.runs.push(Run {
            member: run.member.get(),
            first: run.first.get(),
            count: run.count.get(),
            position: run.position.get(),
        });
    }
    Ok(())
}

fn load_hosts(hosts: &[HostV2]) -> Result<Vec<HostNqn>, Inconsistency> {
    // More than a volume has bits for; the order is checked with the volumes.
    if hosts.len() > HOSTS_MAX {
        return Err(Inconsistency::TooMany { what: "hosts", count: hosts.len(), max: HOSTS_MAX });
    }
    let load = |host: &HostV2| Ok(text::load(&host.nqn).and_then(HostNqn::new)?);
    hosts.iter().map(load).collect()
}

fn load_volume(
    wire: &VolumeV2,
    hosts: &[HostNqn],
    registrants: Vec<RegistrantV2>,
) -> Result<VolumeRecord, Inconsistency> {
    stamp::zero(&[wire.reserved0])?;
    stamp::zero(&wire.reserved1)?;
    stamp::zero(&wire.reserved2)?;
    let nsid = wire.nsid.get();
    let unknown = |what, value: u8| Inconsistency::Meaning { nsid, what, value: value.into() };
    let settings = Settings {
        lba_size: match wire.lba_shift {
            9 => LbaSize::B512,
            12 => LbaSize::B4096,
            other => return Err(unknown("size of blocks", other)),
        },
        access: match wire.access {
            0 => {
                stamp::zero(&wire.hosts)?;
                Access::Everybody
            }
            1 => Access::Hosts(listed(&wire.hosts, hosts)?),
            other => return Err(unknown("access", other)),
        },
        write_protect: match wire.write_protect {
            0 => WriteProtect::Off,
            1 => WriteProtect::On,
            2 => WriteProtect::Permanent,
            other => return Err(unknown("write protection", other)),
        },
        reservation: match wire.persistence {
            0 if is_unreserved(wire) => None,
            0 => return Err(Inconsistency::Reservation(nsid)),
            1 => Some(Box::new(load_reservation(wire, registrants)?)),
            other => return Err(unknown("persistence", other)),
        },
    };
    Ok(VolumeRecord {
        uuid: stamp::identity(wire.uuid)?,
        name: load_name(&wire.name)?,
        nsid,
        extents: wire.extents.get(),
        revision: wire.revision.get(),
        settings,
        runs: Vec::new(),
    })
}

/// The hosts whose bits are set.
fn listed(mask: &[u8; HOSTS_MAX / 8], hosts: &[HostNqn]) -> Result<Vec<HostNqn>, Inconsistency> {
    let bits = mask.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
    let set = bits.enumerate().filter_map(|(index, is_set)| is_set.then_some(index));
    set.map(|index| hosts.get(index).cloned().ok_or(Inconsistency::Hosts)).collect()
}

fn is_unreserved(wire: &VolumeV2) -> bool {
    let VolumeV2 { reservation, holder, reservation_generation, registrant_count, .. } = wire;
    *reservation == 0 && holder.get() == 0 && reservation_generation.get() == 0 && registrant_count.get() == 0
}

fn load_reservation(wire: &VolumeV2, registrants: Vec<RegistrantV2>) -> Result<Reservation, Inconsistency> {
    let nsid = wire.nsid.get();
    if registrants.len() != usize::from(wire.registrant_count.get()) {
        return Err(Inconsistency::Reservation(nsid));
    }
    let holder = wire.holder.get();
    let reserved = match (wire.reservation, ReservationType::of(wire.reservation)) {
        (_, Some(kind)) if !kind.is_held_by_all() => Some(Reserved { kind, holder: Some(holder) }),
        (_, Some(kind)) if holder == 0 => Some(Reserved { kind, holder: None }),
        (0, None) if holder == 0 => None,
        (0, None) | (_, Some(_)) => return Err(Inconsistency::Reservation(nsid)),
        (other, None) => {
            return Err(Inconsistency::Meaning { nsid, what: "reservation", value: other.into() });
        }
    };
    let load = |wire: RegistrantV2| Ok(Registrant { host: stamp::identity(wire.host)?, key: wire.key.get() });
    Ok(Reservation {
        generation: wire.reservation_generation.get(),
        registrants: registrants.into_iter().map(load).collect::<Result<_, Inconsistency>>()?,
        reserved,
    })
}
