//! The requirements of a policy on a scan.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::{
    evidence::{Evidence, Limits},
    stored::is_default,
};

/// The effect of a scan that falls short of a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Action {
    /// DENY.
    Deny,
    /// A warning; the rules apply to the findings that the scan has.
    Warn,
    /// Start or join a scan: INDETERMINATE until it ends, DENY if no scan can be started.
    StartScan,
}

/// The requirements of a policy on a scan. Each action applies to the evidence that its comment lists; `None`: the
/// default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScanRequirements {
    /// The maximum age of any scan, since it completed or, for continuous scanning, since ECR reports that it was last
    /// current; `None`: no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub max_scan_age: Option<SignedDuration>,
    /// The maximum age of a basic scan since it completed; `None`: no limit beside `max_scan_age`.
    #[serde(skip_serializing_if = "is_default")]
    pub max_basic_scan_age: Option<SignedDuration>,
    /// The maximum age of the vulnerability data, ECR's `vulnerabilitySourceUpdatedAt`; `None`: no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub max_source_age: Option<SignedDuration>,
    /// NOT_SCANNED, NOT_COVERED.
    #[serde(skip_serializing_if = "is_default")]
    pub never_scanned: Option<Action>,
    /// SCAN_PENDING.
    #[serde(skip_serializing_if = "is_default")]
    pub scanning: Option<Action>,
    /// SCAN_FAILED.
    #[serde(skip_serializing_if = "is_default")]
    pub failed: Option<Action>,
    /// UNSUPPORTED, TOO_LARGE.
    #[serde(skip_serializing_if = "is_default")]
    pub unsupported: Option<Action>,
    /// ELIGIBILITY_EXPIRED.
    #[serde(skip_serializing_if = "is_default")]
    pub eligibility_expired: Option<Action>,
    /// FINDINGS_UNAVAILABLE, LIMIT_EXCEEDED.
    #[serde(skip_serializing_if = "is_default")]
    pub findings_unavailable: Option<Action>,
    /// ARCHIVED.
    #[serde(skip_serializing_if = "is_default")]
    pub archived: Option<Action>,
    /// STALE.
    #[serde(skip_serializing_if = "is_default")]
    pub too_old: Option<Action>,
    /// UNKNOWN_STATUS, UNPROVEN_CLEAN, INCOMPLETE, INCONSISTENT.
    #[serde(skip_serializing_if = "is_default")]
    pub unknown: Option<Action>,
}

impl ScanRequirements {
    /// Returns the limits of ages.
    pub fn limits(&self) -> Limits {
        Limits {
            max_scan_age: self.max_scan_age,
            max_basic_scan_age: self.max_basic_scan_age,
            max_source_age: self.max_source_age,
            awaits_running_scan: self.on_shortfall(Evidence::ScanPending) == Some(Action::StartScan),
        }
    }

    /// Returns the action for this evidence; `None` for a proven scan.
    pub fn on_shortfall(&self, evidence: Evidence) -> Option<Action> {
        let (chosen, default) = match evidence {
            Evidence::Proven => return None,
            // By default a running scan is joined.
            Evidence::ScanPending => (self.scanning, Action::StartScan),
            Evidence::NotScanned | Evidence::NotCovered => (self.never_scanned, Action::Deny),
            Evidence::ScanFailed => (self.failed, Action::Deny),
            Evidence::Unsupported | Evidence::TooLarge => (self.unsupported, Action::Deny),
            Evidence::EligibilityExpired => (self.eligibility_expired, Action::Deny),
            Evidence::FindingsUnavailable | Evidence::LimitExceeded => (self.findings_unavailable, Action::Deny),
            Evidence::Archived => (self.archived, Action::Deny),
            Evidence::Stale => (self.too_old, Action::Deny),
            Evidence::UnknownStatus | Evidence::UnprovenClean | Evidence::Incomplete | Evidence::Inconsistent => {
                (self.unknown, Action::Deny)
            }
            // No policy can accept data about another image or impossible values.
            Evidence::Malformed | Evidence::Mismatch => (None, Action::Deny),
        };
        Some(chosen.unwrap_or(default))
    }
}
