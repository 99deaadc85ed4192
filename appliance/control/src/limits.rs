//! Bounds of the contract: what the engine refuses, and clients may therefore refuse earlier.
//!
//! The engine asserts that they are those of the format on the drives.

/// Names of pools and volumes: what a DNS label may have, so that names can become host names.
pub const NAME_LEN_MAX: usize = 63;

/// A serial number of a drive (NVMe Base 2.0 figure 275, SN: 20 bytes).
pub const SERIAL_LEN_MAX: usize = 20;

/// Drives of one pool: for so many the pool's metadata record has room.
pub const POOL_DRIVES_MAX: usize = 16;

/// Sizes of volumes are multiples of this: one extent of a pool.
pub const SIZE_STEP_BYTES: u64 = 1 << 20;

/// Sizes that a volume's logical blocks may have, in bytes (NVM 1.1 figure 116, LBADS: of its values those that hosts use).
pub const BLOCK_SIZES: [u32; 2] = [512, 4096];

/// Bytes of a logical block where nobody says otherwise: what drives write at once.
pub const BLOCK_SIZE_DEFAULT: u32 = 4096;

/// An NQN (NVMe Base 2.1 §4.7: 223 bytes).
pub const NQN_LEN_MAX: usize = 223;

/// Hosts that one volume may name: for so many different ones the pool's metadata record has room.
pub const ALLOWED_HOSTS_MAX: usize = 256;

/// Drives of a node. Guess: more than fit into two units.
pub const DRIVES_MAX: usize = 64;

const _: () = assert!(POOL_DRIVES_MAX <= DRIVES_MAX);
