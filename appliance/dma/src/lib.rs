//! Hugepage arenas and the memory that a device may write.
