//! Fields of objects: those that Terraform brings, read; those that the node tells, made.
//!
//! A field that is null or not known yet reads as empty; the schema has said before which ones may be.

use tf_framework::{Object, Value};

/// A text.
pub(crate) fn text(object: &Object, name: &str) -> String {
    object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A yes or no.
pub(crate) fn flag(object: &Object, name: &str) -> bool {
    object.get(name).and_then(Value::as_bool).unwrap_or_default()
}

/// An object of these fields.
pub(crate) fn object<const N: usize>(fields: [(&str, Value); N]) -> Object {
    fields.map(|(name, value)| (name.to_owned(), value)).into()
}

/// The state: what was observed, and what only the user says is taken from `inputs`.
pub(crate) fn state<const N: usize>(observed: [(&str, Value); N], inputs: Object) -> Object {
    let mut state = inputs;
    state.extend(object(observed));
    state
}
