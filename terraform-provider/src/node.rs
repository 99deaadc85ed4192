//! The connection to the node: made when first needed, patient with a restart, never waiting without a limit.

use crate::limits::{FAILURE_MEMORY, PATIENCE_AFTER_CONTACT, PATIENCE_FIRST, PAUSE_FIRST, PAUSE_MAX};
use api::{Client, Error, Timeouts};
use control::ErrorKind;
use std::time::Instant;
use tf_framework::Stop;
use tokio::sync::Mutex;

/// Where the node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `HOST` or `HOST:PORT`.
    Known(String),
    /// Another resource will say it.
    Unknown,
}

/// Why a call gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The node refused, or did not answer.
    Api(Error),
    /// The node refused a repetition; it had not answered before, so it may have done it then.
    AfterSilence(Error),
    /// The user interrupted while the call was under way.
    Interrupted,
    /// There is no address to call yet.
    EndpointUnknown,
}

impl CallError {
    /// The node may or may not have done it.
    #[must_use]
    pub(crate) fn is_unclear(&self) -> bool {
        match self {
            Self::Api(error) => error.details().kind == ErrorKind::Unavailable,
            Self::AfterSilence(_) | Self::Interrupted => true,
            Self::EndpointUnknown => false,
        }
    }

    /// The node positively says that the object does not exist.
    #[must_use]
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(
            self,
            Self::Api(Error::Refused(error)) | Self::AfterSilence(Error::Refused(error))
                if error.kind == ErrorKind::NotFound
        )
    }
}

/// One node.
pub struct Node {
    endpoint: Endpoint,
    contact: Mutex<Contact>,
}

enum Contact {
    NotTried,
    Failed { error: Error, at: Instant },
    Made(Client),
}

impl Node {
    /// Contacts nobody yet.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, contact: Mutex::new(Contact::NotTried) }
    }

    /// Whether there is an address to call.
    pub(crate) fn is_known(&self) -> bool {
        self.endpoint != Endpoint::Unknown
    }

    /// Makes a call. All calls of the API can be repeated: a creation brings its UUID, growing and deleting say the result.
    ///
    /// # Errors
    /// The refusal of the node; or that it did not answer in time, or that the user interrupted.
    pub async fn call<R: Clone, T, F: Future<Output = Result<T, Error>>>(
        &self,
        stop: &Stop,
        request: &R,
        call: impl Fn(Client, R) -> F,
    ) -> Result<T, CallError> {
        tokio::select! {
            () = stop.requested() => Err(CallError::Interrupted),
            result = self.persist(request, call) => result,
        }
    }

    async fn persist<R: Clone, T, F: Future<Output = Result<T, Error>>>(
        &self,
        request: &R,
        call: impl Fn(Client, R) -> F,
    ) -> Result<T, CallError> {
        let client = self.client().await?;
        let start = Instant::now();
        let mut pause = PAUSE_FIRST;
        let mut was_silent = false;
        loop {
            let error = match call(client.clone(), request.clone()).await {
                Ok(result) => return Ok(result),
                Err(error) => error,
            };
            let is_passing = error.details().kind == ErrorKind::Unavailable;
            if !is_passing && was_silent {
                return Err(CallError::AfterSilence(error));
            }
            if !is_passing || start.elapsed() + pause > PATIENCE_AFTER_CONTACT {
                return Err(CallError::Api(error));
            }
            was_silent = true;
            tracing::debug!(%error, "The node cannot answer now: the call is repeated");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// The connection. One caller makes it, the others wait for the outcome.
    async fn client(&self) -> Result<Client, CallError> {
        let Endpoint::Known(address) = &self.endpoint else { return Err(CallError::EndpointUnknown) };
        let mut contact = self.contact.lock().await;
        match &*contact {
            Contact::Made(client) => return Ok(client.clone()),
            Contact::Failed { error, at } if at.elapsed() < FAILURE_MEMORY => {
                return Err(CallError::Api(error.clone()));
            }
            Contact::Failed { .. } | Contact::NotTried => {}
        }
        match connect(address).await {
            Ok(client) => {
                *contact = Contact::Made(client.clone());
                Ok(client)
            }
            Err(error) => {
                *contact = Contact::Failed { error: error.clone(), at: Instant::now() };
                Err(CallError::Api(error))
            }
        }
    }
}

async fn connect(address: &str) -> Result<Client, Error> {
    let start = Instant::now();
    let mut pause = PAUSE_FIRST;
    loop {
        let error = match Client::connect(address, Timeouts::default()).await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        if start.elapsed() + pause > PATIENCE_FIRST {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
