//! Bounds of the image builder. Packages come from outside: nothing in one may make us take all memory.

/// Largest package file read, in bytes. Guessed: the kernel package has 106 MB.
pub const PACKAGE_LEN_MAX: u64 = 512 << 20;

/// Largest unpacked content of a package, in bytes. Guessed: the kernel package unpacks to 120 MB.
pub const CONTENT_LEN_MAX: u64 = 2 << 30;

/// Largest kernel module after decompression, in bytes. Guessed: the largest of Debian's are about 10 MB.
pub const MODULE_LEN_MAX: u64 = 64 << 20;

/// Longest chain of symbolic links followed inside a package. Guessed: real chains have two or three links.
pub const LINKS_MAX: usize = 16;
