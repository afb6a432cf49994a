//! The adapter of the registry port over the AWS SDK: Amazon ECR, and Amazon Inspector for data that ECR lacks.
//!
//! It reads facts; the evaluation is in the core. The path of one image: [`resolve`] finds its manifests, [`pages`]
//! reads a scan page by page, [`basic`] and [`enhanced`] convert findings, [`enrichment`] adds data that only Inspector
//! has, and [`scan`] assembles the result. [`start_scan`] starts scans, and [`scanning_config`] reads and sets the
//! scanning configuration. [`crate::registry::cache`] coalesces concurrent calls.

mod basic;
mod coverage;
mod describe_images;
mod diagnostics;
mod enhanced;
mod enrichment;
mod error;
mod finding_list;
mod manifest;
mod operation;
mod page_facts;
mod pages;
mod registry_client;
mod rescan;
mod resolve;
mod retry;
mod scan;
mod scanning_config;
mod scanning_config_cache;
mod start_scan;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use scangate_core::{
    image::{ImageReference, Platform, Repository, RepositoryName},
    registry::Registry as RegistryId,
    scan::{Content, Manifest, Scan},
};

use self::{
    registry_client::RegistryClient,
    resolve::{DocumentCache, ImageResolver, MissingChildren},
    scanning_config_cache::ScanningConfigCache,
};
use super::{Error, Freshness, Registry, RegistryScanning, RepositoryScanning, Resolved, Started};

/// The source of the credentials that sign requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// The SDK's default chain: environment, profile, web identity, container, instance.
    #[default]
    Chain,
    /// Fixed placeholder credentials, for an endpoint that checks none, such as the simulator. AWS rejects them.
    Placeholder,
}

/// Configuration of the ECR adapter.
#[derive(Clone, Debug)]
pub struct Config {
    /// The registries served. A reference without a host means the first. If empty, the registry is that of the
    /// credentials' account in their region.
    pub registries: Vec<RegistryId>,
    /// The endpoint of ECR and Inspector, instead of AWS's own.
    pub endpoint: Option<String>,
    /// The source of credentials.
    pub credentials: Credentials,
    /// Timeout of one request.
    pub attempt_timeout: Duration,
    /// Timeout of one whole read: the wait for a permit, every page, every retry.
    pub operation_timeout: Duration,
    /// The maximum delay before the first retry. It doubles with each further retry.
    pub backoff: Duration,
    /// The delay before the first of two retries for an image that ECR does not find, which can happen just after a push.
    /// The second delay is twice as long.
    pub fresh_push: Duration,
    /// Findings requested per page, at most 1000. ECR returns at most 100 enhanced findings per page.
    pub page_size: u16,
    /// The TTL of a repository's scanning configuration. The type and frequency of a scan may be this old, even if the
    /// caller requires a fresh reading.
    pub scanning_ttl: Duration,
    /// True to ask Inspector for EPSS and known exploits of every enhanced finding.
    pub inspector_enrichment: bool,
    /// The maximum of concurrent reads per registry. Further reads wait.
    pub concurrency: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            registries: Vec::new(),
            endpoint: None,
            credentials: Credentials::Chain,
            attempt_timeout: Duration::from_secs(5),
            operation_timeout: Duration::from_secs(30),
            backoff: Duration::from_millis(250),
            fresh_push: Duration::from_millis(500),
            page_size: 1000,
            scanning_ttl: Duration::from_mins(1),
            inspector_enrichment: false,
            concurrency: 32,
        }
    }
}

/// Amazon ECR: the registries of this server.
#[derive(Debug)]
pub struct Ecr {
    default: RegistryId,
    registries: Vec<ServedRegistry>,
    documents: DocumentCache,
    missing: MissingChildren,
    fresh_push: Duration,
}

/// One registry: its client and its cached scanning configuration.
#[derive(Debug)]
struct ServedRegistry {
    client: Arc<RegistryClient>,
    scanning: ScanningConfigCache,
}

impl Ecr {
    /// Creates the clients. Calls AWS only if no registry is configured, to find the registry of the credentials.
    pub async fn connect(config: Config) -> Result<Self, Error> {
        let (default, clients) = registry_client::connect(&config).await?;
        let serve = |client: Arc<RegistryClient>| ServedRegistry {
            scanning: ScanningConfigCache::new(Arc::clone(&client), config.scanning_ttl, config.operation_timeout),
            client,
        };
        let registries = clients.into_iter().map(serve).collect();
        let (documents, missing) = (DocumentCache::new(), MissingChildren::new());
        Ok(Self { default, registries, documents, missing, fresh_push: config.fresh_push })
    }

    fn served(&self, registry: &RegistryId) -> Result<&ServedRegistry, Error> {
        self.registries.iter().find(|served| served.client.id == *registry).ok_or_else(|| Error::NotConfigured {
            registry: registry.clone(),
            configured: self.registries.iter().map(|served| served.client.id.clone()).collect(),
        })
    }

    fn resolver(&self, repository: &Repository, freshness: Freshness) -> Result<ImageResolver<'_>, Error> {
        Ok(ImageResolver {
            client: &self.served(&repository.registry)?.client,
            documents: &self.documents,
            missing: &self.missing,
            freshness,
            fresh_push: self.fresh_push,
            repository: repository.clone(),
        })
    }
}

#[async_trait]
impl Registry for Ecr {
    async fn resolve(
        &self,
        image: &ImageReference,
        platforms: &[Platform],
        freshness: Freshness,
    ) -> Result<Arc<Resolved>, Error> {
        let registry = image.registry.as_ref().map_or(&self.default, |(_, registry)| registry);
        let repository = Repository { registry: registry.clone(), name: image.repository.clone() };
        let resolver = self.resolver(&repository, freshness)?;
        resolver.resolve(image, platforms).await.map(Arc::new)
    }

    async fn content(&self, repository: &Repository, manifest: &Manifest) -> Result<Content, Error> {
        self.resolver(repository, Freshness::default())?.verify_content(&manifest.digest).await
    }

    async fn scan(&self, repository: &Repository, manifest: &Manifest, _: Freshness) -> Result<Arc<Scan>, Error> {
        let ServedRegistry { client, scanning } = self.served(&repository.registry)?;
        scan::read_scan(client, scanning, repository, manifest).await.map(Arc::new)
    }

    fn cached_since(&self, _: &Repository, _: &Manifest, _: Freshness) -> Option<Timestamp> {
        None
    }

    fn is_outdated(&self, _: &Repository, _: &Manifest, _: Timestamp) -> bool {
        false
    }

    async fn start_scan(&self, repository: &Repository, manifest: &Manifest) -> Result<Started, Error> {
        let ServedRegistry { client, scanning } = self.served(&repository.registry)?;
        start_scan::start(client, scanning, repository, manifest).await
    }

    fn default_registry(&self) -> &RegistryId {
        &self.default
    }

    async fn registry_scanning(&self, registry: &RegistryId) -> Result<RegistryScanning, Error> {
        scanning_config::load_registry(&self.served(registry)?.client).await
    }

    async fn repository_scanning(
        &self,
        registry: &RegistryId,
        repositories: &[RepositoryName],
    ) -> Result<Vec<RepositoryScanning>, Error> {
        scanning_config::load_repositories(&self.served(registry)?.client, repositories).await
    }

    async fn put_registry_scanning(&self, registry: &RegistryId, scanning: &RegistryScanning) -> Result<(), Error> {
        let served = self.served(registry)?;
        let put = scanning_config::put_registry(&served.client, scanning).await;
        // A failed call may have taken effect.
        served.scanning.invalidate();
        put
    }

    async fn put_scan_on_push(&self, repository: &Repository, scan_on_push: bool) -> Result<(), Error> {
        let served = self.served(&repository.registry)?;
        let put = scanning_config::put_scan_on_push(&served.client, repository, scan_on_push).await;
        served.scanning.invalidate();
        put
    }
}
