//! Completed scans: the checks that a result is complete, and that an empty one is proven and settled.

use jiff::Timestamp;

use super::{
    assessment::{Evidence, Shortfall},
    checks::{incomplete, is_clean_enhanced, is_done, is_off, retry_or_scan_again, scan_again},
    consistency::{inconsistent, is_settling, unsettled},
    coverage::{Proof, proof},
    window::{ARRIVAL_WINDOW, POLL, SETTLE_TIME, happened_within},
};
use crate::scan::{Manifest, Scan, ScanType};

/// Returns the shortfalls of a scan whose status is COMPLETE or ACTIVE. Those that need only time come last.
pub(super) fn assess_completed(manifest: &Manifest, scan: &Scan, now: Timestamp) -> Vec<Shortfall> {
    let no_push_time = || {
        let (cause, step) = ("ECR reports no push time for the image", "retry, or push the image again");
        manifest.push_time.is_none().then(|| Shortfall::new(Evidence::Incomplete, cause, step))
    };
    let mut found = Vec::from_iter(incomplete(scan).or_else(no_push_time));
    found.extend(Completed { scan, push_time: manifest.push_time, now }.assess());
    found.extend(inconsistent(manifest, scan, now));
    found.extend(unsettled(scan, now));
    found.sort_by_key(|shortfall| shortfall.evidence == Evidence::ScanPending);
    found
}

/// True if a scan is running that will replace an empty enhanced result.
pub(super) fn is_rescanning(scan: &Scan) -> bool {
    is_clean_enhanced(scan) && matches!(proof(scan), Proof::Pending(_))
}

/// True if a completed scan has no list of findings: ECR can report a scan as complete before the list arrives.
pub(super) fn awaits_list(scan: &Scan) -> bool {
    is_done(scan) && scan.report.as_ref().is_some_and(|report| report.findings.is_none())
}

struct Completed<'a> {
    scan: &'a Scan,
    push_time: Option<Timestamp>,
    now: Timestamp,
}

impl Completed<'_> {
    fn assess(&self) -> Option<Shortfall> {
        if is_clean_enhanced(self.scan) {
            // Without scanning, a missing proof is no shortfall of its own.
            return if is_off(self.scan) { None } else { self.assess_clean_enhanced() };
        }
        self.missing_part().map(|part| self.missing(part))
    }

    /// Returns the first part that the result lacks.
    fn missing_part(&self) -> Option<&'static str> {
        let Some(report) = &self.scan.report else { return Some("its result (imageScanFindings)") };
        let needs_source = self.scan.scan_type == ScanType::Basic;
        let parts = [
            (report.findings.is_some(), "its list of findings"),
            (report.counts.is_some(), "its count of findings (findingSeverityCounts)"),
            (report.complete_time.is_some(), "its completion time (imageScanCompletedAt)"),
            (
                !needs_source || report.source_update_time.is_some(),
                "the time of its vulnerability data (vulnerabilitySourceUpdatedAt)",
            ),
        ];
        parts.into_iter().find_map(|(is_present, part)| (!is_present).then_some(part))
    }

    fn missing(&self, part: &str) -> Shortfall {
        if self.is_arriving() {
            return Shortfall::pending(format!("ECR reports the scan as complete, but {part} has not arrived yet"));
        }
        let cause = format!("ECR reports the scan as complete, but {part} is missing from its response");
        Shortfall::new(Evidence::Incomplete, cause, retry_or_scan_again(self.scan))
    }

    fn is_arriving(&self) -> bool {
        happened_within(self.push_time, ARRIVAL_WINDOW, self.now)
    }

    fn assess_clean_enhanced(&self) -> Option<Shortfall> {
        match proof(self.scan) {
            Proof::ScannedAt(at) => match self.push_time.filter(|push_time| at < *push_time) {
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
    fn unsettled_clean(&self, last_scan_time: Timestamp) -> Option<Shortfall> {
        let known =
            self.scan.first_scan_time.filter(|first| self.push_time.is_none_or(|push_time| *first >= push_time));
        let first = known.map_or(last_scan_time, |first| first.min(last_scan_time));
        // Counted from the reading, so that the answer does not change from one moment to the next.
        let rest = SETTLE_TIME.saturating_sub(self.scan.read_time.duration_since(first));
        is_settling(self.scan, first, self.now).then(|| Shortfall {
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
