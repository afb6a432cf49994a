//! The SDK's clients: one pair for each registry. All share one HTTP client and one credentials provider.

use std::{sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_ecr::config::Credentials as SdkCredentials;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use scangate_core::registry::Registry as RegistryId;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    Config, Credentials,
    error::malformed,
    operation::Operation,
    retry::{Deadline, RetryLoop},
};
use crate::registry::{Error, Source};

/// Timeout of establishing a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

const DISCOVER_REGISTRY: Operation = Operation::read("GetRegistryScanningConfiguration");

/// The clients and limits of one registry.
#[derive(Debug)]
pub(super) struct RegistryClient {
    /// The registry.
    pub(super) id: RegistryId,
    /// Its ECR client.
    pub(super) ecr: aws_sdk_ecr::Client,
    /// The Inspector client of the same account and region.
    pub(super) inspector: aws_sdk_inspector2::Client,
    /// The retry loop for calls.
    pub(super) retry: RetryLoop,
    /// Findings requested per page.
    pub(super) page_size: i32,
    /// True if Inspector is asked for enrichment of findings.
    pub(super) inspector_enrichment: bool,
    permits: Semaphore,
    budget: Duration,
}

/// A concurrency permit with its deadline.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    /// The deadline of the permit's work.
    pub(super) deadline: Deadline,
    _permit: SemaphorePermit<'a>,
}

impl RegistryClient {
    fn new(id: RegistryId, sdk_config: &SdkConfig, config: &Config) -> Self {
        let region = Region::new(id.region().to_owned());
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT.min(config.attempt_timeout))
            .read_timeout(config.attempt_timeout)
            .operation_attempt_timeout(config.attempt_timeout)
            .operation_timeout(config.attempt_timeout)
            .build();
        let mut ecr = aws_sdk_ecr::config::Builder::from(sdk_config)
            .region(region.clone())
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts.clone());
        let mut inspector = aws_sdk_inspector2::config::Builder::from(sdk_config)
            .region(region)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        if let Some(endpoint) = &config.endpoint {
            ecr = ecr.endpoint_url(endpoint);
            inspector = inspector.endpoint_url(endpoint);
        }
        Self {
            ecr: aws_sdk_ecr::Client::from_conf(ecr.build()),
            inspector: aws_sdk_inspector2::Client::from_conf(inspector.build()),
            retry: RetryLoop { registry: id.clone(), backoff: config.backoff },
            page_size: i32::from(config.page_size.clamp(1, 1000)),
            inspector_enrichment: config.inspector_enrichment,
            permits: Semaphore::new(config.concurrency.max(1)),
            budget: config.operation_timeout,
            id,
        }
    }

    /// Returns the deadline of work that begins now.
    pub(super) fn deadline(&self) -> Deadline {
        Deadline::after(self.budget)
    }

    /// Returns the deadline of optional work: the last quarter of the budget is reserved for the response.
    pub(super) fn enrichment_deadline(&self, deadline: Deadline) -> Deadline {
        deadline.minus(self.budget / 4)
    }

    /// Acquires a permit, so that many uncached images do not overload the registry. The wait counts towards the
    /// budget.
    pub(super) async fn acquire(&self, operation: Operation) -> Result<Permit<'_>, Error> {
        let deadline = self.deadline();
        let unavailable =
            |why: &'static str| Error::Unavailable { operation: operation.name, source: Source::new(why) };
        match deadline.timeout(self.permits.acquire()).await {
            Some(Ok(permit)) => Ok(Permit { deadline, _permit: permit }),
            Some(Err(_)) => Err(unavailable("the concurrency limiter is closed")),
            None => Err(unavailable("no concurrency permit within the time budget")),
        }
    }
}

/// Creates the clients and returns the default registry. If none is configured, it is that of the credentials' account
/// and region.
pub(super) async fn connect(config: &Config) -> Result<(RegistryId, Vec<Arc<RegistryClient>>), Error> {
    verify_one_account(&config.registries)?;
    let sdk_config = load_sdk_config(config).await;
    let default = match config.registries.first() {
        Some(first) => first.clone(),
        None => discover(&sdk_config, config).await?,
    };
    let further = config.registries.iter().filter(|registry| **registry != default);
    let connect = |id: &RegistryId| Arc::new(RegistryClient::new(id.clone(), &sdk_config, config));
    let clients = std::iter::once(&default).chain(further).map(connect).collect();
    Ok((default, clients))
}

/// Refuses registries of several accounts. All clients share one set of credentials, and neither the scanning configuration
/// nor Inspector's findings can be read across accounts.
fn verify_one_account(registries: &[RegistryId]) -> Result<(), Error> {
    let Some(first) = registries.first() else { return Ok(()) };
    match registries.iter().find(|registry| registry.account() != first.account()) {
        None => Ok(()),
        Some(other) => Err(Error::TwoAccounts { first: first.clone(), other: other.clone() }),
    }
}

/// Retries and timeouts are set on the clients, not here: the credentials providers have their own.
async fn load_sdk_config(config: &Config) -> SdkConfig {
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    // A configured region saves a request to the instance metadata service, which may be absent.
    if let Some(registry) = config.registries.first() {
        loader = loader.region(Region::new(registry.region().to_owned()));
    }
    loader = match config.credentials {
        Credentials::Chain => loader,
        Credentials::Placeholder => {
            loader.credentials_provider(SdkCredentials::new("placeholder", "placeholder", None, None, "placeholder"))
        }
    };
    loader.load().await
}

async fn discover(sdk_config: &SdkConfig, config: &Config) -> Result<RegistryId, Error> {
    let region = sdk_config.region().ok_or_else(|| {
        Error::Credentials(Source::new("no registry and no region configured; set --registry or AWS_REGION"))
    })?;
    // A placeholder, for one request that does not depend on the account.
    let placeholder = RegistryId::new("000000000000", region.as_ref())
        .map_err(|_| Error::Credentials(Source::new(format!("invalid region {region}"))))?;
    let client = RegistryClient::new(placeholder, sdk_config, config);
    let permit = client.acquire(DISCOVER_REGISTRY).await?;
    let send = || client.ecr.get_registry_scanning_configuration().send();
    let response = client.retry.call(DISCOVER_REGISTRY, permit.deadline, send).await.map_err(|error| {
        if error.is_feature_disabled() {
            let why =
                "this Region has no registry-wide scanning configuration to read the account from; set --registry";
            Error::Credentials(Source::new(why))
        } else {
            error.into_error(DISCOVER_REGISTRY)
        }
    })?;
    let account = response.registry_id().unwrap_or_default();
    RegistryId::new(account, region.as_ref())
        .map_err(|_| malformed(DISCOVER_REGISTRY, format!("invalid registryId {account:?}")))
}
