//! What kind of drive the model is.

use core::time::Duration;
use nvme_spec::register::{Cap, Crto, Vs};

/// Properties of the model. The default is a healthy small drive with 4 KiB blocks and a write cache.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// Capabilities register.
    pub cap: Cap,
    /// Controller Ready Timeouts register.
    pub crto: Crto,
    /// Version register.
    pub vs: Vs,
    /// Serial number.
    pub serial: &'static str,
    /// Active namespaces; data is in the first.
    pub namespaces: Vec<u32>,
    /// Size in logical blocks.
    pub lbas: u64,
    /// Block size as a power of two.
    pub lbads: u8,
    /// Metadata bytes of each block.
    pub metadata_bytes: u16,
    /// Longest transfer as a power of two of pages; 0 is no limit.
    pub mdts: u8,
    /// Longest Write Zeroes as a power of two of pages; 0 is no limit.
    pub wzsl: u8,
    /// Identify of the NVM command set's controller page works.
    pub has_nvm_page: bool,
    /// Write Zeroes is supported.
    pub has_write_zeroes: bool,
    /// A volatile write cache is present.
    pub has_volatile_cache: bool,
    /// AWUPF, 0's based.
    pub awupf_z: u16,
    /// How long a start takes.
    pub start_time: Duration,
    /// How long a stop takes.
    pub stop_time: Duration,
    /// How long a shutdown takes.
    pub shutdown_time: Duration,
    /// Bytes of queue memory that the platform gives out.
    pub queue_bytes: usize,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            cap: Cap::new().with_mqes_z(1023).with_cqr(true).with_to(4).with_css(1),
            crto: Crto::new(),
            vs: Vs::new().with_mjr(2),
            serial: "MODEL0",
            namespaces: vec![1],
            lbas: 1 << 20,
            lbads: 12,
            metadata_bytes: 0,
            mdts: 5,
            wzsl: 0,
            has_nvm_page: true,
            has_write_zeroes: true,
            has_volatile_cache: true,
            awupf_z: 0,
            start_time: Duration::from_millis(3),
            stop_time: Duration::from_millis(2),
            shutdown_time: Duration::from_millis(50),
            queue_bytes: 8 << 20,
        }
    }
}
