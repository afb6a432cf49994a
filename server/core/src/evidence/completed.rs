//! Completed scans: the checks that a result is complete, consistent, settled and about this push.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{
    assessment::{Assessment, Evidence},
    checks::{UPDATE, flaw, is_off, not_covered},
    window::{ARRIVAL_WINDOW, CLOCK_SLACK, SETTLE_DELAY, SETTLE_TIME, happened_within},
};
use crate::{
    finding::Finding,
    scan::{Counts, Coverage, Frequency, Manifest, Report, Scan, ScanType, Status},
};

/// Assesses a scan whose status is COMPLETE or ACTIVE. Every assessment carries the scan's age, whatever its shortfall.
pub(super) fn assess_completed(manifest: &Manifest, scan: &Scan, now: Timestamp) -> Assessment {
    let report = scan.report.as_ref();
    let undated = assess_undated(manifest, scan, now);
    let dated = if report.is_some_and(|report| is_clean_enhanced(scan, report)) {
        // The times in ECR's report prove nothing here; Inspector's do.
        Assessment { current_at: scan.coverage.as_ref().and_then(|coverage| coverage.last_scanned_at), ..undated }
    } else {
        let completed_at = report.and_then(|report| report.completed_at);
        let outdated = completed_at.zip(manifest.pushed_at).and_then(|(at, pushed_at)| outdated(at, pushed_at));
        let source = report.and_then(|report| report.source_updated_at);
        Assessment { current_at: completed_at.map(|at| current_at(scan, at, source)), outdated, ..undated }
    };
    dated.with_max_age(None, now)
}

/// Returns the start of a result's age: for continuous scanning the last time at which it was current, for basic
/// scanning the older of the completion and the vulnerability data.
fn current_at(scan: &Scan, completed_at: Timestamp, source: Option<Timestamp>) -> Timestamp {
    let source = source.unwrap_or(completed_at);
    match scan.scan_type {
        ScanType::Basic => source.min(completed_at),
        ScanType::Enhanced if scan.status == Status::Active => source.max(completed_at),
        ScanType::Enhanced => completed_at,
    }
}

fn outdated(completed_at: Timestamp, pushed_at: Timestamp) -> Option<String> {
    (completed_at < pushed_at).then(|| {
        format!(
            "the scan completed at {completed_at}, before the image was pushed at {pushed_at}; scan the image again"
        )
    })
}

fn is_clean_enhanced(scan: &Scan, report: &Report) -> bool {
    scan.scan_type == ScanType::Enhanced
        && report.findings.as_ref().is_some_and(Vec::is_empty)
        && total(&report.enumerated) == 0
        && report.counts.as_ref().is_none_or(|counts| total(counts) == 0)
}

fn assess_undated(manifest: &Manifest, scan: &Scan, now: Timestamp) -> Assessment {
    if is_off(scan) {
        return not_covered();
    }
    if scan.frequency == Frequency::Unrecognised {
        return Assessment::new(
            Evidence::NotCovered,
            format!("ECR returned an unrecognised scan frequency for the repository; {UPDATE}"),
        );
    }
    if let Some(malformed) = dated_in_the_future(scan, now) {
        return malformed;
    }
    if let Some(incomplete) = flaw(scan, |_| true) {
        return incomplete;
    }
    let Some(pushed_at) = manifest.pushed_at else {
        return Assessment::new(Evidence::Incomplete, "ECR reports no push time for the image");
    };
    Completed { scan, pushed_at, now }.assess()
}

/// The clocks of ECR and Inspector may run ahead by [`CLOCK_SLACK`]. A time further ahead would never grow old.
fn dated_in_the_future(scan: &Scan, now: Timestamp) -> Option<Assessment> {
    let report = scan.report.as_ref();
    let times = [
        ("the scan's completion time", report.and_then(|report| report.completed_at)),
        ("the time of the vulnerability data", report.and_then(|report| report.source_updated_at)),
        ("Inspector's last scan time", scan.coverage.as_ref().and_then(|coverage| coverage.last_scanned_at)),
    ];
    times.into_iter().find_map(|(name, at)| {
        let at = at.filter(|at| at.duration_since(now) > CLOCK_SLACK)?;
        let detail = format!("{name} is in the future, {at}; check the server's clock");
        Some(Assessment::new(Evidence::Malformed, detail))
    })
}

struct Completed<'a> {
    scan: &'a Scan,
    pushed_at: Timestamp,
    now: Timestamp,
}

impl Completed<'_> {
    fn assess(&self) -> Assessment {
        let Some(report) = &self.scan.report else { return self.missing("its result") };
        let Some(findings) = &report.findings else { return self.missing("its list of findings") };
        if is_clean_enhanced(self.scan, report) {
            return self.assess_clean_enhanced();
        }
        match (&report.counts, report.completed_at, report.source_updated_at) {
            (None, _, _) => self.missing("its count of findings"),
            (_, None, _) => self.missing("its completion time"),
            (_, _, None) if self.scan.scan_type == ScanType::Basic => self.missing("the age of its vulnerability data"),
            (Some(counts), Some(completed_at), _) => self
                .inconsistent(counts, report, findings, completed_at)
                .or_else(|| self.unsettled(completed_at))
                .unwrap_or_else(Assessment::proven),
        }
    }

    fn missing(&self, part: &str) -> Assessment {
        if self.is_arriving() {
            Assessment::pending(format!("ECR reports the scan as complete, but {part} has not arrived yet"))
        } else {
            Assessment::new(Evidence::Incomplete, format!("ECR reports the scan as complete, but {part} is missing"))
        }
    }

    fn is_arriving(&self) -> bool {
        happened_within(Some(self.pushed_at), ARRIVAL_WINDOW, self.now)
    }

    /// True if the scan was read within the settle time. A cached reading proves no more than it did when it was read.
    fn is_settling(&self, completed_at: Timestamp) -> bool {
        happened_within(Some(completed_at), SETTLE_TIME, self.scan.read_at.min(self.now))
    }

    fn inconsistent(
        &self,
        counts: &Counts,
        report: &Report,
        findings: &[Finding],
        completed_at: Timestamp,
    ) -> Option<Assessment> {
        // Findings are sorted by severity, so after `dedup` only a few labels go into the set.
        let mut labels: Vec<&str> = findings.iter().map(|finding| finding.severity.label()).collect();
        labels.dedup();
        let listed: BTreeSet<&str> = labels.into_iter().collect();
        if present(counts).eq(present(&report.enumerated))
            && listed.into_iter().eq(present(&report.enumerated).map(|(label, _)| label))
        {
            return None;
        }
        let detail = format!(
            "ECR counts {} findings and lists {}, or their severities differ",
            total(counts),
            total(&report.enumerated)
        );
        Some(if self.is_settling(completed_at) {
            Assessment::pending(detail)
        } else {
            Assessment::new(Evidence::Inconsistent, detail)
        })
    }

    fn unsettled(&self, completed_at: Timestamp) -> Option<Assessment> {
        let observed = self.scan.read_at.duration_since(self.scan.unchanged_since).max(SignedDuration::ZERO);
        (self.is_settling(completed_at) && observed < SETTLE_DELAY).then(|| Assessment {
            retry_after: Some(SETTLE_DELAY.saturating_sub(observed)),
            ..Assessment::pending("the scan completed a moment ago and its findings may still change")
        })
    }

    fn assess_clean_enhanced(&self) -> Assessment {
        match self.scan.coverage.as_ref().map_or_else(|| Err(NOT_LISTED.to_owned()), scanned_at) {
            Err(reason) => self.unproven(&reason),
            Ok(at) if at < self.pushed_at => {
                self.unproven(&format!("Inspector last scanned the image at {at}, before it was pushed"))
            }
            // Findings reach ECR after the scan, so every image begins with an empty list.
            Ok(at) => self.unsettled(at).unwrap_or_else(Assessment::proven),
        }
    }

    fn unproven(&self, reason: &str) -> Assessment {
        if self.is_arriving() {
            Assessment::pending(format!("the enhanced scan lists no findings yet, and {reason}"))
        } else {
            Assessment::new(
                Evidence::UnprovenClean,
                format!("the enhanced scan lists no findings, and {reason}; this does not prove that a scan ran"),
            )
        }
    }
}

const NOT_LISTED: &str = "Inspector's coverage does not list the image";
/// The coverage reasons under which Inspector has scanned the image.
const SCANNED: [&str; 2] = ["SUCCESSFUL", "SCAN_FREQUENCY_SCAN_ON_PUSH"];

/// Returns the time of Inspector's last scan, or the reason why it is unknown.
fn scanned_at(coverage: &Coverage) -> Result<Timestamp, String> {
    if !coverage.active || !SCANNED.contains(&coverage.reason.as_str()) {
        return Err(format!("Inspector's coverage reports {}", coverage.reason));
    }
    coverage.last_scanned_at.ok_or_else(|| "Inspector's coverage reports no scan time for the image".to_owned())
}

fn total(counts: &Counts) -> u64 {
    counts.values().map(|count| u64::from(*count)).sum()
}

/// Returns the counts other than zero, because ECR omits zeroes.
fn present(counts: &Counts) -> impl Iterator<Item = (&str, u32)> {
    counts.iter().map(|(label, count)| (&**label, *count)).filter(|(_, count)| *count > 0)
}
