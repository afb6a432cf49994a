//! The registry port over the AWS SDK: Amazon ECR, and Amazon Inspector where ECR says too little.
//!
//! It reads facts and judges nothing. Follow one image: [`resolve`] finds its manifests, [`pages`] reads a scan whole,
//! [`basic`] and [`enhanced`] bring findings into one form, [`enrichment`] adds what only Inspector says, [`scan`] puts
//! the scan together. [`start_scan`] and
//! [`scanning_config`] are for those who run scans. Calls are not shared here: [`crate::registry::cache`] does that.

mod basic;
mod coverage;
mod describe_images;
mod diagnostics;
mod enhanced;
mod enrichment;
mod error;
mod manifest;
mod pages;
mod registry_client;
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
    image::{ImageReference, Repository, RepositoryName},
    registry::Registry as RegistryId,
    scan::{Manifest, Scan},
};

use self::{registry_client::RegistryClient, resolve::DocumentCache};
use super::{Error, Freshness, Registry, RegistryScanning, RepositoryScanning, Resolved, Started};

/// Whose signature requests carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// That of the SDK's default chain: environment, profile, web identity, container, instance.
    #[default]
    Chain,
    /// A made-up one, for an endpoint that checks none, such as the simulator. AWS refuses it.
    Placeholder,
}

/// How to reach ECR.
#[derive(Clone, Debug)]
pub struct Config {
    /// The registries served; a reference without a host means the first. Empty: the one that the credentials belong to,
    /// in their region.
    pub registries: Vec<RegistryId>,
    /// Where ECR and Inspector are, instead of AWS's own endpoints.
    pub endpoint: Option<String>,
    /// Whose signature requests carry.
    pub credentials: Credentials,
    /// How long one request may take.
    pub attempt_timeout: Duration,
    /// How long one whole reading may take: waiting for its turn, every page, every retry.
    pub operation_timeout: Duration,
    /// The longest pause before a second try; it doubles with every further one.
    pub backoff: Duration,
    /// How long to wait before looking again for an image that ECR does not know, once, and then twice as long, once:
    /// just after the push that can happen.
    pub fresh_push: Duration,
    /// Findings asked for at once, at most 1000; enhanced ones come by the hundred all the same.
    pub page_size: u16,
    /// How long a repository's scanning configuration serves. A scan's type and frequency may be this old, even in a
    /// reading of now.
    pub scanning_ttl: Duration,
    /// Whether Inspector is asked for EPSS and known exploitation of every enhanced finding.
    pub inspector_enrichment: bool,
    /// Readings that talk to one registry at once; others wait.
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
    client: Vec<Arc<RegistryClient>>,
    documents: DocumentCache,
    fresh_push: Duration,
}

impl Ecr {
    /// Makes the clients. Nothing is asked of AWS but, where no registry is configured, which one the credentials mean.
    pub async fn connect(config: Config) -> Result<Self, Error> {
        let (default, client) = registry_client::connect(&config).await?;
        Ok(Self { default, client, documents: DocumentCache::new(), fresh_push: config.fresh_push })
    }

    fn serve(&self, registry: &RegistryId) -> Result<&Arc<RegistryClient>, Error> {
        self.client.iter().find(|client| client.id == *registry).ok_or_else(|| Error::NotConfigured {
            registry: registry.clone(),
            configured: self.client.iter().map(|client| client.id.clone()).collect(),
        })
    }
}

#[async_trait]
impl Registry for Ecr {
    async fn resolve(&self, image: &ImageReference, _: Freshness) -> Result<Arc<Resolved>, Error> {
        let registry = image.registry.as_ref().map_or(&self.default, |(_, registry)| registry);
        let resolving = resolve::ImageResolver {
            client: self.serve(registry)?,
            documents: &self.documents,
            fresh_push: self.fresh_push,
            repository: Repository { registry: registry.clone(), name: image.repository.clone() },
        };
        resolving.resolve(image).await.map(Arc::new)
    }

    async fn scan(&self, repository: &Repository, manifest: &Manifest, _: Freshness) -> Result<Arc<Scan>, Error> {
        scan::read_scan(self.serve(&repository.registry)?, repository, manifest).await.map(Arc::new)
    }

    fn cached_since(&self, _: &Repository, _: &Manifest, _: Freshness) -> Option<Timestamp> {
        None
    }

    async fn start_scan(&self, repository: &Repository, manifest: &Manifest) -> Result<Started, Error> {
        start_scan::start(self.serve(&repository.registry)?, repository, manifest).await
    }

    fn default_registry(&self) -> &RegistryId {
        &self.default
    }

    async fn registry_scanning(&self, registry: &RegistryId) -> Result<RegistryScanning, Error> {
        scanning_config::load_registry(self.serve(registry)?).await
    }

    async fn repository_scanning(
        &self,
        registry: &RegistryId,
        repositories: &[RepositoryName],
    ) -> Result<Vec<RepositoryScanning>, Error> {
        scanning_config::load_repositories(self.serve(registry)?, repositories).await
    }

    async fn put_registry_scanning(&self, registry: &RegistryId, scanning: &RegistryScanning) -> Result<(), Error> {
        scanning_config::put_registry(self.serve(registry)?, scanning).await
    }

    async fn put_scan_on_push(&self, repository: &Repository, scan_on_push: bool) -> Result<(), Error> {
        scanning_config::put_scan_on_push(self.serve(&repository.registry)?, repository, scan_on_push).await
    }
}
