//! The Terraform provider of Ironbay (layer 6): pools, volumes and drives of one node.
//!
//! ```text
//!  pool, volume   resources        drives      data source       parse_size   function
//!  node           the connection: lazy, patient with a restart, bounded
//!  refusal        errors of the API as diagnostics with attributes
//!  rules          checks of values before anything is planned
//!  fields, units  reading and making objects; sizes for people
//! ```
//!
//! Invariants
//! - The provider can do nothing that the API cannot do; it keeps no state of its own.
//! - An object is dropped from the state only if the node positively says that it does not exist.
//! - A creation brings its own UUID; so an unclear outcome can be asked for, repeated, or removed.
//! - What a plan promises about data (grow only, protection) is checked again by the node.
#![forbid(unsafe_code)]

mod drives;
mod fields;
pub mod limits;
mod node;
mod parse_size;
mod pool;
mod refusal;
mod rules;
mod units;
mod volume;

pub use node::{Endpoint, Node};

use std::sync::Arc;
use tf_framework::{Attribute, Diagnostic, Diagnostics, Object, Provider, Schema, Type};

/// Where the address of the node comes from if the configuration does not say it.
pub const ENDPOINT_VARIABLE: &str = "IRONBAY_ENDPOINT";

/// The provider, ready to be served.
#[must_use]
pub fn provider() -> Provider<Node> {
    Provider {
        name: "ironbay",
        schema: schema(),
        configure,
        resources: vec![
            ("ironbay_pool", Arc::new(pool::PoolResource)),
            ("ironbay_volume", Arc::new(volume::VolumeResource)),
        ],
        data_sources: vec![("ironbay_drives", Arc::new(drives::DrivesData))],
        functions: vec![parse_size::function()],
    }
}

fn schema() -> Schema {
    let endpoint = "Address of the node's management API: `HOST` or `HOST:PORT` (port 7420 if left out). Default: the \
                    environment variable `IRONBAY_ENDPOINT`. May be unknown at plan.";
    Schema::new(
        "Manages an Ironbay storage node: pools of NVMe drives, and volumes that hosts reach over NVMe/TCP.",
        vec![Attribute::optional("endpoint", Type::String, endpoint).check(rules::endpoint)],
    )
}

fn configure(config: &Object) -> Result<Node, Diagnostics> {
    let configured = config.get("endpoint").cloned().unwrap_or_default();
    if !configured.is_known() {
        return Ok(Node::new(Endpoint::Unknown));
    }
    if let Some(address) = configured.as_str() {
        return Ok(Node::new(Endpoint::Known(address.to_owned())));
    }
    let address = std::env::var(ENDPOINT_VARIABLE).unwrap_or_default();
    if address.is_empty() {
        let detail = format!(
            "Neither `endpoint` in the provider block nor the environment variable {ENDPOINT_VARIABLE} is set. \
             Set one of them to the address of the node, as its console shows it, such as \"10.0.0.5:7420\"."
        );
        return Err(Diagnostic::error("The address of the Ironbay node is missing", detail)
            .at("endpoint")
            .into());
    }
    rules::endpoint(&address.as_str().into()).map_err(|problem| {
        let detail = format!("The environment variable {ENDPOINT_VARIABLE} {problem}.");
        Diagnostic::error("The address of the Ironbay node is invalid", detail).at("endpoint")
    })?;
    Ok(Node::new(Endpoint::Known(address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: Terraform accepts what we declare; it would refuse the whole provider otherwise.
    #[test]
    fn schemas_are_valid() {
        let provider = provider();
        let resources = provider.resources.iter().map(|(name, r)| (*name, r.schema()));
        let data = provider.data_sources.iter().map(|(name, d)| (*name, d.schema()));
        for (name, schema) in resources.chain(data).chain([("provider", provider.schema.clone())]) {
            assert_eq!(schema.check(), Ok(()), "{name}");
        }
    }

    /// Goal: the documentation says what the code declares. On failure the table to put there is shown.
    #[test]
    fn documentation_is_current() {
        let text = include_str!("../../docs/terraform.md");
        let provider = provider();
        let resources = provider.resources.iter().map(|(name, r)| (*name, r.schema()));
        let data = provider.data_sources.iter().map(|(name, d)| (*name, d.schema()));
        for (name, schema) in resources.chain(data).chain([("provider", provider.schema.clone())]) {
            let table = schema.table();
            assert!(text.contains(&table), "docs/terraform.md lacks the table of {name}:\n{table}");
        }
    }

    /// Goal: an address that another resource will give is no error before it is known.
    #[test]
    fn unknown_endpoint_is_tolerated() {
        let config = Object::from([("endpoint".to_owned(), tf_framework::Value::Unknown)]);
        assert!(configure(&config).is_ok());
    }
}
