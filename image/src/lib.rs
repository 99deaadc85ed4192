//! Builds every bootable form from one profile.
