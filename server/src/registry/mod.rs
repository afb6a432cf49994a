//! The registry port: the operations that use cases need from a container registry, and their errors.
//!
//! [`ecr`] is the adapter over the AWS SDK. [`cache`] is a decorator that caches readings and coalesces concurrent
//! reads. Neither evaluates anything: readings are facts for [`scangate_core`].

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
    image::{Image, ImageReference, Platform, Repository, RepositoryName},
    registry::Registry as RegistryId,
    scan::{Content, Frequency, Manifest, Scan, ScanType},
};

/// The required freshness of a reading: it began at `not_before` or later. `None` accepts any reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// The earliest instant at which the read may have begun.
    pub not_before: Option<Instant>,
}

impl Freshness {
    /// Requires a read that began at most `age` ago. Zero requires one that begins now.
    pub fn within(age: Duration) -> Self {
        Self { not_before: Instant::now().checked_sub(age) }
    }

    /// True if a reading that began at this instant is fresh enough.
    pub fn admits(self, began: Instant) -> bool {
        self.not_before.is_none_or(|not_before| began >= not_before)
    }

    /// Also requires that the read began at `instant` or later; `None` adds no requirement.
    #[must_use]
    pub fn and_not_before(self, instant: Option<Instant>) -> Self {
        Self { not_before: self.not_before.max(instant) }
    }
}

/// An image resolved to its deployable manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The image by digest.
    pub image: Image,
    /// The manifests for the requested platforms: one for a plain image, one for each platform of an index. Attestations
    /// and artifacts are no platforms.
    pub manifests: Vec<Manifest>,
    /// The platforms that an index states, requested or not; empty for a plain image.
    pub platforms: Vec<Platform>,
    /// True if no manifest of the image is left out because its platform was not requested.
    pub is_complete: bool,
}

impl Resolved {
    /// Returns the repository of the image.
    pub fn repository(&self) -> Repository {
        Repository { registry: self.image.registry.clone(), name: self.image.repository.clone() }
    }
}

/// The outcome of a request to scan one manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Started {
    /// ECR accepted the scan.
    Started,
    /// A scan was already running.
    AlreadyInProgress,
    /// The image was already scanned within the last 24 hours.
    AlreadyScanned {
        /// The time at which another scan becomes possible, if known.
        next_scan_time: Option<Timestamp>,
    },
    /// Inspector scans on its own schedule.
    ManagedByInspector,
    /// ECR cannot scan the image, with the reason.
    Unsupported(String),
}

/// The repositories that one rule scans. ECR accepts at most one rule for each frequency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanningRule {
    /// The scan frequency.
    pub frequency: Frequency,
    /// Wildcard filters over repository names, sorted and without duplicates.
    pub filters: Vec<String>,
}

/// The scanning configuration of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryScanning {
    /// The scan type.
    pub scan_type: ScanType,
    /// The rules, sorted by frequency.
    pub rules: Vec<ScanningRule>,
    /// True if ECR accepts rules for the registry. A Region without enhanced scanning has only the repositories' flags.
    pub accepts_rules: bool,
}

/// The scanning in effect for one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryScanning {
    /// The repository.
    pub name: RepositoryName,
    /// The repository's own scan-on-push flag.
    pub scan_on_push: bool,
    /// The frequency in effect.
    pub frequency: Frequency,
    /// The registry's filters that match the repository.
    pub applied_filters: Vec<String>,
}

/// An error of a registry. It is cloned to every caller of a shared read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// This server does not serve the registry.
    #[error("registry {registry} is not configured")]
    NotConfigured {
        /// The requested registry.
        registry: RegistryId,
        /// The configured registries.
        configured: Vec<RegistryId>,
    },
    /// The repository does not exist.
    #[error("repository {0} not found")]
    RepositoryNotFound(Repository),
    /// The repository has no such image.
    #[error("image {image} not found in repository {repository}")]
    ImageNotFound {
        /// The repository.
        repository: Repository,
        /// The requested tag or digest.
        image: String,
    },
    /// The requested tag points to another digest than the requested one.
    #[error("tag {tag} points to {actual}, not to {requested}")]
    TagDigestMismatch {
        /// The tag.
        tag: String,
        /// The requested digest.
        requested: String,
        /// The digest that the tag points to; empty if the registry did not return it.
        actual: String,
    },
    /// AWS denies this server's credentials an action.
    #[error("AWS denies this server {action}")]
    AccessDenied {
        /// The IAM action, e.g. `ecr:DescribeImageScanFindings`.
        action: String,
        /// The message of AWS, for the log only: it may name the principal and the resource.
        detail: String,
    },
    /// The AWS credentials are missing, expired or invalid.
    #[error("AWS credentials missing or invalid")]
    Credentials(#[source] Source),
    /// The configured registries belong to several accounts. All share one set of credentials.
    #[error(
        "--registry {first} and --registry {other} are of two AWS accounts; \
         run one server for each account, each with the registries of its own"
    )]
    TwoAccounts {
        /// The first registry, which is the default one.
        first: RegistryId,
        /// A registry of another account.
        other: RegistryId,
    },
    /// AWS still throttles after all retries.
    #[error("AWS throttles {operation}")]
    Throttled {
        /// The operation.
        operation: &'static str,
        /// The delay before a retry.
        retry_after: Duration,
    },
    /// AWS fails, or cannot be reached in time.
    #[error("AWS unavailable: {operation} failed or timed out")]
    Unavailable {
        /// The operation.
        operation: &'static str,
        /// The cause.
        #[source]
        source: Source,
    },
    /// The response is not of AWS: a proxy, a captive portal or a wrong endpoint answered.
    #[error("{operation} was answered by something other than AWS, with HTTP status {status}")]
    Unreachable {
        /// The operation.
        operation: &'static str,
        /// The HTTP status of the response.
        status: u16,
        /// The beginning of the response in printable ASCII, for the log only.
        #[source]
        source: Source,
    },
    /// The response of AWS cannot be parsed or trusted.
    #[error("invalid response of AWS to {operation}: {detail}")]
    MalformedResponse {
        /// The operation.
        operation: &'static str,
        /// The defect.
        detail: String,
    },
    /// More manifests, pages or findings than this server reads.
    #[error("limit exceeded: {0}")]
    TooComplex(String),
    /// A cached scan cannot be decoded.
    #[error("cached scan damaged: {0}; retry, and the server reads the scan again")]
    DamagedCache(#[source] Source),
    /// The Region of the registry has no enhanced scanning, and therefore no scanning rules for a registry.
    #[error("registry {0} has no scanning rules: its Region offers no enhanced scanning")]
    NoScanningRules(RegistryId),
    /// AWS rejects the request.
    #[error("AWS rejects {operation}: {code}: {message}")]
    Rejected {
        /// The operation.
        operation: &'static str,
        /// The error code of AWS.
        code: String,
        /// The message of AWS, truncated.
        message: String,
    },
}

/// A cause, shared by every caller of a shared read.
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
    /// Wraps any error.
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(Arc::from(source.into()))
    }
}

/// A container registry with a scanner.
#[async_trait::async_trait]
pub trait Registry: Send + Sync + fmt::Debug {
    /// Resolves a reference to a digest once, and an index to its deployable manifests for these platforms; an empty
    /// list stands for all. Other manifests are not read. A manifest that the registry lacks or refuses is returned with
    /// [`Manifest::unreadable`]. An index's bytes are fetched by digest and hashed. Bytes that do not hash to their
    /// digest are an [`Error::MalformedResponse`].
    async fn resolve(
        &self,
        image: &ImageReference,
        platforms: &[Platform],
        freshness: Freshness,
    ) -> Result<Arc<Resolved>, Error>;

    /// Reads what a manifest that has no result is: the bytes show an artifact that its description hides, such as a
    /// signature with the config of an image. A manifest that the registry does not serve counts as an image.
    async fn content(&self, repository: &Repository, manifest: &Manifest) -> Result<Content, Error>;

    /// Reads the complete scan of a manifest. "No scan" is a reading, not an error. A response about another image,
    /// with malformed values or with missing pages is returned with its [`Scan::flaws`], not as an error. An error
    /// means that nothing is known about the scan: throttling, outage, rejection.
    async fn scan(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        freshness: Freshness,
    ) -> Result<Arc<Scan>, Error>;

    /// Returns the time of the cached reading that [`Registry::scan`] would return. `None` means that `scan` would have
    /// to read.
    fn cached_since(&self, repository: &Repository, manifest: &Manifest, freshness: Freshness) -> Option<Timestamp>;

    /// Returns true if a scan that was read at an instant is known to be outdated: a later reading is cached, or this server has
    /// started a scan or changed the configuration since. It does not read.
    fn is_outdated(&self, repository: &Repository, manifest: &Manifest, read_time: Timestamp) -> bool;

    /// Starts a scan, or returns the reason against it. Safe to repeat. Concurrent calls for one digest cost one call.
    async fn start_scan(&self, repository: &Repository, manifest: &Manifest) -> Result<Started, Error>;

    /// Returns the registry of a reference without a host.
    fn default_registry(&self) -> &RegistryId;

    /// Reads the scanning configuration of a registry.
    async fn registry_scanning(&self, registry: &RegistryId) -> Result<RegistryScanning, Error>;

    /// Reads the scanning in effect for repositories, in the requested order. At most 100 repositories.
    async fn repository_scanning(
        &self,
        registry: &RegistryId,
        repositories: &[RepositoryName],
    ) -> Result<Vec<RepositoryScanning>, Error>;

    /// Replaces the scanning configuration of a registry. Later readings reflect it.
    async fn put_registry_scanning(&self, registry: &RegistryId, scanning: &RegistryScanning) -> Result<(), Error>;

    /// Sets a repository's own scan-on-push flag. Later readings reflect it.
    async fn put_scan_on_push(&self, repository: &Repository, scan_on_push: bool) -> Result<(), Error>;
}
