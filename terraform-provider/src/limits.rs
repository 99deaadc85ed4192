//! Bounds of the provider, each with its reason. How long one answer may take is bounded by the API's client.

use std::time::Duration;

/// How long to try a node that never answered in this run. A wrong address should be told soon; a node that is just
/// starting its API needs a moment (guessed).
pub const PATIENCE_FIRST: Duration = Duration::from_secs(4);

/// How long to try a node that answered before: the restart of its engine or agent takes seconds (guessed, with margin).
pub const PATIENCE_AFTER_CONTACT: Duration = Duration::from_secs(30);

/// After the first patience ended in vain, every further call in this time gets the same answer at once. A plan over many
/// volumes of a node that is off then fails once, not once for each volume.
pub const FAILURE_MEMORY: Duration = Duration::from_secs(30);

/// Pauses between attempts double from here …
pub const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// … to here.
pub const PAUSE_MAX: Duration = Duration::from_secs(2);
