//! Reservations as the standard tells them (Base 2.1 §8.1.22), by themselves: what a namespace's report must say after a
//! command, and what the report lets a host do.

use crate::world::Who;
use nvme_spec::NvmOpcode;

/// A Reservation Report with 128-bit host identifiers, read by nothing but the standard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    generation: u32,
    rtype: u8,
    is_persistent: bool,
    /// Host identifier, key, whether it holds the reservation.
    registrants: Vec<([u8; 16], u64, bool)>,
}

/// Dword 10 and data of Register, Acquire or Release.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) opcode: NvmOpcode,
    pub(crate) cdw10: u32,
    pub(crate) crkey: u64,
    pub(crate) other: u64,
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

impl Report {
    /// Reads one, and checks what holds for all.
    pub(crate) fn read(page: &[u8]) -> Self {
        let count = usize::from(u16::from_le_bytes([page[5], page[6]]));
        assert!(count <= nvme_subsystem::limits::REGISTRANTS_MAX, "registrants are bounded");
        let registrants: Vec<_> = page[64..]
            .chunks_exact(64)
            .take(count)
            .map(|entry| {
                assert_eq!((entry[0], entry[1], entry[2] & !1), (0xff, 0xff, 0), "a dynamic controller");
                (entry[16..32].try_into().expect("16 bytes"), u64_at(entry, 8), entry[2] == 1)
            })
            .collect();
        let [a, b, c, d, rtype, ..] = page else { unreachable!("a page has a header") };
        let generation = u32::from_le_bytes([*a, *b, *c, *d]);
        let report = Self { generation, rtype: *rtype, is_persistent: page[9] == 1, registrants };
        for (index, (host, key, _)) in report.registrants.iter().enumerate() {
            assert!(*key != 0 && !report.registrants[..index].iter().any(|(other, ..)| other == host));
        }
        let holders = report.registrants.iter().filter(|(.., is_holder)| *is_holder).count();
        match rtype {
            0 => assert_eq!(holders, 0, "nobody holds nothing"),
            1..=4 => assert_eq!(holders, 1, "one holds it"),
            5 | 6 => assert!(holders == count && count > 0, "all hold it"),
            _ => panic!("a type that does not exist"),
        }
        report
    }

    fn find(&self, who: Who) -> Option<&([u8; 16], u64, bool)> {
        self.registrants.iter().find(|(host, ..)| *host == who.id)
    }

    /// Whether a host may send a command that reads or writes.
    pub(crate) fn allows(&self, who: Who, is_write: bool) -> bool {
        let is_registered = self.find(who).is_some();
        if self.find(who).is_some_and(|(.., is_holder)| *is_holder) {
            return true;
        }
        match (self.rtype, is_write) {
            (0, _) | (1 | 3 | 5, false) => true,
            (1, true) | (2, _) => false,
            _ => is_registered,
        }
    }

    /// What the report says after a command of a host; `None` if that is refused.
    pub(crate) fn after(&self, who: Who, request: Request) -> Option<Self> {
        let action = request.cdw10 & 7;
        let ignores_key = request.cdw10 & 8 != 0;
        let rtype = u8::try_from(request.cdw10 >> 8 & 0xff).expect("8 bits");
        let mut next = self.clone();
        let own = self.find(who).copied();
        let is_own_key = own.is_some_and(|(_, key, _)| key == request.crkey);
        match request.opcode {
            NvmOpcode::RESERVATION_REGISTER => {
                match request.cdw10 >> 30 {
                    0 => {}
                    2 => next.is_persistent = false,
                    3 => next.is_persistent = true,
                    _ => return None,
                }
                let is_possible = match action {
                    0 | 2 if request.other == 0 => false,
                    0 => own.is_none_or(|(_, key, _)| key == request.other),
                    1 | 2 => own.is_some() && (is_own_key || ignores_key),
                    _ => false,
                };
                if !is_possible {
                    return None;
                }
                match (action, own) {
                    (0, Some(_)) => return Some(next),
                    (0, None) => next.registrants.push((who.id, request.other, self.rtype >= 5)),
                    (2, _) => next.registrants.iter_mut().for_each(|(host, key, _)| {
                        if *host == who.id {
                            *key = request.other;
                        }
                    }),
                    _ => next.remove(|(host, ..)| *host == who.id),
                }
                next.generation = next.generation.wrapping_add(1);
            }
            _ if ignores_key || !is_own_key => return None,
            NvmOpcode::RESERVATION_ACQUIRE => return self.acquire(who, action, rtype, request.other),
            _ => match action {
                0 if own.is_none_or(|(.., is_holder)| !is_holder) => {}
                0 if rtype != self.rtype => return None,
                0 => next.free(),
                1 => {
                    next =
                        Self { generation: self.generation.wrapping_add(1), registrants: Vec::new(), ..next };
                    next.free();
                }
                _ => return None,
            },
        }
        Some(next)
    }

    fn acquire(&self, who: Who, action: u32, rtype: u8, prkey: u64) -> Option<Self> {
        let mut next = self.clone();
        if !(1..=6).contains(&rtype) || action > 2 {
            return None;
        }
        let is_holder = self.find(who).is_some_and(|(.., is_holder)| *is_holder);
        if action == 0 {
            if self.rtype == 0 {
                next.take(who, rtype);
            } else if !is_holder || self.rtype != rtype {
                return None;
            }
            return Some(next);
        }
        let is_by_all = self.rtype >= 5;
        let holder = self.registrants.iter().find(|(.., is_holder)| *is_holder && !is_by_all);
        let is_taken = holder.map_or(is_by_all && prkey == 0, |(_, key, _)| *key == prkey);
        if is_taken {
            next.registrants.retain(|(host, key, _)| *host == who.id || (prkey != 0 && *key != prkey));
            next.take(who, rtype);
        } else {
            if !self.registrants.iter().any(|(_, key, _)| *key == prkey) {
                return None;
            }
            next.remove(|(_, key, _)| *key == prkey);
        }
        next.generation = next.generation.wrapping_add(1);
        Some(next)
    }

    fn take(&mut self, who: Who, rtype: u8) {
        self.rtype = rtype;
        for (host, _, is_holder) in &mut self.registrants {
            *is_holder = rtype >= 5 || *host == who.id;
        }
    }

    fn free(&mut self) {
        self.rtype = 0;
        self.registrants.iter_mut().for_each(|(.., is_holder)| *is_holder = false);
    }

    /// Registrants go; a reservation whose holders go goes with them.
    fn remove(&mut self, is_gone: impl Fn(&([u8; 16], u64, bool)) -> bool) {
        self.registrants.retain(|registrant| !is_gone(registrant));
        if !self.registrants.iter().any(|(.., is_holder)| *is_holder) {
            self.free();
        }
    }
}
