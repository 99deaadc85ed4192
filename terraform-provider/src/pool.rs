//! `ironbay_pool`: drives joined to a pool.
//!
//! Values that change by themselves (free space, state) are not here: they would be drift on every plan.

use crate::fields::{self, flag, text};
use crate::node::{CallError, Node};
use crate::refusal::{diagnostic, with_import_hint};
use crate::rules;
use api::v1;
use api::v1::get_pool_request::Key;
use std::collections::BTreeSet;
use tf_framework::{
    Attribute, Change, Context, Diagnostic, Diagnostics, Failed, Object, Resource, Schema, Type, Value,
};
use uuid::Uuid;

pub(crate) struct PoolResource;

fn schema() -> Schema {
    let name =
        "1 to 63 characters of `a-z`, `0-9`, `-`; unique on the node. Another name makes another pool.";
    let drives = "Serial numbers of the drives. All data on them is lost when the pool is made. Other drives make another \
                  pool.";
    let overwrite = "Also take drives that carry data which is not Ironbay's. Counts only when the pool is made. Default: \
                     `false`.";
    let nqn = "NQN of the NVMe subsystem that exports the pool's volumes.";
    Schema::new(
        "A pool: drives whose space is shared by volumes. Creating it erases the drives.",
        vec![
            Attribute::required("name", Type::String, name).requires_replace().check(rules::name),
            Attribute::required("drives", Type::String.set(), drives).requires_replace().check(rules::drives),
            Attribute::optional("overwrite_foreign_data", Type::Bool, overwrite).default(false),
            Attribute::computed("id", Type::String, "UUID of the pool.").stable(),
            Attribute::computed("subsystem_nqn", Type::String, nqn).stable(),
            Attribute::computed("size_bytes", Type::Int, "Space for volumes, in all.").stable(),
        ],
    )
}

#[tonic::async_trait]
impl Resource<Node> for PoolResource {
    fn schema(&self) -> Schema {
        schema()
    }

    async fn review(&self, context: &Context<Node>, change: &Change) -> Diagnostics {
        match change {
            Change::Create { planned } => usable_drives(context, planned, None).await,
            Change::Replace { prior, planned, because } => {
                let mut found = usable_drives(context, planned, Some(&text(prior, "id"))).await;
                found.push(replace_warning(prior, because));
                found
            }
            Change::Update { .. } | Change::Delete { .. } => Diagnostics::new(),
        }
    }

    async fn create(&self, context: &Context<Node>, planned: Object) -> Result<Object, Failed> {
        let request = v1::CreatePoolRequest {
            id: Uuid::new_v4().to_string(),
            name: text(&planned, "name"),
            drive_serials: serials(&planned),
            overwrite_foreign_data: flag(&planned, "overwrite_foreign_data"),
        };
        let made =
            context.client.call(&context.stop, &request, |c, r| async move { c.create_pool(r).await }).await;
        let error = match made {
            Ok(pool) => return Ok(state(&pool, planned)),
            Err(error) => error,
        };
        let told = diagnostic(&schema(), &format!("create pool {:?}", request.name), &error);
        let told = with_import_hint(told, &error, "ironbay_pool", &request.name);
        if !error.is_unclear() {
            return Err(Failed::without_effect(told));
        }
        // It may exist: with the id in the state the next apply removes it or finds nothing, and makes it anew.
        let mut partial = planned;
        partial.insert("id".to_owned(), request.id.into());
        Err(Failed::with_state(told, partial))
    }

    async fn read(&self, context: &Context<Node>, before: Object) -> Result<Option<Object>, Diagnostics> {
        let id = text(&before, "id");
        match get(context, Key::Id(id.clone())).await {
            Ok(pool) => Ok(Some(state(&pool, before))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(diagnostic(&schema(), &format!("read pool {id}"), &error).into()),
        }
    }

    async fn update(&self, _: &Context<Node>, _: Object, planned: Object) -> Result<Object, Failed> {
        // Only overwrite_foreign_data changes in place, and it counts at creation only.
        Ok(planned)
    }

    async fn delete(&self, context: &Context<Node>, prior: Object) -> Result<(), Diagnostics> {
        let request = v1::DeletePoolRequest { id: text(&prior, "id") };
        match context.client.call(&context.stop, &request, |c, r| async move { c.delete_pool(r).await }).await
        {
            Ok(()) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => {
                let tried = format!("delete pool {:?}", text(&prior, "name"));
                Err(diagnostic(&schema(), &tried, &error).into())
            }
        }
    }

    async fn import(&self, context: &Context<Node>, id: &str) -> Result<Object, Diagnostics> {
        let key = match Uuid::try_parse(id) {
            Ok(uuid) => Key::Id(uuid.to_string()),
            Err(_) => Key::Name(id.to_owned()),
        };
        match get(context, key).await {
            Ok(pool) => Ok(state(&pool, Object::new())),
            Err(error) => {
                Err(diagnostic(&schema(), &format!("import pool {id:?} (by id or by name)"), &error).into())
            }
        }
    }
}

async fn get(context: &Context<Node>, key: Key) -> Result<v1::Pool, CallError> {
    context.client.call(&context.stop, &key, |c, r| async move { c.pool(r).await }).await
}

fn serials(object: &Object) -> Vec<String> {
    let drives = object.get("drives").and_then(Value::as_list).unwrap_or_default();
    drives.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The state of a pool; what only the user says is taken from `inputs`.
fn state(pool: &v1::Pool, inputs: Object) -> Object {
    let serials: BTreeSet<&str> = pool.drive_serials.iter().map(String::as_str).collect();
    let observed = [
        ("name", pool.name.as_str().into()),
        ("drives", Value::List(serials.into_iter().map(Value::from).collect())),
        ("id", pool.id.as_str().into()),
        ("subsystem_nqn", pool.subsystem_nqn.as_str().into()),
        ("size_bytes", pool.size_bytes.into()),
    ];
    fields::state(observed, inputs)
}

fn replace_warning(prior: &Object, because: &[&'static str]) -> Diagnostic {
    let name = text(prior, "name");
    Diagnostic::warning(
        format!("All data of pool {name:?} will be lost"),
        format!(
            "A change of {} makes a new, empty pool and deletes the present one ({}). Pools cannot be renamed, grown or \
             shrunk yet. A pool with volumes is not deleted; volumes with deletion_protection rule this out.",
            because.join(" and "),
            text(prior, "id")
        ),
    )
}

/// Whether the drives can join: a wrong serial number is told at plan, not after half of an apply. `replaced` is the pool
/// that goes first, so its drives are free.
async fn usable_drives(context: &Context<Node>, planned: &Object, replaced: Option<&str>) -> Diagnostics {
    let is_known = planned.get("drives").is_some_and(Value::is_known);
    if !is_known || !context.client.is_known() {
        return Diagnostics::new();
    }
    let name = text(planned, "name");
    let drives = match context.client.call(&context.stop, &(), |c, ()| async move { c.drives().await }).await
    {
        Ok(drives) => drives,
        Err(error) => {
            let told = diagnostic(&schema(), &format!("check the drives of pool {name:?}"), &error);
            return Diagnostic { is_error: false, ..told }.into();
        }
    };
    let overwrite = flag(planned, "overwrite_foreign_data");
    let mut found = Diagnostics::new();
    for serial in serials(planned) {
        let drive = drives.iter().find(|d| d.serial == serial);
        if let Some(told) = unusable(&serial, drive, &drives, overwrite, replaced) {
            found.push(told.at("drives"));
        }
    }
    found
}

fn unusable(
    serial: &str,
    drive: Option<&v1::Drive>,
    all: &[v1::Drive],
    overwrite: bool,
    replaced: Option<&str>,
) -> Option<Diagnostic> {
    let Some(drive) = drive else {
        let blank = all.iter().filter(|d| d.state() == v1::DriveState::Blank);
        let blank: Vec<&str> = blank.map(|d| d.serial.as_str()).collect();
        let choice = if blank.is_empty() {
            "It has no drive without data at the moment.".to_owned()
        } else {
            format!("Drives that can join a pool: {}.", blank.join(", "))
        };
        return Some(Diagnostic::error(
            format!("There is no drive {serial:?}"),
            format!("The node holds no drive with serial number {serial:?}. {choice}"),
        ));
    };
    let detail = if drive.detail.is_empty() { String::new() } else { format!(": {}", drive.detail) };
    match drive.state() {
        v1::DriveState::Foreign if !overwrite => Some(Diagnostic::error(
            format!("Drive {serial:?} carries foreign data"),
            format!(
                "Drive {serial:?} ({}) carries data that is not Ironbay's{detail}.\n\n\
                 Choose another drive; or, if that data may be lost, set overwrite_foreign_data = true.",
                drive.path
            ),
        )),
        v1::DriveState::Failed => Some(Diagnostic::error(
            format!("Drive {serial:?} cannot be used"),
            format!(
                "Drive {serial:?} ({}) does not work{detail}.\n\nChoose or insert another drive.",
                drive.path
            ),
        )),
        v1::DriveState::Member if replaced != Some(drive.pool_id.as_str()) => Some(Diagnostic::warning(
            format!("Drive {serial:?} belongs to pool {:?}", drive.pool_name),
            format!("The apply will fail unless it deletes pool {:?} first.", drive.pool_name),
        )),
        v1::DriveState::Foreign
        | v1::DriveState::Member
        | v1::DriveState::Blank
        | v1::DriveState::Unspecified => None,
    }
}
