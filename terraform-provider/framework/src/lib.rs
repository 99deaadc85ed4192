//! A small framework for Terraform providers (layer 5, used by the provider only).
//!
//! ```text
//!  plugin      the process: handshake, mutual TLS, signals, shutdown, log lines
//!  service     the calls of Terraform, mapped to operations
//!  operation   read, plan, apply, import, upgrade of one object
//!  plan        the plan engine          validate   static checks
//!  codec       DynamicValue to Value    schema     the declaration
//! ```
//!
//! A provider is data ([`Provider`]) plus one [`Resource`] or [`DataSource`] per type; `plugin::serve` does the rest.
//!
//! Not here: nested blocks, write-only attributes, ephemeral resources, identities. They come with the first resource
//! that needs one.
#![forbid(unsafe_code)]

mod codec;
pub mod contain;
mod diagnostic;
pub mod limits;
mod operation;
mod plan;
pub mod plugin;
mod provider;
mod schema;
mod service;
mod stop;
#[cfg(test)]
mod tests;
mod validate;
mod value;

pub use diagnostic::{Diagnostic, Diagnostics};
pub use plan::{Planned, plan};
pub use provider::{Change, Context, DataSource, Failed, Function, FunctionFault, Provider, Resource};
pub use schema::{Attribute, Check, Schema, Type};
pub use service::Service;
pub use stop::{Stop, Stopper};
pub use validate::validate;
pub use value::{Object, Value};

/// Messages and services generated from `proto/`.
#[allow(
    warnings,
    clippy::all,
    missing_docs,
    unused_qualifications,
    unreachable_pub,
    reason = "generated code"
)]
#[allow(clippy::pedantic, clippy::allow_attributes_without_reason, reason = "generated code")]
mod pb {
    tonic::include_proto!("tfplugin6");

    pub mod go_plugin {
        tonic::include_proto!("plugin");
    }
}
