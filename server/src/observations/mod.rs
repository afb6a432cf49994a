//! The port to what the gate remembers of findings: when it met them first, since ECR does not say.

pub mod sql;

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use scangate_core::{finding::Finding, first_seen::FirstSeenTimes, name::Environment, waiver::Scope};

use crate::registry::Repository;

/// A vulnerability in a package, as it was met.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeenFinding {
    /// The vulnerability.
    pub vulnerability: Arc<str>,
    /// The package's name.
    pub package: Arc<str>,
    /// Whether a fix for it was seen.
    pub fix_seen: bool,
}

impl SeenFinding {
    /// What was met in a finding.
    pub fn from_finding(finding: &Finding) -> Self {
        use scangate_core::finding::Fix;
        let fix_seen = match finding.fix {
            Fix::Available | Fix::Partial => true,
            Fix::Unknown => finding.package.fixed_in.is_some(),
            Fix::None => false,
        };
        Self { vulnerability: Arc::clone(&finding.id), package: Arc::clone(&finding.package.name), fix_seen }
    }
}

/// A failure of the observations' store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store is unavailable.
    #[error("the observations are unavailable")]
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

/// What the gate remembers. An instant is set once and never again.
#[async_trait::async_trait]
pub trait Observations: Send + Sync + fmt::Debug {
    /// Notes what was met in a repository, and tells the clocks of all of it, as they run for an environment.
    async fn observe(
        &self,
        repository: &Repository,
        environment: Option<&Environment>,
        met: &[SeenFinding],
        at: Timestamp,
    ) -> Result<FirstSeenTimes, Error>;

    /// Notes that an image with all of this was allowed into an environment. What is let into one says nothing of another, where
    /// stricter policies may govern.
    async fn admit(
        &self,
        repository: &Repository,
        environment: Option<&Environment>,
        met: &[SeenFinding],
        at: Timestamp,
    ) -> Result<(), Error>;

    /// Whether anything was ever met that is in a waiver's scope: vulnerability, package and repository; digest, environment and
    /// platform are not remembered.
    async fn was_seen(&self, scope: &Scope) -> Result<bool, Error>;
}
