//! Evidence: does what ECR answered prove that this very manifest was scanned, completely, and that the result has settled?
//!
//! Looked at before any rule. Absent is never zero, unknown is never fine, and what time can still heal is *pending*.

mod completed;

use std::{collections::BTreeSet, fmt};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use self::completed::completed;
use crate::scan::{Content, Flaw, Frequency, Manifest, Scan, ScanType, Status};

/// How long after the push ECR may not have a record of a scan yet (30 to 90 s are reported).
pub const REGISTRATION_WINDOW: SignedDuration = SignedDuration::from_mins(5);
/// How long after the completion findings may still arrive (AWS's own gate waits 120 s).
pub const SETTLE_TIME: SignedDuration = SignedDuration::from_secs(120);
/// How long two equal readings must lie apart within the settle time.
pub const SETTLE_DELAY: SignedDuration = SignedDuration::from_secs(10);
/// How long after the push a scan may say that it is complete while its findings are still missing.
pub const ARRIVAL_WINDOW: SignedDuration = SignedDuration::from_mins(15);
/// How far ECR's clock may run ahead of ours.
pub const CLOCK_SLACK: SignedDuration = SignedDuration::from_mins(5);
/// When asking again about a running scan makes sense.
pub const POLL: SignedDuration = SignedDuration::from_secs(10);

/// What a scan proves. Only [`Evidence::Proven`] lets rules decide by themselves.
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
    /// What the scan proves.
    pub evidence: Evidence,
    /// One sentence: why, and what to do where it is not proven.
    pub detail: String,
    /// The instant that the scan's age counts from; only where it says that it is complete, always where it is proven.
    pub current_at: Option<Timestamp>,
    /// For a pending scan: when asking again makes sense.
    pub retry_after: Option<SignedDuration>,
    /// Why the scan is too old under any policy, whatever else it lacks.
    outdated: Option<String>,
}

impl Assessment {
    fn new(evidence: Evidence, detail: impl Into<String>) -> Self {
        Self { evidence, detail: detail.into(), current_at: None, retry_after: None, outdated: None }
    }

    fn pending(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(POLL), ..Self::new(Evidence::ScanPending, detail) }
    }

    fn proven() -> Self {
        Self::new(Evidence::Proven, "the scan is complete, consistent and settled")
    }

    /// This assessment under a limit on the scan's age: a proven scan may be too old for it.
    #[must_use]
    pub fn with_max_age(&self, max_age: Option<SignedDuration>, now: Timestamp) -> Self {
        match (self.evidence, self.too_old(max_age, now)) {
            (Evidence::Proven, Some(too_old)) => too_old,
            _ => self.clone(),
        }
    }

    /// All that is amiss under a limit on the scan's age. What a scan lacks does not hide how old it is: a policy that
    /// overlooks the one has not overlooked the other.
    pub(crate) fn shortfalls(&self, max_age: Option<SignedDuration>, now: Timestamp) -> Vec<Self> {
        let lacking = (self.evidence != Evidence::Proven).then(|| self.clone());
        lacking.into_iter().chain(self.too_old(max_age, now)).collect()
    }

    /// The first instant at which the scan's age is beyond a limit.
    pub(crate) fn too_old_from(&self, limit: SignedDuration) -> Option<Timestamp> {
        self.current_at?.checked_add(limit).ok()?.checked_add(SignedDuration::from_nanos(1)).ok()
    }

    fn too_old(&self, max_age: Option<SignedDuration>, now: Timestamp) -> Option<Self> {
        let beyond = |limit: SignedDuration| {
            let current_at = self.current_at.filter(|at| now.duration_since(*at) > limit)?;
            Some(format!(
                "the scan dates from {current_at} and the policy takes none older than {limit:#}; scan the image again"
            ))
        };
        let why = self.outdated.clone().or_else(|| max_age.and_then(beyond))?;
        Some(Self::new(Evidence::Stale, why))
    }
}

/// Judges what was read about a manifest at an instant.
pub fn assess(manifest: &Manifest, scan: &Scan, now: Timestamp) -> Assessment {
    if let Some(unbelievable) = flaw(scan, |flaw| !matches!(flaw, Flaw::Incomplete(_))) {
        return unbelievable;
    }
    if manifest.archived {
        return archived();
    }
    if manifest.content == Content::Artifact {
        return Assessment::new(
            Evidence::Unsupported,
            "this is an artifact, not a container image: ECR does not scan it",
        );
    }
    match &scan.status {
        Status::NotFound => not_found(manifest, scan, now),
        Status::InProgress => Assessment::pending("the scan is running"),
        Status::Pending => Assessment::pending("the scan is about to start"),
        Status::Complete | Status::Active => completed(manifest, scan, now),
        Status::Failed => Assessment::new(Evidence::ScanFailed, format!("the scan failed{}", described(scan))),
        Status::UnsupportedImage => {
            Assessment::new(Evidence::Unsupported, format!("ECR cannot scan this image{}", described(scan)))
        }
        Status::ScanEligibilityExpired => Assessment::new(
            Evidence::EligibilityExpired,
            "Inspector has stopped scanning this image and closes its findings; push it again or lengthen the re-scan duration",
        ),
        Status::FindingsUnavailable => Assessment::new(
            Evidence::FindingsUnavailable,
            format!("ECR says that the findings are unavailable{}", described(scan)),
        ),
        Status::LimitExceeded => Assessment::new(
            Evidence::LimitExceeded,
            format!("a limit of ECR stopped the scan{}; try again later", described(scan)),
        ),
        Status::ImageArchived => archived(),
        Status::ImageSizeExceeded => Assessment::new(Evidence::TooLarge, "the image is too large to be scanned"),
        Status::Unrecognised(label) => Assessment::new(
            Evidence::UnknownStatus,
            format!("ECR gave the scan status {label:?}, which this server does not know"),
        ),
    }
}

/// The later instants at which [`assess`] may judge otherwise by time alone, in order; nothing else changes it.
pub(crate) fn instants(manifest: &Manifest, scan: &Scan, now: Timestamp) -> BTreeSet<Timestamp> {
    let report = scan.report.as_ref();
    let dates = [
        manifest.pushed_at,
        report.and_then(|report| report.completed_at),
        report.and_then(|report| report.source_updated_at),
        scan.coverage.as_ref().and_then(|coverage| coverage.last_scanned_at),
    ];
    let windows = [REGISTRATION_WINDOW, ARRIVAL_WINDOW, SETTLE_TIME, -CLOCK_SLACK];
    let ends = dates.into_iter().flatten().flat_map(|date| windows.map(|window| date.checked_add(window).ok()));
    ends.flatten().filter(|at| *at > now).collect()
}

fn archived() -> Assessment {
    Assessment::new(Evidence::Archived, "the image is archived; restore it and scan it before deploying")
}

fn described(scan: &Scan) -> String {
    scan.description.as_ref().map_or_else(String::new, |text| format!(": {text}"))
}

/// The gravest of some of the scan's flaws; the order of the variants is the order of gravity.
fn flaw(scan: &Scan, concerned: impl Fn(&&Flaw) -> bool) -> Option<Assessment> {
    scan.flaws.iter().filter(concerned).min().map(|flaw| match flaw {
        Flaw::Mismatch(what) => {
            Assessment::new(Evidence::Mismatch, format!("ECR answered about another image: {what}"))
        }
        Flaw::Malformed(what) => {
            Assessment::new(Evidence::Malformed, format!("ECR's answer has impossible values: {what}"))
        }
        Flaw::Incomplete(what) => {
            Assessment::new(Evidence::Incomplete, format!("ECR's answer is not complete: {what}"))
        }
    })
}

fn not_found(manifest: &Manifest, scan: &Scan, now: Timestamp) -> Assessment {
    if is_off(scan) {
        return not_covered();
    }
    if scan.frequency != Frequency::Manual && happened_within(manifest.pushed_at, REGISTRATION_WINDOW, now) {
        return Assessment::pending("the image was pushed a moment ago and ECR has no record of its scan yet");
    }
    Assessment::new(
        Evidence::NotScanned,
        "ECR has no scan of this manifest; start one (StartScan) or switch on scanning for its repository",
    )
}

fn is_off(scan: &Scan) -> bool {
    scan.scan_type == ScanType::Enhanced && scan.frequency == Frequency::Manual
}

fn not_covered() -> Assessment {
    Assessment::new(
        Evidence::NotCovered,
        "enhanced scanning is switched off for the repository: no rule of the registry matches it",
    )
}

fn happened_within(instant: Option<Timestamp>, window: SignedDuration, now: Timestamp) -> bool {
    instant.is_some_and(|instant| now.duration_since(instant) < window)
}
