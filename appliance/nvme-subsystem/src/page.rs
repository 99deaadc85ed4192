//! Get Log Page (Base 2.1 §5.1.12). Each page is built whole, then the part that was asked for is cut out: nothing behind
//! its end can leak, and offsets need no care in the builders. (The discovery log, which anybody reads, is made as far as it is
//! asked for.)

use crate::admin::{self, Context};
use crate::controller::Controller;
use crate::guard;
use crate::limits::ERRORS_MAX;
use crate::outcome::{Answer, Command, Refusal};
use crate::slab::Key;
use crate::target::Target;
use crate::view::View;
use crate::{ana, discovery, feature, nvm};
use nvme_spec::log::{
    ANA_LSP_GROUPS_ONLY, CHANGED_NAMESPACES_MAX, EffectsLog, ErrorEntry, FirmwareSlotLog, GetLogPage,
    LogPage, SmartLog,
};
use nvme_spec::{NSID_ALL, Status, ascii_field};
use std::collections::BTreeSet;
use zerocopy::little_endian::U32;
use zerocopy::{FromZeros, IntoBytes};

/// Pages of a controller with namespaces; page 0 lists them.
const SUPPORTED: [LogPage; 9] = [
    LogPage::SUPPORTED,
    LogPage::ERROR,
    LogPage::SMART,
    LogPage::FIRMWARE_SLOT,
    LogPage::CHANGED_NAMESPACES,
    LogPage::COMMAND_EFFECTS,
    LogPage::ANA,
    LogPage::FEATURE_EFFECTS,
    LogPage::RESERVATION,
];

pub(crate) fn get(target: &mut Target, key: Key, command: &Command<'_>) -> Result<Answer, Refusal> {
    let get = GetLogPage::from(command.sqe);
    let controller = target.controllers.get(key).ok_or(Status::ABORTED_SQ_DELETION)?;
    let (is_discovery, len_max) = (controller.is_discovery(), controller.transfer_max());
    if get.is_index || !get.offset.is_multiple_of(4) || get.len > u64::from(len_max) {
        return Err(Status::INVALID_FIELD.dnr().into());
    }
    if get.len != u64::from(command.data_len) {
        return Err(Status::INVALID_SGL_LENGTH.dnr().into());
    }
    let part = if is_discovery {
        match get.lid {
            LogPage::SUPPORTED => {
                part(&table([LogPage::SUPPORTED, LogPage::DISCOVERY].iter().map(|page| page.0)), &get)?
            }
            LogPage::DISCOVERY => {
                discovery::refresh(target, key, get.offset)?;
                let controller = target.controllers.get(key).ok_or(Status::ABORTED_SQ_DELETION)?;
                let log = controller.discovery_log.as_ref().ok_or(Status::INTERNAL_ERROR)?;
                let (offset, len) = range(&get)?;
                log.part(offset, len).ok_or(Status::INVALID_FIELD.dnr())?
            }
            _ => return Err(Status::INVALID_LOG_PAGE.dnr().into()),
        }
    } else {
        part(&page(target, key, &get, command.sqe.nsid.get())?, &get)?
    };
    let controller = target.controllers.get_mut(key).ok_or(Status::ABORTED_SQ_DELETION)?;
    if !get.rae {
        if get.lid == LogPage::CHANGED_NAMESPACES {
            controller.changed_namespaces.clear();
        }
        if get.lid == LogPage::RESERVATION {
            controller.on_reservation_page_read(&mut target.actions);
        }
        controller.rearm(get.lid, &mut target.actions);
    }
    Ok(Answer::with_part(command.sqe, part, command.data_len))
}

/// Offset and length of what is asked for.
fn range(get: &GetLogPage) -> Result<(usize, usize), Status> {
    let number = |value: u64| usize::try_from(value).map_err(|_| Status::INVALID_FIELD.dnr());
    Ok((number(get.offset)?, number(get.len)?))
}

/// The part of a page, as far as it goes; an offset behind the end is refused.
fn part(page: &[u8], get: &GetLogPage) -> Result<Vec<u8>, Status> {
    let (offset, len) = range(get)?;
    let rest = page.get(offset..).ok_or(Status::INVALID_FIELD.dnr())?;
    Ok(rest.get(..len.min(rest.len())).unwrap_or_default().to_vec())
}

fn page(target: &Target, key: Key, get: &GetLogPage, nsid: u32) -> Result<Vec<u8>, Status> {
    let controller = target.controllers.get(key).ok_or(Status::ABORTED_SQ_DELETION)?;
    let crate::controller::Kind::Io(subsystem) = controller.kind else {
        return Err(Status::INVALID_LOG_PAGE.dnr());
    };
    let subsystem = target.subsystems.get(subsystem).ok_or(Status::ABORTED_SQ_DELETION)?;
    let context = Context { target, controller, subsystem: Some(subsystem) };
    let view = View { subsystem, visible: &controller.visible };
    match get.lid {
        LogPage::SUPPORTED => Ok(table(SUPPORTED.iter().map(|page| page.0))),
        LogPage::FEATURE_EFFECTS => Ok(table(feature::SUPPORTED.iter().map(|feature| feature.0))),
        LogPage::ERROR => Ok(errors(controller)),
        // Not kept per namespace, says LPA bit 0: then no single one may be named (Base 2.1 §5.1.12.1.3).
        LogPage::SMART if nsid != 0 && nsid != NSID_ALL => Err(Status::INVALID_FIELD.dnr()),
        LogPage::SMART => Ok(smart(controller).as_bytes().to_vec()),
        LogPage::FIRMWARE_SLOT => Ok(firmware(&context).as_bytes().to_vec()),
        LogPage::CHANGED_NAMESPACES => Ok(changed(&controller.changed_namespaces)),
        LogPage::RESERVATION => Ok(controller.inbox.page()),
        LogPage::COMMAND_EFFECTS if get.csi == 0 => Ok(effects().as_bytes().to_vec()),
        LogPage::COMMAND_EFFECTS => Err(Status::INVALID_FIELD.dnr()),
        LogPage::ANA => Ok(ana::log(view, get.lsp & ANA_LSP_GROUPS_ONLY != 0)),
        _ => Err(Status::INVALID_LOG_PAGE.dnr()),
    }
}

/// 256 dwords, with bit 0 set for what is supported.
fn table(numbers: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut page = vec![0u8; 1024];
    for number in numbers {
        if let Some(entry) = page.get_mut(usize::from(number).saturating_mul(4)) {
            *entry = 1;
        }
    }
    page
}

fn errors(controller: &Controller) -> Vec<u8> {
    let mut page: Vec<u8> = controller.errors.iter().flat_map(|entry| entry.as_bytes().to_vec()).collect();
    page.resize(ERRORS_MAX.saturating_mul(size_of::<ErrorEntry>()), 0);
    page
}

/// What a controller without temperature and wear can truthfully say.
fn smart(controller: &Controller) -> SmartLog {
    let counters = &controller.counters;
    // A data unit is 1000 times 512 bytes, rounded up.
    let thousands = |units: u64| u128::from(units).div_ceil(1000).to_le_bytes();
    let mut log = SmartLog::new_zeroed();
    log.available_spare = 100;
    log.spare_threshold = 10;
    log.data_units_read = thousands(counters.units_read);
    log.data_units_written = thousands(counters.units_written);
    log.host_reads = u128::from(counters.reads).to_le_bytes();
    log.host_writes = u128::from(counters.writes).to_le_bytes();
    log.media_errors = u128::from(counters.media_errors).to_le_bytes();
    log.error_entries = u128::from(counters.errors).to_le_bytes();
    log
}

fn firmware(context: &Context<'_>) -> FirmwareSlotLog {
    let mut log = FirmwareSlotLog::new_zeroed();
    log.afi = 1;
    if let Some(slot) = log.frs.first_mut() {
        *slot = ascii_field(&context.target.config.firmware);
    }
    log
}

/// Ascending; if there are more than the page has room for, only the number that stands for all (Base 2.1 §5.1.12.1.5).
fn changed(namespaces: &BTreeSet<u32>) -> Vec<u8> {
    let mut page: Vec<u8> = if namespaces.len() > CHANGED_NAMESPACES_MAX {
        NSID_ALL.to_le_bytes().to_vec()
    } else {
        namespaces.iter().flat_map(|nsid| nsid.to_le_bytes()).collect()
    };
    page.resize(CHANGED_NAMESPACES_MAX.saturating_mul(4), 0);
    page
}

/// No command has effects beyond its data: Linux would freeze all IO around one that claimed some.
fn effects() -> EffectsLog {
    let mut log = EffectsLog::new_zeroed();
    for opcode in admin::SUPPORTED {
        if let Some(entry) = log.admin.get_mut(usize::from(opcode.0)) {
            *entry = U32::new(EffectsLog::CSUPP);
        }
    }
    let reservations = guard::SUPPORTED.map(|opcode| (opcode, nvm::Changes::Nothing));
    for (opcode, changes) in nvm::SUPPORTED.into_iter().chain(reservations) {
        let effect = match changes {
            nvm::Changes::Nothing => EffectsLog::CSUPP,
            nvm::Changes::Data => EffectsLog::CSUPP | EffectsLog::LBCC,
        };
        if let Some(entry) = log.io.get_mut(usize::from(opcode.0)) {
            *entry = U32::new(effect);
        }
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: as many changes as there is room for are named; one more, and the host is told to look at all.
    #[test]
    fn too_many_changed_namespaces_are_all() {
        let first: BTreeSet<u32> = (1..=1024).collect();
        let page = changed(&first);
        assert!(page.len() == 4096 && page.ends_with(&1024u32.to_le_bytes()));
        let page = changed(&(1..=1025).collect());
        assert!(page.len() == 4096 && page.starts_with(&[0xff; 4]));
        assert!(page.iter().skip(4).all(|byte| *byte == 0));
    }
}
