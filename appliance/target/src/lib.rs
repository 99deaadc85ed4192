//! Joins the NVMe/TCP protocol and storage on a core.
