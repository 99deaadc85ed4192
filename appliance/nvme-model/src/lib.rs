//! A model NVMe controller with fault hooks: the driver's test partner.
