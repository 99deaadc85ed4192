//! Reservation notifications of one controller: log page 80h (Base 2.1 §5.1.12.1.32) and its mask, feature 82h.
//!
//! Each reading that re-arms events takes one notification out. Where too many wait, the oldest is lost; the host sees that
//! from the count, which has a gap then.

use crate::limits::RESERVATION_EVENTS_MAX;
use nvme_spec::reservation::{ReservationEvent, ReservationNotification};
use std::collections::{BTreeMap, VecDeque};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromZeros, IntoBytes};

/// Mask bits that mean something: one for each event, at its number.
pub(crate) const MASK: u8 = 0b1110;

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    waiting: VecDeque<(u64, ReservationEvent, u32)>,
    count: u64,
    /// By namespace; at most one for each that there was.
    masks: BTreeMap<u32, u8>,
}

impl Inbox {
    /// Keeps a notification; false if the host does not want it.
    pub(crate) fn push(&mut self, event: ReservationEvent, nsid: u32) -> bool {
        if self.mask(nsid) & 1_u8.checked_shl(event.0.into()).unwrap_or(0) != 0 {
            return false;
        }
        self.count = self.count.wrapping_add(1);
        if self.waiting.len() >= RESERVATION_EVENTS_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back((self.count, event, nsid));
        true
    }

    /// The oldest one has been read.
    pub(crate) fn pop(&mut self) {
        self.waiting.pop_front();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The page of the oldest one.
    pub(crate) fn page(&self) -> Vec<u8> {
        let mut page = ReservationNotification::new_zeroed();
        if let Some((count, event, nsid)) = self.waiting.front() {
            page.count = U64::new(*count);
            page.event = event.0;
            page.available = u8::try_from(self.waiting.len().saturating_sub(1)).unwrap_or(u8::MAX);
            page.nsid = U32::new(*nsid);
        }
        page.as_bytes().to_vec()
    }

    pub(crate) fn mask(&self, nsid: u32) -> u8 {
        self.masks.get(&nsid).copied().unwrap_or(0)
    }

    pub(crate) fn set_mask(&mut self, nsid: u32, mask: u8) {
        self.masks.insert(nsid, mask & MASK);
    }
}
