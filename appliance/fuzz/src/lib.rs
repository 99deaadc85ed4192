//! What foreign bytes may do: one plain function for each surface that a stranger can reach (layer 7).
//!
//! ```text
//!  bytes ─▶ Choices ─▶ a conversation with the code that ships ─▶ oracles: an assertion fails = a finding
//! ```
//!
//! | surface | what the bytes are | what must hold |
//! |---|---|---|
//! | [`controller`] | PDUs of a host, good and bad, in any pieces; the owner's answers; time | every command is answered once, every PDU sent is well formed, data is placed inside its buffer, queues are bounded |
//! | [`host`] | PDUs of a controller | no data leaves that was not asked for, a read that succeeded is whole |
//! | [`connect`] | Connect commands and their data, on several connections | only who may connect does; refusals name a place in the command |
//! | [`admin`] | admin commands with their data | answered once, pages never longer than asked for, parts of a page are parts of the same page |
//! | [`nvm`] | I/O commands | what reaches the storage lies inside its namespace and has the length of its data |
//! | [`discovery`] | reads of the discovery log while it changes | what is read in parts belongs together, nothing comes from behind the end |
//!
//! No panic is the least. The functions run everywhere: `tests/corpus.rs` replays the committed inputs with the ordinary
//! tests, `libfuzzer/` has the binaries for `make fuzz`, which look for new ones.
//!
//! Not here: anything random. An input is a test.
#![forbid(unsafe_code)]

mod admin;
mod choices;
mod connect;
mod controller;
mod discovery;
mod host;
mod nvm;
mod requests;
mod reservations;
mod rules;
mod storage;
mod wire;
mod world;

pub use admin::admin;
pub use connect::connect;
pub use controller::controller;
pub use discovery::discovery;
pub use host::host;
pub use nvm::nvm;

/// A surface: takes bytes, panics if something is wrong.
pub type Surface = fn(&[u8]);

/// All surfaces by name; the corpus of each lies in `corpus/<name>`.
pub const SURFACES: [(&str, Surface); 6] = [
    ("admin", admin),
    ("connect", connect),
    ("controller", controller),
    ("discovery", discovery),
    ("host", host),
    ("nvm", nvm),
];
