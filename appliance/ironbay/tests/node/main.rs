//! A real node (`ironbayd` on files in a temporary directory), driven by the real command line client.

mod support;

mod check;
mod errors;
mod io;
mod management;
mod processes;
