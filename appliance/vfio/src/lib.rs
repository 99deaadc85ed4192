//! PCI devices over VFIO: BARs, DMA mapping, interrupts, reset.
