//! The connection to a gate, and the generated clients on it.

use std::{sync::Arc, time::Duration};

use tonic::{
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use crate::{
    call::Call,
    credentials::Credentials,
    error::Error,
    options::ConnectOptions,
    retry::RetryPolicy,
    v1::{
        decision_service_client::DecisionServiceClient, policy_service_client::PolicyServiceClient,
        scan_gate_service_client::ScanGateServiceClient,
    },
};

/// The largest message that is read: 100 decisions with every finding they rest on fit, a runaway answer does not.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

type Transport = InterceptedService<Channel, Credentials>;

/// The generated client of `ScanGateService`.
pub type GateClient = ScanGateServiceClient<Transport>;
/// The generated client of `PolicyService`.
pub type PolicyClient = PolicyServiceClient<Transport>;
/// The generated client of `DecisionService`.
pub type DecisionClient = DecisionServiceClient<Transport>;

/// A client of one gate. Clones share the connection and cost next to nothing.
///
/// Each method is one call of the contract with a deadline and retries. Policy writes without a `request_id` are given a
/// random one, so that their retries act once.
#[derive(Debug, Clone)]
pub struct Client {
    transport: Transport,
    endpoint: Arc<str>,
    call_timeout: Duration,
    retry: RetryPolicy,
}

impl Client {
    /// Opens the connection now; it is opened again whenever it breaks.
    pub async fn connect(options: ConnectOptions) -> Result<Self, Error> {
        let endpoint = options.build()?;
        let channel = endpoint
            .connect()
            .await
            .map_err(|source| Error::Connect { endpoint: options.endpoint.clone(), source: Box::new(source) })?;
        Self::on(channel, options)
    }

    /// Opens the connection with the first call. Must be called within a Tokio runtime.
    pub fn connect_lazy(options: ConnectOptions) -> Result<Self, Error> {
        let channel = Endpoint::connect_lazy(&options.build()?);
        Self::on(channel, options)
    }

    fn on(channel: Channel, options: ConnectOptions) -> Result<Self, Error> {
        let credentials = Credentials::parse(options.bearer_token.as_deref())?;
        Ok(Self {
            transport: InterceptedService::new(channel, credentials),
            endpoint: options.endpoint.into(),
            call_timeout: options.call_timeout,
            retry: options.retry,
        })
    }

    /// The same client with another time for each call: see [`ConnectOptions::call_timeout`].
    #[must_use]
    pub fn with_call_timeout(&self, timeout: Duration) -> Self {
        Self { call_timeout: timeout, ..self.clone() }
    }

    /// The generated client of `ScanGateService` on the same connection: no deadline, no retries, generated types.
    pub fn gate(&self) -> GateClient {
        ScanGateServiceClient::new(self.transport.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// The generated client of `PolicyService` on the same connection: no deadline, no retries, generated types.
    pub fn policies(&self) -> PolicyClient {
        PolicyServiceClient::new(self.transport.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// The generated client of `DecisionService` on the same connection: no deadline, no retries, generated types.
    pub fn decisions(&self) -> DecisionClient {
        DecisionServiceClient::new(self.transport.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub(crate) fn call(&self) -> Call<'_> {
        self.call_with(Duration::ZERO)
    }

    /// A call that the server may hold back for `wait` before it answers.
    pub(crate) fn call_with(&self, wait: Duration) -> Call<'_> {
        Call { endpoint: &self.endpoint, timeout: self.call_timeout.saturating_add(wait), retry: &self.retry }
    }
}
