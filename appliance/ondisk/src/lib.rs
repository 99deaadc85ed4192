//! Every struct that reaches a disk: versioned, checksummed, with golden dumps.
