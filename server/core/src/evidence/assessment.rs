//! The assessment of a scan: its evidence, its shortfalls and its ages.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    ages::{Ages, Limits},
    window::POLL,
};

/// The evidence of a scan. Only [`Evidence::Proven`] lets the rules alone decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the contract's enum Evidence describes each value")]
pub enum Evidence {
    Proven,
    ScanPending,
    NotScanned,
    ScanFailed,
    Unsupported,
    EligibilityExpired,
    FindingsUnavailable,
    LimitExceeded,
    Archived,
    TooLarge,
    Stale,
    Incomplete,
    Inconsistent,
    Malformed,
    Mismatch,
    UnprovenClean,
    NotCovered,
    UnknownStatus,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Proven => "PROVEN",
            Self::ScanPending => "SCAN_PENDING",
            Self::NotScanned => "NOT_SCANNED",
            Self::ScanFailed => "SCAN_FAILED",
            Self::Unsupported => "UNSUPPORTED",
            Self::EligibilityExpired => "ELIGIBILITY_EXPIRED",
            Self::FindingsUnavailable => "FINDINGS_UNAVAILABLE",
            Self::LimitExceeded => "LIMIT_EXCEEDED",
            Self::Archived => "ARCHIVED",
            Self::TooLarge => "TOO_LARGE",
            Self::Stale => "STALE",
            Self::Incomplete => "INCOMPLETE",
            Self::Inconsistent => "INCONSISTENT",
            Self::Malformed => "MALFORMED",
            Self::Mismatch => "MISMATCH",
            Self::UnprovenClean => "UNPROVEN_CLEAN",
            Self::NotCovered => "NOT_COVERED",
            Self::UnknownStatus => "UNKNOWN_STATUS",
        })
    }
}

/// One respect in which a scan falls short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shortfall {
    /// The evidence; never [`Evidence::Proven`].
    pub evidence: Evidence,
    /// The cause.
    pub cause: String,
    /// The next step; empty for a pending scan, which only needs time.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub step: String,
    /// For a pending scan: the delay before a retry makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<SignedDuration>,
    /// True if a new scan does not cure it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outlasts_scans: bool,
}

impl Shortfall {
    pub(super) fn new(evidence: Evidence, cause: impl Into<String>, step: impl Into<String>) -> Self {
        Self { evidence, cause: cause.into(), step: step.into(), retry_after: None, outlasts_scans: false }
    }

    pub(super) fn pending(cause: impl Into<String>) -> Self {
        Self { retry_after: Some(POLL), ..Self::new(Evidence::ScanPending, cause, "") }
    }

    /// Describes the shortfall in one sentence, with the next step.
    pub fn detail(&self) -> String {
        if self.step.is_empty() { self.cause.clone() } else { format!("{}; {}", self.cause, self.step) }
    }
}

/// The assessment of a scan. The evidence, the detail and the delay are those of the first shortfall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assessment {
    /// The evidence.
    pub evidence: Evidence,
    /// The reason in one sentence, with the next step if the scan is not proven.
    pub detail: String,
    /// For a pending scan: the delay before a retry makes sense.
    pub retry_after: Option<SignedDuration>,
    /// The times that the scan's ages count from.
    pub ages: Ages,
    /// The shortfalls under every policy. A policy that tolerates one tolerates no other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    shortfalls: Vec<Shortfall>,
    /// True if a running scan will replace the result.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_renewing: bool,
}

impl Assessment {
    pub(super) fn new(shortfalls: Vec<Shortfall>, ages: Ages, is_renewing: bool) -> Self {
        let (evidence, detail, retry_after) = match shortfalls.first() {
            Some(first) => (first.evidence, first.detail(), first.retry_after),
            None => (Evidence::Proven, "the scan is complete, consistent and settled".to_owned(), None),
        };
        Self { evidence, detail, retry_after, ages, shortfalls, is_renewing }
    }

    /// Returns this assessment without its sentences, which may differ between versions of the server.
    #[must_use]
    pub fn without_texts(&self) -> Self {
        let mut assessment = Self { detail: String::new(), ..self.clone() };
        for shortfall in &mut assessment.shortfalls {
            shortfall.cause.clear();
            shortfall.step.clear();
        }
        assessment
    }

    /// Returns every shortfall under a policy's limits at an instant.
    pub fn shortfalls(&self, limits: Limits, now: Timestamp) -> Vec<Shortfall> {
        let mut shortfalls = self.shortfalls.clone();
        shortfalls.extend(self.ages.shortfalls(limits, now));
        if self.is_renewing && limits.awaits_running_scan {
            let replaced = [Evidence::Stale, Evidence::Incomplete, Evidence::Inconsistent];
            shortfalls.retain(|shortfall| !replaced.contains(&shortfall.evidence));
        }
        shortfalls
    }
}
