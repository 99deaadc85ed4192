//! Opcodes. Which table an opcode belongs to depends on the queue, so the entry itself holds a plain byte.

open_enum! {
    /// Opcodes of the admin queue (Base 2.1 §3.1.3.4, figure 89).
    pub struct AdminOpcode(u8) {
        /// Delete I/O Submission Queue (PCIe only).
        DELETE_IO_SQ = 0x00,
        /// Create I/O Submission Queue (PCIe only).
        CREATE_IO_SQ = 0x01,
        /// Get Log Page.
        GET_LOG_PAGE = 0x02,
        /// Delete I/O Completion Queue (PCIe only).
        DELETE_IO_CQ = 0x04,
        /// Create I/O Completion Queue (PCIe only).
        CREATE_IO_CQ = 0x05,
        /// Identify.
        IDENTIFY = 0x06,
        /// Abort.
        ABORT = 0x08,
        /// Set Features.
        SET_FEATURES = 0x09,
        /// Get Features.
        GET_FEATURES = 0x0a,
        /// Asynchronous Event Request.
        ASYNC_EVENT_REQUEST = 0x0c,
        /// Namespace Management.
        NAMESPACE_MANAGEMENT = 0x0d,
        /// Firmware Commit.
        FIRMWARE_COMMIT = 0x10,
        /// Firmware Image Download.
        FIRMWARE_DOWNLOAD = 0x11,
        /// Namespace Attachment.
        NAMESPACE_ATTACHMENT = 0x15,
        /// Keep Alive.
        KEEP_ALIVE = 0x18,
        /// Doorbell Buffer Config.
        DOORBELL_BUFFER_CONFIG = 0x7c,
        /// Fabrics command; the fabrics command type says which.
        FABRICS = 0x7f,
        /// Format NVM.
        FORMAT_NVM = 0x80,
    }
}

open_enum! {
    /// Opcodes of I/O queues (NVM 1.1 §3.3, figure 27).
    pub struct NvmOpcode(u8) {
        /// Flush.
        FLUSH = 0x00,
        /// Write.
        WRITE = 0x01,
        /// Read.
        READ = 0x02,
        /// Write Uncorrectable.
        WRITE_UNCORRECTABLE = 0x04,
        /// Compare.
        COMPARE = 0x05,
        /// Write Zeroes.
        WRITE_ZEROES = 0x08,
        /// Dataset Management.
        DATASET_MANAGEMENT = 0x09,
        /// Verify.
        VERIFY = 0x0c,
        /// Reservation Register.
        RESERVATION_REGISTER = 0x0d,
        /// Reservation Report.
        RESERVATION_REPORT = 0x0e,
        /// Reservation Acquire.
        RESERVATION_ACQUIRE = 0x11,
        /// Reservation Release.
        RESERVATION_RELEASE = 0x15,
        /// Copy.
        COPY = 0x19,
        /// Fabrics command; the fabrics command type says which.
        FABRICS = 0x7f,
    }
}

open_enum! {
    /// Fabrics command types (Base 2.1 §6, figure 540).
    pub struct FabricsType(u8) {
        /// Property Set.
        PROPERTY_SET = 0x00,
        /// Connect.
        CONNECT = 0x01,
        /// Property Get.
        PROPERTY_GET = 0x04,
        /// Authentication Send.
        AUTHENTICATION_SEND = 0x05,
        /// Authentication Receive.
        AUTHENTICATION_RECEIVE = 0x06,
        /// Disconnect.
        DISCONNECT = 0x08,
    }
}

/// Which way the data of a command goes; the low two bits of every opcode and fabrics type say so (Base 2.1 §3.1.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataDirection {
    /// No data.
    None,
    /// Host to controller: a write.
    ToController,
    /// Controller to host: a read.
    ToHost,
    /// Both ways; no command of ours does that.
    Both,
}

impl DataDirection {
    /// The direction that an opcode (or fabrics command type) stands for.
    #[must_use]
    pub const fn of(opcode: u8) -> Self {
        match opcode & 3 {
            0 => Self::None,
            1 => Self::ToController,
            2 => Self::ToHost,
            _ => Self::Both,
        }
    }
}
