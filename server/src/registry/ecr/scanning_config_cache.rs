//! The scanning that is in force for a repository, kept for a while: every scan is read together with it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use scangate_core::{
    image::RepositoryName,
    scan::{Frequency, ScanType},
};

use super::{
    error::malformed,
    registry_client::RegistryClient,
    retry::Deadline,
    scanning_config::{GET_REGISTRY, GET_REPOSITORIES, fetch_registry, fetch_repositories, parse_frequency},
};
use crate::registry::{
    Error, Freshness, Source,
    read_through::{CachedRead, ReadThroughCache},
};

/// Repositories whose frequency is kept.
const MAX_REPOSITORIES: u64 = 20_000;

/// The scanning that was in force when a scan was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EffectiveScanning {
    pub(super) scan_type: ScanType,
    pub(super) frequency: Frequency,
}

/// A registry's scanning configuration, kept for a while.
#[derive(Debug)]
pub(super) struct ScanningConfigCache {
    scan_type: ReadThroughCache<(), ScanType>,
    frequencies: ReadThroughCache<RepositoryName, Frequency>,
    /// What began before our own last change is out of date, however young.
    invalidated_at: Mutex<Option<Instant>>,
    ttl: Duration,
}

impl ScanningConfigCache {
    pub(super) fn new(keep: Duration, budget: Duration) -> Self {
        Self {
            scan_type: ReadThroughCache::new(1, keep, budget),
            frequencies: ReadThroughCache::new(MAX_REPOSITORIES, keep, budget),
            invalidated_at: Mutex::default(),
            ttl: keep,
        }
    }

    /// We may have changed the configuration.
    pub(super) fn invalidate(&self) {
        *self.invalidated_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn freshness(&self) -> Freshness {
        Freshness { not_before: *self.invalidated_at.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    fn cached_read<V>(&self, value: V, began: Instant) -> CachedRead<V> {
        CachedRead { value, began, ttl: self.ttl, weight: 1 }
    }
}

impl RegistryClient {
    /// What is in force for a repository, at most as old as the configuration is kept.
    pub(super) async fn effective_scanning(
        self: &Arc<Self>,
        repository: &RepositoryName,
        deadline: Deadline,
    ) -> Result<EffectiveScanning, Error> {
        let both = async { tokio::try_join!(self.scan_type(), self.frequency(repository)) };
        let Some(both) = deadline.timeout(both).await else {
            let source = Source::new("no answer within the time budget");
            return Err(Error::Unavailable { operation: GET_REGISTRY.name, source });
        };
        both.map(|(scan_type, frequency)| EffectiveScanning { scan_type, frequency })
    }

    async fn scan_type(self: &Arc<Self>) -> Result<ScanType, Error> {
        let read = |began| {
            let client = Arc::clone(self);
            async move {
                let scanning = fetch_registry(&client, client.deadline()).await?;
                Ok(client.scanning.cached_read(scanning.scan_type, began))
            }
        };
        self.scanning.scan_type.get(&(), self.scanning.freshness(), read).await
    }

    async fn frequency(self: &Arc<Self>, repository: &RepositoryName) -> Result<Frequency, Error> {
        let read = |began| {
            let (client, repository) = (Arc::clone(self), repository.clone());
            async move {
                let found = fetch_repositories(&client, &[&repository], client.deadline()).await?;
                let found = found.first().ok_or_else(|| malformed(GET_REPOSITORIES, "the answer is empty"))?;
                Ok(client.scanning.cached_read(parse_frequency(found.scan_frequency.as_ref()), began))
            }
        };
        self.scanning.frequencies.get(repository, self.scanning.freshness(), read).await
    }
}
