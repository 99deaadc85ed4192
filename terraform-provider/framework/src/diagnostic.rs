//! What the user reads: errors and warnings, with the attribute they are about.

use crate::pb;

/// Errors and warnings in the order they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

/// One error or warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// False for a warning.
    pub is_error: bool,
    /// One line: what happened.
    pub summary: String,
    /// Object, values and remedy.
    pub detail: String,
    /// The attribute at fault.
    pub attribute: Option<String>,
}

impl Diagnostic {
    /// An error about the whole object.
    #[must_use]
    pub fn error(summary: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { is_error: true, summary: summary.into(), detail: detail.into(), attribute: None }
    }

    /// A warning about the whole object.
    #[must_use]
    pub fn warning(summary: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { is_error: false, ..Self::error(summary, detail) }
    }

    /// Points at an attribute.
    #[must_use]
    pub fn at(mut self, attribute: impl Into<String>) -> Self {
        self.attribute = Some(attribute.into());
        self
    }

    fn into_wire(self) -> pb::Diagnostic {
        let severity =
            if self.is_error { pb::diagnostic::Severity::Error } else { pb::diagnostic::Severity::Warning };
        pb::Diagnostic {
            severity: severity.into(),
            summary: self.summary,
            detail: self.detail,
            attribute: self.attribute.map(path),
        }
    }
}

/// The path of a top-level attribute.
pub(crate) fn path(attribute: impl Into<String>) -> pb::AttributePath {
    let selector = pb::attribute_path::step::Selector::AttributeName(attribute.into());
    pb::AttributePath { steps: vec![pb::attribute_path::Step { selector: Some(selector) }] }
}

impl Diagnostics {
    /// None so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Adds all of `other`.
    pub fn append(&mut self, other: Diagnostics) {
        self.0.extend(other.0);
    }

    /// In the order found.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }

    pub(crate) fn into_wire(self) -> Vec<pb::Diagnostic> {
        self.0.into_iter().map(Diagnostic::into_wire).collect()
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}
