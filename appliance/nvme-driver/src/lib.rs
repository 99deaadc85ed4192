//! The user-space NVMe PCIe driver, polled, over two small traits.
