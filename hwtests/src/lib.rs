//! QEMU hardware for tests: boots the real image on emulated drives, with a real Linux host beside it.
