//! How long a scan serves, and since when it has said the same.

use std::{sync::Arc, time::Instant};

use scangate_core::{
    evidence::SETTLE_TIME,
    scan::{Enrichment, Report, Scan, Status},
};

use super::{Config, weight};
use crate::registry::memo::Reading;

/// A scan as it is kept: since when it says the same, and how long it serves.
pub(super) fn reading(scan: Arc<Scan>, previous: Option<&Scan>, began: Instant, config: &Config) -> Reading<Arc<Scan>> {
    let scan = match previous {
        Some(previous) if says_the_same(previous, &scan) => {
            Arc::new(Scan { unchanged_since: previous.unchanged_since, ..Arc::unwrap_or_clone(scan) })
        }
        Some(_) | None => scan,
    };
    let keep = match (is_settled(&scan), &scan.enrichment) {
        (false, _) => config.unsettled_ttl,
        (true, Enrichment::Missing(_)) => config.unenriched_ttl,
        (true, Enrichment::NotAsked | Enrichment::Complete | Enrichment::Partial(_)) => config.findings_ttl,
    };
    let keep = keep.min(config.findings_ttl);
    let bytes = weight::of_scan(&scan);
    Reading { value: scan, began, keep, bytes }
}

/// Whether two readings tell the same facts.
fn says_the_same(previous: &Scan, scan: &Scan) -> bool {
    // What became of asking Inspector shows in the findings, as far as it matters.
    let Scan {
        read_at: _,
        unchanged_since: _,
        status,
        description,
        scan_type,
        frequency,
        report,
        coverage,
        enrichment: _,
        flaws,
    } = previous;
    *status == scan.status
        && *description == scan.description
        && *scan_type == scan.scan_type
        && *frequency == scan.frequency
        && same_report(report.as_ref(), scan.report.as_ref())
        && *coverage == scan.coverage
        && *flaws == scan.flaws
}

/// When the vulnerability data was last current says nothing of whether findings still arrive: a scanner may move it at will.
fn same_report(previous: Option<&Report>, report: Option<&Report>) -> bool {
    match (previous, report) {
        (Some(previous), Some(report)) => {
            let Report { completed_at, source_updated_at: _, counts, enumerated, findings } = previous;
            *completed_at == report.completed_at
                && *counts == report.counts
                && *enumerated == report.enumerated
                && *findings == report.findings
        }
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Whether nothing but a new scan, or new knowledge of vulnerabilities, would change the reading.
fn is_settled(scan: &Scan) -> bool {
    scan.flaws.is_empty()
        && match &scan.status {
            Status::Complete | Status::Active => scan.report.as_ref().is_some_and(|report| is_whole(report, scan)),
            Status::Failed
            | Status::UnsupportedImage
            | Status::ScanEligibilityExpired
            | Status::ImageArchived
            | Status::ImageSizeExceeded => true,
            Status::NotFound
            | Status::InProgress
            | Status::Pending
            | Status::FindingsUnavailable
            | Status::LimitExceeded
            | Status::Unrecognised(_) => false,
        }
}

/// A clean enhanced scan has no time of its own: there the time that Inspector's coverage gives counts.
fn is_whole(report: &Report, scan: &Scan) -> bool {
    let completed_at = report.completed_at.or(scan.coverage.as_ref().and_then(|coverage| coverage.last_scanned_at));
    report.findings.is_some() && completed_at.is_some_and(|at| scan.read_at.duration_since(at) >= SETTLE_TIME)
}
