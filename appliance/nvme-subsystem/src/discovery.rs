//! The discovery log (Base 2.1 §5.1.12.3.1): where a host finds its subsystems.
//!
//! A host reads the log in parts and compares the generation counter before and after. The log is therefore kept per
//! controller as it was when its start was read: parts of one reading always belong together. Anybody may have such a controller:
//! what is kept are names and addresses, and the records that a host asks for are made of them.

use crate::outcome::ConnectionId;
use crate::slab::Key;
use crate::target::Target;
use core::net::{IpAddr, SocketAddr};
use nvme_spec::fabrics::CNTLID_DYNAMIC;
use nvme_spec::log::{DiscoveryEntry, DiscoveryHeader};
use nvme_spec::{Status, ascii_field, nqn_field};
use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromZeros, IntoBytes};

/// Bytes of the header, and of each record behind it.
const RECORD: usize = 1024;
const _: () = assert!(size_of::<DiscoveryHeader>() == RECORD && size_of::<DiscoveryEntry>() == RECORD);

/// Entries of the admin queue that we suggest; hosts may ask for another number.
const ADMIN_QUEUE_ENTRIES: u16 = 128;

/// What one record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    /// This discovery subsystem: its unique name, and that connections to it may persist.
    Current,
    /// A subsystem with namespaces.
    Nvm,
    /// Another discovery subsystem.
    Referral,
}

#[derive(Debug)]
struct Record {
    subject: Subject,
    nqn: Box<str>,
    address: SocketAddr,
}

const _: () = assert!(size_of::<Record>() <= 64, "as DISCOVERY_LOG_MEMORY_MAX has it");

/// The log as it was when its start was read.
#[derive(Debug)]
pub(crate) struct Log {
    generation: u64,
    records: Vec<Record>,
}

/// Makes sure that the controller's log is there, and new if its start is being read.
pub(crate) fn refresh(target: &mut Target, key: Key, offset: u64) -> Result<(), Status> {
    let controller = target.controllers.get(key).ok_or(Status::ABORTED_SQ_DELETION)?;
    if offset != 0 && controller.discovery_log.is_some() {
        return Ok(());
    }
    let log = build(target, controller.admin, &controller.host_nqn);
    target.controllers.get_mut(key).ok_or(Status::ABORTED_SQ_DELETION)?.discovery_log = Some(log);
    Ok(())
}

fn build(target: &Target, connection: ConnectionId, host_nqn: &str) -> Log {
    let mut log = Log { generation: target.discovery_changes, records: Vec::new() };
    let Some(local) = target.connections.get(connection.0).map(|c| c.endpoints.local) else { return log };
    let portal = SocketAddr::new(local.ip(), target.config.io_port);
    let subsystems = target.subsystems.iter().map(|(_, subsystem)| subsystem);
    let admitting = subsystems.filter(|subsystem| subsystem.admits(host_nqn));
    let record = |subject, nqn: &str, address| Record { subject, nqn: nqn.into(), address };
    log.records.push(record(Subject::Current, &target.config.discovery_nqn, local));
    log.records.extend(admitting.map(|subsystem| record(Subject::Nvm, &subsystem.config.nqn, portal)));
    let referrals = target.referrals.iter();
    log.records.extend(referrals.map(|other| record(Subject::Referral, &other.nqn, other.address)));
    log
}

impl Log {
    /// At most `len` bytes from `offset` on; `None` if that is behind the end.
    pub(crate) fn part(&self, offset: usize, len: usize) -> Option<Vec<u8>> {
        let end = self.records.len().saturating_add(1).saturating_mul(RECORD);
        let end = offset.saturating_add(len).min(end);
        let left = end.checked_sub(offset)?;
        let (first, skip) = (offset / RECORD, offset % RECORD);
        let pieces = (first..end.div_ceil(RECORD)).filter_map(|index| self.piece(index));
        let mut part: Vec<u8> = pieces.flatten().skip(skip).collect();
        part.truncate(left);
        Some(part)
    }

    /// The header, or a record.
    fn piece(&self, index: usize) -> Option<[u8; RECORD]> {
        let mut piece = [0; RECORD];
        match index.checked_sub(1) {
            None => {
                let mut header = DiscoveryHeader::new_zeroed();
                header.genctr = U64::new(self.generation);
                header.numrec = U64::new(u64::try_from(self.records.len()).unwrap_or(u64::MAX));
                piece.copy_from_slice(header.as_bytes());
            }
            Some(index) => piece.copy_from_slice(self.records.get(index)?.entry().as_bytes()),
        }
        Some(piece)
    }
}

impl Record {
    fn entry(&self) -> DiscoveryEntry {
        let mut entry = entry(&self.nqn, self.address);
        entry.subtype = match self.subject {
            Subject::Current => DiscoveryEntry::SUBTYPE_CURRENT,
            Subject::Nvm => DiscoveryEntry::SUBTYPE_NVM,
            Subject::Referral => DiscoveryEntry::SUBTYPE_REFERRAL,
        };
        if self.subject == Subject::Current {
            entry.eflags = U16::new(DiscoveryEntry::EFLAGS_DUPRETINFO | DiscoveryEntry::EFLAGS_EPCSD);
        }
        entry
    }
}

fn entry(nqn: &str, at: SocketAddr) -> DiscoveryEntry {
    // A socket that serves both families shows IPv4 addresses as mapped ones.
    let address = at.ip().to_canonical();
    let mut entry = DiscoveryEntry::new_zeroed();
    entry.trtype = DiscoveryEntry::TRTYPE_TCP;
    entry.adrfam = match address {
        IpAddr::V4(_) => DiscoveryEntry::ADRFAM_IPV4,
        IpAddr::V6(_) => DiscoveryEntry::ADRFAM_IPV6,
    };
    entry.treq = DiscoveryEntry::TREQ_NOT_REQUIRED;
    entry.portid = U16::new(1);
    entry.cntlid = U16::new(CNTLID_DYNAMIC);
    entry.asqsz = U16::new(ADMIN_QUEUE_ENTRIES);
    entry.trsvcid = ascii_field(&at.port().to_string());
    entry.subnqn = nqn_field(nqn).unwrap_or([0; 256]);
    entry.traddr = ascii_field(&address.to_string());
    entry
}
