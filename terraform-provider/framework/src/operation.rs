//! The life of one object, without the protocol: read, plan, apply, import, upgrade.

use crate::codec;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::pb::DynamicValue;
use crate::plan::{Planned, fill_defaults, plan, settle};
use crate::provider::{Change, Context, Function, FunctionFault, Resource, defect};
use crate::schema::Schema;
use crate::value::Object;
use std::sync::Arc;

/// What an operation on a managed object needs.
pub(crate) struct Session<C> {
    pub(crate) resource: Arc<dyn Resource<C>>,
    pub(crate) schema: Schema,
    pub(crate) context: Context<C>,
}

/// The operations; each owns its session, so that it runs on even if the caller is gone.
pub(crate) struct Runner;

impl Runner {
    pub(crate) async fn read<C: Send + Sync + 'static>(
        session: Session<C>,
        state: Object,
    ) -> Result<Option<Object>, Diagnostics> {
        session.resource.read(&session.context, state).await
    }

    /// `config` is none when the object is to be destroyed.
    pub(crate) async fn plan<C: Send + Sync + 'static>(
        session: Session<C>,
        prior: Option<Object>,
        config: Option<Object>,
    ) -> (Option<Planned>, Diagnostics) {
        let planned = config.map(|config| plan(&session.schema, prior.as_ref(), &config));
        let change = match (prior, &planned) {
            (None, Some(planned)) => Change::Create { planned: planned.state.clone() },
            (Some(prior), Some(planned)) if planned.state == prior => {
                return (Some(planned.clone()), Diagnostics::new());
            }
            (Some(prior), Some(planned)) if planned.requires_replace.is_empty() => {
                Change::Update { prior, planned: planned.state.clone() }
            }
            (Some(prior), Some(planned)) => Change::Replace {
                prior,
                planned: planned.state.clone(),
                because: planned.requires_replace.clone(),
            },
            (Some(prior), None) => Change::Delete { prior },
            (None, None) => return (None, Diagnostics::new()),
        };
        let diagnostics = session.resource.review(&session.context, &change).await;
        (planned, diagnostics)
    }

    /// The state to store, and what went wrong.
    pub(crate) async fn apply<C: Send + Sync + 'static>(
        session: Session<C>,
        prior: Option<Object>,
        planned: Option<Object>,
    ) -> (Option<Object>, Diagnostics) {
        let Session { resource, schema, context } = &session;
        let (result, fallback) = match (prior, planned) {
            (None, Some(planned)) => {
                let result = resource.create(context, planned.clone()).await;
                (result.map(|state| settle(schema, &planned, state)), None)
            }
            (Some(prior), Some(planned)) => {
                let result = resource.update(context, prior.clone(), planned.clone()).await;
                (result.map(|state| settle(schema, &planned, state)), Some(prior))
            }
            (Some(prior), None) => {
                return match resource.delete(context, prior.clone()).await {
                    Ok(()) => (None, Diagnostics::new()),
                    // With the prior state Terraform keeps the object; without it, it would be forgotten.
                    Err(diagnostics) => (Some(prior), diagnostics),
                };
            }
            (None, None) => return (None, defect("there is nothing to apply").into()),
        };
        match result {
            Ok(state) => (Some(state), Diagnostics::new()),
            Err(failed) => {
                let state =
                    failed.state.map(|s| s.into_iter().map(|(k, v)| (k, v.without_unknowns())).collect());
                (state.or(fallback), failed.diagnostics)
            }
        }
    }

    pub(crate) async fn import<C: Send + Sync + 'static>(
        session: Session<C>,
        id: String,
    ) -> Result<Object, Diagnostics> {
        let mut state = session.resource.import(&session.context, &id).await?;
        fill_defaults(&session.schema, &mut state);
        Ok(state)
    }
}

/// Stored state of this or an older version, as state of the current schema.
pub(crate) fn upgrade(schema: &Schema, version: i64, json: &[u8]) -> Result<Option<Object>, Diagnostics> {
    if version > schema.version {
        let detail = format!(
            "The state was stored with schema version {version}; this provider knows versions up to {}. \
             Use a provider at least as new as the one that wrote the state.",
            schema.version
        );
        return Err(Diagnostic::error("The state is from a newer provider", detail).into());
    }
    let mut state = codec::decode_state(schema, json)
        .map_err(|e| Diagnostic::error("The stored state cannot be read", format!("{e}.")))?;
    if let Some(state) = &mut state {
        fill_defaults(schema, state);
    }
    Ok(state)
}

/// Calls a function.
pub(crate) fn call(
    functions: &[Function],
    name: &str,
    arguments: &[DynamicValue],
) -> Result<DynamicValue, FunctionFault> {
    let fault = |argument: usize, text: String| FunctionFault {
        argument: i64::try_from(argument).unwrap_or_default(),
        text,
    };
    let function = functions
        .iter()
        .find(|f| f.name == name)
        .ok_or_else(|| fault(0, format!("this provider has no function {name:?}")))?;
    if arguments.len() != function.parameters.len() {
        return Err(fault(0, format!("{} arguments are expected", function.parameters.len())));
    }
    let decoded =
        function.parameters.iter().zip(arguments).enumerate().map(|(index, ((_, ty, _), value))| {
            codec::decode_value(ty, value).map_err(|e| fault(index, e.to_string()))
        });
    let result = (function.call)(&decoded.collect::<Result<Vec<_>, _>>()?)?;
    Ok(codec::encode_value(&function.result, &result))
}
