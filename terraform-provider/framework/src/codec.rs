//! `DynamicValue` and stored state, to and from [`Value`], guided by the schema.
//!
//! Input is MessagePack or JSON and foreign: any MessagePack extension is an unknown value, numbers come as integers,
//! floats or decimal text, and attributes that the schema does not know are skipped (state of another version).
//! Output is always MessagePack, because Terraform does not take JSON everywhere, and always carries every attribute.

use crate::limits::VALUE_DEPTH_MAX;
use crate::pb::DynamicValue;
use crate::schema::{Schema, Type};
use crate::value::{Object, Value};
use std::fmt;

/// The bytes are not a value of the declared type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CodecError {
    /// The top-level attribute, if the fault is inside one.
    pub(crate) attribute: Option<String>,
    problem: String,
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.attribute {
            Some(name) => write!(f, "{name}: {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

impl std::error::Error for CodecError {}

fn wrong(problem: impl Into<String>) -> CodecError {
    CodecError { attribute: None, problem: problem.into() }
}

/// Decodes an object of the schema; `None` is null.
///
/// # Errors
/// If the bytes are not a value of the schema.
pub(crate) fn decode(schema: &Schema, value: Option<&DynamicValue>) -> Result<Option<Object>, CodecError> {
    let raw = read(value)?;
    let Raw::Map(fields) = raw else {
        return if raw == Raw::Null { Ok(None) } else { Err(wrong("an object is expected")) };
    };
    object(schema, fields).map(Some)
}

/// Decodes stored state: JSON of this or another version of the schema.
///
/// # Errors
/// If the bytes are not JSON, or a value has another type than the schema wants.
pub(crate) fn decode_state(schema: &Schema, json: &[u8]) -> Result<Option<Object>, CodecError> {
    let json: serde_json::Value =
        serde_json::from_slice(json).map_err(|e| wrong(format!("the stored state is not JSON: {e}")))?;
    match from_json(json) {
        Raw::Map(fields) => object(schema, fields).map(Some),
        Raw::Null => Ok(None),
        Raw::Unknown | Raw::Scalar(_) | Raw::Array(_) => Err(wrong("the stored state is not an object")),
    }
}

/// Decodes one value, such as the argument of a function.
///
/// # Errors
/// If the bytes are not a value of the type.
pub(crate) fn decode_value(ty: &Type, value: &DynamicValue) -> Result<Value, CodecError> {
    typed(ty, read(Some(value))?)
}

/// Encodes an object of the schema, every attribute included; `None` is null.
pub(crate) fn encode(schema: &Schema, object: Option<&Object>) -> DynamicValue {
    let Some(object) = object else { return pack(&rmpv::Value::Nil) };
    let fields = schema.attributes.iter().map(|attribute| {
        let value = object.get(attribute.name).unwrap_or(&Value::Null);
        (attribute.name.into(), to_msgpack(Some(&attribute.ty), value))
    });
    pack(&rmpv::Value::Map(fields.collect()))
}

/// Encodes one value.
pub(crate) fn encode_value(ty: &Type, value: &Value) -> DynamicValue {
    pack(&to_msgpack(Some(ty), value))
}

/// What both encodings have in common.
#[derive(Debug, PartialEq)]
enum Raw {
    Null,
    Unknown,
    Scalar(Value),
    Array(Vec<Raw>),
    Map(Vec<(String, Raw)>),
}

fn read(value: Option<&DynamicValue>) -> Result<Raw, CodecError> {
    let Some(value) = value else { return Ok(Raw::Null) };
    if value.msgpack.is_empty() {
        if value.json.is_empty() {
            return Ok(Raw::Null);
        }
        let json = serde_json::from_slice(&value.json).map_err(|e| wrong(format!("not JSON: {e}")))?;
        return Ok(from_json(json));
    }
    let mut bytes = value.msgpack.as_slice();
    let raw = rmpv::decode::read_value_with_max_depth(&mut bytes, VALUE_DEPTH_MAX)
        .map_err(|e| wrong(format!("not MessagePack: {e}")))?;
    from_msgpack(raw)
}

fn from_msgpack(value: rmpv::Value) -> Result<Raw, CodecError> {
    Ok(match value {
        rmpv::Value::Nil => Raw::Null,
        rmpv::Value::Ext(..) => Raw::Unknown,
        rmpv::Value::Boolean(b) => Raw::Scalar(Value::Bool(b)),
        rmpv::Value::Integer(n) => {
            let n = n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from));
            Raw::Scalar(Value::Int(n.ok_or_else(|| wrong("an integer is out of range"))?))
        }
        rmpv::Value::F32(n) => Raw::Scalar(number(&n.to_string())),
        rmpv::Value::F64(n) => Raw::Scalar(number(&n.to_string())),
        rmpv::Value::String(text) => {
            Raw::Scalar(Value::String(text.into_str().ok_or_else(|| wrong("text is not UTF-8"))?))
        }
        rmpv::Value::Binary(_) => return Err(wrong("binary data is not expected")),
        rmpv::Value::Array(items) => {
            Raw::Array(items.into_iter().map(from_msgpack).collect::<Result<_, _>>()?)
        }
        rmpv::Value::Map(fields) => {
            let field = |(key, value): (rmpv::Value, rmpv::Value)| {
                let key = key.as_str().ok_or_else(|| wrong("a key is not text"))?.to_owned();
                Ok((key, from_msgpack(value)?))
            };
            Raw::Map(fields.into_iter().map(field).collect::<Result<_, _>>()?)
        }
    })
}

fn from_json(value: serde_json::Value) -> Raw {
    match value {
        serde_json::Value::Null => Raw::Null,
        serde_json::Value::Bool(b) => Raw::Scalar(Value::Bool(b)),
        serde_json::Value::Number(n) => Raw::Scalar(number(&n.to_string())),
        serde_json::Value::String(text) => Raw::Scalar(Value::String(text)),
        serde_json::Value::Array(items) => Raw::Array(items.into_iter().map(from_json).collect()),
        serde_json::Value::Object(fields) => {
            Raw::Map(fields.into_iter().map(|(key, value)| (key, from_json(value))).collect())
        }
    }
}

/// A number in decimal notation; whole if it can be.
fn number(text: &str) -> Value {
    text.parse().map_or_else(|_| Value::Decimal(text.to_owned()), Value::Int)
}

fn object(schema: &Schema, fields: Vec<(String, Raw)>) -> Result<Object, CodecError> {
    let mut object: Object = schema.attributes.iter().map(|a| (a.name.to_owned(), Value::Null)).collect();
    for (name, raw) in fields {
        let Some(attribute) = schema.attributes.iter().find(|a| a.name == name) else { continue };
        let value =
            typed(&attribute.ty, raw).map_err(|e| CodecError { attribute: Some(name.clone()), ..e })?;
        object.insert(name, value);
    }
    Ok(object)
}

fn typed(ty: &Type, raw: Raw) -> Result<Value, CodecError> {
    match (ty, raw) {
        (_, Raw::Null) => Ok(Value::Null),
        (_, Raw::Unknown) => Ok(Value::Unknown),
        (Type::String, Raw::Scalar(value @ Value::String(_)))
        | (Type::Bool, Raw::Scalar(value @ Value::Bool(_)))
        | (Type::Int, Raw::Scalar(value @ (Value::Int(_) | Value::Decimal(_)))) => Ok(value),
        (Type::Int, Raw::Scalar(Value::String(text))) => Ok(number(&text)),
        (Type::List(item), Raw::Array(items)) => {
            Ok(Value::List(items.into_iter().map(|i| typed(item, i)).collect::<Result<_, _>>()?))
        }
        (Type::Set(item), Raw::Array(items)) => {
            let items = items.into_iter().map(|i| typed(item, i)).collect::<Result<Vec<_>, _>>()?;
            Ok(canonical_set(items))
        }
        (Type::Object(types), Raw::Map(mut fields)) => {
            let field = |(name, ty): &(&'static str, Type)| {
                let index = fields.iter().position(|(key, _)| key == name);
                let raw = index.map_or(Raw::Null, |index| fields.swap_remove(index).1);
                Ok(((*name).to_owned(), typed(ty, raw)?))
            };
            Ok(Value::Object(types.iter().map(field).collect::<Result<_, _>>()?))
        }
        (ty, _) => Err(wrong(format!("a value of type {ty:?} is expected"))),
    }
}

/// A set in the order that makes equal sets equal. Unknown elements may turn out to be anything: all are kept.
#[must_use]
pub(crate) fn canonical_set(mut items: Vec<Value>) -> Value {
    items.sort();
    items.dedup_by(|a, b| a == b && a.is_known());
    Value::List(items)
}

fn to_msgpack(ty: Option<&Type>, value: &Value) -> rmpv::Value {
    match value {
        Value::Null => rmpv::Value::Nil,
        Value::Unknown => rmpv::Value::Ext(0, vec![0]),
        Value::Bool(b) => (*b).into(),
        Value::Int(n) => {
            let small =
                i64::try_from(*n).map(rmpv::Value::from).or_else(|_| u64::try_from(*n).map(Into::into));
            small.unwrap_or_else(|_| n.to_string().into())
        }
        Value::Decimal(text) | Value::String(text) => text.as_str().into(),
        Value::List(items) => {
            let item_type = match ty {
                Some(Type::List(item) | Type::Set(item)) => Some(item.as_ref()),
                _ => None,
            };
            rmpv::Value::Array(items.iter().map(|item| to_msgpack(item_type, item)).collect())
        }
        Value::Object(fields) => {
            let declared = if let Some(Type::Object(types)) = ty { types.as_slice() } else { &[] };
            let field = |(name, ty): &(&'static str, Type)| {
                ((*name).into(), to_msgpack(Some(ty), fields.get(*name).unwrap_or(&Value::Null)))
            };
            rmpv::Value::Map(declared.iter().map(field).collect())
        }
    }
}

fn pack(value: &rmpv::Value) -> DynamicValue {
    let mut msgpack = Vec::new();
    rmpv::encode::write_value(&mut msgpack, value).expect("writing to a vector cannot fail");
    DynamicValue { msgpack, json: Vec::new() }
}
