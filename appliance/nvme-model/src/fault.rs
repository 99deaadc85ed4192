//! What can go wrong: rules for single commands, switches for the controller.

use core::ops::Range;
use core::time::Duration;
use nvme_spec::Status;

/// What happens to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails with this status; no data is moved.
    Status(Status),
    /// It is never executed and never completed.
    Lost,
    /// It is executed and completed later.
    Delay(Duration),
    /// It is executed, and completed under an identifier that nobody used.
    WrongCid,
    /// It is executed once and completed twice.
    Twice,
}

/// Which commands a fault is for.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Commands of the admin queue, else of I/O queues.
    pub is_admin: bool,
    /// Only this opcode.
    pub opcode: Option<u8>,
    /// Only commands that touch these logical blocks.
    pub lbas: Option<Range<u64>>,
    /// How many times, the first ones.
    pub times: u32,
    /// What happens.
    pub fault: Fault,
}

impl Rule {
    /// The next `times` I/O commands.
    #[must_use]
    pub fn io(fault: Fault, times: u32) -> Self {
        Self { is_admin: false, opcode: None, lbas: None, times, fault }
    }

    /// The next `times` admin commands with this opcode.
    #[must_use]
    pub fn admin(opcode: u8, fault: Fault, times: u32) -> Self {
        Self { is_admin: true, opcode: Some(opcode), lbas: None, times, fault }
    }

    /// Only commands with this opcode.
    #[must_use]
    pub fn opcode(self, opcode: u8) -> Self {
        Self { opcode: Some(opcode), ..self }
    }

    /// Only commands that touch these logical blocks.
    #[must_use]
    pub fn lbas(self, lbas: Range<u64>) -> Self {
        Self { lbas: Some(lbas), ..self }
    }

    pub(crate) fn matches(&self, is_admin: bool, opcode: u8, lbas: &Range<u64>) -> bool {
        let touches = |range: &Range<u64>| range.start < lbas.end && lbas.start < range.end;
        self.times > 0
            && self.is_admin == is_admin
            && self.opcode.is_none_or(|wanted| wanted == opcode)
            && self.lbas.as_ref().is_none_or(touches)
    }
}

/// Faults of the controller as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// CSTS.RDY never follows a start.
    pub never_starts: bool,
    /// CSTS.RDY never drops after a stop; commands go on.
    pub never_stops: bool,
    /// A shutdown never completes.
    pub never_shuts_down: bool,
    /// This many starts end in a fatal status.
    pub fatal_starts: u32,
    /// A fatal status now; nothing is executed until the next start.
    pub fatal: bool,
    /// The device is gone: registers read as ones, nothing is executed.
    pub gone: bool,
    /// The platform cannot cut the device off.
    pub cannot_isolate: bool,
}
