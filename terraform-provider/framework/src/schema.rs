//! What a provider declares, as data: attributes with types, rules and descriptions.
//!
//! ```text
//!  required            the user sets it
//!  optional            the user may set it
//!  optional + default  the user may set it; else it has the default (Terraform calls that optional and computed), or, if it
//!                      is `stable`, what it was made with
//!  computed            the provider sets it; `stable` says that it stays as it is once known
//! ```
//! The declaration drives everything else: codec, validation, plan, import and the schema message.

use crate::pb;
use crate::value::Value;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The type of an attribute, a parameter or a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Text.
    String,
    /// A boolean.
    Bool,
    /// A number; the framework accepts whole numbers from 0 to 2^64 - 1 only.
    Int,
    /// An ordered collection.
    List(Box<Type>),
    /// A collection without order and doubles.
    Set(Box<Type>),
    /// A fixed set of named fields.
    Object(Vec<(&'static str, Type)>),
}

impl Type {
    /// A list of this type.
    #[must_use]
    pub fn list(self) -> Self {
        Self::List(Box::new(self))
    }

    /// A set of this type.
    #[must_use]
    pub fn set(self) -> Self {
        Self::Set(Box::new(self))
    }

    fn constraint(&self) -> serde_json::Value {
        match self {
            Self::String => json!("string"),
            Self::Bool => json!("bool"),
            Self::Int => json!("number"),
            Self::List(item) => json!(["list", item.constraint()]),
            Self::Set(item) => json!(["set", item.constraint()]),
            Self::Object(fields) => {
                let fields: serde_json::Map<_, _> =
                    fields.iter().map(|(name, ty)| ((*name).to_owned(), ty.constraint())).collect();
                json!(["object", fields])
            }
        }
    }

    /// As users write it.
    fn text(&self) -> String {
        match self {
            Self::String => "string".to_owned(),
            Self::Bool => "bool".to_owned(),
            Self::Int => "number".to_owned(),
            Self::List(item) => format!("list({})", item.text()),
            Self::Set(item) => format!("set({})", item.text()),
            Self::Object(_) => "object".to_owned(),
        }
    }

    /// The type constraint as the protocol wants it: JSON.
    pub(crate) fn to_wire(&self) -> Vec<u8> {
        self.constraint().to_string().into_bytes()
    }
}

/// A rule for a known value; the error completes the sentence "*name* …".
pub type Check = Arc<dyn Fn(&Value) -> Result<(), String> + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Required,
    Optional,
    Computed,
}

/// One attribute.
#[derive(Clone)]
pub struct Attribute {
    pub(crate) name: &'static str,
    pub(crate) ty: Type,
    source: Source,
    description: &'static str,
    pub(crate) default: Option<Value>,
    is_sensitive: bool,
    pub(crate) is_stable: bool,
    pub(crate) requires_replace: bool,
    pub(crate) checks: Vec<Check>,
}

impl Attribute {
    fn new(name: &'static str, ty: Type, source: Source, description: &'static str) -> Self {
        Self {
            name,
            ty,
            source,
            description,
            default: None,
            is_sensitive: false,
            is_stable: false,
            requires_replace: false,
            checks: Vec::new(),
        }
    }

    /// The user sets it.
    #[must_use]
    pub fn required(name: &'static str, ty: Type, description: &'static str) -> Self {
        Self::new(name, ty, Source::Required, description)
    }

    /// The user may set it.
    #[must_use]
    pub fn optional(name: &'static str, ty: Type, description: &'static str) -> Self {
        Self::new(name, ty, Source::Optional, description)
    }

    /// The provider sets it.
    #[must_use]
    pub fn computed(name: &'static str, ty: Type, description: &'static str) -> Self {
        Self::new(name, ty, Source::Computed, description)
    }

    /// The value when the user sets none.
    #[must_use]
    pub fn default(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(value.into());
        self
    }

    /// Not shown in plans and logs.
    #[must_use]
    pub fn sensitive(mut self) -> Self {
        self.is_sensitive = true;
        self
    }

    /// Once known it stays as it is when other attributes change, and when the user does not set it any more.
    #[must_use]
    pub fn stable(mut self) -> Self {
        self.is_stable = true;
        self
    }

    /// Another value needs another object.
    #[must_use]
    pub fn requires_replace(mut self) -> Self {
        self.requires_replace = true;
        self
    }

    /// Adds a rule for known values.
    #[must_use]
    pub fn check(mut self, rule: impl Fn(&Value) -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.checks.push(Arc::new(rule));
        self
    }

    /// The provider fills it in where the user does not.
    pub(crate) fn is_computed(&self) -> bool {
        self.source == Source::Computed
    }

    fn to_wire(&self) -> pb::Attribute {
        pb::Attribute {
            name: self.name.to_owned(),
            r#type: self.ty.to_wire(),
            description: self.description.to_owned(),
            required: self.source == Source::Required,
            optional: self.source == Source::Optional,
            computed: self.source == Source::Computed || self.default.is_some(),
            sensitive: self.is_sensitive,
            description_kind: pb::TextKind::Markdown.into(),
            ..pb::Attribute::default()
        }
    }
}

/// The attributes of a resource, a data source or the provider block.
#[derive(Clone)]
pub struct Schema {
    /// Of the stored state; grows when an upgrade has to translate.
    pub version: i64,
    /// For documentation, in Markdown.
    pub description: &'static str,
    /// In the order of the documentation.
    pub attributes: Vec<Attribute>,
}

impl Schema {
    /// A schema of version 0.
    #[must_use]
    pub fn new(description: &'static str, attributes: Vec<Attribute>) -> Self {
        Self { version: 0, description, attributes }
    }

    /// Whether there is an attribute of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|a| a.name == name)
    }

    /// What Terraform would refuse the whole provider for. A unit test of each provider calls it.
    ///
    /// # Errors
    /// Names the first attribute that breaks a rule.
    pub fn check(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for attribute in &self.attributes {
            let name = attribute.name;
            let is_word = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            if !is_word || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
                return Err(format!("attribute name {name:?} is not of the form [a-z][a-z0-9_]*"));
            }
            if !seen.insert(name) {
                return Err(format!("attribute {name:?} is declared twice"));
            }
            if attribute.default.is_some() && attribute.source != Source::Optional {
                return Err(format!("attribute {name:?} has a default but is not optional"));
            }
            if attribute.is_stable && attribute.source != Source::Computed && attribute.default.is_none() {
                return Err(format!(
                    "attribute {name:?} is stable but neither computed nor has it a default"
                ));
            }
            if attribute.description.is_empty() {
                return Err(format!("attribute {name:?} has no description"));
            }
        }
        Ok(())
    }

    /// The attributes as a Markdown table, for the documentation.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = "| attribute | type | | |\n|---|---|---|---|\n".to_owned();
        for attribute in &self.attributes {
            let role = match attribute.source {
                Source::Required => "required",
                Source::Optional => "optional",
                Source::Computed => "computed",
            };
            let replaces = if attribute.requires_replace { ", replaces" } else { "" };
            let Attribute { name, ty, description, .. } = attribute;
            table.push_str(&format!("| `{name}` | {} | {role}{replaces} | {description} |\n", ty.text()));
        }
        table
    }

    pub(crate) fn to_wire(&self) -> pb::Schema {
        pb::Schema {
            version: self.version,
            block: Some(pb::Block {
                version: self.version,
                attributes: self.attributes.iter().map(Attribute::to_wire).collect(),
                description: self.description.to_owned(),
                description_kind: pb::TextKind::Markdown.into(),
                deprecated: false,
            }),
        }
    }
}
