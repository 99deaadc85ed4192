//! How a service of init speaks: lines on standard error, with a level that PID 1 understands.
//!
//! `<3>` is an error, `<4>` a warning, nothing is information (the numbers of syslog). A remedy is a line of its own that
//! begins with `-> `.

use crate::journal::Level;

/// Information.
pub fn info(text: &str) {
    say("", text, "");
}

/// Worse than it should be; the remedy may be empty.
pub fn warning(text: &str, remedy: &str) {
    say("<4>", text, remedy);
}

/// Needs a person; the remedy may be empty.
pub fn error(text: &str, remedy: &str) {
    say("<3>", text, remedy);
}

#[allow(clippy::print_stderr, reason = "standard error is the channel to PID 1")]
fn say(level: &str, text: &str, remedy: &str) {
    eprintln!("{level}{text}");
    if !remedy.is_empty() {
        eprintln!("{level}-> {remedy}");
    }
}

/// Takes the level off a service's line. The daemon's own words for levels stay in the text.
#[must_use]
pub fn parse(line: &str) -> (Level, &str) {
    let known = [("<3>", Level::Error), ("<4>", Level::Warning), ("<6>", Level::Info)];
    for (prefix, level) in known {
        if let Some(text) = line.strip_prefix(prefix) {
            return (level, text);
        }
    }
    let begin = line.trim_start();
    let words = [("ERROR ", Level::Error), ("error: ", Level::Error), ("WARN ", Level::Warning)];
    let level =
        words.iter().find(|(word, _)| begin.starts_with(word)).map_or(Level::Info, |(_, level)| *level);
    (level, line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: levels are understood, and a line without one is information.
    #[test]
    fn levels() {
        assert_eq!(parse("<3>no link"), (Level::Error, "no link"));
        assert_eq!(parse("<4>slow"), (Level::Warning, "slow"));
        assert_eq!(parse("hello"), (Level::Info, "hello"));
        assert_eq!(parse(" WARN slow"), (Level::Warning, " WARN slow"));
        assert_eq!(parse("error: no"), (Level::Error, "error: no"));
        assert_eq!(parse("<9>odd"), (Level::Info, "<9>odd"));
    }
}
