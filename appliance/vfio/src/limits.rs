//! Bounds of this crate.

/// The lowest address given to a mapping. Below 4 GiB lie the interrupt window (FEE00000h to FEEFFFFFh) and, on many
/// machines, ranges that the firmware reserved.
pub const IOVA_FIRST: u64 = 4 << 30;
/// All mappings end at or below this: 39 bits, the smallest width of the IOMMUs we know of (client VT-d, QEMU < 9.2).
pub const IOVA_END: u64 = 1 << 39;
/// Where mappings start: at multiples of this, so that the IOMMU can use its largest pages.
pub const IOVA_ALIGN: u64 = 1 << 30;
/// Addresses tried for one mapping before giving up. The kernel refuses ranges that firmware or bridges reserved.
pub const IOVA_TRIES_MAX: u32 = 64;
/// The most bytes of a BAR that are mapped. NVMe registers and 65536 doorbell pairs at the widest stride are less than
/// that; a controller memory buffer behind them is not used.
pub const BAR_BYTES_MAX: u64 = 16 << 20;

const _: () = assert!(IOVA_FIRST.is_multiple_of(IOVA_ALIGN) && IOVA_FIRST < IOVA_END);
const _: () = assert!((IOVA_TRIES_MAX as u64) < (IOVA_END - IOVA_FIRST) / IOVA_ALIGN);
