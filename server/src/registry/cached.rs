//! The decorator that spares the registry: readings are kept for a stated time, and one flight serves every caller who
//! wants the same.
//!
//! Scans are kept by digest, bounded in bytes; what may still change by itself for seconds only. Tags are kept for seconds
//! at most. A caller's [`Freshness`] goes before all of it, and an error is never kept.

mod changes;
mod weight;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use scangate_core::{
    evidence::SETTLE_TIME,
    image::{Digest, ImageReference, RepositoryName, Tag},
    registry::Registry as RegistryId,
    scan::{Manifest, Report, Scan, Status},
};

use tracing::Instrument as _;

use self::changes::Changes;
use super::{
    Error, Freshness, Registry, RegistryScanning, Repository, RepositoryScanning, Resolved, Source, Started,
    flight::Flights,
    memo::{Memo, Reading},
};

/// Bytes that the resolutions kept for a few seconds may take.
const RESOLUTION_BYTES: u64 = 16 * 1024 * 1024;

/// How long readings are kept, and how many.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long a settled scan serves callers who ask for nothing fresher.
    pub findings_ttl: Duration,
    /// How long a scan serves that may still change by itself: none yet, running, completed a moment ago, flawed.
    pub unsettled_ttl: Duration,
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
            resolution_ttl: Duration::from_secs(5),
            bytes: 256 * 1024 * 1024,
            flight_budget: Duration::from_mins(1),
        }
    }
}

/// A registry behind a cache.
#[derive(Debug)]
pub struct Cached {
    inner: Arc<dyn Registry>,
    config: Config,
    scans: Arc<Memo<ScanKey, Arc<Scan>>>,
    resolutions: Memo<Target, Arc<Resolved>>,
    starts: Flights<ScanKey, Started>,
    changes: Changes,
}

/// A manifest by content.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ScanKey {
    repository: Repository,
    digest: Digest,
}

/// An image as asked for, whatever host was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Target {
    repository: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

impl Cached {
    /// Puts a cache before a registry.
    pub fn new(inner: impl Registry + 'static, config: Config) -> Self {
        // The settle check needs the previous reading for as long as a scan takes to settle.
        let at_most = config.findings_ttl.max(SETTLE_TIME.unsigned_abs());
        Self {
            inner: Arc::new(inner),
            scans: Arc::new(Memo::new(config.bytes, at_most, config.flight_budget)),
            resolutions: Memo::new(RESOLUTION_BYTES, config.resolution_ttl, config.flight_budget),
            starts: Flights::new(config.flight_budget),
            changes: Changes::new(at_most),
            config,
        }
    }

    fn target(&self, image: &ImageReference) -> Target {
        let registry = image.registry.as_ref().map_or_else(|| self.inner.default_registry(), |(_, registry)| registry);
        let repository = Repository { registry: registry.clone(), name: image.repository.clone() };
        Target { repository, tag: image.tag.clone(), digest: image.digest.clone() }
    }
}

#[async_trait]
impl Registry for Cached {
    async fn resolve(&self, image: &ImageReference, freshness: Freshness) -> Result<Arc<Resolved>, Error> {
        let target = self.target(image);
        let keep = self.config.resolution_ttl;
        let read = |began| {
            let (inner, asked) = (Arc::clone(&self.inner), target.reference());
            async move {
                let value = inner.resolve(&asked, freshness).await?;
                let bytes = weight::of_resolved(&value);
                Ok(Reading { value, began, keep, bytes })
            }
        };
        let resolved = self.resolutions.get(&target, freshness, read).await?;
        Ok(as_written(resolved, image))
    }

    async fn scan(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        freshness: Freshness,
    ) -> Result<Arc<Scan>, Error> {
        let key = ScanKey { repository: repository.clone(), digest: manifest.digest.clone() };
        let freshness = freshness.and_not_before(self.changes.latest(&key));
        let read = |began| {
            let (inner, scans, config) = (Arc::clone(&self.inner), Arc::clone(&self.scans), self.config.clone());
            let (key, manifest) = (key.clone(), manifest.clone());
            async move {
                let scan = inner.scan(&key.repository, &manifest, freshness).await?;
                let previous = scans.latest(&key).map(|reading| reading.value);
                Ok(kept(scan, previous.as_deref(), began, &config))
            }
        };
        self.scans.get(&key, freshness, read).await
    }

    async fn start_scan(&self, repository: &Repository, manifest: &Manifest) -> Result<Started, Error> {
        let key = ScanKey { repository: repository.clone(), digest: manifest.digest.clone() };
        let start = |_| {
            let (inner, changes, key, manifest) =
                (Arc::clone(&self.inner), self.changes.clone(), key.clone(), manifest.clone());
            async move {
                let started = inner.start_scan(&key.repository, &manifest).await;
                // A failure may have started one, too.
                changes.scan(key);
                started
            }
        };
        self.starts.join(&key, Freshness::default(), || None, start).await
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
        let (inner, changes) = (Arc::clone(&self.inner), self.changes.clone());
        let (registry, scanning) = (registry.clone(), scanning.clone());
        to_its_end(async move {
            let put = inner.put_registry_scanning(&registry, &scanning).await;
            changes.registry(&registry, put.is_ok());
            put
        })
        .await
    }

    async fn put_scan_on_push(&self, repository: &Repository, scan_on_push: bool) -> Result<(), Error> {
        let (inner, changes, repository) = (Arc::clone(&self.inner), self.changes.clone(), repository.clone());
        to_its_end(async move {
            let put = inner.put_scan_on_push(&repository, scan_on_push).await;
            changes.registry(&repository.registry, put.is_ok());
            put
        })
        .await
    }
}

/// A change once sent may come into force; so what follows from it must happen even where the caller has gone.
async fn to_its_end(change: impl Future<Output = Result<(), Error>> + Send + 'static) -> Result<(), Error> {
    let ended = tokio::spawn(change.in_current_span()).await;
    ended.unwrap_or_else(|broken| {
        Err(Error::Unavailable { operation: "a change of configuration", source: Source::new(broken) })
    })
}

impl Target {
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
fn as_written(resolved: Arc<Resolved>, asked: &ImageReference) -> Arc<Resolved> {
    match &asked.registry {
        Some((host, _)) if *host != resolved.image.host => {
            let mut resolved = Arc::unwrap_or_clone(resolved);
            resolved.image.host.clone_from(host);
            Arc::new(resolved)
        }
        Some(_) | None => resolved,
    }
}

fn kept(scan: Arc<Scan>, previous: Option<&Scan>, began: Instant, config: &Config) -> Reading<Arc<Scan>> {
    let scan = match previous {
        Some(previous) if says_the_same(previous, &scan) => {
            Arc::new(Scan { unchanged_since: previous.unchanged_since, ..Arc::unwrap_or_clone(scan) })
        }
        Some(_) | None => scan,
    };
    let keep = if is_settled(&scan) { config.findings_ttl } else { config.unsettled_ttl.min(config.findings_ttl) };
    let bytes = weight::of_scan(&scan);
    Reading { value: scan, began, keep, bytes }
}

/// Whether two readings tell the same facts.
fn says_the_same(previous: &Scan, scan: &Scan) -> bool {
    let Scan { read_at: _, unchanged_since: _, status, description, scan_type, frequency, report, coverage, flaws } =
        previous;
    *status == scan.status
        && *description == scan.description
        && *scan_type == scan.scan_type
        && *frequency == scan.frequency
        && same_report(report.as_ref(), scan.report.as_ref())
        && *coverage == scan.coverage
        && *flaws == scan.flaws
}

/// When the vulnerability data was last current says nothing of whether findings still arrive: a scanner may move it at will.
fn same_report(previous: Option<&Report>, report: Option<&Report>) -> bool {
    match (previous, report) {
        (Some(previous), Some(report)) => {
            let Report { completed_at, source_updated_at: _, counts, enumerated, findings } = previous;
            *completed_at == report.completed_at
                && *counts == report.counts
                && *enumerated == report.enumerated
                && *findings == report.findings
        }
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Whether nothing but a new scan, or new knowledge of vulnerabilities, would change the reading.
fn is_settled(scan: &Scan) -> bool {
    scan.flaws.is_empty()
        && match &scan.status {
            Status::Complete | Status::Active => scan.report.as_ref().is_some_and(|report| is_whole(report, scan)),
            Status::Failed
            | Status::UnsupportedImage
            | Status::ScanEligibilityExpired
            | Status::ImageArchived
            | Status::ImageSizeExceeded => true,
            Status::NotFound
            | Status::InProgress
            | Status::Pending
            | Status::FindingsUnavailable
            | Status::LimitExceeded
            | Status::Unrecognised(_) => false,
        }
}

/// A clean enhanced scan has no time of its own: there the time that Inspector's coverage gives counts.
fn is_whole(report: &Report, scan: &Scan) -> bool {
    let completed_at = report.completed_at.or(scan.coverage.as_ref().and_then(|coverage| coverage.last_scanned_at));
    report.findings.is_some() && completed_at.is_some_and(|at| scan.read_at.duration_since(at) >= SETTLE_TIME)
}
