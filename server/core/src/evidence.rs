//! Evidence: the proof that a scan is of this manifest, that its result is complete, and that it has settled.
//!
//! Evidence is assessed before any rule. A missing value never counts as zero. An unknown value never counts
//! as good. A shortfall that may end by waiting is *pending*.

mod assessment;
mod checks;
mod completed;
mod window;

use std::collections::BTreeSet;

use jiff::Timestamp;

pub use self::{
    assessment::{Assessment, Evidence},
    window::{ARRIVAL_WINDOW, CLOCK_SLACK, POLL, REGISTRATION_WINDOW, SETTLE_DELAY, SETTLE_TIME},
};
use self::{
    checks::{UPDATE, flaw, is_off, not_covered},
    completed::assess_completed,
    window::happened_within,
};
use crate::scan::{Content, Flaw, Frequency, Manifest, Scan, Status};

/// Assesses the scan of a manifest at an instant.
pub fn assess(manifest: &Manifest, scan: &Scan, now: Timestamp) -> Assessment {
    unusable(manifest, scan).unwrap_or_else(|| assess_by_status(manifest, scan, now))
}

/// Returns the shortfall that applies whatever the scan's status is.
fn unusable(manifest: &Manifest, scan: &Scan) -> Option<Assessment> {
    if let Some(flaw) = flaw(scan, |flaw| !matches!(flaw, Flaw::Incomplete(_))) {
        return Some(flaw);
    }
    if manifest.archived {
        return Some(archived());
    }
    (manifest.content == Content::Artifact).then(|| {
        let detail = "the manifest is an artifact, not a container image; ECR does not scan artifacts";
        Assessment::new(Evidence::Unsupported, detail)
    })
}

fn assess_by_status(manifest: &Manifest, scan: &Scan, now: Timestamp) -> Assessment {
    let (evidence, detail) = match &scan.status {
        Status::NotFound => return assess_not_found(manifest, scan, now),
        Status::InProgress => return Assessment::pending("the scan is running"),
        Status::Pending => return Assessment::pending("the scan has not started yet"),
        Status::Complete | Status::Active => return assess_completed(manifest, scan, now),
        Status::ImageArchived => return archived(),
        Status::Failed => (Evidence::ScanFailed, format!("the scan failed{}", description(scan))),
        Status::UnsupportedImage => (Evidence::Unsupported, format!("ECR cannot scan this image{}", description(scan))),
        Status::ScanEligibilityExpired => (Evidence::EligibilityExpired, ELIGIBILITY_EXPIRED.to_owned()),
        Status::FindingsUnavailable => {
            (Evidence::FindingsUnavailable, format!("ECR reports the findings as unavailable{}", description(scan)))
        }
        Status::LimitExceeded => {
            (Evidence::LimitExceeded, format!("an ECR limit stopped the scan{}; retry later", description(scan)))
        }
        Status::ImageSizeExceeded => (Evidence::TooLarge, "the image is too large for a scan".to_owned()),
        Status::Unrecognised(label) => {
            (Evidence::UnknownStatus, format!("ECR returned the unrecognised scan status {label:?}; {UPDATE}"))
        }
    };
    Assessment::new(evidence, detail)
}

const ELIGIBILITY_EXPIRED: &str =
    "Inspector no longer scans this image and closes its findings; push the image again or extend the re-scan duration";

fn description(scan: &Scan) -> String {
    scan.description.as_ref().map_or_else(String::new, |text| format!(": {text}"))
}

/// Returns the later instants at which [`assess`] may return another result by time alone, in order.
pub(crate) fn change_instants(manifest: &Manifest, scan: &Scan, now: Timestamp) -> BTreeSet<Timestamp> {
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

fn assess_not_found(manifest: &Manifest, scan: &Scan, now: Timestamp) -> Assessment {
    if is_off(scan) {
        return not_covered();
    }
    if scan.frequency != Frequency::Manual && happened_within(manifest.pushed_at, REGISTRATION_WINDOW, now) {
        return Assessment::pending("the image was pushed a moment ago, and ECR has no record of its scan yet");
    }
    Assessment::new(
        Evidence::NotScanned,
        "ECR has no scan of this manifest; start one with StartScan or enable scanning for the repository",
    )
}
