//! Values of the Terraform language, as far as providers see them.
//!
//! Invariants
//! - A number is a whole number whenever it can be one: `Int`. Everything else stays decimal text, so nothing is rounded
//!   on its way through.
//! - Sets are lists in canonical order without doubles; so two equal sets compare equal.

use std::collections::BTreeMap;
use std::fmt;

/// Attributes of a resource, a data source or the provider block, by name.
pub type Object = BTreeMap<String, Value>;

/// One value.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// Not set.
    #[default]
    Null,
    /// Will be known after apply.
    Unknown,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// Any other number, in decimal notation.
    Decimal(String),
    /// Text.
    String(String),
    /// A list or a set.
    List(Vec<Value>),
    /// An object or a map.
    Object(Object),
}

impl Value {
    /// Text, or null for an empty one.
    #[must_use]
    pub fn text_or_null(text: &str) -> Self {
        if text.is_empty() { Self::Null } else { text.into() }
    }

    /// The text, if it is text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The whole number, if it is one and fits.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        if let Self::Int(n) = self { u64::try_from(*n).ok() } else { None }
    }

    /// The boolean, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(b) = self { Some(*b) } else { None }
    }

    /// The elements, if it is a list or a set.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Value]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    /// Not set.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Nothing in it is unknown.
    #[must_use]
    pub fn is_known(&self) -> bool {
        match self {
            Self::Unknown => false,
            Self::List(items) => items.iter().all(Self::is_known),
            Self::Object(fields) => fields.values().all(Self::is_known),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Decimal(_) | Self::String(_) => true,
        }
    }

    /// The same value with every unknown part set to null: what may be stored after an operation failed half way.
    #[must_use]
    pub fn without_unknowns(self) -> Self {
        match self {
            Self::Unknown => Self::Null,
            Self::List(items) => Self::List(items.into_iter().map(Self::without_unknowns).collect()),
            Self::Object(fields) => {
                Self::Object(fields.into_iter().map(|(k, v)| (k, v.without_unknowns())).collect())
            }
            known @ (Self::Null | Self::Bool(_) | Self::Int(_) | Self::Decimal(_) | Self::String(_)) => known,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}

impl From<u64> for Value {
    fn from(n: u64) -> Self {
        Self::Int(i128::from(n))
    }
}

impl From<u32> for Value {
    fn from(n: u32) -> Self {
        Self::Int(i128::from(n))
    }
}

/// As a person would write it in a message.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Unknown => f.write_str("(known after apply)"),
            Self::Bool(b) => write!(f, "{b}"),
            Self::Int(n) => write!(f, "{n}"),
            Self::Decimal(text) => f.write_str(text),
            Self::String(text) => write!(f, "{text:?}"),
            Self::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Self::Object(fields) => {
                f.write_str("{")?;
                for (index, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{name} = {value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}
