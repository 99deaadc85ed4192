//! A record as bytes: the tables in order, and the seal.

use super::{Counts, MemberRecord, PoolRecord, Run, VolumeRecord};
use crate::settings::{Access, WriteProtect};
use crate::text::{self, HostNqn};
use crate::wire::{
    HostV2, MemberV1, RECORD_MAGIC, RECORD_VERSION, RecordHeaderV2, RegistrantV2, RunV1, VolumeV2,
};
use crate::{limits, stamp};
use uuid::Uuid;
use zerocopy::IntoBytes;

impl PoolRecord {
    /// The copy of the record for one member, to be stored at [`PoolRecord::slot`].
    ///
    /// # Panics
    /// If the record breaks a rule of [`PoolRecord::check`], or has no such member: a fault of the caller, which must
    /// not reach a disk.
    #[must_use]
    pub fn encode(&self, member: u16) -> Vec<u8> {
        let checked = self.check();
        assert!(checked.is_ok(), "a record that breaks a rule is never stored: {checked:?}");
        let holder = self.members.get(usize::from(member));
        assert!(holder.is_some(), "a record is stored on members only");
        let drive = holder.map_or(Uuid::nil(), |m| m.drive);

        let mut bytes = Vec::with_capacity(self.encoded_len());
        bytes.extend_from_slice(self.header(drive, member).as_bytes());
        for member in &self.members {
            bytes.extend_from_slice(store_member(member).as_bytes());
        }
        let hosts = self.hosts();
        for volume in &self.volumes {
            bytes.extend_from_slice(store_volume(volume, &hosts).as_bytes());
        }
        for (index, volume) in self.volumes.iter().enumerate() {
            for run in &volume.runs {
                bytes.extend_from_slice(store_run(index, run).as_bytes());
            }
        }
        for host in hosts {
            bytes.extend_from_slice(HostV2 { nqn: text::store(host.as_str()) }.as_bytes());
        }
        for registrant in
            self.volumes.iter().filter_map(|v| v.settings.reservation.as_ref()).flat_map(|r| &r.registrants)
        {
            let wire = RegistrantV2 { host: registrant.host.into_bytes(), key: registrant.key.into() };
            bytes.extend_from_slice(wire.as_bytes());
        }
        bytes.resize(self.encoded_len(), 0);
        stamp::seal(&mut bytes);
        bytes
    }

    fn header(&self, drive: Uuid, member: u16) -> RecordHeaderV2 {
        let Counts { members, volumes, runs, hosts, registrants } = self.counts();
        RecordHeaderV2 {
            stamp: stamp::stamp(RECORD_MAGIC, RECORD_VERSION, self.slot().lba(), drive, self.pool),
            generation: self.generation.into(),
            record_bytes: u32::try_from(self.encoded_len()).unwrap_or(u32::MAX).into(),
            member: member.into(),
            member_count: count(members).into(),
            volume_count: count(volumes).into(),
            run_count: count(runs).into(),
            host_count: count(hosts).into(),
            registrant_count: count(registrants).into(),
            name: text::store(self.name.as_str()),
            reserved: [0; 104],
        }
    }
}

/// A count in its field. The limits are checked before, and keep this exact.
fn count(n: usize) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}

fn store_member(member: &MemberRecord) -> MemberV1 {
    MemberV1 {
        drive: member.drive.into_bytes(),
        serial: text::store(member.serial.as_str()),
        extents: member.extents.into(),
        reserved: [0; 24],
    }
}

fn store_volume(volume: &VolumeRecord, table: &[&HostNqn]) -> VolumeV2 {
    let settings = &volume.settings;
    let reservation = settings.reservation.as_ref();
    let reserved = reservation.and_then(|r| r.reserved);
    VolumeV2 {
        uuid: volume.uuid.into_bytes(),
        name: text::store(volume.name.as_str()),
        nsid: volume.nsid.into(),
        extents: volume.extents.into(),
        revision: volume.revision.into(),
        lba_shift: settings.lba_size.shift(),
        write_protect: match settings.write_protect {
            WriteProtect::Off => 0,
            WriteProtect::On => 1,
            WriteProtect::Permanent => 2,
        },
        access: match settings.access {
            Access::Everybody => 0,
            Access::Hosts(_) => 1,
        },
        persistence: u8::from(reservation.is_some()),
        reservation: reserved.map_or(0, |r| r.kind.number()),
        reserved0: 0,
        holder: reserved.and_then(|r| r.holder).unwrap_or(0).into(),
        reservation_generation: reservation.map_or(0, |r| r.generation).into(),
        registrant_count: count(settings.registrant_count()).into(),
        reserved1: [0; 2],
        hosts: store_hosts(settings.hosts(), table),
        reserved2: [0; 16],
    }
}

/// The bits of those hosts in the table that are listed.
fn store_hosts(listed: &[HostNqn], table: &[&HostNqn]) -> [u8; limits::HOSTS_MAX / 8] {
    let mut mask = [0; limits::HOSTS_MAX / 8];
    for (byte, hosts) in mask.iter_mut().zip(table.chunks(8)) {
        for (bit, host) in hosts.iter().enumerate() {
            *byte |= u8::from(listed.binary_search(host).is_ok()) << bit;
        }
    }
    mask
}

fn store_run(volume: usize, run: &Run) -> RunV1 {
    RunV1 {
        volume: u16::try_from(volume).unwrap_or(u16::MAX).into(),
        member: run.member.into(),
        first: run.first.into(),
        count: run.count.into(),
        position: run.position.into(),
    }
}
