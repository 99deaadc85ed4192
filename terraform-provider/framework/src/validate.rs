//! Static checks of a configuration against its schema.
//!
//! Terraform has already checked that required attributes are there and that types fit; left are the ranges that its
//! types cannot say and the rules of each attribute. Unknown values are checked when they are known.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::schema::{Attribute, Schema, Type};
use crate::value::{Object, Value};

/// Everything that is wrong with the known part of `config`.
#[must_use]
pub fn validate(schema: &Schema, config: &Object) -> Diagnostics {
    let mut found = Diagnostics::new();
    for attribute in &schema.attributes {
        let value = config.get(attribute.name).unwrap_or(&Value::Null);
        if value.is_null() || !value.is_known() {
            continue;
        }
        if let Err(problem) = check(attribute, value) {
            let summary = format!("Invalid value for {}", attribute.name);
            found.push(Diagnostic::error(summary, problem).at(attribute.name));
        }
    }
    found
}

fn check(attribute: &Attribute, value: &Value) -> Result<(), String> {
    check_type(&attribute.ty, value)
        .and_then(|()| attribute.checks.iter().try_for_each(|rule| rule(value)))
        .map_err(|problem| format!("{} {problem}.", attribute.name))
}

fn check_type(ty: &Type, value: &Value) -> Result<(), String> {
    match (ty, value) {
        (Type::Int, Value::Decimal(text)) => Err(format!("must be a whole number, not {text}")),
        (Type::Int, Value::Int(n)) if u64::try_from(*n).is_err() => {
            Err(format!("must be between 0 and {}, not {n}", u64::MAX))
        }
        (Type::List(item) | Type::Set(item), Value::List(items)) => {
            if items.iter().any(Value::is_null) {
                return Err("must not contain null".to_owned());
            }
            items.iter().try_for_each(|value| check_type(item, value))
        }
        (Type::Object(fields), Value::Object(values)) => fields
            .iter()
            .try_for_each(|(name, ty)| values.get(*name).map_or(Ok(()), |value| check_type(ty, value))),
        _ => Ok(()),
    }
}
