//! Tables of plain characters that fit [`CONSOLE_COLUMNS`] columns.

use crate::limits::{CONSOLE_COLUMNS, CONSOLE_ROWS_MAX};

const GAP: usize = 2;
/// No column becomes narrower than this.
const WIDTH_MIN: usize = 6;

/// A table under construction.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<bool>,
}

impl Table {
    /// A table with these headings; one that ends with `>` stands over numbers, which are aligned to the right.
    #[must_use]
    pub fn new(headings: &[&str]) -> Self {
        let right = headings.iter().map(|h| h.ends_with('>')).collect();
        let first = headings.iter().map(|h| h.trim_end_matches('>').to_owned()).collect();
        Self { rows: vec![first], right }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: &[String; N]) {
        self.rows.push(cells.iter().map(|c| plain(c)).collect());
    }

    /// The text. Where the table is too wide, the widest column is cut until it fits.
    #[must_use]
    pub fn render(&self) -> String {
        let widths = self.widths();
        let shown = CONSOLE_ROWS_MAX.saturating_add(1);
        let mut text = String::new();
        for row in self.rows.iter().take(shown) {
            let mut line = String::new();
            for ((cell, width), right) in row.iter().zip(&widths).zip(&self.right) {
                let cell = cut(cell, *width);
                let padded = if *right { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
                line.push_str(&padded);
                line.push_str(&" ".repeat(GAP));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        let more = self.rows.len().saturating_sub(shown);
        if more > 0 {
            text.push_str(&format!("({more} more; the API and `ironbay` show all)\n"));
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.right.len();
        let mut widths: Vec<usize> = (0..columns)
            .map(|i| self.rows.iter().filter_map(|r| r.get(i)).map(String::len).max().unwrap_or(0))
            .collect();
        let gaps = GAP.saturating_mul(columns.saturating_sub(1));
        while widths.iter().sum::<usize>().saturating_add(gaps) > CONSOLE_COLUMNS {
            let Some(widest) = widths.iter_mut().max_by_key(|w| **w).filter(|w| **w > WIDTH_MIN) else {
                break;
            };
            *widest = widest.saturating_sub(1);
        }
        widths
    }
}

/// ASCII only: text may come from a drive or a host, and a dumb terminal may know nothing else.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
}

/// Cuts an ASCII text to a width, with a sign that it was cut.
fn cut(text: &str, width: usize) -> String {
    match text.get(..width) {
        Some(_) if text.len() > width => {
            format!("{}~", text.get(..width.saturating_sub(1)).unwrap_or_default())
        }
        _ => text.to_owned(),
    }
}

/// Wraps a text to the width of the console, each line after the first with an indent.
#[must_use]
pub fn wrap(first: &str, indent: usize, text: &str) -> String {
    let mut out = first.to_owned();
    let mut column = first.len();
    let mut is_line_begun = false;
    for word in plain(text).split_ascii_whitespace() {
        if is_line_begun && column.saturating_add(1).saturating_add(word.len()) > CONSOLE_COLUMNS {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if is_line_begun {
            out.push(' ');
            column = column.saturating_add(1);
        }
        out.push_str(word);
        column = column.saturating_add(word.len());
        is_line_begun = true;
    }
    out.push('\n');
    out
}

/// "1 drive", "2 drives".
#[must_use]
pub fn count(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// A time span for people: the two largest units.
#[must_use]
pub fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}
