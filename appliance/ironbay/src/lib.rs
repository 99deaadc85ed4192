//! The command line client of Ironbay.
