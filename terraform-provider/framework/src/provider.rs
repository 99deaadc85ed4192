//! What a provider implements: a declaration, and for each type the operations on one object.
//!
//! `C` is the provider's client, made by `configure`. Handlers never see the protocol: values come decoded and complete,
//! results are checked against the schema on their way out.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::schema::{Schema, Type};
use crate::stop::Stop;
use crate::value::{Object, Value};
use std::sync::Arc;

/// A provider: its block, its types, its functions.
pub struct Provider<C> {
    /// The first part of all type names, for the log filter `TF_LOG_PROVIDER_<NAME>`.
    pub name: &'static str,
    /// Of the provider block.
    pub schema: Schema,
    /// Makes the client. Unknown values are possible, and nothing should be contacted yet.
    pub configure: fn(&Object) -> Result<C, Diagnostics>,
    /// By type name.
    pub resources: Vec<(&'static str, Arc<dyn Resource<C>>)>,
    /// By type name.
    pub data_sources: Vec<(&'static str, Arc<dyn DataSource<C>>)>,
    /// In any order.
    pub functions: Vec<Function>,
}

/// What an operation works with.
pub struct Context<C> {
    /// The provider's client.
    pub client: Arc<C>,
    /// Set when the user interrupts.
    pub stop: Stop,
}

impl<C> Clone for Context<C> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), stop: self.stop.clone() }
    }
}

/// What a plan is about to do; handed to [`Resource::review`].
#[derive(Clone, Debug)]
pub enum Change {
    /// A new object.
    Create {
        /// As planned; may have unknown values.
        planned: Object,
    },
    /// Another state of the same object.
    Update {
        /// Before.
        prior: Object,
        /// After.
        planned: Object,
    },
    /// Another object in its place: the old one is deleted.
    Replace {
        /// Of the object that goes.
        prior: Object,
        /// After.
        planned: Object,
        /// The attributes that need it.
        because: Vec<&'static str>,
    },
    /// The object goes.
    Delete {
        /// Before.
        prior: Object,
    },
}

/// Why an operation failed, and what exists nevertheless.
#[derive(Debug)]
pub struct Failed {
    /// For the user.
    pub diagnostics: Diagnostics,
    /// State to remember. A creation that returns some is stored as tainted, so nothing that may exist is forgotten.
    pub state: Option<Object>,
}

impl Failed {
    /// A failure after which nothing exists (create), or all is as before (update).
    #[must_use]
    pub fn without_effect(diagnostics: impl Into<Diagnostics>) -> Self {
        Self { diagnostics: diagnostics.into(), state: None }
    }

    /// A failure after which this much exists, or may exist.
    #[must_use]
    pub fn with_state(diagnostics: impl Into<Diagnostics>, state: Object) -> Self {
        Self { diagnostics: diagnostics.into(), state: Some(state) }
    }
}

/// A kind of object that Terraform manages.
#[tonic::async_trait]
pub trait Resource<C: Send + Sync + 'static>: Send + Sync {
    /// Its attributes.
    fn schema(&self) -> Schema;

    /// Refuses or comments a plan. Runs with a configured client; should not insist on an answer of the node.
    async fn review(&self, _context: &Context<C>, _change: &Change) -> Diagnostics {
        Diagnostics::new()
    }

    /// Makes the object; returns its state.
    async fn create(&self, context: &Context<C>, planned: Object) -> Result<Object, Failed>;

    /// The present state; `None` only if the object positively does not exist.
    async fn read(&self, context: &Context<C>, state: Object) -> Result<Option<Object>, Diagnostics>;

    /// Changes the object in place; returns its state.
    async fn update(&self, context: &Context<C>, prior: Object, planned: Object) -> Result<Object, Failed>;

    /// Removes the object. That it is gone already is success.
    async fn delete(&self, context: &Context<C>, prior: Object) -> Result<(), Diagnostics>;

    /// Finds the object that `terraform import` names; returns its state.
    async fn import(&self, context: &Context<C>, id: &str) -> Result<Object, Diagnostics>;
}

/// A kind of object that Terraform only reads.
#[tonic::async_trait]
pub trait DataSource<C: Send + Sync + 'static>: Send + Sync {
    /// Its attributes.
    fn schema(&self) -> Schema;

    /// Reads it for a known configuration.
    async fn read(&self, context: &Context<C>, config: Object) -> Result<Object, Diagnostics>;
}

/// A function of the provider; pure, and usable without configuration.
pub struct Function {
    /// As in `provider::<name>::<function>`.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// In Markdown.
    pub description: &'static str,
    /// Name, type and description of each parameter.
    pub parameters: Vec<(&'static str, Type, &'static str)>,
    /// Of the result.
    pub result: Type,
    /// The function; an error names the argument by position.
    pub call: fn(&[Value]) -> Result<Value, FunctionFault>,
}

/// Why a function gives no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionFault {
    /// Position of the argument at fault.
    pub argument: i64,
    /// What is wrong with it.
    pub text: String,
}

/// An error about something that our own code got wrong.
pub(crate) fn defect(problem: impl std::fmt::Display) -> Diagnostic {
    Diagnostic::error(
        "The provider has a defect",
        format!(
            "{problem}\n\nNothing of this is your fault; please report it with the output of TF_LOG=DEBUG."
        ),
    )
}
