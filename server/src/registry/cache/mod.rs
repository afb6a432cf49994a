//! The decorator that spares the registry: readings are kept for a stated time, and one flight serves every caller who
//! wants the same.
//!
//! Scans are kept by digest, packed and bounded in bytes; what may still change by itself for seconds only. Tags are kept for seconds
//! at most. A caller's [`Freshness`] goes before all of it, and an error is never kept.

mod compact;
mod invalidation;
mod memory;
mod recent;
mod ttl;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use scangate_core::{
    evidence::SETTLE_TIME,
    image::{Digest, ImageReference, Repository, RepositoryName, Tag},
    registry::Registry as RegistryId,
    scan::{Manifest, Scan},
};

use tracing::Instrument as _;

use self::{
    compact::{CompactScan, FindingPool},
    invalidation::Invalidations,
    recent::RecentScans,
};
use super::{
    Error, Freshness, Registry, RegistryScanning, RepositoryScanning, Resolved, Source, Started,
    read_through::{CachedRead, ReadThroughCache},
    single_flight::SingleFlight,
};

/// Bytes that the resolutions kept for a few seconds may take.
const MAX_RESOLUTION_BYTES: u64 = 16 * 1024 * 1024;

/// One part in so many of the room for scans is for those on their way in or out.
const RESERVE_DIVISOR: u64 = 8;

/// How long readings are kept, and how many.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long a settled scan serves callers who ask for nothing fresher.
    pub findings_ttl: Duration,
    /// How long a scan serves that may still change by itself: none yet, running, completed a moment ago, flawed.
    pub unsettled_ttl: Duration,
    /// How long a scan serves that lacks what Inspector should have added: long enough not to press an Inspector in
    /// trouble, short enough to heal soon.
    pub unenriched_ttl: Duration,
    /// How long a tag's digest and a digest's manifests serve.
    pub resolution_ttl: Duration,
    /// Bytes that kept scans may take, by estimate: see `weight`.
    pub bytes: u64,
    /// How long one shared reading may take. It bounds what the registry's own budgets should have bounded.
    pub flight_budget: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            findings_ttl: Duration::from_mins(5),
            unsettled_ttl: Duration::from_secs(3),
            unenriched_ttl: Duration::from_secs(20),
            resolution_ttl: Duration::from_secs(5),
            bytes: 256 * 1024 * 1024,
            flight_budget: Duration::from_mins(1),
        }
    }
}

/// A registry behind a cache.
#[derive(Debug)]
pub struct CachedRegistry {
    inner: Arc<dyn Registry>,
    config: Config,
    scans: Arc<ReadThroughCache<ScanKey, Arc<CompactScan>>>,
    pool: Arc<FindingPool>,
    recent: Arc<RecentScans>,
    resolutions: ReadThroughCache<ImageKey, Arc<Resolved>>,
    starts: SingleFlight<ScanKey, Started>,
    invalidations: Invalidations,
}

/// A manifest by content.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ScanKey {
    repository: Repository,
    digest: Digest,
}

/// An image as asked for, whatever host was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ImageKey {
    repository: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

impl CachedRegistry {
    /// Puts a cache before a registry.
    pub fn new(inner: impl Registry + 'static, config: Config) -> Self {
        // The settle check needs the previous reading for as long as a scan takes to settle.
        let at_most = config.findings_ttl.max(SETTLE_TIME.unsigned_abs());
        Self {
            inner: Arc::new(inner),
            scans: Arc::new(ReadThroughCache::new(
                config.bytes - config.bytes / RESERVE_DIVISOR,
                at_most,
                config.flight_budget,
            )),
            pool: Arc::default(),
            recent: Arc::default(),
            resolutions: ReadThroughCache::new(MAX_RESOLUTION_BYTES, config.resolution_ttl, config.flight_budget),
            starts: SingleFlight::new(config.flight_budget),
            invalidations: Invalidations::new(at_most),
            config,
        }
    }

    /// How many bytes the kept scans take, by the estimate that bounds them.
    pub fn bytes(&self) -> u64 {
        self.scans.run_maintenance();
        self.pool.bytes() as u64
    }

    fn image_key(&self, image: &ImageReference) -> ImageKey {
        let registry = image.registry.as_ref().map_or_else(|| self.inner.default_registry(), |(_, registry)| registry);
        let repository = Repository { registry: registry.clone(), name: image.repository.clone() };
        ImageKey { repository, tag: image.tag.clone(), digest: image.digest.clone() }
    }
}

#[async_trait]
impl Registry for CachedRegistry {
    async fn resolve(&self, image: &ImageReference, freshness: Freshness) -> Result<Arc<Resolved>, Error> {
        let target = self.image_key(image);
        let ttl = self.config.resolution_ttl;
        let read = |began| {
            let (inner, asked) = (Arc::clone(&self.inner), target.reference());
            async move {
                let value = inner.resolve(&asked, freshness).await?;
                let weight = memory::size_of_resolved(&value);
                Ok(CachedRead { value, began, ttl, weight })
            }
        };
        let resolved = self.resolutions.get(&target, freshness, read).await?;
        Ok(with_requested_host(resolved, image))
    }

    async fn scan(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        freshness: Freshness,
    ) -> Result<Arc<Scan>, Error> {
        let key = ScanKey { repository: repository.clone(), digest: manifest.digest.clone() };
        let freshness = freshness.and_not_before(self.invalidations.latest(&key));
        let read = |began| {
            let (inner, scans, pool) = (Arc::clone(&self.inner), Arc::clone(&self.scans), Arc::clone(&self.pool));
            let (key, manifest, config) = (key.clone(), manifest.clone(), self.config.clone());
            let unpacked = Arc::clone(&self.recent);
            async move {
                let scan = inner.scan(&key.repository, &manifest, freshness).await?;
                let previous = scans.latest(&key).map(|reading| reading.value);
                let reading = ttl::to_cached_read(&scan, previous.as_deref(), &pool, began, &config)?;
                // What was charged to a scan that the cache did not let in after all may be in use all the same. Should that
                // ever add up, nothing is worth more than the bound.
                if pool.bytes() as u64 > config.bytes {
                    clear(&scans, &pool, &unpacked);
                }
                Ok(reading)
            }
        };
        let scan = self.scans.get(&key, freshness, read).await?.decode();
        self.recent.insert(&scan);
        Ok(scan)
    }

    fn cached_since(&self, repository: &Repository, manifest: &Manifest, freshness: Freshness) -> Option<Timestamp> {
        let key = ScanKey { repository: repository.clone(), digest: manifest.digest.clone() };
        let freshness = freshness.and_not_before(self.invalidations.latest(&key));
        self.scans.get_fresh(&key, freshness).map(|packed| packed.outline().read_at)
    }

    async fn start_scan(&self, repository: &Repository, manifest: &Manifest) -> Result<Started, Error> {
        let key = ScanKey { repository: repository.clone(), digest: manifest.digest.clone() };
        let start = |_| {
            let (inner, changes, key, manifest) =
                (Arc::clone(&self.inner), self.invalidations.clone(), key.clone(), manifest.clone());
            async move {
                let started = inner.start_scan(&key.repository, &manifest).await;
                // A failure may have started one, too.
                changes.invalidate_scan(key);
                started
            }
        };
        self.starts.run(&key, Freshness::default(), || None, start).await
    }

    fn default_registry(&self) -> &RegistryId {
        self.inner.default_registry()
    }

    async fn registry_scanning(&self, registry: &RegistryId) -> Result<RegistryScanning, Error> {
        self.inner.registry_scanning(registry).await
    }

    async fn repository_scanning(
        &self,
        registry: &RegistryId,
        repositories: &[RepositoryName],
    ) -> Result<Vec<RepositoryScanning>, Error> {
        self.inner.repository_scanning(registry, repositories).await
    }

    async fn put_registry_scanning(&self, registry: &RegistryId, scanning: &RegistryScanning) -> Result<(), Error> {
        let (inner, changes) = (Arc::clone(&self.inner), self.invalidations.clone());
        let (registry, scanning) = (registry.clone(), scanning.clone());
        run_to_completion(async move {
            let put = inner.put_registry_scanning(&registry, &scanning).await;
            changes.invalidate_registry(&registry, put.is_ok());
            put
        })
        .await
    }

    async fn put_scan_on_push(&self, repository: &Repository, scan_on_push: bool) -> Result<(), Error> {
        let (inner, changes, repository) = (Arc::clone(&self.inner), self.invalidations.clone(), repository.clone());
        run_to_completion(async move {
            let put = inner.put_scan_on_push(&repository, scan_on_push).await;
            changes.invalidate_registry(&repository.registry, put.is_ok());
            put
        })
        .await
    }
}

/// Forgets all scans and drops them at once: otherwise each reading of the next moments would find too much there, too, and
/// forget again.
fn clear(scans: &ReadThroughCache<ScanKey, Arc<CompactScan>>, pool: &FindingPool, unpacked: &RecentScans) {
    scans.clear();
    unpacked.clear();
    let mut left = usize::MAX;
    // Some hundred go at a time.
    while pool.bytes() < left {
        left = pool.bytes();
        scans.run_maintenance();
    }
}

/// A change once sent may come into force; so what follows from it must happen even where the caller has gone.
async fn run_to_completion(change: impl Future<Output = Result<(), Error>> + Send + 'static) -> Result<(), Error> {
    let ended = tokio::spawn(change.in_current_span()).await;
    ended.unwrap_or_else(|broken| {
        Err(Error::Unavailable { operation: "a change of configuration", source: Source::new(broken) })
    })
}

impl ImageKey {
    fn reference(&self) -> ImageReference {
        let registry = &self.repository.registry;
        ImageReference {
            registry: Some((registry.host(), registry.clone())),
            repository: self.repository.name.clone(),
            tag: self.tag.clone(),
            digest: self.digest.clone(),
        }
    }
}

/// What is kept names the registry by its default host; the caller gets the host that he wrote.
fn with_requested_host(resolved: Arc<Resolved>, asked: &ImageReference) -> Arc<Resolved> {
    match &asked.registry {
        Some((host, _)) if *host != resolved.image.host => {
            let mut resolved = Arc::unwrap_or_clone(resolved);
            resolved.image.host.clone_from(host);
            Arc::new(resolved)
        }
        Some(_) | None => resolved,
    }
}
