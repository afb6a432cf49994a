//! The port to the container registry: what the use cases ask of Amazon ECR, and the errors that it gives them.
//!
//! [`ecr`] is the adapter over the AWS SDK. [`cache`] is the decorator that keeps readings and lets one flight serve many
//! callers. Nothing here decides anything: readings are facts for [`scangate_core`].

pub mod cache;
pub mod ecr;
mod read_through;
mod single_flight;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use scangate_core::{
    image::{Image, ImageReference, Repository, RepositoryName},
    registry::Registry as RegistryId,
    scan::{Frequency, Manifest, Scan, ScanType},
};

/// How fresh a reading must be: one that began at `not_before` or later. `None`: any will do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// The earliest instant at which reading may have begun.
    pub not_before: Option<Instant>,
}

impl Freshness {
    /// A reading that began at most `age` before now. Zero: one that begins now.
    pub fn within(age: Duration) -> Self {
        Self { not_before: Instant::now().checked_sub(age) }
    }

    /// Whether a reading that began at this instant is fresh enough.
    pub fn admits(self, began: Instant) -> bool {
        self.not_before.is_none_or(|not_before| began >= not_before)
    }

    /// This freshness, and at least that of a reading which began at `instant`.
    #[must_use]
    pub fn and_not_before(self, instant: Option<Instant>) -> Self {
        Self { not_before: self.not_before.max(instant) }
    }
}

/// An image resolved to the manifests that could be deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The image by digest.
    pub image: Image,
    /// Its manifests: one for a plain image, one for each platform of an index; attestations left out.
    pub manifests: Vec<Manifest>,
}

impl Resolved {
    /// The repository that the image lies in.
    pub fn repository(&self) -> Repository {
        Repository { registry: self.image.registry.clone(), name: self.image.repository.clone() }
    }
}

/// What became of a request to scan one manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Started {
    /// ECR has accepted the scan.
    Started,
    /// A scan was running already.
    AlreadyInProgress,
    /// The image has had its scan of these 24 hours.
    AlreadyScanned {
        /// When another becomes possible, where it is known.
        next_possible_at: Option<Timestamp>,
    },
    /// Inspector scans by itself.
    ManagedContinuously,
    /// ECR cannot scan it, and why.
    Unsupported(String),
}

/// Repositories that one rule scans: ECR takes at most one rule for each frequency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanningRule {
    /// How often.
    pub frequency: Frequency,
    /// Wildcard filters over repository names, sorted, each once.
    pub filters: Vec<String>,
}

/// Scanning of a whole registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryScanning {
    /// The kind.
    pub scan_type: ScanType,
    /// Its rules, in the order of their frequencies.
    pub rules: Vec<ScanningRule>,
}

/// What is in force for one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryScanning {
    /// The repository.
    pub name: RepositoryName,
    /// Its own flag.
    pub scan_on_push: bool,
    /// The frequency in effect.
    pub frequency: Frequency,
    /// The registry's filters that matched it.
    pub applied_filters: Vec<String>,
}

/// Why the registry gave no answer. Cloned to every caller of a shared flight.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// This server does not serve the registry.
    #[error("registry {registry} is not configured")]
    NotConfigured {
        /// The one asked for.
        registry: RegistryId,
        /// Those there are.
        configured: Vec<RegistryId>,
    },
    /// The repository does not exist.
    #[error("repository {0} does not exist")]
    RepositoryNotFound(Repository),
    /// The repository has no such image.
    #[error("repository {repository} has no image {image}")]
    ImageNotFound {
        /// The repository.
        repository: Repository,
        /// The tag or digest asked for.
        image: String,
    },
    /// Tag and digest were both given and disagree.
    #[error("tag {tag} points at {actual}, not at {asked}")]
    TagDigestMismatch {
        /// The tag.
        tag: String,
        /// The digest given with it.
        asked: String,
        /// What the tag points at; empty where the registry did not say.
        actual: String,
    },
    /// AWS refuses our credentials an action.
    #[error("AWS refuses this server {action}")]
    AccessDenied {
        /// The IAM action, e.g. `ecr:DescribeImageScanFindings`.
        action: String,
        /// AWS's words, which may name the principal and the resource: for the log.
        detail: String,
    },
    /// We have no credentials, or expired or invalid ones.
    #[error("no valid AWS credentials")]
    Credentials(#[source] Source),
    /// AWS throttles beyond our retries.
    #[error("AWS throttles {operation}")]
    Throttled {
        /// The operation.
        operation: &'static str,
        /// When to try again.
        retry_after: Duration,
    },
    /// AWS fails or cannot be reached in time.
    #[error("AWS does not answer {operation}")]
    Unavailable {
        /// The operation.
        operation: &'static str,
        /// Why.
        #[source]
        source: Source,
    },
    /// AWS answers what cannot be read.
    #[error("AWS answers {operation} with what cannot be read: {detail}")]
    MalformedResponse {
        /// The operation.
        operation: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// More manifests, pages or findings than this server reads.
    #[error("too much to read: {0}")]
    TooComplex(String),
    /// AWS refuses the request as it stands.
    #[error("AWS refuses {operation}: {code}: {message}")]
    Rejected {
        /// The operation.
        operation: &'static str,
        /// AWS's error code.
        code: String,
        /// AWS's words, cut short.
        message: String,
    },
}

/// A cause, shared by every caller of a flight.
#[derive(Clone, Debug)]
pub struct Source(pub Arc<dyn std::error::Error + Send + Sync>);

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Source {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl Source {
    /// Takes any error.
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(Arc::from(source.into()))
    }
}

/// A container registry with a scanner.
#[async_trait::async_trait]
pub trait Registry: Send + Sync + fmt::Debug {
    /// Resolves a reference to a digest once, and an index to its deployable manifests. The manifest's bytes are fetched by
    /// digest and hashed: an answer that does not hash to its digest is [`Error::MalformedResponse`].
    async fn resolve(&self, image: &ImageReference, freshness: Freshness) -> Result<Arc<Resolved>, Error>;

    /// Reads a manifest's scan whole. "No scan" is a reading, not an error. Flaws of the answer are in the reading; only
    /// what says nothing about the scan (throttling, outage, refusal) is an error.
    async fn scan(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        freshness: Freshness,
    ) -> Result<Arc<Scan>, Error>;

    /// When the reading began that [`Registry::scan`] would give at once; `None`: it would have to read.
    fn cached_since(&self, repository: &Repository, manifest: &Manifest, freshness: Freshness) -> Option<Timestamp>;

    /// Starts a scan, or tells why none was started. Safe to repeat; concurrent calls for one digest cost one call.
    async fn start_scan(&self, repository: &Repository, manifest: &Manifest) -> Result<Started, Error>;

    /// The registry that a reference without a host means.
    fn default_registry(&self) -> &RegistryId;

    /// Reads a registry's scanning configuration.
    async fn registry_scanning(&self, registry: &RegistryId) -> Result<RegistryScanning, Error>;

    /// Reads what is in force for repositories, in the order asked; at most 100.
    async fn repository_scanning(
        &self,
        registry: &RegistryId,
        repositories: &[RepositoryName],
    ) -> Result<Vec<RepositoryScanning>, Error>;

    /// Replaces a registry's scanning configuration. Later readings see it.
    async fn put_registry_scanning(&self, registry: &RegistryId, scanning: &RegistryScanning) -> Result<(), Error>;

    /// Sets a repository's own scan-on-push flag. Later readings see it.
    async fn put_scan_on_push(&self, repository: &Repository, scan_on_push: bool) -> Result<(), Error>;
}
