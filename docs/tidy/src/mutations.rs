//! The list of deliberate breaks in `docs/mutations.txt`: each takes one protection away, and some test must notice.
//!
//! ```text
//!  [name] the protection, as its owner states it
//!  file: appliance/volume/src/checkpoint.rs
//!  test: volume tests::full                    the package whose tests notice; which of them, if all would take long
//!  - lines as they are, next to each other and only once in the file; indentation does not count
//!  + lines as they become
//! ```
//!
//! That every entry still has its place is a test of this crate (`tests/mutations.rs`), which takes no time. That each turns a
//! test red is what `make mutations` finds out.

use crate::tree::root;

/// Where the list is, relative to the root.
pub const LIST: &str = "docs/mutations.txt";

/// One deliberate break.
#[derive(Debug, Default)]
pub struct Mutation {
    /// Names it on the command line.
    pub name: String,
    /// What is taken away.
    pub protection: String,
    /// The file that is changed, relative to the root.
    pub file: String,
    /// The package whose tests must notice.
    pub package: String,
    /// Parts of the names of the tests that are run; all, if there is none.
    pub tests: Vec<String>,
    old: Vec<String>,
    new: Vec<String>,
}

impl Mutation {
    /// The text of the file with the break in it.
    ///
    /// # Errors
    /// A sentence that says what to do, if the lines are not there, or more than once.
    pub fn apply(&self, text: &str) -> Result<String, String> {
        let lines: Vec<&str> = text.lines().collect();
        let is_here = |at: &usize| {
            let found = lines.iter().skip(*at).map(|line| line.trim());
            found.take(self.old.len()).eq(self.old.iter().map(String::as_str))
        };
        let places: Vec<usize> = (0..lines.len()).filter(is_here).collect();
        let [place] = places[..] else {
            return Err(format!(
                "the list is stale: the lines of [{}] are {} times in {}. Change the entry in {LIST} so that it breaks the \
                 same protection again, and see it turn red with `make mutations ONLY={}`",
                self.name,
                places.len(),
                self.file,
                self.name
            ));
        };
        let indent = " ".repeat(lines[place].len() - lines[place].trim_start().len());
        let new: Vec<String> = self.new.iter().map(|line| format!("{indent}{line}")).collect();
        let (before, rest) = lines.split_at(place);
        let after = &rest[self.old.len()..];
        let all = before.iter().copied().chain(new.iter().map(String::as_str)).chain(after.iter().copied());
        Ok(all.flat_map(|line| [line, "\n"]).collect())
    }

    fn is_complete(&self) -> bool {
        let texts = [&self.name, &self.protection, &self.file, &self.package];
        texts.iter().all(|text| !text.is_empty()) && !self.old.is_empty() && self.old != self.new
    }
}

/// The whole list.
///
/// # Panics
/// If it cannot be read, or an entry lacks something.
#[must_use]
pub fn mutations() -> Vec<Mutation> {
    parse(&std::fs::read_to_string(root().join(LIST)).expect("the list is there"))
}

fn parse(text: &str) -> Vec<Mutation> {
    let mut list: Vec<Mutation> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some((name, protection)) = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
            let (name, protection) = (name.to_owned(), protection.to_owned());
            list.push(Mutation { name, protection, ..Mutation::default() });
            continue;
        }
        let entry =
            list.last_mut().unwrap_or_else(|| panic!("{LIST}: a line before the first entry: {line}"));
        match line.split_once(' ') {
            Some(("file:", path)) => path.clone_into(&mut entry.file),
            Some(("test:", tests)) => {
                let mut words = tests.split_whitespace().map(str::to_owned);
                (entry.package, entry.tests) = (words.next().unwrap_or_default(), words.collect());
            }
            Some(("-", old)) => entry.old.push(old.trim().to_owned()),
            Some(("+", new)) => entry.new.push(new.trim().to_owned()),
            _ => panic!("{LIST}: [{}] has a line that says nothing: {line}", entry.name),
        }
    }
    for entry in &list {
        assert!(entry.is_complete(), "{LIST}: [{}] lacks something", entry.name);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::{Mutation, parse};

    fn entry(old: &str) -> Mutation {
        parse(&format!("[a] b\nfile: c\ntest: d\n{old}\n+ new\n")).remove(0)
    }

    /// Goal: lines are found whatever their indentation, and replaced with that of the first one.
    #[test]
    fn lines_are_replaced() {
        let text = "fn f() {\n    one;\n        two;\n    three;\n}\n";
        assert_eq!(entry("- one;\n- two;").apply(text).as_deref(), Ok("fn f() {\n    new\n    three;\n}\n"));
    }

    /// Goal: lines that are gone, or there twice, make the list stale.
    #[test]
    fn stale_entries_are_named() {
        for text in ["two;\n", "one;\none;\n", "one; // not alone\n"] {
            let error = entry("- one;").apply(text).expect_err("it is stale");
            assert!(error.starts_with("the list is stale: the lines of [a] are"), "{error}");
        }
    }
}
