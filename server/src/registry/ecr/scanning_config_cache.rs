//! A cache of the scanning in effect for a repository, which is part of every scan.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use scangate_core::{
    image::RepositoryName,
    scan::{Frequency, ScanType},
};

use super::{
    error::malformed,
    registry_client::RegistryClient,
    rescan::{self, RescanDurations},
    retry::Deadline,
    scanning_config::{GET_REGISTRY, GET_REPOSITORIES, fetch_registry, fetch_repositories, parse_frequency},
};
use crate::registry::{
    Error, Freshness, Source,
    read_through::{CachedRead, ReadThroughCache},
};

/// The maximum wait for a value that a scan can do without.
const OPTIONAL_TIMEOUT: Duration = Duration::from_secs(1);

/// The maximum of repositories whose frequency is cached.
const MAX_REPOSITORIES: u64 = 20_000;

/// The scanning that was in effect when a scan was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EffectiveScanning {
    pub(super) scan_type: ScanType,
    pub(super) frequency: Frequency,
}

/// A cache of one registry's scanning configuration.
#[derive(Debug)]
pub(super) struct ScanningConfigCache {
    client: Arc<RegistryClient>,
    scan_type: ReadThroughCache<(), ScanType>,
    frequencies: ReadThroughCache<RepositoryName, Frequency>,
    rescan_durations: ReadThroughCache<(), Option<RescanDurations>>,
    /// The last change by this server. A read that began earlier is stale, whatever its age.
    invalidated_at: Mutex<Option<Instant>>,
    ttl: Duration,
}

impl ScanningConfigCache {
    /// Creates a cache with this TTL and this budget for one shared read.
    pub(super) fn new(client: Arc<RegistryClient>, ttl: Duration, budget: Duration) -> Self {
        Self {
            client,
            scan_type: ReadThroughCache::new(1, ttl, budget),
            frequencies: ReadThroughCache::new(MAX_REPOSITORIES, ttl, budget),
            rescan_durations: ReadThroughCache::new(1, ttl, budget),
            invalidated_at: Mutex::default(),
            ttl,
        }
    }

    /// Marks all earlier reads as stale, because this server may have changed the configuration.
    pub(super) fn invalidate(&self) {
        *self.invalidated_at.lock() = Some(Instant::now());
    }

    /// Returns the scanning in effect for a repository, at most as old as the TTL.
    pub(super) async fn effective_scanning(
        &self,
        repository: &RepositoryName,
        deadline: Deadline,
    ) -> Result<EffectiveScanning, Error> {
        let both = async { tokio::try_join!(self.scan_type(), self.frequency(repository)) };
        let Some(both) = deadline.timeout(both).await else {
            let source = Source::new("no response within the time budget");
            return Err(Error::Unavailable { operation: GET_REGISTRY.name, source });
        };
        both.map(|(scan_type, frequency)| EffectiveScanning { scan_type, frequency })
    }

    async fn scan_type(&self) -> Result<ScanType, Error> {
        let read = |began| {
            let (client, ttl) = (Arc::clone(&self.client), self.ttl);
            async move {
                let scanning = fetch_registry(&client, client.deadline()).await?;
                Ok(CachedRead { value: scanning.scan_type, began, ttl, weight: 1 })
            }
        };
        self.scan_type.get(&(), self.freshness(), read).await
    }

    async fn frequency(&self, repository: &RepositoryName) -> Result<Frequency, Error> {
        let read = |began| {
            let (client, repository, ttl) = (Arc::clone(&self.client), repository.clone(), self.ttl);
            async move {
                let found = fetch_repositories(&client, &[&repository], client.deadline()).await?;
                let found =
                    found.first().ok_or_else(|| malformed(GET_REPOSITORIES, "no repository in the response"))?;
                let value = parse_frequency(found.scan_frequency.as_ref());
                Ok(CachedRead { value, began, ttl, weight: 1 })
            }
        };
        self.frequencies.get(repository, self.freshness(), read).await
    }

    /// Returns Inspector's re-scan durations, at most as old as the TTL. They are optional: without the permission or a
    /// response they are unknown, for as long as the TTL.
    pub(super) async fn rescan_durations(&self, deadline: Deadline) -> Option<RescanDurations> {
        let read = |began| {
            let (client, ttl) = (Arc::clone(&self.client), self.ttl);
            async move {
                let value = rescan::load(&client, client.deadline()).await.unwrap_or_else(|error| {
                    tracing::debug!(%error, registry = %client.id, "Inspector's re-scan durations are unknown");
                    None
                });
                Ok(CachedRead { value, began, ttl, weight: 1 })
            }
        };
        let durations = self.rescan_durations.get(&(), Freshness::default(), read);
        deadline.at_most(OPTIONAL_TIMEOUT).timeout(durations).await?.ok()?
    }

    fn freshness(&self) -> Freshness {
        Freshness { not_before: *self.invalidated_at.lock() }
    }
}
