//! A caching decorator of the registry port: readings are cached for a configured time, and concurrent reads are
//! coalesced.
//!
//! Scans are cached by digest, compressed and bounded in bytes. Unsettled scans and tags are cached only for
//! seconds. A caller's [`Freshness`] takes precedence, and errors are never cached.

mod codec;
mod encoded;
mod first_scans;
mod invalidation;
mod memory;
mod recent;
mod ttl;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use scangate_core::{
    evidence::SETTLE_TIME,
    image::{Digest, ImageReference, Platform, Repository, RepositoryName, Tag},
    registry::Registry as RegistryId,
    scan::{Content, Manifest, Scan},
};

use tracing::Instrument as _;

use self::{
    codec::Codec, encoded::EncodedScan, first_scans::FirstScans, invalidation::Invalidations, recent::RecentScans,
};
use super::{
    Error, Freshness, Registry, RegistryScanning, RepositoryScanning, Resolved, Source, Started,
    read_through::{CachedRead, ReadThroughCache},
    single_flight::SingleFlight,
};

/// The memory limit of cached resolutions, in bytes.
const MAX_RESOLUTION_BYTES: u64 = 16 * 1024 * 1024;

/// The TTLs and the memory limit of the cache.
#[derive(Clone, Debug)]
pub struct Config {
    /// The TTL of a settled scan.
    pub findings_ttl: Duration,
    /// The TTL of an unsettled scan: missing, running, just completed or flawed.
    pub unsettled_ttl: Duration,
    /// The TTL of a scan whose Inspector enrichment failed: long enough to spare Inspector while it fails, short enough
    /// to recover soon.
    pub unenriched_ttl: Duration,
    /// The TTL of a tag's digest and of a digest's manifests.
    pub resolution_ttl: Duration,
    /// The estimated memory of cached scans, in bytes. The module `memory` defines the estimate.
    pub max_scan_bytes: u64,
    /// The timeout of one shared read. It is a backstop for the registry's own budgets.
    pub flight_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            findings_ttl: Duration::from_mins(5),
            unsettled_ttl: Duration::from_secs(3),
            unenriched_ttl: Duration::from_secs(20),
            resolution_ttl: Duration::from_secs(5),
            max_scan_bytes: 256 * 1024 * 1024,
            flight_timeout: Duration::from_mins(1),
        }
    }
}

/// A registry behind a cache.
#[derive(Debug)]
pub struct CachedRegistry {
    inner: Arc<dyn Registry>,
    config: Config,
    scans: Arc<ReadThroughCache<ScanKey, Arc<EncodedScan>>>,
    codec: Arc<Codec>,
    recent: RecentScans,
    first_scans: Arc<FirstScans>,
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

/// An image reference without the host that the caller wrote, and the platforms that a call selects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ImageKey {
    repository: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
    /// The requested platforms, sorted and each once: the registry reads no others.
    platforms: Vec<Platform>,
}

impl CachedRegistry {
    /// Wraps a registry in a cache.
    pub fn new(inner: impl Registry + 'static, config: Config) -> Self {
        // The settle check needs the previous reading for as long as a scan takes to settle.
        let max_age = config.findings_ttl.max(SETTLE_TIME.unsigned_abs());
        Self {
            inner: Arc::new(inner),
            scans: Arc::new(ReadThroughCache::new(config.max_scan_bytes, max_age, config.flight_timeout)),
            codec: Arc::default(),
            recent: RecentScans::default(),
            first_scans: Arc::default(),
            resolutions: ReadThroughCache::new(MAX_RESOLUTION_BYTES, config.resolution_ttl, config.flight_timeout),
            starts: SingleFlight::new(config.flight_timeout),
            invalidations: Invalidations::new(max_age),
            config,
        }
    }

    /// Returns the estimated memory of the cached scans, in bytes.
    pub fn bytes(&self) -> u64 {
        self.scans.weight()
    }

    fn image_key(&self, image: &ImageReference, platforms: &[Platform]) -> ImageKey {
        let registry = image.registry.as_ref().map_or_else(|| self.inner.default_registry(), |(_, registry)| registry);
        let repository = Repository { registry: registry.clone(), name: image.repository.clone() };
        let platforms = Platform::distinct(platforms);
        ImageKey { repository, tag: image.tag.clone(), digest: image.digest.clone(), platforms }
    }
}

#[async_trait]
impl Registry for CachedRegistry {
    async fn resolve(
        &self,
        image: &ImageReference,
        platforms: &[Platform],
        freshness: Freshness,
    ) -> Result<Arc<Resolved>, Error> {
        let key = self.image_key(image, platforms);
        let ttl = self.config.resolution_ttl;
        let read = |began| {
            let (inner, requested, platforms) = (Arc::clone(&self.inner), key.reference(), key.platforms.clone());
            async move {
                let value = inner.resolve(&requested, &platforms, freshness).await?;
                let weight = memory::size_of_resolved(&value, platforms.len());
                Ok(CachedRead { value, began, ttl, weight })
            }
        };
        let resolved = self.resolutions.get(&key, freshness, read).await?;
        Ok(with_requested_host(resolved, image))
    }

    async fn content(&self, repository: &Repository, manifest: &Manifest) -> Result<Content, Error> {
        // The adapter keeps what it has read: a manifest never changes.
        self.inner.content(repository, manifest).await
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
            let (inner, scans) = (Arc::clone(&self.inner), Arc::clone(&self.scans));
            let (key, manifest, config) = (key.clone(), manifest.clone(), self.config.clone());
            let (first_scans, codec) = (Arc::clone(&self.first_scans), Arc::clone(&self.codec));
            async move {
                let scan = inner.scan(&key.repository, &manifest, freshness).await?;
                let previous = scans.latest(&key).map(|reading| reading.value);
                let first = first_scans.record(&key, manifest.push_time, &scan);
                ttl::to_cached_read(&codec, &scan, first, previous.as_deref(), began, &config).await
            }
        };
        let scan = get_decoded(&self.scans, &self.codec, &key, freshness, read).await?;
        self.recent.insert(&scan);
        Ok(scan)
    }

    fn cached_since(&self, repository: &Repository, manifest: &Manifest, freshness: Freshness) -> Option<Timestamp> {
        let key = ScanKey { repository: repository.clone(), digest: manifest.digest.clone() };
        let freshness = freshness.and_not_before(self.invalidations.latest(&key));
        self.scans.get_fresh(&key, freshness).map(|encoded| encoded.outline().read_time)
    }

    fn is_outdated(&self, repository: &Repository, manifest: &Manifest, read_time: Timestamp) -> bool {
        let key = ScanKey { repository: repository.clone(), digest: manifest.digest.clone() };
        let latest = self.scans.latest(&key).map(|reading| reading.value.outline().read_time);
        let now = Timestamp::now();
        let changed = self.invalidations.latest(&key);
        let changed = changed.and_then(|at| now.checked_sub(SignedDuration::try_from(at.elapsed()).ok()?).ok());
        latest.max(changed).is_some_and(|known| known > read_time)
    }

    async fn start_scan(&self, repository: &Repository, manifest: &Manifest) -> Result<Started, Error> {
        let key = ScanKey { repository: repository.clone(), digest: manifest.digest.clone() };
        let start = |_| {
            let (inner, invalidations, key, manifest) =
                (Arc::clone(&self.inner), self.invalidations.clone(), key.clone(), manifest.clone());
            async move {
                let started = inner.start_scan(&key.repository, &manifest).await;
                // A failed call may have started one, too.
                invalidations.invalidate_scan(key);
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
        let (inner, invalidations) = (Arc::clone(&self.inner), self.invalidations.clone());
        let (registry, scanning) = (registry.clone(), scanning.clone());
        run_to_completion(async move {
            let put = inner.put_registry_scanning(&registry, &scanning).await;
            invalidations.invalidate_registry(&registry, put.is_ok());
            put
        })
        .await
    }

    async fn put_scan_on_push(&self, repository: &Repository, scan_on_push: bool) -> Result<(), Error> {
        let (inner, invalidations, repository) =
            (Arc::clone(&self.inner), self.invalidations.clone(), repository.clone());
        run_to_completion(async move {
            let put = inner.put_scan_on_push(&repository, scan_on_push).await;
            invalidations.invalidate_registry(&repository.registry, put.is_ok());
            put
        })
        .await
    }
}

/// Returns a scan from the cache, or reads it. A damaged one is removed and read again.
async fn get_decoded<F>(
    scans: &ReadThroughCache<ScanKey, Arc<EncodedScan>>,
    codec: &Codec,
    key: &ScanKey,
    freshness: Freshness,
    read: impl Fn(Instant) -> F,
) -> Result<Arc<Scan>, Error>
where
    F: Future<Output = Result<CachedRead<Arc<EncodedScan>>, Error>> + Send + 'static,
{
    match codec.decode(&scans.get(key, freshness, &read).await?).await {
        Err(error @ Error::DamagedCache(_)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a cached scan is damaged; reading it again");
            scans.remove(key);
            codec.decode(&scans.get(key, freshness, read).await?).await
        }
        decoded => decoded,
    }
}

/// Runs a change to completion even if its caller has gone: a change that was sent may take effect, so its invalidation
/// must happen.
async fn run_to_completion(change: impl Future<Output = Result<(), Error>> + Send + 'static) -> Result<(), Error> {
    let ended = tokio::spawn(change.in_current_span()).await;
    ended.unwrap_or_else(|broken| {
        Err(Error::Unavailable { operation: "a configuration change", source: Source::new(broken) })
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

/// Restores the host that the caller wrote: the cached resolution has the registry's default host.
fn with_requested_host(resolved: Arc<Resolved>, requested: &ImageReference) -> Arc<Resolved> {
    match &requested.registry {
        Some((host, _)) if *host != resolved.image.host => {
            let mut resolved = Arc::unwrap_or_clone(resolved);
            resolved.image.host.clone_from(host);
            Arc::new(resolved)
        }
        Some(_) | None => resolved,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn damaged_scan_is_read_again() {
        let minute = Duration::from_mins(1);
        let scans = ReadThroughCache::new(u64::MAX, minute, minute);
        let repository = Repository {
            registry: RegistryId::new("123456789012", "eu-west-1").unwrap(),
            name: RepositoryName::parse("team/app").unwrap(),
        };
        let key = ScanKey { repository, digest: Digest::parse(&format!("sha256:{:064x}", 1)).unwrap() };
        let is_damaged = AtomicBool::new(true);
        let read = |began: Instant| {
            let intact = encoded::tests::intact_scan();
            let is_damaged = is_damaged.swap(false, Ordering::Relaxed);
            let value = Arc::new(if is_damaged { encoded::tests::damaged_scan() } else { intact });
            async move { Ok(CachedRead { value, began, ttl: Duration::MAX, weight: 1 }) }
        };

        let decoded = get_decoded(&scans, &Codec::default(), &key, Freshness::default(), read).await.unwrap();

        assert_eq!(decoded.findings(), encoded::tests::scan().findings());
    }
}
