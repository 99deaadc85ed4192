//! Tests of the framework's core: codec, validation, plan, state, contained panics.

use crate::codec::{decode, decode_state, encode};
use crate::operation::upgrade;
use crate::pb::DynamicValue;
use crate::plan::{fill_defaults, settle};
use crate::{Attribute, Object, Planned, Schema, Type, Value, contain, plan, validate};

fn schema() -> Schema {
    Schema::new(
        "x",
        vec![
            Attribute::required("name", Type::String, "x").requires_replace(),
            Attribute::optional("size", Type::Int, "x"),
            Attribute::optional("guard", Type::Bool, "x").default(false),
            Attribute::optional("tags", Type::String.set(), "x"),
            Attribute::computed("id", Type::String, "x").stable(),
            Attribute::computed("revision", Type::Int, "x"),
            Attribute::computed(
                "at",
                Type::Object(vec![("port", Type::Int), ("host", Type::String)]).list(),
                "x",
            )
            .stable(),
        ],
    )
}

fn object(fields: &[(&str, Value)]) -> Object {
    let mut object: Object = schema().attributes.iter().map(|a| (a.name.to_owned(), Value::Null)).collect();
    object.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    object
}

/// A state as it is after an apply.
fn applied() -> Object {
    let at = Object::from([("host".to_owned(), "h".into()), ("port".to_owned(), 1_u64.into())]);
    object(&[
        ("name", "a".into()),
        ("size", 5_u64.into()),
        ("guard", false.into()),
        ("id", "i".into()),
        ("revision", 7_u64.into()),
        ("at", Value::List(vec![Value::Object(at)])),
    ])
}

fn config(size: u64) -> Object {
    object(&[("name", "a".into()), ("size", size.into())])
}

/// Goal: every kind of value survives the way out and in, unknown ones too.
#[test]
fn values_round_trip() {
    let mut value = applied();
    value.insert("tags".to_owned(), Value::List(vec!["a".into(), Value::Unknown]));
    value.insert("size".to_owned(), u64::MAX.into());
    value.insert("revision".to_owned(), Value::Unknown);
    let mut sorted = value.clone();
    sorted.insert("tags".to_owned(), Value::List(vec![Value::Unknown, "a".into()]));
    assert_eq!(decode(&schema(), Some(&encode(&schema(), Some(&value)))), Ok(Some(sorted)));
    assert_eq!(decode(&schema(), Some(&encode(&schema(), None))), Ok(None));
    assert_eq!(decode(&schema(), None), Ok(None));
}

/// Goal: sets are equal whatever order Terraform sends them in.
#[test]
fn sets_have_one_order() {
    let tags = |items: &[&str]| object(&[("tags", Value::List(items.iter().map(|i| (*i).into()).collect()))]);
    let read = |o: &Object| decode(&schema(), Some(&encode(&schema(), Some(o))));
    assert_eq!(read(&tags(&["b", "a", "b"])), read(&tags(&["a", "b"])));
}

/// Goal: numbers in all forms that Terraform uses are whole where they can be, and never rounded.
#[test]
fn numbers_keep_their_value() {
    let size = |msgpack: rmpv::Value| {
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, &rmpv::Value::Map(vec![("size".into(), msgpack)]))
            .expect("vector");
        let value = DynamicValue { msgpack: bytes, json: Vec::new() };
        decode(&schema(), Some(&value)).expect("a number").expect("not null")["size"].clone()
    };
    assert_eq!(size(5.into()), 5_u64.into());
    assert_eq!(size(5.0.into()), 5_u64.into());
    assert_eq!(size("18446744073709551616".into()), Value::Int(1 << 64));
    assert_eq!(size(1.5.into()), Value::Decimal("1.5".to_owned()));
    assert_eq!(size(rmpv::Value::Ext(12, vec![0x81, 1, 0xc2])), Value::Unknown);
}

/// Goal: bytes that are no value of the schema are an error with the attribute, never a panic.
#[test]
fn broken_values_are_refused() {
    let msgpack = |bytes: &[u8]| DynamicValue { msgpack: bytes.to_vec(), json: Vec::new() };
    let json = |text: &str| DynamicValue { msgpack: Vec::new(), json: text.as_bytes().to_vec() };
    for value in [msgpack(&[0xdf]), msgpack(&[0x91; 400]), msgpack(b"\x01"), json("{"), json("[]")] {
        assert!(decode(&schema(), Some(&value)).is_err(), "{value:?}");
    }
    let error = decode(&schema(), Some(&json(r#"{"guard": "yes"}"#))).expect_err("text is no boolean");
    assert_eq!(error.attribute.as_deref(), Some("guard"));
    // Not a panic for any cut of a real value.
    let whole = encode(&schema(), Some(&applied())).msgpack;
    for end in 1..whole.len() {
        assert!(decode(&schema(), Some(&msgpack(&whole[..end]))).is_err(), "{end}");
    }
}

/// Goal: a number that fits no size is told with its value; an unknown one waits.
#[test]
fn ranges_are_checked() {
    let problem = |size: Value| {
        let found = validate(&schema(), &object(&[("name", "a".into()), ("size", size)]));
        found.iter().map(|d| (d.attribute.clone().unwrap_or_default(), d.detail.clone())).next()
    };
    let told = |detail: &str| Some(("size".to_owned(), detail.to_owned()));
    assert_eq!(problem(Value::Decimal("1.5".into())), told("size must be a whole number, not 1.5."));
    assert_eq!(problem(Value::Int(-1)), told("size must be between 0 and 18446744073709551615, not -1."));
    assert_eq!(problem(Value::Unknown), None);
    assert_eq!(problem(Value::Null), None);
}

/// Goal: a creation plans configuration and defaults, and leaves the rest unknown.
#[test]
fn create_is_planned() {
    let Planned { state, requires_replace } = plan(&schema(), None, &config(5));
    let expected = object(&[
        ("name", "a".into()),
        ("size", 5_u64.into()),
        ("guard", false.into()),
        ("id", Value::Unknown),
        ("revision", Value::Unknown),
        ("at", Value::Unknown),
    ]);
    assert_eq!((state, requires_replace), (expected, vec![]));
}

/// Goal: the plan after an apply is empty.
#[test]
fn plan_after_apply_is_empty() {
    assert_eq!(
        plan(&schema(), Some(&applied()), &config(5)),
        Planned { state: applied(), requires_replace: vec![] }
    );
}

/// Goal: a change keeps what is stable and leaves open what is not.
#[test]
fn change_keeps_what_is_stable() {
    let planned = plan(&schema(), Some(&applied()), &config(6));
    let mut expected = applied();
    expected.insert("size".to_owned(), 6_u64.into());
    expected.insert("revision".to_owned(), Value::Unknown);
    assert_eq!(planned, Planned { state: expected, requires_replace: vec![] });
}

/// Goal: an optional attribute that is stable keeps what it has when the user does not set it any more; a new object gets the
/// default.
#[test]
fn optional_stable_attributes_stay() {
    let size = Attribute::optional("size", Type::Int, "x").default(4_u64).stable().requires_replace();
    let schema = Schema::new("x", vec![size]);
    assert_eq!(schema.check(), Ok(()));
    let of = |value: Value| Object::from([("size".to_owned(), value)]);
    let (small, empty) = (of(1_u64.into()), of(Value::Null));
    let kept = Planned { state: small.clone(), requires_replace: vec![] };
    assert_eq!(plan(&schema, Some(&small), &empty), kept);
    let default = of(4_u64.into());
    for prior in [None, Some(&empty)] {
        assert_eq!(plan(&schema, prior, &empty).state, default);
    }
    assert_eq!(plan(&schema, Some(&small), &default).requires_replace, ["size"]);
}

/// Goal: an attribute that needs another object says so, also while its new value is not known.
#[test]
fn replacement_is_planned() {
    for name in ["b".into(), Value::Unknown] {
        let mut wanted = config(5);
        wanted.insert("name".to_owned(), name);
        assert_eq!(plan(&schema(), Some(&applied()), &wanted).requires_replace, ["name"]);
    }
}

/// Goal: removing an optional attribute from the configuration is a change, to the default or to null.
#[test]
fn removed_attributes_are_planned() {
    let mut prior = applied();
    prior.insert("guard".to_owned(), true.into());
    let planned = plan(&schema(), Some(&prior), &object(&[("name", "a".into())]));
    assert_eq!((&planned.state["guard"], &planned.state["size"]), (&false.into(), &Value::Null));
}

/// Goal: an apply never contradicts its plan in what is computed, and leaves nothing unknown.
#[test]
fn results_agree_with_the_plan() {
    let planned = plan(&schema(), Some(&applied()), &config(6)).state;
    let mut reported = applied();
    reported.insert("id".to_owned(), "other".into());
    reported.insert("revision".to_owned(), 8_u64.into());
    reported.insert("tags".to_owned(), Value::Unknown);
    let state = settle(&schema(), &planned, reported);
    assert_eq!(
        (&state["id"], &state["revision"], &state["tags"]),
        (&"i".into(), &8_u64.into(), &Value::Null)
    );
}

/// Goal: state of another version loads: attributes that went are skipped, those that came get their default.
#[test]
fn stored_state_is_read_tolerantly() {
    let stored = br#"{"name": "a", "size": 5, "gone": {"x": [1]}, "id": "i"}"#;
    let state = upgrade(&schema(), 0, stored).expect("tolerant").expect("an object");
    let expected =
        object(&[("name", "a".into()), ("size", 5_u64.into()), ("guard", false.into()), ("id", "i".into())]);
    assert_eq!(state, expected);
    let newer = upgrade(&schema(), 1, stored).expect_err("from the future");
    assert!(newer.iter().any(|d| d.detail.contains("at least as new")));
    assert!(decode_state(&schema(), b"[]").is_err());
    let mut imported = object(&[("guard", true.into())]);
    fill_defaults(&schema(), &mut imported);
    assert_eq!(imported["guard"], true.into());
}

/// Goal: a panic of one operation is its own error, with the message, and others go on; with and without unwinding.
#[test]
fn panics_are_contained() {
    contain::install();
    // Held threads never end: the runtime must not wait for them.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let (failed, fine) = runtime.block_on(async {
        let fails = contain::run(async { panic!("the table is {}", "empty") });
        let works = contain::run(async { 7 });
        let (failed, fine): (Result<(), _>, _) = tokio::join!(fails, works);
        (failed, fine)
    });
    runtime.shutdown_background();
    let message = failed.expect_err("it panicked");
    assert!(message.starts_with("the table is empty ("), "{message}");
    assert_eq!(fine, Ok(7));
}

/// Goal: declarations that Terraform would refuse are found by the test that every provider runs.
#[test]
fn broken_schemas_are_found() {
    let broken = [
        Attribute::required("Name", Type::String, "x"),
        Attribute::required("name", Type::String, ""),
        Attribute::required("name", Type::Bool, "x").default(false),
        Attribute::required("name", Type::Bool, "x").stable(),
    ];
    for attribute in broken {
        assert!(Schema::new("x", vec![attribute]).check().is_err());
    }
    assert_eq!(schema().check(), Ok(()));
}
