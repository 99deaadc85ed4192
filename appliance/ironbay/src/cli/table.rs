//! Aligned columns, and lists of facts about one thing.

use std::fmt::Write;

/// How a column is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A table with a heading.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.columns.len(), "a cell for each column");
        self.rows.push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }

    /// The lines; `nothing` if there is no row.
    pub(crate) fn render(&self, nothing: &str) -> String {
        if self.rows.is_empty() {
            return format!("{nothing}\n");
        }
        let heading: Vec<String> = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let mut widths: Vec<usize> = heading.iter().map(|cell| cell.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in std::iter::once(&heading).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, width), (_, align)) in row.iter().zip(&widths).zip(&self.columns) {
                let _ = match align {
                    Align::Left => write!(line, "{cell:<width$}  "),
                    Align::Right => write!(line, "{cell:>width$}  "),
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// `label   value` lines; those without a value are left out.
pub(crate) fn facts(facts: &[(&str, String)]) -> String {
    let shown: Vec<_> = facts.iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = shown.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (label, value) in shown {
        let _ = writeln!(text, "{label:<width$}  {}", printable(value));
    }
    text
}

/// What comes from a node may not move the cursor.
fn printable(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    /// Goal: columns line up, the end of a line carries no spaces, control characters do not get through.
    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&[("NAME", Align::Left), ("SIZE", Align::Right), ("DETAIL", Align::Left)]);
        table.row(vec!["db".into(), "10 GiB".into(), String::new()]);
        table.row(vec!["analytics".into(), "1 TiB".into(), "bell\u{7}".into()]);
        expect![[r#"
            NAME         SIZE  DETAIL
            db         10 GiB
            analytics   1 TiB  bell?
        "#]]
        .assert_eq(&table.render("no volume"));
        assert_eq!(Table::new(&[("NAME", Align::Left)]).render("no volume"), "no volume\n");
        assert_eq!(
            facts(&[("id", "1".into()), ("detail", String::new()), ("name", "x".into())]),
            "id    1\nname  x\n"
        );
    }
}
