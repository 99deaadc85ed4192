//! `ironbay_volume`: a namespace that hosts reach over NVMe/TCP.
//!
//! What a plan does with data
//! - A larger size grows in place; a smaller one is refused with both sizes, also if somebody grew the volume elsewhere.
//! - Other allowed hosts are let in and shut out in place.
//! - Another name or pool is another volume: the plan says so and warns that the data goes.
//! - `deletion_protection` is read from the state, not from the configuration: removing the block does not lift it.

use crate::fields::{self, flag, text};
use crate::node::{CallError, Node};
use crate::refusal::{diagnostic, with_import_hint};
use crate::rules;
use crate::units::bytes;
use api::v1;
use api::v1::get_volume_request::Key;
use control::ErrorKind;
use control::limits::BLOCK_SIZE_DEFAULT;
use std::collections::BTreeSet;
use tf_framework::{
    Attribute, Change, Context, Diagnostic, Diagnostics, Failed, Object, Resource, Schema, Type, Value,
};
use uuid::Uuid;

pub(crate) struct VolumeResource;

fn portal_type() -> Type {
    Type::Object(vec![("transport", Type::String), ("address", Type::String), ("port", Type::Int)])
}

fn schema() -> Schema {
    let mut attributes = inputs();
    attributes.extend(connection());
    let description =
        "A volume: a block device in a pool, exported as an NVMe namespace. It reads as zeroes when new.";
    Schema::new(description, attributes)
}

/// What the user says.
fn inputs() -> Vec<Attribute> {
    let name =
        "1 to 63 characters of `a-z`, `0-9`, `-`; unique on the node. Another name makes another volume.";
    let pool = "The pool's id: `ironbay_pool.NAME.id`. Another pool makes another volume.";
    let size = "Size; a multiple of 1 MiB (1048576). `provider::ironbay::parse_size(\"10GiB\")` helps. Grows in place; \
                shrinking is refused.";
    let blocks = "Bytes of a logical block as hosts see it: `512` for hosts that cannot use others, such as ESXi, or `4096`, because \
                  drives write 4 KiB at once. It cannot change in place: what hosts store counts in blocks. Default: `4096`; a \
                  volume that exists keeps its size if this is left out.";
    let protection =
        "Refuse to destroy or replace this volume. To lift it, apply `false` first. Default: `false`.";
    let force = "Destroy also while hosts are connected. Default: `false`.";
    let hosts = "NQNs of the hosts that may use this volume, as in their `/etc/nvme/hostnqn`; an empty set lets nobody. Changes in \
                 place. Without it every host may on a node in insecure mode, and none on others.";
    vec![
        Attribute::required("name", Type::String, name).requires_replace().check(rules::name),
        Attribute::required("pool", Type::String, pool).requires_replace().check(rules::pool_id),
        Attribute::required("size_bytes", Type::Int, size).check(rules::size),
        Attribute::optional("block_size", Type::Int, blocks)
            .default(u64::from(BLOCK_SIZE_DEFAULT))
            .stable()
            .requires_replace()
            .check(rules::block_size),
        Attribute::optional("allowed_hosts", Type::String.set(), hosts).check(rules::hosts),
        Attribute::optional("deletion_protection", Type::Bool, protection).default(false),
        Attribute::optional("force_delete", Type::Bool, force).default(false),
    ]
}

/// What a host needs. A volume keeps it for life; the portals change when the node gets another address.
fn connection() -> Vec<Attribute> {
    let uuid = "UUID of the namespace as hosts see it, in `/dev/disk/by-id/nvme-uuid.…`; equal to `id`.";
    let portals = "Where hosts connect: a list of `{transport, address, port}`.";
    let command = "The `nvme connect` command for the first portal.";
    vec![
        Attribute::computed("id", Type::String, "UUID of the volume.").stable(),
        Attribute::computed("uuid", Type::String, uuid).stable(),
        Attribute::computed("subsystem_nqn", Type::String, "NQN of the subsystem that hosts connect to.")
            .stable(),
        Attribute::computed("nsid", Type::Int, "Namespace identifier in the subsystem.").stable(),
        Attribute::computed("portals", portal_type().list(), portals).stable(),
        Attribute::computed("connect_command", Type::String, command).stable(),
    ]
}

#[tonic::async_trait]
impl Resource<Node> for VolumeResource {
    fn schema(&self) -> Schema {
        schema()
    }

    async fn review(&self, context: &Context<Node>, change: &Change) -> Diagnostics {
        match change {
            Change::Create { planned } => space(context, planned, 0).await,
            Change::Update { prior, planned } => {
                let before = prior.get("size_bytes").and_then(Value::as_u64).unwrap_or_default();
                match planned.get("size_bytes").and_then(Value::as_u64) {
                    Some(after) if after < before => shrink_refused(prior, before, after).into(),
                    Some(after) if after > before => space(context, planned, before).await,
                    Some(_) | None => Diagnostics::new(),
                }
            }
            Change::Replace { prior, planned, because } => {
                if let Some(refused) = protected(prior) {
                    return refused.into();
                }
                let mut found = space(context, planned, 0).await;
                found.push(replace_warning(prior, because));
                found
            }
            Change::Delete { prior } => protected(prior).map(Diagnostics::from).unwrap_or_default(),
        }
    }

    async fn create(&self, context: &Context<Node>, planned: Object) -> Result<Object, Failed> {
        let request = v1::CreateVolumeRequest {
            id: Uuid::new_v4().to_string(),
            name: text(&planned, "name"),
            pool: text(&planned, "pool"),
            size_bytes: planned.get("size_bytes").and_then(Value::as_u64).unwrap_or_default(),
            block_size: block_size(&planned),
            allowed_hosts: allowed_hosts(&planned),
        };
        let error = match make(context, &request).await {
            Ok(volume) => return Ok(state(&volume, planned)),
            Err(error) => error,
        };
        let told = diagnostic(&schema(), &format!("create volume {:?}", request.name), &error);
        let told = with_import_hint(told, &error, "ironbay_volume", &request.name);
        if !error.is_unclear() {
            return Err(Failed::without_effect(told));
        }
        // It may exist: with the id in the state the next apply removes it or finds nothing, and makes it anew.
        let mut partial = planned;
        partial.insert("id".to_owned(), request.id.into());
        partial.insert("deletion_protection".to_owned(), false.into());
        Err(Failed::with_state(told, partial))
    }

    async fn read(&self, context: &Context<Node>, before: Object) -> Result<Option<Object>, Diagnostics> {
        let id = text(&before, "id");
        match get(context, Key::Id(id.clone())).await {
            Ok(volume) => Ok(Some(state(&volume, before))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(diagnostic(&schema(), &format!("read volume {id}"), &error).into()),
        }
    }

    async fn update(
        &self,
        context: &Context<Node>,
        prior: Object,
        planned: Object,
    ) -> Result<Object, Failed> {
        let mut prior = prior;
        if planned.get("allowed_hosts") != prior.get("allowed_hosts") {
            prior = set_hosts(context, prior, &planned).await?;
        }
        let size = planned.get("size_bytes").and_then(Value::as_u64);
        let Some(size_bytes) = size.filter(|_| planned.get("size_bytes") != prior.get("size_bytes")) else {
            return Ok(planned);
        };
        let request = v1::ResizeVolumeRequest { id: text(&prior, "id"), size_bytes };
        let grown = context
            .client
            .call(&context.stop, &request, |c, r| async move { c.resize_volume(r).await })
            .await;
        match grown {
            Ok(volume) => Ok(state(&volume, planned)),
            Err(error) => {
                let tried = format!("grow volume {:?} to {}", text(&prior, "name"), bytes(size_bytes));
                // Other hosts may have been let in before.
                Err(Failed::with_state(diagnostic(&schema(), &tried, &error), prior))
            }
        }
    }

    async fn delete(&self, context: &Context<Node>, prior: Object) -> Result<(), Diagnostics> {
        // A tainted volume comes here without a review.
        if let Some(refused) = protected(&prior) {
            return Err(refused.into());
        }
        let force = flag(&prior, "force_delete");
        let request = v1::DeleteVolumeRequest { id: text(&prior, "id"), force };
        match context
            .client
            .call(&context.stop, &request, |c, r| async move { c.delete_volume(r).await })
            .await
        {
            Ok(()) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => {
                let tried = format!("delete volume {:?}", text(&prior, "name"));
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
            Ok(volume) if is_in_creation(&volume) => {
                let detail = "The node is zeroing its blocks, or has to end another change first.\n\nRepeat the import when \
                              \"ironbay volume list\" shows it online.";
                let summary = format!("Cannot import volume {id:?}: it is being created");
                Err(Diagnostic::error(summary, detail).into())
            }
            Ok(volume) => Ok(state(&volume, Object::new())),
            Err(error) => {
                Err(diagnostic(&schema(), &format!("import volume {id:?} (by id or by name)"), &error).into())
            }
        }
    }
}

/// Creates a volume. Zeroing a large one can take longer than the node lets one call wait; as long as it says that the volume is
/// being created, the same call is made again, which then waits on.
async fn make(context: &Context<Node>, request: &v1::CreateVolumeRequest) -> Result<v1::Volume, CallError> {
    loop {
        let made =
            context.client.call(&context.stop, request, |c, r| async move { c.create_volume(r).await }).await;
        let error = match made {
            Err(CallError::Api(error)) if error.details().kind == ErrorKind::Unavailable => error,
            made => return made,
        };
        match get(context, Key::Id(request.id.clone())).await {
            Ok(volume) if is_in_creation(&volume) => {
                tracing::info!(volume = request.name, "The node still zeroes the volume: waiting on");
            }
            _ => return Err(CallError::Api(error)),
        }
    }
}

fn is_in_creation(volume: &v1::Volume) -> bool {
    volume.state() == v1::VolumeState::Creating
}

/// The block size of a plan; 0, which stands for the node's default, if it says none.
fn block_size(planned: &Object) -> u32 {
    let size = planned.get("block_size").and_then(Value::as_u64);
    size.and_then(|size| u32::try_from(size).ok()).unwrap_or_default()
}

/// The block size of a volume; nodes that do not tell it know one size only.
fn observed_block_size(volume: &v1::Volume) -> u32 {
    if volume.block_size == 0 { BLOCK_SIZE_DEFAULT } else { volume.block_size }
}

/// The hosts of a plan; none if there is no list.
fn allowed_hosts(planned: &Object) -> Option<v1::AllowedHosts> {
    let hosts = planned.get("allowed_hosts").and_then(Value::as_list)?;
    Some(v1::AllowedHosts { nqns: hosts.iter().filter_map(Value::as_str).map(str::to_owned).collect() })
}

/// Changes who may use a volume; returns the state that it has then.
async fn set_hosts(context: &Context<Node>, prior: Object, planned: &Object) -> Result<Object, Failed> {
    let request = v1::SetVolumeHostsRequest { id: text(&prior, "id"), allowed_hosts: allowed_hosts(planned) };
    let changed =
        context.client.call(&context.stop, &request, |c, r| async move { c.set_volume_hosts(r).await }).await;
    match changed {
        Ok(volume) => Ok(state(&volume, prior)),
        Err(error) => {
            let tried = format!("change the hosts of volume {:?}", text(&prior, "name"));
            Err(Failed::without_effect(diagnostic(&schema(), &tried, &error)))
        }
    }
}

async fn get(context: &Context<Node>, key: Key) -> Result<v1::Volume, CallError> {
    context.client.call(&context.stop, &key, |c, r| async move { c.volume(r).await }).await
}

/// The state of a volume; what only the user says is taken from `inputs`.
fn state(volume: &v1::Volume, inputs: Object) -> Object {
    let connection = volume.connection.clone().unwrap_or_default();
    let mut portals = connection.portals;
    // The node may list them in any order; a changing order would look like drift.
    portals.sort_by(|a, b| (&a.address, a.port).cmp(&(&b.address, b.port)));
    let command = portals.first().map(|p| {
        format!(
            "nvme connect -t {} -a {} -s {} -n {}",
            p.transport, p.address, p.port, connection.subsystem_nqn
        )
    });
    let portal = |p: &v1::Portal| {
        Value::Object(fields::object([
            ("transport", p.transport.as_str().into()),
            ("address", p.address.as_str().into()),
            ("port", p.port.into()),
        ]))
    };
    let hosts = volume.allowed_hosts.as_ref().map(|allowed| {
        let nqns: BTreeSet<&str> = allowed.nqns.iter().map(String::as_str).collect();
        Value::List(nqns.into_iter().map(Value::from).collect())
    });
    let observed = [
        ("name", volume.name.as_str().into()),
        ("pool", volume.pool_id.as_str().into()),
        ("size_bytes", volume.size_bytes.into()),
        ("block_size", observed_block_size(volume).into()),
        ("allowed_hosts", hosts.unwrap_or(Value::Null)),
        ("id", volume.id.as_str().into()),
        ("uuid", volume.id.as_str().into()),
        ("subsystem_nqn", connection.subsystem_nqn.as_str().into()),
        ("nsid", connection.nsid.into()),
        ("portals", Value::List(portals.iter().map(portal).collect())),
        ("connect_command", command.map_or(Value::Null, Value::from)),
    ];
    fields::state(observed, inputs)
}

fn shrink_refused(prior: &Object, before: u64, after: u64) -> Diagnostic {
    let name = text(prior, "name");
    Diagnostic::error(
        format!("Volume {name:?} cannot shrink"),
        format!(
            "It has {}, the configuration asks for {}. Shrinking would cut off data.\n\n\
             Set size_bytes to {before} or more. If somebody grew the volume outside of Terraform, {before} is the size \
             it has now. For a smaller volume make a new one and copy the data.",
            bytes(before),
            bytes(after)
        ),
    )
    .at("size_bytes")
}

fn protected(prior: &Object) -> Option<Diagnostic> {
    let is_protected = flag(prior, "deletion_protection");
    let name = text(prior, "name");
    is_protected.then(|| {
        Diagnostic::error(
            format!("Volume {name:?} is protected from deletion"),
            format!(
                "The plan would delete volume {name:?} ({}) and its data, and deletion_protection is set in the state.\n\n\
                 To delete it nevertheless, first apply deletion_protection = false for it, then repeat this.",
                text(prior, "id")
            ),
        )
        .at("deletion_protection")
    })
}

fn replace_warning(prior: &Object, because: &[&'static str]) -> Diagnostic {
    let name = text(prior, "name");
    let why = if because.contains(&"block_size") {
        "Partition tables and file systems count in blocks of the size that the volume was made with, so it cannot change in \
         place: make a second volume and copy the data to keep them."
    } else {
        "Volumes cannot be renamed or moved yet."
    };
    Diagnostic::warning(
        format!("All data of volume {name:?} will be lost"),
        format!(
            "A change of {} makes a new, empty volume and deletes the present one ({}). {why} Set deletion_protection to \
             rule this out.",
            because.join(" and "),
            text(prior, "id")
        ),
    )
}

/// Whether the pool has room: what can never fit is refused, what does not fit now is a warning, because the same apply
/// may make room. `owned` is what the volume has already.
async fn space(context: &Context<Node>, planned: &Object, owned: u64) -> Diagnostics {
    let pool = planned.get("pool").and_then(Value::as_str);
    let size = planned.get("size_bytes").and_then(Value::as_u64);
    let (Some(pool), Some(size)) = (pool, size) else { return Diagnostics::new() };
    if !context.client.is_known() {
        return Diagnostics::new();
    }
    let name = text(planned, "name");
    let key = v1::get_pool_request::Key::Id(pool.to_owned());
    let pool = match context.client.call(&context.stop, &key, |c, r| async move { c.pool(r).await }).await {
        Ok(pool) => pool,
        Err(error) if error.is_not_found() => {
            let tried = format!("plan volume {name:?}");
            return diagnostic(&schema(), &tried, &error).at("pool").into();
        }
        Err(error) => {
            let told = diagnostic(&schema(), &format!("check the size of volume {name:?}"), &error);
            return Diagnostic { is_error: false, ..told }.into();
        }
    };
    let needed = size.saturating_sub(owned);
    if needed <= pool.free_bytes {
        return Diagnostics::new();
    }
    let detail = format!(
        "Pool {:?} has {} free of {} in all; volume {name:?} needs {}{}.",
        pool.name,
        bytes(pool.free_bytes),
        bytes(pool.size_bytes),
        bytes(needed),
        if owned > 0 { " more" } else { "" },
    );
    let summary = format!("Volume {name:?} does not fit into pool {:?}", pool.name);
    let told = if size > pool.size_bytes {
        let remedy = format!("Set size_bytes to at most {}.", owned.saturating_add(pool.free_bytes));
        Diagnostic::error(summary, format!("{detail}\n\n{remedy}"))
    } else {
        let remedy = "The apply will fail unless it removes other volumes of this pool first.";
        Diagnostic::warning(summary, format!("{detail}\n\n{remedy}"))
    };
    told.at("size_bytes").into()
}
