//! A line editor for any terminal: printable characters, backspace, Ctrl-U, Ctrl-C, Enter; everything else is dropped.

use crate::limits::CONSOLE_INPUT_MAX;

/// What a byte completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A line, without its end.
    Line(String),
    /// Ctrl-C: the line is thrown away.
    Cancel,
}

/// Where in an escape sequence the input is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// After ESC.
    Begun,
    /// After `ESC [` or `ESC O`.
    Parameters,
}

/// The line that is being typed.
#[derive(Debug, Default)]
pub struct Editor {
    line: String,
    escape: Escape,
    /// The last byte was a carriage return: a line feed after it belongs to it.
    after_return: bool,
}

impl Editor {
    /// Takes a byte; appends what the terminal must show to `echo`.
    pub fn on_byte(&mut self, byte: u8, echo: &mut String) -> Option<Event> {
        let after_return = std::mem::replace(&mut self.after_return, byte == b'\r');
        if self.in_escape(byte) {
            return None;
        }
        match byte {
            b'\n' if after_return => None,
            b'\r' | b'\n' => {
                echo.push('\n');
                Some(Event::Line(std::mem::take(&mut self.line)))
            }
            // Terminals send one or the other for the backspace key.
            0x08 | 0x7f => {
                if self.line.pop().is_some() {
                    echo.push_str("\x08 \x08");
                }
                None
            }
            // Ctrl-U
            0x15 => {
                for _ in 0..self.line.len() {
                    echo.push_str("\x08 \x08");
                }
                self.line.clear();
                None
            }
            // Ctrl-C
            0x03 => {
                self.line.clear();
                echo.push_str("^C\n");
                Some(Event::Cancel)
            }
            b' '..=b'~' if self.line.len() < CONSOLE_INPUT_MAX => {
                self.line.push(char::from(byte));
                echo.push(char::from(byte));
                None
            }
            _ => None,
        }
    }

    /// Listens while the console is silent. Once somebody is there: the bytes that have arrived and are still to be taken. Enter
    /// does nothing but wake; a character that wakes is the first of a line.
    pub fn wakes<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        for (at, byte) in bytes.iter().enumerate() {
            let event = self.on_byte(*byte, &mut String::new());
            if matches!(event, Some(Event::Line(_))) || !self.line.is_empty() {
                return bytes.get(at + 1..);
            }
        }
        None
    }

    /// What has been typed so far.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Swallows escape sequences (cursor and function keys, answers of a terminal).
    fn in_escape(&mut self, byte: u8) -> bool {
        self.escape = match (self.escape, byte) {
            (Escape::None, 0x1b) => Escape::Begun,
            (Escape::None, _) => return false,
            (Escape::Begun, b'[' | b'O') => Escape::Parameters,
            // ECMA-48 §5.4: parameters are 0x20 to 0x3f, the final byte is 0x40 to 0x7e.
            (Escape::Parameters, 0x20..=0x3f) => Escape::Parameters,
            // Enter always counts, so that a broken sequence cannot swallow a command.
            (Escape::Begun | Escape::Parameters, b'\r' | b'\n') => {
                self.escape = Escape::None;
                return false;
            }
            (Escape::Begun | Escape::Parameters, _) => Escape::None,
        };
        true
    }
}
