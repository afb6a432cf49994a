//! The assessment of a scan: its evidence, the reason, and its age.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::window::POLL;

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

/// Evidence with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assessment {
    /// The evidence.
    pub evidence: Evidence,
    /// The reason in one sentence, with the next step if the scan is not proven.
    pub detail: String,
    /// The start of the scan's age. Set only for a completed scan, and always for a proven one.
    pub current_at: Option<Timestamp>,
    /// For a pending scan: the delay before a retry makes sense.
    pub retry_after: Option<SignedDuration>,
    /// The reason why the scan is too old under every policy, whatever its other shortfalls.
    pub(super) outdated: Option<String>,
}

impl Assessment {
    pub(super) fn new(evidence: Evidence, detail: impl Into<String>) -> Self {
        Self { evidence, detail: detail.into(), current_at: None, retry_after: None, outdated: None }
    }

    pub(super) fn pending(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(POLL), ..Self::new(Evidence::ScanPending, detail) }
    }

    pub(super) fn proven() -> Self {
        Self::new(Evidence::Proven, "the scan is complete, consistent and settled")
    }

    /// Returns this assessment under a limit on the scan's age, which a proven scan may exceed.
    #[must_use]
    pub fn with_max_age(&self, max_age: Option<SignedDuration>, now: Timestamp) -> Self {
        match (self.evidence, self.stale(max_age, now)) {
            (Evidence::Proven, Some(stale)) => stale,
            _ => self.clone(),
        }
    }

    /// Returns every shortfall under a limit on the scan's age. Other shortfalls do not hide the age: a policy that
    /// tolerates the one does not tolerate the other.
    pub(crate) fn shortfalls(&self, max_age: Option<SignedDuration>, now: Timestamp) -> Vec<Self> {
        let shortfall = (self.evidence != Evidence::Proven).then(|| self.clone());
        shortfall.into_iter().chain(self.stale(max_age, now)).collect()
    }

    /// Returns the first instant at which the scan's age exceeds a limit.
    pub(crate) fn stale_from(&self, limit: SignedDuration) -> Option<Timestamp> {
        self.current_at?.checked_add(limit).ok()?.checked_add(SignedDuration::from_nanos(1)).ok()
    }

    fn stale(&self, max_age: Option<SignedDuration>, now: Timestamp) -> Option<Self> {
        let exceeds = |limit: SignedDuration| {
            let current_at = self.current_at.filter(|at| now.duration_since(*at) > limit)?;
            Some(format!(
                "the scan dates from {current_at} and exceeds the policy's maximum age of {limit:#}; scan the image again"
            ))
        };
        let detail = self.outdated.clone().or_else(|| max_age.and_then(exceeds))?;
        Some(Self::new(Evidence::Stale, detail))
    }
}
