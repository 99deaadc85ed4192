//! What an apply would change: the planned state, derived from configuration, prior state and schema.
//!
//! ```text
//!  attribute is …         create            another attribute changes     nothing changes
//!  set by the user        configuration     configuration                 prior = configuration
//!  optional with default  default           default                       prior = default
//!  the same, stable       default           prior (default if null)       prior (default if null)
//!  optional               null              null                          prior = null
//!  computed               unknown           unknown                       prior
//!  computed, stable       unknown           prior (unknown if null)       prior
//! ```
//!
//! Invariants
//! - A planned value equals the configuration wherever that is set; Terraform refuses anything else.
//! - A plan for a state that already fits changes nothing, so the plan after an apply is empty.

use crate::schema::{Attribute, Schema};
use crate::value::{Object, Value};

/// The outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The state after the apply, as far as it is known.
    pub state: Object,
    /// Attributes whose change needs another object.
    pub requires_replace: Vec<&'static str>,
}

/// Plans a creation (`prior` is none) or an update.
#[must_use]
pub fn plan(schema: &Schema, prior: Option<&Object>, config: &Object) -> Planned {
    let null = Value::Null;
    let before = |attribute: &Attribute| prior.and_then(|p| p.get(attribute.name)).unwrap_or(&null);
    let wanted = |attribute: &Attribute| {
        wanted(attribute, config.get(attribute.name).unwrap_or(&null), before(attribute))
    };

    let is_change = schema.attributes.iter().any(|a| wanted(a).is_some_and(|value| value != *before(a)));
    let mut state = Object::new();
    let mut requires_replace = Vec::new();
    for attribute in &schema.attributes {
        let value = match (wanted(attribute), prior) {
            (Some(value), _) => value,
            (None, Some(_)) if !is_change => before(attribute).clone(),
            (None, Some(_)) if attribute.is_stable && !before(attribute).is_null() => {
                before(attribute).clone()
            }
            (None, _) => Value::Unknown,
        };
        if prior.is_some() && attribute.requires_replace && value != *before(attribute) {
            requires_replace.push(attribute.name);
        }
        state.insert(attribute.name.to_owned(), value);
    }
    Planned { state, requires_replace }
}

/// What the user wants of an attribute; none if only the provider decides.
fn wanted(attribute: &Attribute, config: &Value, before: &Value) -> Option<Value> {
    if !config.is_null() {
        return Some(config.clone());
    }
    if attribute.is_computed() {
        return None;
    }
    if attribute.is_stable && !before.is_null() {
        return Some(before.clone());
    }
    Some(attribute.default.clone().unwrap_or(Value::Null))
}

/// Sets defaults where a state has null: after an import, or when a newer schema added an attribute.
pub(crate) fn fill_defaults(schema: &Schema, state: &mut Object) {
    for attribute in &schema.attributes {
        if let Some(default) = &attribute.default {
            let value = state.entry(attribute.name.to_owned()).or_default();
            if value.is_null() {
                value.clone_from(default);
            }
        }
    }
}

/// The state to store after an operation: what it reported, made to agree with the plan that the user approved.
///
/// Terraform refuses a result that differs from a known planned value. For a stable computed attribute (the address of
/// a node that just got a new lease) the plan therefore wins, and the next refresh shows the new value as drift.
pub(crate) fn settle(schema: &Schema, planned: &Object, mut state: Object) -> Object {
    for attribute in &schema.attributes {
        let promised = planned.get(attribute.name).unwrap_or(&Value::Null);
        if attribute.is_computed() && promised.is_known() {
            state.insert(attribute.name.to_owned(), promised.clone());
        }
    }
    state.into_iter().map(|(name, value)| (name, value.without_unknowns())).collect()
}
