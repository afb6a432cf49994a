//! The agreement of a result with its counts, and the time that it has to settle.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{
    assessment::{Evidence, Shortfall},
    checks::{is_clean_enhanced, retry_or_scan_again, total},
    window::{ARRIVAL_WINDOW, SETTLE_DELAY, SETTLE_TIME, happened_within},
};
use crate::scan::{Counts, Manifest, Report, Scan};

/// Returns the shortfall of a result that lists other findings than it counts. An absent list lists nothing.
pub(super) fn inconsistent(manifest: &Manifest, scan: &Scan, now: Timestamp) -> Option<Shortfall> {
    let report = scan.report.as_ref()?;
    let counts = report.counts.as_ref().filter(|counts| !agrees(report, counts))?;
    let cause = format!(
        "ECR counts {} findings and lists {}, or their severities differ",
        total(counts),
        total(&report.enumerated)
    );
    let may_still_change = match report.complete_time {
        Some(complete_time) => is_settling(scan, complete_time, now),
        None => happened_within(manifest.push_time, ARRIVAL_WINDOW, now),
    };
    Some(if may_still_change {
        Shortfall::pending(cause)
    } else {
        Shortfall::new(Evidence::Inconsistent, cause, retry_or_scan_again(scan))
    })
}

fn agrees(report: &Report, counts: &Counts) -> bool {
    let Some(findings) = &report.findings else { return present(counts).eq(present(&report.enumerated)) };
    // Findings are sorted by severity, so after `dedup` only a few labels go into the set.
    let mut labels: Vec<&str> = findings.iter().map(|finding| finding.severity.label()).collect();
    labels.dedup();
    let listed: BTreeSet<&str> = labels.into_iter().collect();
    present(counts).eq(present(&report.enumerated))
        && listed.into_iter().eq(present(&report.enumerated).map(|(label, _)| label))
}

/// Returns the counts other than zero, because ECR omits zeroes.
fn present(counts: &Counts) -> impl Iterator<Item = (&str, u32)> {
    counts.iter().map(|(label, count)| (&**label, *count)).filter(|(_, count)| *count > 0)
}

/// Returns the shortfall of a completed scan whose findings may still change. An empty enhanced result has its own
/// clock, Inspector's coverage.
pub(super) fn unsettled(scan: &Scan, now: Timestamp) -> Option<Shortfall> {
    let complete_time = scan.report.as_ref()?.complete_time.filter(|_| !is_clean_enhanced(scan))?;
    let observed = scan.read_time.duration_since(scan.unchanged_since).max(SignedDuration::ZERO);
    (is_settling(scan, complete_time, now) && observed < SETTLE_DELAY).then(|| Shortfall {
        retry_after: Some(SETTLE_DELAY.saturating_sub(observed)),
        ..Shortfall::pending("the scan completed a moment ago and its findings may still change")
    })
}

/// True if the scan was read within the settle time. A cached reading proves no more than it did when it was read.
pub(super) fn is_settling(scan: &Scan, complete_time: Timestamp, now: Timestamp) -> bool {
    happened_within(Some(complete_time), SETTLE_TIME, scan.read_time.min(now))
}
