//! Checks that apply to every scan, whatever its status.

use jiff::Timestamp;

use super::{
    assessment::{Evidence, Shortfall},
    window::CLOCK_SLACK,
};
use crate::scan::{Counts, Flaw, Frequency, Manifest, Scan, ScanType, Status};

/// The next step for a value that this version does not recognise.
pub(super) const UPDATE: &str = "check for an update of scan-gate";

/// The next step for an outdated or useless result.
pub(super) fn scan_again(is_basic: bool) -> &'static str {
    if is_basic {
        "scan the image again with StartScan"
    } else {
        "Inspector schedules its scans, so wait for the next one, or push the image again"
    }
}

/// The next step for a result with missing or contradictory parts.
pub(super) fn retry_or_scan_again(scan: &Scan) -> String {
    format!("retry, and if it persists, {}", scan_again(scan.scan_type == ScanType::Basic))
}

/// Returns the shortfall of a response about another image or with impossible values, which makes all else in it void.
/// The variants of [`Flaw`] are in the order of gravity.
pub(super) fn void(manifest: &Manifest, scan: &Scan, now: Timestamp) -> Option<Shortfall> {
    let flaw = scan.flaws.iter().filter(|flaw| !matches!(flaw, Flaw::Incomplete(_))).min();
    flaw.map(from_flaw).or_else(|| dated_in_the_future(manifest, scan, now))
}

/// Returns the shortfall of a response with missing parts.
pub(super) fn incomplete(scan: &Scan) -> Option<Shortfall> {
    scan.flaws.iter().filter(|flaw| matches!(flaw, Flaw::Incomplete(_))).min().map(from_flaw)
}

fn from_flaw(flaw: &Flaw) -> Shortfall {
    let (evidence, cause) = match flaw {
        Flaw::Mismatch(detail) => (Evidence::Mismatch, format!("ECR returned data about another image: {detail}")),
        Flaw::Malformed(detail) => {
            (Evidence::Malformed, format!("ECR's response contains impossible values: {detail}"))
        }
        Flaw::Incomplete(detail) => (Evidence::Incomplete, format!("ECR's response is incomplete: {detail}")),
    };
    Shortfall::new(evidence, cause, format!("retry, and if it persists, {UPDATE}"))
}

/// The clocks of ECR and Inspector may run ahead by [`CLOCK_SLACK`]. A time further ahead would never grow old.
fn dated_in_the_future(manifest: &Manifest, scan: &Scan, now: Timestamp) -> Option<Shortfall> {
    let report = scan.report.as_ref();
    let times = [
        ("the scan's completion time", report.and_then(|report| report.complete_time)),
        ("the time of the vulnerability data", report.and_then(|report| report.source_update_time)),
        ("Inspector's last scan time", scan.coverage.as_ref().and_then(|coverage| coverage.last_scan_time)),
        ("the time of the push", manifest.push_time),
    ];
    times.into_iter().find_map(|(name, at)| {
        let at = at.filter(|at| at.duration_since(now) > CLOCK_SLACK)?;
        let cause = format!("{name} is in the future, {at}");
        Some(Shortfall::new(Evidence::Malformed, cause, "check the server's clock"))
    })
}

/// True if ECR reports that the scan ended well.
pub(super) fn is_done(scan: &Scan) -> bool {
    matches!(scan.status, Status::Complete | Status::Active)
}

/// True if enhanced scanning is switched off for the repository.
pub(super) fn is_off(scan: &Scan) -> bool {
    scan.scan_type == ScanType::Enhanced && scan.frequency == Frequency::Manual
}

/// Returns the shortfall of a repository that no scanning covers, or of which that is unknown.
pub(super) fn not_covered(scan: &Scan) -> Option<Shortfall> {
    if is_off(scan) {
        let cause = "enhanced scanning is off for the repository: no scanning rule of the registry matches it";
        return Some(Shortfall::new(Evidence::NotCovered, cause, "add a rule with ConfigureScanning"));
    }
    let cause = "ECR returned an unrecognised scan frequency for the repository";
    (scan.frequency == Frequency::Unrecognised).then(|| Shortfall::new(Evidence::NotCovered, cause, UPDATE))
}

/// True if a completed enhanced scan lists and counts no findings. An absent list is not an empty one.
pub(super) fn is_clean_enhanced(scan: &Scan) -> bool {
    scan.scan_type == ScanType::Enhanced
        && is_done(scan)
        && scan.report.as_ref().is_some_and(|report| {
            report.findings.as_ref().is_some_and(Vec::is_empty)
                && total(&report.enumerated) == 0
                && report.counts.as_ref().is_none_or(|counts| total(counts) == 0)
        })
}

pub(super) fn total(counts: &Counts) -> u64 {
    counts.values().map(|count| u64::from(*count)).sum()
}
