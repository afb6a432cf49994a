//! The connection to a server, and the generated clients that use it.

use std::{sync::Arc, time::Duration};

use tonic::transport::{Channel, Endpoint};

use crate::{
    call::Call,
    credentials::{Credentials, Transport},
    error::Error,
    options::ConnectOptions,
    retry::RetryPolicy,
    v1::{
        decision_service_client::DecisionServiceClient, policy_service_client::PolicyServiceClient,
        scan_gate_service_client::ScanGateServiceClient,
    },
};

/// The generated client of `ScanGateService`.
pub type GateClient = ScanGateServiceClient<Transport>;
/// The generated client of `PolicyService`.
pub type PolicyClient = PolicyServiceClient<Transport>;
/// The generated client of `DecisionService`.
pub type DecisionClient = DecisionServiceClient<Transport>;

/// A client of one scan-gate server. Clones are cheap and share the connection.
///
/// Each method is one call with a deadline and retries. A policy write without a `request_id` gets a random one, so that
/// a retry of the write has no second effect.
#[derive(Debug, Clone)]
pub struct Client {
    transport: Transport,
    endpoint: Arc<str>,
    call_timeout: Duration,
    retry: RetryPolicy,
}

impl Client {
    /// Opens the connection now; a broken connection is reopened by the next call.
    ///
    /// ```no_run
    /// use scangate_client::{Client, ConnectOptions};
    ///
    /// # async fn connect() -> Result<(), scangate_client::Error> {
    /// let client = Client::connect(ConnectOptions::new("http://127.0.0.1:50051")).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(options: ConnectOptions) -> Result<Self, Error> {
        let endpoint = options.build()?;
        let channel = endpoint
            .connect()
            .await
            .map_err(|source| Error::Connect { endpoint: options.endpoint.clone(), source: Box::new(source) })?;
        Self::from_channel(channel, options)
    }

    /// Opens the connection with the first call; only the options are checked now.
    ///
    /// Must be called within a Tokio runtime.
    ///
    /// ```
    /// use scangate_client::{Client, ConnectOptions, Error};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// let client = Client::connect_lazy(ConnectOptions::new("http://127.0.0.1:50051"))?;
    ///
    /// let invalid = Client::connect_lazy(ConnectOptions::new("127.0.0.1:50051"));
    /// assert!(matches!(invalid, Err(Error::Options { .. })));
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect_lazy(options: ConnectOptions) -> Result<Self, Error> {
        let channel = Endpoint::connect_lazy(&options.build()?);
        Self::from_channel(channel, options)
    }

    fn from_channel(channel: Channel, options: ConnectOptions) -> Result<Self, Error> {
        let credentials = Credentials::new(options.token_source)?;
        Ok(Self {
            transport: Transport::new(channel, credentials),
            endpoint: options.endpoint.into(),
            call_timeout: options.call_timeout,
            retry: options.retry,
        })
    }

    /// Returns the same client with another [`call_timeout`](ConnectOptions::call_timeout).
    #[must_use]
    pub fn with_call_timeout(&self, timeout: Duration) -> Self {
        Self { call_timeout: timeout, ..self.clone() }
    }

    /// The generated client of `ScanGateService` on the same connection, without deadline and retries.
    pub fn gate(&self) -> GateClient {
        ScanGateServiceClient::new(self.transport.clone())
    }

    /// The generated client of `PolicyService` on the same connection, without deadline and retries.
    pub fn policies(&self) -> PolicyClient {
        PolicyServiceClient::new(self.transport.clone())
    }

    /// The generated client of `DecisionService` on the same connection, without deadline and retries.
    pub fn decisions(&self) -> DecisionClient {
        DecisionServiceClient::new(self.transport.clone())
    }

    pub(crate) fn call(&self) -> Call<'_> {
        self.call_with_wait(Duration::ZERO)
    }

    /// A call that the server may delay by `wait` before it responds.
    pub(crate) fn call_with_wait(&self, wait: Duration) -> Call<'_> {
        Call {
            endpoint: &self.endpoint,
            timeout: self.call_timeout.saturating_add(wait),
            retry: &self.retry,
            credentials: &self.transport.credentials,
        }
    }
}
