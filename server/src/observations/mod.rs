//! The port to observations: the times at which findings were first seen and first admitted, which ECR does not report.
//!
//! [`sql`] is the adapter. `server/tests/observations/contract.rs` is the contract suite; the methods' comments name its tests.

mod seen_names;
pub mod sql;

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use scangate_core::{
    finding::Finding, first_seen::FirstSeenTimes, image::Repository, name::Environment, waiver::Scope,
};

pub use self::seen_names::SeenNames;

/// A vulnerability in a package, as seen in a scan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeenFinding {
    /// The vulnerability.
    pub vulnerability: Arc<str>,
    /// The package's name.
    pub package: Arc<str>,
    /// True if the scan reported a fix.
    pub fix_seen: bool,
    /// The related ids.
    pub related_ids: Vec<Arc<str>>,
}

impl SeenFinding {
    /// Extracts the observation from a finding.
    pub fn from_finding(finding: &Finding) -> Self {
        use scangate_core::finding::Fix;
        let fix_seen = match finding.fix {
            Fix::Available | Fix::Partial => true,
            Fix::Unknown => finding.package.fixed_version.is_some(),
            Fix::None => false,
        };
        Self {
            vulnerability: Arc::clone(&finding.id),
            package: Arc::clone(&finding.package.name),
            fix_seen,
            related_ids: finding.related_ids.to_vec(),
        }
    }
}

/// A failure of the observations' store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store is unavailable.
    #[error("observations unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A record cannot be read.
    #[error("{what} cannot be read")]
    Corrupt {
        /// The record.
        what: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A store of observations. It never changes a recorded time (`first_seen_times_are_set_once`).
#[async_trait::async_trait]
pub trait Observations: Send + Sync + fmt::Debug {
    /// Records findings that were seen in a repository, and returns their first-seen times for an environment.
    ///
    /// A finding that is new to the repository gets the time `at`; concurrent calls record one of their times.
    async fn observe(
        &self,
        repository: &Repository,
        environment: Option<&Environment>,
        findings: &[SeenFinding],
        at: Timestamp,
    ) -> Result<FirstSeenTimes, Error>;

    /// Returns the first-seen times that [`Self::observe`] would return, and records nothing
    /// (`expected_times_are_not_recorded`).
    async fn expected_times(
        &self,
        repository: &Repository,
        environment: Option<&Environment>,
        findings: &[SeenFinding],
        at: Timestamp,
    ) -> Result<FirstSeenTimes, Error>;

    /// Records that an image with these findings was allowed into an environment. The record does not count for other
    /// environments, whose policies may be stricter (`admission_counts_for_its_environment_only`).
    async fn record_admission(
        &self,
        repository: &Repository,
        environment: Option<&Environment>,
        findings: &[SeenFinding],
        at: Timestamp,
    ) -> Result<(), Error>;

    /// Returns true if a finding in a waiver's scope was ever seen (`was_seen_compares_scope_with_observations`). Compares
    /// vulnerability, package and repository; digest, environment and platform are not recorded. A finding was seen under its own
    /// id and, unless that is a CVE, under its related ids (`was_seen_compares_related_ids`). Package managers are not recorded:
    /// names compare as PyPI's.
    async fn was_seen(&self, scope: &Scope) -> Result<bool, Error>;

    /// Returns the names under which findings were seen (`seen_names_include_related_ids`).
    async fn seen_names(&self) -> Result<SeenNames, Error>;
}
