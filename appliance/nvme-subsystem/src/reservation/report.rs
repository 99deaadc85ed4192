//! Reservation Report (Base 2.1 §7.8).

use super::{Reservation, Role};
use nvme_spec::reservation::{RegistrantStatus, ReservationStatus};
use nvme_spec::{Sqe, Status};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromZeros, IntoBytes};

/// Extended data structure: 128-bit host identifiers, the only ones that fabrics have (Base 2.1 §5.1.25.1.28).
const EDS: u32 = 1;

/// How long a report the host asks for.
pub(crate) fn check(sqe: &Sqe, data_len: u32) -> Result<u32, Status> {
    if sqe.cdw11.get() & EDS == 0 {
        return Err(Status::HOST_ID_INCONSISTENT.dnr());
    }
    // NUMD is 0's based, in dwords.
    let len = u64::from(sqe.cdw10.get()).saturating_add(1).saturating_mul(4);
    if len > u64::from(crate::limits::TRANSFER_MAX) {
        return Err(Status::INVALID_FIELD.dnr());
    }
    if len != u64::from(data_len) {
        return Err(Status::INVALID_SGL_LENGTH.dnr());
    }
    Ok(data_len)
}

/// The report of a state.
pub(crate) fn report(state: &Reservation) -> Vec<u8> {
    let mut header = ReservationStatus::new_zeroed();
    header.generation = U32::new(state.generation);
    header.rtype = state.rtype().0;
    header.regstrnt = u16::try_from(state.registrants.len()).unwrap_or(u16::MAX).to_le_bytes();
    header.ptpls = u8::from(state.is_persistent);
    let mut page = header.as_bytes().to_vec();
    for registrant in &state.registrants {
        let mut entry = RegistrantStatus::new_zeroed();
        entry.cntlid = u16::MAX.to_le_bytes();
        entry.rcsts = u8::from(state.role(&registrant.host) == Role::Holder);
        entry.rkey = U64::new(registrant.key);
        entry.hostid = registrant.host;
        page.extend_from_slice(entry.as_bytes());
    }
    page
}
