//! The command line: arguments, calls, what is printed.

pub(crate) mod args;
mod check;
mod commands;
mod failure;
mod io;
mod json;
mod table;
mod text;

pub(crate) use commands::execute;
pub(crate) use failure::Failure;
