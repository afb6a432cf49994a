//! Completed scans: the checks that a result is complete, consistent, settled and about this push.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{
    assessment::{Evidence, Shortfall},
    checks::{incomplete, is_clean_enhanced, is_off, scan_again, total},
    coverage::{Proof, proof},
    window::{ARRIVAL_WINDOW, POLL, SETTLE_DELAY, SETTLE_TIME, happened_within},
};
use crate::{
    finding::Finding,
    scan::{Counts, Manifest, Report, Scan, ScanType},
};

/// Returns the shortfalls of a scan whose status is COMPLETE or ACTIVE.
pub(super) fn assess_completed(manifest: &Manifest, scan: &Scan, now: Timestamp) -> Vec<Shortfall> {
    let no_push_time = || {
        let (cause, step) = ("ECR reports no push time for the image", "retry, or push the image again");
        manifest.pushed_at.is_none().then(|| Shortfall::new(Evidence::Incomplete, cause, step))
    };
    let mut found = Vec::from_iter(incomplete(scan).or_else(no_push_time));
    let content = Completed { scan, pushed_at: manifest.pushed_at, now }.assess();
    // All shortfalls of the content but a pending one have the same effect, so the first is enough.
    found.extend(content.filter(|content| found.is_empty() || content.evidence == Evidence::ScanPending));
    found
}

/// True if a scan is running that will replace an empty enhanced result.
pub(super) fn is_rescanning(scan: &Scan) -> bool {
    is_clean_enhanced(scan) && matches!(proof(scan), Proof::Pending(_))
}

struct Completed<'a> {
    scan: &'a Scan,
    pushed_at: Option<Timestamp>,
    now: Timestamp,
}

impl Completed<'_> {
    fn assess(&self) -> Option<Shortfall> {
        let Some(report) = &self.scan.report else { return Some(self.missing("its result (imageScanFindings)")) };
        let Some(findings) = &report.findings else { return Some(self.missing("its list of findings")) };
        if is_clean_enhanced(self.scan) {
            // Without scanning, a missing proof is no shortfall of its own.
            return if is_off(self.scan) { None } else { self.assess_clean_enhanced() };
        }
        let is_basic = self.scan.scan_type == ScanType::Basic;
        match (&report.counts, report.completed_at, report.source_updated_at) {
            (None, _, _) => Some(self.missing("its count of findings (findingSeverityCounts)")),
            (_, None, _) => Some(self.missing("its completion time (imageScanCompletedAt)")),
            (_, _, None) if is_basic => {
                Some(self.missing("the time of its vulnerability data (vulnerabilitySourceUpdatedAt)"))
            }
            (Some(counts), Some(completed_at), _) => {
                self.inconsistent(counts, report, findings, completed_at).or_else(|| self.unsettled(completed_at))
            }
        }
    }

    fn missing(&self, part: &str) -> Shortfall {
        if self.is_arriving() {
            return Shortfall::pending(format!("ECR reports the scan as complete, but {part} has not arrived yet"));
        }
        let cause = format!("ECR reports the scan as complete, but {part} is missing from its response");
        Shortfall::new(Evidence::Incomplete, cause, self.retry())
    }

    fn retry(&self) -> String {
        format!("retry, and if it persists, {}", scan_again(self.scan.scan_type == ScanType::Basic))
    }

    fn is_arriving(&self) -> bool {
        happened_within(self.pushed_at, ARRIVAL_WINDOW, self.now)
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
    ) -> Option<Shortfall> {
        // Findings are sorted by severity, so after `dedup` only a few labels go into the set.
        let mut labels: Vec<&str> = findings.iter().map(|finding| finding.severity.label()).collect();
        labels.dedup();
        let listed: BTreeSet<&str> = labels.into_iter().collect();
        if present(counts).eq(present(&report.enumerated))
            && listed.into_iter().eq(present(&report.enumerated).map(|(label, _)| label))
        {
            return None;
        }
        let cause = format!(
            "ECR counts {} findings and lists {}, or their severities differ",
            total(counts),
            total(&report.enumerated)
        );
        Some(if self.is_settling(completed_at) {
            Shortfall::pending(cause)
        } else {
            Shortfall::new(Evidence::Inconsistent, cause, self.retry())
        })
    }

    fn unsettled(&self, completed_at: Timestamp) -> Option<Shortfall> {
        let observed = self.scan.read_at.duration_since(self.scan.unchanged_since).max(SignedDuration::ZERO);
        (self.is_settling(completed_at) && observed < SETTLE_DELAY).then(|| Shortfall {
            retry_after: Some(SETTLE_DELAY.saturating_sub(observed)),
            ..Shortfall::pending("the scan completed a moment ago and its findings may still change")
        })
    }

    fn assess_clean_enhanced(&self) -> Option<Shortfall> {
        match proof(self.scan) {
            Proof::ScannedAt(at) => match self.pushed_at.filter(|pushed_at| at < *pushed_at) {
                Some(_) => Some(self.unproven(
                    &format!("Inspector last scanned the image at {at}, before it was pushed"),
                    scan_again(false),
                )),
                None => self.unsettled_clean(at),
            },
            Proof::Pending(reason) => Some(Shortfall::pending(format!(
                "the enhanced scan lists no findings yet, and Inspector's coverage reports {reason}"
            ))),
            Proof::Missing(cause, step) => Some(self.unproven(&cause, step)),
        }
    }

    /// Findings reach ECR after the scan, so every image begins with an empty list. Equal readings of it prove nothing
    /// within the settle time; a rescan of an image that was scanned before opens no new window.
    fn unsettled_clean(&self, last_scanned_at: Timestamp) -> Option<Shortfall> {
        let known =
            self.scan.first_scanned_at.filter(|first| self.pushed_at.is_none_or(|pushed_at| *first >= pushed_at));
        let first = known.map_or(last_scanned_at, |first| first.min(last_scanned_at));
        // Counted from the reading, so that the answer does not change from one moment to the next.
        let rest = SETTLE_TIME.saturating_sub(self.scan.read_at.duration_since(first));
        self.is_settling(first).then(|| Shortfall {
            retry_after: Some(if rest.is_positive() { rest.min(SETTLE_TIME) } else { POLL }),
            ..Shortfall::pending(format!(
                "Inspector first scanned the image at {first} and lists no findings; they may arrive up to {} s later",
                SETTLE_TIME.as_secs()
            ))
        })
    }

    fn unproven(&self, cause: &str, step: &str) -> Shortfall {
        if self.is_arriving() {
            return Shortfall::pending(format!("the enhanced scan lists no findings yet, and {cause}"));
        }
        let cause = format!("the enhanced scan lists no findings, and {cause}, which does not prove that a scan ran");
        Shortfall::new(Evidence::UnprovenClean, cause, step)
    }
}

/// Returns the counts other than zero, because ECR omits zeroes.
fn present(counts: &Counts) -> impl Iterator<Item = (&str, u32)> {
    counts.iter().map(|(label, count)| (&**label, *count)).filter(|(_, count)| *count > 0)
}
