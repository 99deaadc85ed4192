//! The calls of Terraform, mapped to the operations of a provider.
//!
//! This file knows the protocol and no operation; `operation` knows the operations and no protocol message.
//! Every call answers: with diagnostics if something is wrong, and with the prior state if the new one is not known,
//! because a missing state makes Terraform forget the object.

use crate::codec;
use crate::contain;
use crate::diagnostic::{Diagnostic, Diagnostics, path};
use crate::operation::{Runner, Session, call, upgrade};
use crate::pb;
use crate::provider::{Context, Function, FunctionFault, Provider, defect};
use crate::schema::{Schema, Type};
use crate::stop::{Busy, Gauge, Stop, Stopper};
use crate::validate::validate;
use crate::value::Object;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use tonic::{Request, Response, Status};

/// The gRPC service of one provider.
pub struct Service<C> {
    provider: Arc<Provider<C>>,
    client: OnceLock<Arc<C>>,
    stopper: Stopper,
    stop: Stop,
    in_flight: Gauge,
}

impl<C: Send + Sync + 'static> Service<C> {
    pub(crate) fn new(provider: Provider<C>, stopper: Stopper, stop: Stop, in_flight: Gauge) -> Self {
        Self { provider: Arc::new(provider), client: OnceLock::new(), stopper, stop, in_flight }
    }

    fn session(&self, type_name: &str) -> Result<Session<C>, Diagnostics> {
        let found = self.provider.resources.iter().find(|(name, _)| *name == type_name);
        let (_, resource) = found.ok_or_else(|| unknown_type(type_name))?;
        Ok(Session { resource: resource.clone(), schema: resource.schema(), context: self.context()? })
    }

    fn resource_schema(&self, type_name: &str) -> Result<Schema, Diagnostics> {
        let found = self.provider.resources.iter().find(|(name, _)| *name == type_name);
        found.map(|(_, resource)| resource.schema()).ok_or_else(|| unknown_type(type_name))
    }

    fn data_schema(&self, type_name: &str) -> Result<Schema, Diagnostics> {
        let found = self.provider.data_sources.iter().find(|(name, _)| *name == type_name);
        found.map(|(_, source)| source.schema()).ok_or_else(|| unknown_type(type_name))
    }

    fn context(&self) -> Result<Context<C>, Diagnostics> {
        let client = self.client.get().cloned();
        let client =
            client.ok_or_else(|| defect("an operation was asked for before the provider was configured"))?;
        Ok(Context { client, stop: self.stop.clone() })
    }

    /// Runs one operation, counted and contained.
    async fn run<T: Send + 'static>(
        &self,
        operation: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Diagnostics> {
        let busy: Busy = self.in_flight.enter();
        let counted = async move {
            let result = operation.await;
            drop(busy);
            result
        };
        contain::run(counted)
            .await
            .map_err(|message| defect(format!("The operation panicked: {message}")).into())
    }
}

fn unknown_type(type_name: &str) -> Diagnostics {
    defect(format!("this provider has no type {type_name:?}")).into()
}

/// An object that must be there.
fn required(schema: &Schema, value: Option<&pb::DynamicValue>) -> Result<Object, Diagnostics> {
    optional(schema, value)?.ok_or_else(|| defect("Terraform sent no value where one is required").into())
}

fn optional(schema: &Schema, value: Option<&pb::DynamicValue>) -> Result<Option<Object>, Diagnostics> {
    codec::decode(schema, value).map_err(|e| broken_value(&e))
}

fn broken_value(error: &codec::CodecError) -> Diagnostics {
    let diagnostic = Diagnostic::error("A value cannot be read", format!("{error}."));
    match &error.attribute {
        Some(attribute) => diagnostic.at(attribute).into(),
        None => diagnostic.into(),
    }
}

/// The diagnostics of a step that either gives nothing or fails.
fn problems(result: Result<Diagnostics, Diagnostics>) -> Vec<pb::Diagnostic> {
    result.unwrap_or_else(|failed| failed).into_wire()
}

#[tonic::async_trait]
impl<C: Send + Sync + 'static> pb::provider_server::Provider for Service<C> {
    async fn get_provider_schema(
        &self,
        _: Request<pb::SchemaRequest>,
    ) -> Result<Response<pb::SchemaResponse>, Status> {
        let provider = &self.provider;
        let resources = provider.resources.iter().map(|(name, r)| ((*name).to_owned(), r.schema().to_wire()));
        let data = provider.data_sources.iter().map(|(name, d)| ((*name).to_owned(), d.schema().to_wire()));
        let functions = provider.functions.iter().map(|f| (f.name.to_owned(), function_to_wire(f)));
        Ok(Response::new(pb::SchemaResponse {
            provider: Some(provider.schema.to_wire()),
            resource_schemas: resources.collect(),
            data_source_schemas: data.collect(),
            functions: functions.collect(),
            diagnostics: Vec::new(),
            server_capabilities: Some(pb::ServerCapabilities {
                plan_destroy: true,
                get_provider_schema_optional: true,
                move_resource_state: false,
            }),
        }))
    }

    async fn validate_provider_config(
        &self,
        request: Request<pb::ValidateRequest>,
    ) -> Result<Response<pb::ValidateProviderResponse>, Status> {
        let schema = &self.provider.schema;
        let config = required(schema, request.get_ref().config.as_ref());
        let diagnostics = problems(config.map(|config| validate(schema, &config)));
        Ok(Response::new(pb::ValidateProviderResponse { diagnostics }))
    }

    async fn validate_resource_config(
        &self,
        request: Request<pb::ValidateTypeRequest>,
    ) -> Result<Response<pb::ValidateResponse>, Status> {
        let request = request.into_inner();
        let checked = self.resource_schema(&request.type_name).and_then(|schema| {
            let config = required(&schema, request.config.as_ref())?;
            Ok(validate(&schema, &config))
        });
        Ok(Response::new(pb::ValidateResponse { diagnostics: problems(checked) }))
    }

    async fn validate_data_resource_config(
        &self,
        request: Request<pb::ValidateTypeRequest>,
    ) -> Result<Response<pb::ValidateResponse>, Status> {
        let request = request.into_inner();
        let checked = self.data_schema(&request.type_name).and_then(|schema| {
            let config = required(&schema, request.config.as_ref())?;
            Ok(validate(&schema, &config))
        });
        Ok(Response::new(pb::ValidateResponse { diagnostics: problems(checked) }))
    }

    async fn upgrade_resource_state(
        &self,
        request: Request<pb::UpgradeRequest>,
    ) -> Result<Response<pb::UpgradeResponse>, Status> {
        let request = request.into_inner();
        let json = request.raw_state.unwrap_or_default().json;
        let upgraded = self.resource_schema(&request.type_name).and_then(|schema| {
            let state = upgrade(&schema, request.version, &json)?;
            Ok(codec::encode(&schema, state.as_ref()))
        });
        let (upgraded_state, diagnostics) = match upgraded {
            Ok(state) => (Some(state), Vec::new()),
            Err(diagnostics) => (None, diagnostics.into_wire()),
        };
        Ok(Response::new(pb::UpgradeResponse { upgraded_state, diagnostics }))
    }

    async fn configure_provider(
        &self,
        request: Request<pb::ConfigureRequest>,
    ) -> Result<Response<pb::ConfigureResponse>, Status> {
        let request = request.into_inner();
        tracing::debug!(terraform = request.terraform_version, "The provider is configured");
        let client = required(&self.provider.schema, request.config.as_ref())
            .and_then(|config| (self.provider.configure)(&config));
        let diagnostics = match client {
            Ok(client) => {
                // A second configuration of the same process does not happen; the first would stay.
                drop(self.client.set(Arc::new(client)));
                Vec::new()
            }
            Err(diagnostics) => diagnostics.into_wire(),
        };
        Ok(Response::new(pb::ConfigureResponse { diagnostics }))
    }

    async fn read_resource(
        &self,
        request: Request<pb::ReadRequest>,
    ) -> Result<Response<pb::ReadResponse>, Status> {
        let request = request.into_inner();
        let mut response = pb::ReadResponse {
            new_state: request.current_state.clone(),
            private: request.private,
            ..pb::ReadResponse::default()
        };
        let prepared = self.session(&request.type_name).and_then(|session| {
            let state = required(&session.schema, request.current_state.as_ref())?;
            Ok((session, state))
        });
        let read = match prepared {
            Ok((session, state)) => {
                let schema = session.schema.clone();
                let read = self.run(Runner::read(session, state)).await;
                read.and_then(|read| read).map(|state| codec::encode(&schema, state.as_ref()))
            }
            Err(diagnostics) => Err(diagnostics),
        };
        match read {
            Ok(state) => response.new_state = Some(state),
            Err(diagnostics) => response.diagnostics = diagnostics.into_wire(),
        }
        Ok(Response::new(response))
    }

    async fn plan_resource_change(
        &self,
        request: Request<pb::PlanRequest>,
    ) -> Result<Response<pb::PlanResponse>, Status> {
        let request = request.into_inner();
        let mut response = pb::PlanResponse {
            planned_state: request.prior_state.clone(),
            planned_private: request.prior_private,
            ..pb::PlanResponse::default()
        };
        let prepared = self.session(&request.type_name).and_then(|session| {
            let prior = optional(&session.schema, request.prior_state.as_ref())?;
            let proposed = optional(&session.schema, request.proposed_new_state.as_ref())?;
            let config = optional(&session.schema, request.config.as_ref())?;
            let config = proposed.and(config);
            Ok((session, prior, config))
        });
        let (session, prior, config) = match prepared {
            Ok(prepared) => prepared,
            Err(diagnostics) => {
                response.diagnostics = diagnostics.into_wire();
                return Ok(Response::new(response));
            }
        };
        let schema = session.schema.clone();
        match self.run(Runner::plan(session, prior, config)).await {
            Ok((planned, diagnostics)) => {
                response.planned_state = Some(codec::encode(&schema, planned.as_ref().map(|p| &p.state)));
                let replaced = planned.map(|p| p.requires_replace).unwrap_or_default();
                response.requires_replace = replaced.into_iter().map(path).collect();
                response.diagnostics = diagnostics.into_wire();
            }
            Err(diagnostics) => response.diagnostics = diagnostics.into_wire(),
        }
        Ok(Response::new(response))
    }

    async fn apply_resource_change(
        &self,
        request: Request<pb::ApplyRequest>,
    ) -> Result<Response<pb::ApplyResponse>, Status> {
        let request = request.into_inner();
        let mut response = pb::ApplyResponse {
            new_state: request.prior_state.clone(),
            private: request.planned_private,
            diagnostics: Vec::new(),
        };
        let prepared = self.session(&request.type_name).and_then(|session| {
            let prior = optional(&session.schema, request.prior_state.as_ref())?;
            let planned = optional(&session.schema, request.planned_state.as_ref())?;
            Ok((session, prior, planned))
        });
        let applied = match prepared {
            Ok((session, prior, planned)) => {
                let schema = session.schema.clone();
                let applied = self.run(Runner::apply(session, prior, planned)).await;
                applied.map(|(state, diagnostics)| (codec::encode(&schema, state.as_ref()), diagnostics))
            }
            Err(diagnostics) => Err(diagnostics),
        };
        match applied {
            Ok((state, diagnostics)) => {
                response.new_state = Some(state);
                response.diagnostics = diagnostics.into_wire();
            }
            Err(diagnostics) => response.diagnostics = diagnostics.into_wire(),
        }
        Ok(Response::new(response))
    }

    async fn import_resource_state(
        &self,
        request: Request<pb::ImportRequest>,
    ) -> Result<Response<pb::ImportResponse>, Status> {
        let request = request.into_inner();
        let type_name = request.type_name;
        let imported = match self.session(&type_name) {
            Ok(session) => {
                let schema = session.schema.clone();
                let imported = self.run(Runner::import(session, request.id)).await.and_then(|result| result);
                imported.map(|state| codec::encode(&schema, Some(&state)))
            }
            Err(diagnostics) => Err(diagnostics),
        };
        let mut response = pb::ImportResponse::default();
        match imported {
            Ok(state) => response.imported_resources.push(pb::ImportedResource {
                type_name,
                state: Some(state),
                private: Vec::new(),
            }),
            Err(diagnostics) => response.diagnostics = diagnostics.into_wire(),
        }
        Ok(Response::new(response))
    }

    async fn read_data_source(
        &self,
        request: Request<pb::ReadDataRequest>,
    ) -> Result<Response<pb::ReadDataResponse>, Status> {
        let request = request.into_inner();
        let found = self.provider.data_sources.iter().find(|(name, _)| *name == request.type_name);
        let prepared = found.ok_or_else(|| unknown_type(&request.type_name)).and_then(|(_, source)| {
            let schema = source.schema();
            let config = required(&schema, request.config.as_ref())?;
            Ok((source.clone(), schema, config, self.context()?))
        });
        let read = match prepared {
            Ok((source, schema, config, context)) => {
                let read = self.run(async move { source.read(&context, config).await }).await;
                read.and_then(|read| read).map(|state| codec::encode(&schema, Some(&state)))
            }
            Err(diagnostics) => Err(diagnostics),
        };
        let mut response = pb::ReadDataResponse::default();
        match read {
            Ok(state) => response.state = Some(state),
            Err(diagnostics) => response.diagnostics = diagnostics.into_wire(),
        }
        Ok(Response::new(response))
    }

    async fn call_function(
        &self,
        request: Request<pb::CallRequest>,
    ) -> Result<Response<pb::CallResponse>, Status> {
        let request = request.into_inner();
        let provider = self.provider.clone();
        let call = async move { call(&provider.functions, &request.name, &request.arguments) };
        let mut response = pb::CallResponse::default();
        match contain::run(call).await {
            Ok(Ok(result)) => response.result = Some(result),
            Ok(Err(FunctionFault { argument, text })) => {
                response.error = Some(pb::FunctionError { text, function_argument: Some(argument) });
            }
            Err(panic) => {
                let text = format!("the provider has a defect: {panic}");
                response.error = Some(pb::FunctionError { text, function_argument: None });
            }
        }
        Ok(Response::new(response))
    }

    async fn stop_provider(&self, _: Request<pb::StopRequest>) -> Result<Response<pb::StopResponse>, Status> {
        tracing::info!("The user interrupted: operations under way are told to stop");
        self.stopper.stop();
        Ok(Response::new(pb::StopResponse::default()))
    }
}

fn function_to_wire(function: &Function) -> pb::Function {
    let parameter = |(name, ty, description): &(&'static str, Type, &'static str)| pb::function::Parameter {
        name: (*name).to_owned(),
        r#type: ty.to_wire(),
        allow_null_value: false,
        allow_unknown_values: false,
        description: (*description).to_owned(),
        description_kind: pb::TextKind::Markdown.into(),
    };
    pb::Function {
        parameters: function.parameters.iter().map(parameter).collect(),
        r#return: Some(pb::function::Return { r#type: function.result.to_wire() }),
        summary: function.summary.to_owned(),
        description: function.description.to_owned(),
        description_kind: pb::TextKind::Markdown.into(),
    }
}
