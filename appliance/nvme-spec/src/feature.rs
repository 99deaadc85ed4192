//! Features and asynchronous events (Base 2.1 §5.1.25, §5.1.2).

use bitfield_struct::bitfield;

open_enum! {
    /// Feature identifiers (Base 2.1 figure 385).
    pub struct FeatureId(u8) {
        /// Arbitration.
        ARBITRATION = 0x01,
        /// Power Management.
        POWER_MANAGEMENT = 0x02,
        /// Temperature Threshold.
        TEMPERATURE_THRESHOLD = 0x04,
        /// Error Recovery (NVM 1.1 §4.1.3.2).
        ERROR_RECOVERY = 0x05,
        /// Volatile Write Cache.
        VOLATILE_WRITE_CACHE = 0x06,
        /// Number of Queues.
        NUMBER_OF_QUEUES = 0x07,
        /// Interrupt Coalescing.
        INTERRUPT_COALESCING = 0x08,
        /// Interrupt Vector Configuration.
        INTERRUPT_VECTOR = 0x09,
        /// Write Atomicity Normal.
        WRITE_ATOMICITY = 0x0a,
        /// Asynchronous Event Configuration.
        ASYNC_EVENT_CONFIG = 0x0b,
        /// Autonomous Power State Transition.
        AUTONOMOUS_POWER = 0x0c,
        /// Timestamp.
        TIMESTAMP = 0x0e,
        /// Keep Alive Timer.
        KEEP_ALIVE_TIMER = 0x0f,
        /// Host Behavior Support.
        HOST_BEHAVIOR = 0x16,
        /// Host Identifier.
        HOST_IDENTIFIER = 0x81,
        /// Reservation Notification Mask.
        RESERVATION_NOTIFICATION_MASK = 0x82,
        /// Reservation Persistence.
        RESERVATION_PERSISTENCE = 0x83,
        /// Namespace Write Protection Config.
        WRITE_PROTECTION = 0x84,
    }
}

/// Dword 10 of Get Features and Set Features.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct FeatureCdw10 {
    /// Feature identifier.
    pub fid: u8,
    /// Get Features: 0 current, 1 default, 2 saved, 3 supported capabilities.
    #[bits(3)]
    pub sel: u8,
    #[bits(20)]
    __: u32,
    /// Set Features: save.
    pub sv: bool,
}

/// Number of Queues, as requested and as granted (Base 2.1 §5.1.25.2.1).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct NumberOfQueues {
    /// Submission queues, 0's based.
    pub nsq_z: u16,
    /// Completion queues, 0's based.
    pub ncq_z: u16,
}

/// Which notices are sent: bits of OAES in Identify Controller and of Asynchronous Event Configuration.
pub mod notice {
    /// Attached namespace attribute changed.
    pub const NAMESPACE_ATTRIBUTE: u32 = 1 << 8;
    /// Firmware activation.
    pub const FIRMWARE_ACTIVATION: u32 = 1 << 9;
    /// Asymmetric namespace access changed.
    pub const ANA_CHANGE: u32 = 1 << 11;
    /// Discovery log page changed.
    pub const DISCOVERY_CHANGE: u32 = 1 << 31;
}

/// Dword 0 of a completed Asynchronous Event Request (Base 2.1 figure 151).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct AsyncEvent {
    /// 0 error, 1 SMART or health, 2 notice, 6 I/O command set, 7 vendor specific.
    #[bits(3)]
    pub kind: u8,
    #[bits(5)]
    __: u8,
    /// What happened.
    pub information: u8,
    /// The log page that tells more and, read without RAE, re-arms the event.
    pub log_page: u8,
    #[bits(8)]
    __: u8,
}

impl AsyncEvent {
    /// Event type "notice".
    pub const NOTICE: u8 = 2;
    /// Event type "I/O command set specific".
    pub const IO_COMMAND_SET: u8 = 6;
    /// Information of that type: a reservation log page is available.
    pub const RESERVATION_LOG_AVAILABLE: u8 = 0x00;
    /// Information: attached namespace attribute changed.
    pub const NAMESPACE_ATTRIBUTE_CHANGED: u8 = 0x00;
    /// Information: asymmetric namespace access changed.
    pub const ANA_CHANGED: u8 = 0x03;
    /// Information: discovery log page changed.
    pub const DISCOVERY_CHANGED: u8 = 0xf0;
}
