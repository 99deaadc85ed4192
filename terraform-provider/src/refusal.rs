//! Errors of the API as diagnostics: what was tried on which object, what the node said, what to do, which attribute.

use crate::node::CallError;
use api::Error;
use control::{ControlError, ErrorKind};
use tf_framework::{Diagnostic, Schema};

/// The diagnostic for a failed call; `tried` completes "Cannot …".
#[must_use]
pub(crate) fn diagnostic(schema: &Schema, tried: &str, error: &CallError) -> Diagnostic {
    match error {
        CallError::Api(Error::Refused(refusal)) | CallError::AfterSilence(Error::Refused(refusal)) => {
            let diagnostic = Diagnostic::error(format!("Cannot {tried}"), text(refusal));
            match attribute(schema, &refusal.field) {
                Some(attribute) => diagnostic.at(attribute),
                None => diagnostic,
            }
        }
        CallError::Api(Error::Unreachable(details))
        | CallError::AfterSilence(Error::Unreachable(details)) => {
            Diagnostic::error(format!("Cannot {tried}: the Ironbay node does not answer"), text(details))
        }
        CallError::Interrupted => Diagnostic::error(
            format!("Cannot {tried}: interrupted"),
            "The node may still do it. The next plan shows what exists.",
        ),
        CallError::EndpointUnknown => Diagnostic::error(
            format!("Cannot {tried}: the address of the node is not known yet"),
            "The `endpoint` of the provider comes from a resource that does not exist yet. Apply that resource first, \
             for instance with `terraform apply -target=…`, then plan again.",
        ),
    }
}

/// A hint for a name that is taken.
#[must_use]
pub(crate) fn with_import_hint(
    diagnostic: Diagnostic,
    error: &CallError,
    type_name: &str,
    name: &str,
) -> Diagnostic {
    match error {
        CallError::Api(Error::Refused(refusal)) | CallError::AfterSilence(Error::Refused(refusal))
            if refusal.kind == ErrorKind::AlreadyExists =>
        {
            Diagnostic {
                detail: format!(
                    "{}\n\nIf it is the one you mean, take it over instead of making it: terraform import {type_name}.NAME {name}",
                    diagnostic.detail
                ),
                ..diagnostic
            }
        }
        CallError::Api(_)
        | CallError::AfterSilence(_)
        | CallError::Interrupted
        | CallError::EndpointUnknown => diagnostic,
    }
}

fn text(error: &ControlError) -> String {
    let message = sentence(&error.message);
    if error.remedy.is_empty() { message } else { format!("{message}\n\n{}", sentence(&error.remedy)) }
}

/// First letter in upper case, full stop at the end.
fn sentence(text: &str) -> String {
    let mut chars = text.trim_end_matches('.').chars();
    let first: String = chars.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

/// The attribute for a field of the API: `drive_serials[1]` is in `drives`.
fn attribute<'a>(schema: &Schema, field: &'a str) -> Option<&'a str> {
    let root = field.split(['[', '.']).next().unwrap_or_default();
    let name = if root == "drive_serials" { "drives" } else { root };
    schema.has(name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tf_framework::{Attribute, Type};

    /// Goal: object, remedy and attribute of an error of the API reach the user; a field that no attribute stands for
    /// does not become a wrong path.
    #[test]
    fn refusal_keeps_field_and_remedy() {
        let schema = Schema::new("", vec![Attribute::required("drives", Type::String.set(), "x")]);
        let refusal =
            ControlError::new(ErrorKind::FailedPrecondition, "drive \"S1\" carries a GPT partition table")
                .field("drive_serials[1]")
                .remedy("set overwrite_foreign_data");
        let error = CallError::Api(Error::Refused(refusal.clone()));
        let told = diagnostic(&schema, "create pool \"tank\"", &error);
        assert_eq!(told.summary, "Cannot create pool \"tank\"");
        assert_eq!(told.detail, "Drive \"S1\" carries a GPT partition table.\n\nSet overwrite_foreign_data.");
        assert_eq!(told.attribute.as_deref(), Some("drives"));

        let other = CallError::Api(Error::Refused(refusal.field("revision")));
        assert_eq!(diagnostic(&schema, "x", &other).attribute, None);
    }
}
