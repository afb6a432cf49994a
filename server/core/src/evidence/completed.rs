//! Scans that say that they are complete: whether the result is whole, consistent, settled and about this push.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{
    ARRIVAL_WINDOW, Assessment, CLOCK_SLACK, Evidence, SETTLE_DELAY, SETTLE_TIME, flaw, happened_within, is_off,
    not_covered,
};
use crate::{
    finding::Finding,
    scan::{Counts, Coverage, Frequency, Manifest, Report, Scan, ScanType, Status},
};

/// Judges a scan whose status is COMPLETE or ACTIVE, and says how old it is, whatever it lacks.
pub(super) fn completed(manifest: &Manifest, scan: &Scan, now: Timestamp) -> Assessment {
    let report = scan.report.as_ref();
    let undated = assess_undated(manifest, scan, now);
    let dated = if report.is_some_and(|report| is_clean_enhanced(scan, report)) {
        // Its own times prove nothing: Inspector's count.
        Assessment { current_at: scan.coverage.as_ref().and_then(|coverage| coverage.last_scanned_at), ..undated }
    } else {
        let completed_at = report.and_then(|report| report.completed_at);
        let outdated = completed_at.zip(manifest.pushed_at).and_then(|(at, pushed_at)| before_the_push(at, pushed_at));
        let source = report.and_then(|report| report.source_updated_at);
        Assessment { current_at: completed_at.map(|at| current_at(scan, at, source)), outdated, ..undated }
    };
    dated.with_max_age(None, now)
}

/// The instant that the age of a result counts from: for continuous scanning when it was last current; for basic scanning
/// the older of the completion and the vulnerability data behind it.
fn current_at(scan: &Scan, completed_at: Timestamp, source: Option<Timestamp>) -> Timestamp {
    let source = source.unwrap_or(completed_at);
    match scan.scan_type {
        ScanType::Basic => source.min(completed_at),
        ScanType::Enhanced if scan.status == Status::Active => source.max(completed_at),
        ScanType::Enhanced => completed_at,
    }
}

fn before_the_push(completed_at: Timestamp, pushed_at: Timestamp) -> Option<String> {
    (completed_at < pushed_at).then(|| {
        format!("the scan completed at {completed_at}, before the image was pushed at {pushed_at}; scan it again")
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
            "ECR gave a scan frequency for the repository that this server does not know",
        );
    }
    if let Some(malformed) = from_the_future(scan, now) {
        return malformed;
    }
    if let Some(incomplete) = flaw(scan, |_| true) {
        return incomplete;
    }
    let Some(pushed_at) = manifest.pushed_at else {
        return Assessment::new(Evidence::Incomplete, "ECR does not say when the image was pushed");
    };
    Completed { scan, pushed_at, now }.assess()
}

/// The clocks of ECR and Inspector may run ahead of ours by a little; what lies further ahead would never grow old.
fn from_the_future(scan: &Scan, now: Timestamp) -> Option<Assessment> {
    let report = scan.report.as_ref();
    let times = [
        ("the scan claims to have completed", report.and_then(|report| report.completed_at)),
        ("the vulnerability data claims to be", report.and_then(|report| report.source_updated_at)),
        ("Inspector claims to have scanned", scan.coverage.as_ref().and_then(|coverage| coverage.last_scanned_at)),
    ];
    times.into_iter().find_map(|(claim, at)| {
        let at = at.filter(|at| at.duration_since(now) > CLOCK_SLACK)?;
        let detail = format!("{claim} in the future, at {at}; check the server's clock");
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
        let Some(findings) = &report.findings else { return self.missing("the list of its findings") };
        if is_clean_enhanced(self.scan, report) {
            return self.clean_under_inspector();
        }
        match (&report.counts, report.completed_at, report.source_updated_at) {
            (None, _, _) => self.missing("the count of its findings"),
            (_, None, _) => self.missing("the time of its completion"),
            (_, _, None) if self.scan.scan_type == ScanType::Basic => self.missing("the age of its vulnerability data"),
            (Some(counts), Some(completed_at), _) => self
                .inconsistent(counts, report, findings, completed_at)
                .or_else(|| self.unsettled(completed_at))
                .unwrap_or_else(Assessment::proven),
        }
    }

    fn missing(&self, what: &str) -> Assessment {
        if self.is_arriving() {
            Assessment::pending(format!("the scan says that it is complete, but {what} has not arrived yet"))
        } else {
            Assessment::new(Evidence::Incomplete, format!("the scan says that it is complete, but {what} is missing"))
        }
    }

    fn is_arriving(&self) -> bool {
        happened_within(Some(self.pushed_at), ARRIVAL_WINDOW, self.now)
    }

    /// Whether the scan had only just ended when it was read. A reading proves no more for having been kept since.
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
        // They come sorted by severity: a set of a few labels, not a look-up for each of thousands.
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
        let watched = self.scan.read_at.duration_since(self.scan.unchanged_since).max(SignedDuration::ZERO);
        (self.is_settling(completed_at) && watched < SETTLE_DELAY).then(|| Assessment {
            retry_after: Some(SETTLE_DELAY.saturating_sub(watched)),
            ..Assessment::pending("the scan completed a moment ago and its findings may still change")
        })
    }

    fn clean_under_inspector(&self) -> Assessment {
        match self.scan.coverage.as_ref().map_or_else(|| Err(NOT_LISTED.to_owned()), scanned_at) {
            Err(what) => self.unproven(&what),
            Ok(at) if at < self.pushed_at => {
                self.unproven(&format!("Inspector last scanned it at {at}, before it was pushed"))
            }
            // Findings reach ECR after the scan, so that an empty list is what the worst of images begins with.
            Ok(at) => self.unsettled(at).unwrap_or_else(Assessment::proven),
        }
    }

    fn unproven(&self, what: &str) -> Assessment {
        if self.is_arriving() {
            Assessment::pending(format!("no findings, and {what} yet"))
        } else {
            Assessment::new(
                Evidence::UnprovenClean,
                format!("the enhanced scan lists no findings, and {what}: that is no proof that a scan ran"),
            )
        }
    }
}

const NOT_LISTED: &str = "Inspector's coverage does not list the image";
/// Reasons under which Inspector has scanned the image.
const SCANNED: [&str; 2] = ["SUCCESSFUL", "SCAN_FREQUENCY_SCAN_ON_PUSH"];

/// When Inspector scanned what it covers, or why that is not known.
fn scanned_at(coverage: &Coverage) -> Result<Timestamp, String> {
    if !coverage.active || !SCANNED.contains(&coverage.reason.as_str()) {
        return Err(format!("Inspector's coverage says {}", coverage.reason));
    }
    coverage.last_scanned_at.ok_or_else(|| "Inspector's coverage does not say when it scanned the image".to_owned())
}

fn total(counts: &Counts) -> u64 {
    counts.values().map(|count| u64::from(*count)).sum()
}

/// The counts that are not zero: ECR omits those that are.
fn present(counts: &Counts) -> impl Iterator<Item = (&str, u32)> {
    counts.iter().map(|(label, count)| (&**label, *count)).filter(|(_, count)| *count > 0)
}
