//! The discovery log (Base 2.1 §5.1.12.3.1): where a host finds its subsystems.
//!
//! A host reads the log in parts and compares the generation counter before and after. The log is therefore kept per
//! controller as it was when its start was read: parts of one reading always belong together.

use crate::outcome::ConnectionId;
use crate::slab::Key;
use crate::target::Target;
use core::net::{IpAddr, SocketAddr};
use nvme_spec::fabrics::CNTLID_DYNAMIC;
use nvme_spec::log::{DiscoveryEntry, DiscoveryHeader};
use nvme_spec::{Status, ascii_field, nqn_field};
use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromZeros, IntoBytes};

/// Entries of the admin queue that we suggest; hosts may ask for another number.
const ADMIN_QUEUE_ENTRIES: u16 = 128;

/// Makes sure that the controller's snapshot is there, and new if its start is being read.
pub(crate) fn refresh(target: &mut Target, key: Key, offset: u64) -> Result<(), Status> {
    let controller = target.controllers.get(key).ok_or(Status::ABORTED_SQ_DELETION)?;
    if offset != 0 && !controller.discovery_snapshot.is_empty() {
        return Ok(());
    }
    let snapshot = build(target, controller.admin, &controller.host_nqn);
    target.controllers.get_mut(key).ok_or(Status::ABORTED_SQ_DELETION)?.discovery_snapshot = snapshot;
    Ok(())
}

fn build(target: &Target, connection: ConnectionId, host_nqn: &str) -> Vec<u8> {
    let Some(local) = target.connections.get(connection.0).map(|c| c.endpoints.local) else {
        return DiscoveryHeader::new_zeroed().as_bytes().to_vec();
    };
    let mut entries = vec![current(target, local)];
    for (_, subsystem) in target.subsystems.iter() {
        if subsystem.admits(host_nqn) {
            let at = SocketAddr::new(local.ip(), target.config.io_port);
            let mut entry = entry(&subsystem.config.nqn, at);
            entry.subtype = DiscoveryEntry::SUBTYPE_NVM;
            entries.push(entry);
        }
    }
    for referral in &target.referrals {
        let mut entry = entry(&referral.nqn, referral.address);
        entry.subtype = DiscoveryEntry::SUBTYPE_REFERRAL;
        entries.push(entry);
    }
    let mut header = DiscoveryHeader::new_zeroed();
    header.genctr = U64::new(target.discovery_changes);
    header.numrec = U64::new(u64::try_from(entries.len()).unwrap_or(u64::MAX));
    let mut page = header.as_bytes().to_vec();
    page.extend_from_slice(entries.as_bytes());
    page
}

/// The entry for the discovery subsystem itself: its unique name, and that connections to it may persist.
fn current(target: &Target, local: SocketAddr) -> DiscoveryEntry {
    let mut entry = entry(&target.config.discovery_nqn, local);
    entry.subtype = DiscoveryEntry::SUBTYPE_CURRENT;
    entry.eflags = U16::new(DiscoveryEntry::EFLAGS_DUPRETINFO | DiscoveryEntry::EFLAGS_EPCSD);
    entry
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
