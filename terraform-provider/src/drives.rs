//! `data "ironbay_drives"`: what drives the node holds, for choosing those of a pool.

use crate::fields;
use crate::node::Node;
use crate::refusal::diagnostic;
use crate::rules;
use api::v1;
use tf_framework::{Attribute, Context, DataSource, Diagnostics, Object, Schema, Type, Value};

const STATES: &[&str] = &["blank", "member", "foreign", "failed"];

pub(crate) struct DrivesData;

fn schema() -> Schema {
    let drive = Type::Object(vec![
        ("serial", Type::String),
        ("model", Type::String),
        ("path", Type::String),
        ("size_bytes", Type::Int),
        ("lba_bytes", Type::Int),
        ("state", Type::String),
        ("detail", Type::String),
        ("pool_id", Type::String),
        ("pool_name", Type::String),
    ]);
    let state = "Only drives in this state: `blank` (may join a pool), `member` (of a pool), `foreign` (carries other \
                 data), `failed`.";
    let drives = "A list of `{serial, model, path, size_bytes, lba_bytes, state, detail, pool_id, pool_name}`; what does \
                  not apply is null.";
    Schema::new(
        "The drives that the node holds, in the order of their serial numbers.",
        vec![
            Attribute::optional("state", Type::String, state).check(rules::one_of(STATES)),
            Attribute::computed("drives", drive.list(), drives),
        ],
    )
}

#[tonic::async_trait]
impl DataSource<Node> for DrivesData {
    fn schema(&self) -> Schema {
        schema()
    }

    async fn read(&self, context: &Context<Node>, config: Object) -> Result<Object, Diagnostics> {
        let mut drives = context
            .client
            .call(&context.stop, &(), |c, ()| async move { c.drives().await })
            .await
            .map_err(|error| diagnostic(&schema(), "list the drives", &error))?;
        drives.sort_by(|a, b| a.serial.cmp(&b.serial));
        let wanted = config.get("state").and_then(Value::as_str).map(str::to_owned);
        let chosen = drives.iter().filter(|d| wanted.as_deref().is_none_or(|w| w == word(d.state())));
        let mut state = config;
        state.insert("drives".to_owned(), Value::List(chosen.map(to_value).collect()));
        Ok(state)
    }
}

fn word(state: v1::DriveState) -> &'static str {
    match state {
        v1::DriveState::Blank => "blank",
        v1::DriveState::Member => "member",
        v1::DriveState::Foreign => "foreign",
        v1::DriveState::Failed => "failed",
        // A state that a newer node may have.
        v1::DriveState::Unspecified => "unknown",
    }
}

fn to_value(drive: &v1::Drive) -> Value {
    Value::Object(fields::object([
        ("serial", drive.serial.as_str().into()),
        ("model", drive.model.as_str().into()),
        ("path", drive.path.as_str().into()),
        ("size_bytes", drive.size_bytes.into()),
        ("lba_bytes", drive.lba_bytes.into()),
        ("state", word(drive.state()).into()),
        ("detail", Value::text_or_null(&drive.detail)),
        ("pool_id", Value::text_or_null(&drive.pool_id)),
        ("pool_name", Value::text_or_null(&drive.pool_name)),
    ]))
}
