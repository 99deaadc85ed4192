//! Drives joined to a pool: space, thick volumes, the metadata record; without IO.
