//! The TTL of a scan, and the time since which its content is unchanged.

use std::{sync::Arc, time::Instant};

use jiff::Timestamp;
use scangate_core::{
    evidence::SETTLE_TIME,
    scan::{Enrichment, Report, Scan, Status},
};

use super::{Config, codec::Codec, encoded::EncodedScan};
use crate::registry::{Error, read_through::CachedRead};

/// Encodes a scan for the cache, with its TTL and the time since which its content is unchanged.
pub(super) async fn to_cached_read(
    codec: &Codec,
    scan: &Arc<Scan>,
    first_scan_time: Option<Timestamp>,
    previous: Option<&EncodedScan>,
    began: Instant,
    config: &Config,
) -> Result<CachedRead<Arc<EncodedScan>>, Error> {
    let mut encoded = codec.encode(scan).await?;
    encoded.set_first_scan_time(first_scan_time);
    if let Some(previous) = previous.filter(|previous| is_unchanged(previous, &encoded)) {
        encoded.set_unchanged_since(previous.outline().unchanged_since);
    }
    let ttl = match (is_settled(scan, first_scan_time), &scan.enrichment) {
        (false, _) => config.unsettled_ttl,
        (true, Enrichment::Missing(_)) => config.unenriched_ttl,
        (true, Enrichment::NotAsked | Enrichment::Complete | Enrichment::Partial(_)) => config.findings_ttl,
    };
    let (ttl, weight) = (ttl.min(config.findings_ttl), encoded.bytes());
    Ok(CachedRead { value: Arc::new(encoded), began, ttl, weight })
}

/// True if two readings state the same facts.
fn is_unchanged(earlier: &EncodedScan, later: &EncodedScan) -> bool {
    let (previous, scan) = (earlier.outline(), later.outline());
    // The outcome of the enrichment shows in the findings, as far as it matters.
    let Scan {
        read_time: _,
        unchanged_since: _,
        status,
        description,
        scan_type,
        frequency,
        report,
        coverage,
        enrichment: _,
        flaws,
        first_scan_time: _,
        // Both move with the use of the image, without a scan.
        eligibility_expire_time: _,
        usage: _,
    } = previous;
    *status == scan.status
        && *description == scan.description
        && *scan_type == scan.scan_type
        && *frequency == scan.frequency
        && is_same_report(report.as_ref(), scan.report.as_ref())
        && *coverage == scan.coverage
        && *flaws == scan.flaws
        && later.has_same_findings(earlier)
}

/// Compares reports without the age of the vulnerability data. A scanner may update that age at any time, even if no more
/// findings arrive.
fn is_same_report(previous: Option<&Report>, report: Option<&Report>) -> bool {
    match (previous, report) {
        (Some(previous), Some(report)) => {
            // Findings are compared in encoded form.
            let Report { complete_time, source_update_time: _, counts, enumerated, findings: _ } = previous;
            *complete_time == report.complete_time && *counts == report.counts && *enumerated == report.enumerated
        }
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// True if only a new scan or new vulnerability data would change the reading.
fn is_settled(scan: &Scan, first_scan_time: Option<Timestamp>) -> bool {
    scan.flaws.is_empty()
        && match &scan.status {
            Status::Complete | Status::Active => {
                scan.report.as_ref().is_some_and(|report| is_complete(report, scan, first_scan_time))
            }
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

/// True if the report has findings and completed long enough ago. A clean enhanced scan has no completion time of its
/// own, so the first known scan since the push counts.
fn is_complete(report: &Report, scan: &Scan, first_scan_time: Option<Timestamp>) -> bool {
    let complete_time = if scan.coverage.is_some() { first_scan_time } else { report.complete_time };
    report.findings.is_some() && complete_time.is_some_and(|at| scan.read_time.duration_since(at) >= SETTLE_TIME)
}
