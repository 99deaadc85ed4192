//! The loop of one core: adaptive polling, timers, the mailbox from the control plane.
