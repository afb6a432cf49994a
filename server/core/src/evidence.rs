//! Evidence: the proof that a scan is of this manifest, that its result is complete, and that it has settled.
//!
//! Evidence is assessed before any rule. A missing value never counts as zero. An unknown value never counts
//! as good. A shortfall that may end by waiting is *pending*. A scan can fall short in several respects, and each of
//! them counts by itself.

mod ages;
mod assessment;
mod checks;
mod completed;
mod consistency;
mod coverage;
mod window;

use std::collections::BTreeSet;

use jiff::Timestamp;

pub use self::{
    ages::{Ages, Limits},
    assessment::{Assessment, Evidence, Shortfall},
    window::{ARRIVAL_WINDOW, CLOCK_SLACK, POLL, REGISTRATION_WINDOW, SETTLE_DELAY, SETTLE_TIME, UNRENEWED_AGE},
};
use self::{
    checks::{UPDATE, incomplete, is_clean_enhanced, is_done, is_off, not_covered, scan_again, void},
    completed::{assess_completed, awaits_list, is_rescanning},
    consistency::inconsistent,
    window::happened_within,
};
use crate::scan::{Content, Frequency, Manifest, Scan, ScanType, Status};

/// Assesses the scan of a manifest at an instant.
pub fn assess(manifest: &Manifest, scan: &Scan, now: Timestamp) -> Assessment {
    if let Some(cause) = &manifest.unreadable {
        let step = match &manifest.platform {
            Some(_) => "make it available, or ask only for the platforms that you deploy",
            None => "make it available, or push the index without it",
        };
        let unreadable = Shortfall::new(Evidence::Incomplete, cause.clone(), step);
        return Assessment::new(vec![unreadable], Ages::default(), false);
    }
    if let Some(void) = void(manifest, scan, now) {
        return Assessment::new(vec![void], Ages::default(), false);
    }
    let found = shortfalls(manifest, scan, now);
    let is_renewing = (matches!(scan.status, Status::NotFound | Status::InProgress | Status::Pending)
        || is_rescanning(scan)
        || awaits_list(scan))
        && found.iter().any(|shortfall| shortfall.evidence == Evidence::ScanPending);
    Assessment::new(found, Ages::new(scan), is_renewing)
}

/// Returns every shortfall of a scan under any policy, the gravest first.
fn shortfalls(manifest: &Manifest, scan: &Scan, now: Timestamp) -> Vec<Shortfall> {
    let mut found = Vec::new();
    if manifest.archived || scan.status == Status::ImageArchived {
        let step = "restore it and scan it before deploying";
        found.push(Shortfall::new(Evidence::Archived, "the image is archived", step));
    }
    let is_artifact = manifest.content == Content::Artifact;
    if is_artifact {
        let cause = "the manifest is an artifact, not a container image, and ECR does not scan artifacts";
        found.push(Shortfall::new(Evidence::Unsupported, cause, "deploy a container image"));
    }
    found.extend(not_covered(scan));
    if !is_artifact || !is_unscannable(&scan.status) {
        found.extend(assess_by_status(manifest, scan, now));
    }
    if !is_done(scan) && !matches!(scan.status, Status::InProgress | Status::Pending) {
        found.extend(inconsistent(manifest, scan, now));
    }
    found.extend(incomplete(scan));
    found.extend(ended_eligibility(scan, now));
    found.extend(scanned_before_push(manifest, scan));
    // A policy has one action for each kind of evidence, so the first shortfall of a kind is enough.
    let mut kinds = BTreeSet::new();
    found.retain(|shortfall| kinds.insert(shortfall.evidence));
    found
}

/// True for a status that follows from the kind of an artifact.
fn is_unscannable(status: &Status) -> bool {
    matches!(status, Status::NotFound | Status::Failed | Status::UnsupportedImage)
}

fn assess_by_status(manifest: &Manifest, scan: &Scan, now: Timestamp) -> Vec<Shortfall> {
    let why = scan.description.as_ref().map_or_else(String::new, |text| format!(": {}", text.trim_end_matches('.')));
    let (evidence, cause, step) = match &scan.status {
        Status::NotFound => return Vec::from_iter(assess_not_found(manifest, scan, now)),
        Status::InProgress => return vec![Shortfall::pending("the scan is running")],
        Status::Pending => return vec![Shortfall::pending("the scan has not started yet")],
        Status::Complete | Status::Active => return assess_completed(manifest, scan, now),
        // An archived image is reported as such, whatever the status of its scan.
        Status::ImageArchived => return Vec::new(),
        Status::Failed => (
            Evidence::ScanFailed,
            format!("the scan failed{why}"),
            "scan it again with StartScan, or use a base image that ECR can scan",
        ),
        Status::UnsupportedImage => {
            (Evidence::Unsupported, format!("ECR cannot scan this image{why}"), "use a base image that ECR can scan")
        }
        Status::ScanEligibilityExpired => {
            (Evidence::EligibilityExpired, NO_LONGER_SCANNED.to_owned(), RENEW_ELIGIBILITY)
        }
        Status::FindingsUnavailable => (
            Evidence::FindingsUnavailable,
            format!("ECR reports the findings as unavailable{why}"),
            "retry later, or push the image again",
        ),
        Status::LimitExceeded => {
            (Evidence::LimitExceeded, format!("an ECR limit stopped the scan{why}"), "retry later")
        }
        Status::ImageSizeExceeded => {
            (Evidence::TooLarge, format!("the image is too large for a scan{why}"), "make it smaller and push it again")
        }
        Status::Unrecognised(label) => {
            (Evidence::UnknownStatus, format!("ECR returned the unrecognised scan status {label:?}"), UPDATE)
        }
    };
    vec![Shortfall::new(evidence, cause, step)]
}

const NO_LONGER_SCANNED: &str = "Inspector no longer scans this image and closes its findings";
const RENEW_ELIGIBILITY: &str = "push the image again or extend the re-scan duration";

/// Without scanning, a missing scan is no shortfall of its own.
fn assess_not_found(manifest: &Manifest, scan: &Scan, now: Timestamp) -> Option<Shortfall> {
    if is_off(scan) {
        return None;
    }
    if scan.frequency != Frequency::Manual && happened_within(manifest.push_time, REGISTRATION_WINDOW, now) {
        let cause = "the image was pushed a moment ago, and ECR has no record of its scan yet";
        return Some(Shortfall::pending(cause));
    }
    let step = match scan.scan_type {
        ScanType::Basic => "start one with StartScan or enable scanning for the repository",
        ScanType::Enhanced => "Inspector scans recently pushed images only, so push the image again",
    };
    Some(Shortfall::new(Evidence::NotScanned, "ECR has no scan of this manifest", step))
}

/// Returns the shortfall of a result whose computed end of eligibility has passed since it was read. A reading after
/// that end shows that Inspector still scans the image, so the computed end was wrong.
fn ended_eligibility(scan: &Scan, now: Timestamp) -> Option<Shortfall> {
    let end_time = eligibility_end(scan).filter(|at| *at <= now)?;
    let cause = format!("the re-scan duration of the image ended at {end_time}: {NO_LONGER_SCANNED}");
    Some(Shortfall::new(Evidence::EligibilityExpired, cause, RENEW_ELIGIBILITY))
}

/// Returns the instant at which Inspector stops scanning an image, as far as the reading does not contradict it.
pub(crate) fn eligibility_end(scan: &Scan) -> Option<Timestamp> {
    let is_in_force = scan.scan_type == ScanType::Enhanced && is_done(scan);
    scan.eligibility_expire_time.filter(|until| is_in_force && scan.read_time < *until)
}

/// An empty enhanced result is dated by Inspector's coverage. While scanning is on, one from before the push is unproven.
fn scanned_before_push(manifest: &Manifest, scan: &Scan) -> Option<Shortfall> {
    let (scan_time, what) = match (is_clean_enhanced(scan), is_off(scan)) {
        (false, _) => (scan.report.as_ref()?.complete_time?, "the scan completed"),
        (true, true) => (scan.coverage.as_ref()?.last_scan_time?, "Inspector last scanned the image"),
        (true, false) => return None,
    };
    let push_time = manifest.push_time.filter(|push_time| scan_time < *push_time)?;
    let cause = format!("{what} at {scan_time}, before the image was pushed at {push_time}");
    Some(Shortfall::new(Evidence::Stale, cause, scan_again(scan.scan_type == ScanType::Basic)))
}

/// Returns the later instants at which [`assess`] may return another result by time alone, in order.
pub(crate) fn change_instants(manifest: &Manifest, scan: &Scan, now: Timestamp) -> BTreeSet<Timestamp> {
    let report = scan.report.as_ref();
    let dates = [
        manifest.push_time,
        report.and_then(|report| report.complete_time),
        report.and_then(|report| report.source_update_time),
        scan.coverage.as_ref().and_then(|coverage| coverage.last_scan_time),
        scan.first_scan_time,
    ];
    let windows = [REGISTRATION_WINDOW, ARRIVAL_WINDOW, SETTLE_TIME, -CLOCK_SLACK];
    let ends = dates.into_iter().flatten().flat_map(|date| windows.map(|window| date.checked_add(window).ok()));
    ends.flatten().chain(eligibility_end(scan)).filter(|at| *at > now).collect()
}
