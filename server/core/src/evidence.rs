//! Evidence: does what ECR answered prove that this very manifest was scanned, completely, and that the result has settled?
//!
//! Looked at before any rule. Absent is never zero, unknown is never fine, and what time can still heal is *pending*.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::scan::{Content, Coverage, Flaw, Frequency, Manifest, Report, Scan, ScanType, Status};

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// What the scan proves.
    pub evidence: Evidence,
    /// One sentence: why, and what to do where it is not proven.
    pub detail: String,
    /// The instant that the scan's age counts from; only where it is proven.
    pub current_at: Option<Timestamp>,
    /// For a pending scan: when asking again makes sense.
    pub retry_after: Option<SignedDuration>,
}

impl Assessment {
    fn short(evidence: Evidence, detail: impl Into<String>) -> Self {
        Self { evidence, detail: detail.into(), current_at: None, retry_after: None }
    }

    fn pending(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(POLL), ..Self::short(Evidence::ScanPending, detail) }
    }

    fn proven(current_at: Timestamp) -> Self {
        let detail = "the scan is complete, consistent and settled".to_owned();
        Self { evidence: Evidence::Proven, detail, current_at: Some(current_at), retry_after: None }
    }

    /// This assessment under a limit on the scan's age: a proven scan may be too old for it.
    #[must_use]
    pub fn aged(&self, max_age: Option<SignedDuration>, now: Timestamp) -> Self {
        match (max_age, self.current_at) {
            (Some(limit), Some(current_at)) if now.duration_since(current_at) > limit => Self::short(
                Evidence::Stale,
                format!(
                    "the scan dates from {current_at} and the policy takes none older than {limit:#}; scan the image again"
                ),
            ),
            _ => self.clone(),
        }
    }
}

/// Judges what was read about a manifest at an instant.
pub fn assess(manifest: &Manifest, scan: &Scan, now: Timestamp) -> Assessment {
    if let Some(flawed) = flaws(scan) {
        return flawed;
    }
    if manifest.archived {
        return archived();
    }
    if manifest.content == Content::Artifact {
        return Assessment::short(
            Evidence::Unsupported,
            "this is an artifact, not a container image: ECR does not scan it",
        );
    }
    match &scan.status {
        Status::NotFound => not_found(manifest, scan, now),
        Status::InProgress => Assessment::pending("the scan is running"),
        Status::Pending => Assessment::pending("the scan is about to start"),
        Status::Complete | Status::Active => completed(manifest, scan, now),
        Status::Failed => Assessment::short(Evidence::ScanFailed, format!("the scan failed{}", described(scan))),
        Status::UnsupportedImage => {
            Assessment::short(Evidence::Unsupported, format!("ECR cannot scan this image{}", described(scan)))
        }
        Status::ScanEligibilityExpired => Assessment::short(
            Evidence::EligibilityExpired,
            "Inspector has stopped scanning this image and closes its findings; push it again or lengthen the re-scan duration",
        ),
        Status::FindingsUnavailable => Assessment::short(
            Evidence::FindingsUnavailable,
            format!("ECR says that the findings are unavailable{}", described(scan)),
        ),
        Status::LimitExceeded => Assessment::short(
            Evidence::LimitExceeded,
            format!("a limit of ECR stopped the scan{}; try again later", described(scan)),
        ),
        Status::ImageArchived => archived(),
        Status::ImageSizeExceeded => Assessment::short(Evidence::TooLarge, "the image is too large to be scanned"),
        Status::Unrecognised(label) => Assessment::short(
            Evidence::UnknownStatus,
            format!("ECR gave the scan status {label:?}, which this server does not know"),
        ),
    }
}

fn archived() -> Assessment {
    Assessment::short(Evidence::Archived, "the image is archived; restore it and scan it before deploying")
}

fn described(scan: &Scan) -> String {
    scan.description.as_ref().map_or_else(String::new, |text| format!(": {text}"))
}

fn flaws(scan: &Scan) -> Option<Assessment> {
    // The order of the variants is the order of gravity.
    scan.flaws.iter().min().map(|flaw| match flaw {
        Flaw::Mismatch(what) => {
            Assessment::short(Evidence::Mismatch, format!("ECR answered about another image: {what}"))
        }
        Flaw::Malformed(what) => {
            Assessment::short(Evidence::Malformed, format!("ECR's answer has impossible values: {what}"))
        }
        Flaw::Incomplete(what) => {
            Assessment::short(Evidence::Incomplete, format!("ECR's answer is not complete: {what}"))
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
    Assessment::short(
        Evidence::NotScanned,
        "ECR has no scan of this manifest; start one (StartScan) or switch on scanning for its repository",
    )
}

fn is_off(scan: &Scan) -> bool {
    scan.scan_type == ScanType::Enhanced && scan.frequency == Frequency::Manual
}

fn not_covered() -> Assessment {
    Assessment::short(
        Evidence::NotCovered,
        "enhanced scanning is switched off for the repository: no rule of the registry matches it",
    )
}

fn happened_within(instant: Option<Timestamp>, window: SignedDuration, now: Timestamp) -> bool {
    instant.is_some_and(|instant| now.duration_since(instant) < window)
}

fn completed(manifest: &Manifest, scan: &Scan, now: Timestamp) -> Assessment {
    if is_off(scan) {
        return not_covered();
    }
    if scan.frequency == Frequency::Unrecognised {
        return Assessment::short(
            Evidence::NotCovered,
            "ECR gave a scan frequency for the repository that this server does not know",
        );
    }
    let Some(pushed_at) = manifest.pushed_at else {
        return Assessment::short(Evidence::Incomplete, "ECR does not say when the image was pushed");
    };
    let arriving = happened_within(Some(pushed_at), ARRIVAL_WINDOW, now);
    let missing = |what: &str| {
        if arriving {
            Assessment::pending(format!("the scan says that it is complete, but {what} has not arrived yet"))
        } else {
            Assessment::short(Evidence::Incomplete, format!("the scan says that it is complete, but {what} is missing"))
        }
    };
    let Some(report) = &scan.report else { return missing("its result") };
    let Some(findings) = &report.findings else { return missing("the list of its findings") };
    if scan.scan_type == ScanType::Enhanced && findings.is_empty() && counted(report) == 0 {
        return clean_under_inspector(scan.coverage.as_ref(), pushed_at, arriving, now);
    }
    match (&report.counts, report.completed_at, report.source_updated_at) {
        (None, _, _) => missing("the count of its findings"),
        (_, None, _) => missing("the time of its completion"),
        (_, _, None) if scan.scan_type == ScanType::Basic => missing("the age of its vulnerability data"),
        (Some(_), Some(completed_at), source) => {
            let settled = timely(completed_at, pushed_at, now).or_else(|| consistent(report, scan, completed_at, now));
            settled.unwrap_or_else(|| Assessment::proven(current_at(scan, completed_at, source)))
        }
    }
}

fn counted(report: &Report) -> u64 {
    report.counts.iter().flat_map(|counts| counts.values()).map(|count| u64::from(*count)).sum()
}

/// The instant that the age of a result counts from: for continuous scanning when it was last current; for basic scanning
/// the older of the completion and the vulnerability data behind it.
fn current_at(scan: &Scan, completed_at: Timestamp, source: Option<Timestamp>) -> Timestamp {
    let source = source.unwrap_or(completed_at);
    match (&scan.status, scan.scan_type) {
        (Status::Active, _) => source.max(completed_at),
        (_, ScanType::Basic) => source.min(completed_at),
        (_, ScanType::Enhanced) => completed_at,
    }
}

fn timely(completed_at: Timestamp, pushed_at: Timestamp, now: Timestamp) -> Option<Assessment> {
    if completed_at.duration_since(now) > CLOCK_SLACK {
        let detail =
            format!("the scan claims to have completed in the future, at {completed_at}; check the server's clock");
        return Some(Assessment::short(Evidence::Malformed, detail));
    }
    (completed_at < pushed_at).then(|| {
        let detail =
            format!("the scan completed at {completed_at}, before the image was pushed at {pushed_at}; scan it again");
        Assessment::short(Evidence::Stale, detail)
    })
}

fn consistent(report: &Report, scan: &Scan, completed_at: Timestamp, now: Timestamp) -> Option<Assessment> {
    let settling = happened_within(Some(completed_at), SETTLE_TIME, now);
    let counts = report.counts.iter().flatten().filter(|(_, count)| **count > 0);
    if !counts.eq(report.enumerated.iter().filter(|(_, count)| **count > 0)) {
        let detail = format!(
            "ECR counts {} findings and lists {}, or their severities differ",
            counted(report),
            report.enumerated.values().map(|count| u64::from(*count)).sum::<u64>(),
        );
        return Some(if settling {
            Assessment::pending(detail)
        } else {
            Assessment::short(Evidence::Inconsistent, detail)
        });
    }
    let watched = scan.read_at.duration_since(scan.unchanged_since);
    (settling && watched < SETTLE_DELAY).then(|| Assessment {
        retry_after: Some(SETTLE_DELAY.saturating_sub(watched)),
        ..Assessment::pending("the scan completed a moment ago and its findings may still change")
    })
}

/// Reasons under which Inspector has scanned the image.
const SCANNED: [&str; 2] = ["SUCCESSFUL", "SCAN_FREQUENCY_SCAN_ON_PUSH"];

fn clean_under_inspector(
    coverage: Option<&Coverage>,
    pushed_at: Timestamp,
    arriving: bool,
    now: Timestamp,
) -> Assessment {
    let unproven = |what: String| {
        if arriving {
            Assessment::pending(format!("no findings, and {what} yet"))
        } else {
            Assessment::short(
                Evidence::UnprovenClean,
                format!("the enhanced scan lists no findings, and {what}: that is no proof that a scan ran"),
            )
        }
    };
    let Some(coverage) = coverage else {
        return unproven("Inspector's coverage does not list the image".to_owned());
    };
    if !coverage.active || !SCANNED.contains(&coverage.reason.as_str()) {
        return unproven(format!("Inspector's coverage says {}", coverage.reason));
    }
    match coverage.last_scanned_at {
        None => unproven("Inspector's coverage does not say when it scanned the image".to_owned()),
        Some(at) if at.duration_since(now) > CLOCK_SLACK => {
            Assessment::short(Evidence::Malformed, format!("Inspector claims to have scanned in the future, at {at}"))
        }
        Some(at) if at < pushed_at => unproven(format!("Inspector last scanned it at {at}, before it was pushed")),
        Some(at) => Assessment::proven(at),
    }
}
