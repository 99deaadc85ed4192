//! NVMe base, NVM command set, fabrics, TCP PDUs and PCIe registers as types; no IO.
