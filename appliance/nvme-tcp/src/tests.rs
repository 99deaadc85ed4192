//! Pairs of a host and a controller in simulated time.
