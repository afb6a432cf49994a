//! Conversions of scans, evidence, and outcomes of StartScan.

use jiff::Timestamp;
use scangate_core::{
    decision::ManifestInput,
    evidence::{Assessment, Evidence, assess},
    scan::{Enrichment, Manifest, Report, Scan, ScanType, Status},
    severity::Rating,
};
use scangate_proto::v1::{self, watch_scan_response::Event};

use super::{
    count::render_count,
    finding::render_rating,
    image::{render_image, render_platform},
    time::render_timestamp,
};
use crate::{registry::Started, scans::Progress};

/// Renders a manifest with its scan, assessed as of now.
pub(crate) fn render_manifest_scan(examined: &ManifestInput) -> v1::ManifestScan {
    let assessment = assess(&examined.manifest, &examined.scan, Timestamp::now());
    v1::ManifestScan {
        digest: examined.manifest.digest.to_string(),
        platform: examined.manifest.platform.as_ref().map(render_platform),
        scan: Some(render_scan(&examined.scan, &assessment)),
    }
}

/// Renders a scan with its assessment.
pub(crate) fn render_scan(scan: &Scan, assessment: &Assessment) -> v1::ScanState {
    let report = scan.report.as_ref();
    v1::ScanState {
        status: render_status(&scan.status).into(),
        status_label: scan.status.label().to_owned(),
        status_description: scan.description.clone().unwrap_or_default(),
        scan_type: render_scan_type(scan.scan_type).into(),
        complete_time: report.and_then(|report| report.complete_time).map(render_timestamp),
        vulnerability_source_update_time: report.and_then(|report| report.source_update_time).map(render_timestamp),
        read_time: Some(render_timestamp(scan.read_time)),
        severity_counts: report.map(render_counts).unwrap_or_default(),
        evidence: render_evidence(assessment.evidence).into(),
        evidence_detail: assessment.detail.clone(),
        enrichment: render_enrichment(&scan.enrichment).into(),
        as_of_time: assessment.ages.as_of_time.map(render_timestamp),
        eligibility_expire_time: scan.eligibility_expire_time.map(render_timestamp),
        enrichment_detail: match &scan.enrichment {
            Enrichment::NotAsked | Enrichment::Complete => String::new(),
            Enrichment::Partial(reason) | Enrichment::Missing(reason) => reason.clone(),
        },
    }
}

/// Renders ECR's own counts, worst first. Unrated findings lead, as in lists of findings.
fn render_counts(report: &Report) -> Vec<v1::SeverityCount> {
    let mut counts: Vec<(Rating, u32)> = report
        .counts
        .iter()
        .flatten()
        .filter(|(_, count)| **count > 0)
        .map(|(label, count)| (Rating::parse(label), *count))
        .collect();
    counts.sort_by(|a, b| b.0.cmp(&a.0));
    counts
        .into_iter()
        .map(|(rating, count)| v1::SeverityCount {
            severity: render_rating(&rating).into(),
            severity_label: rating.label().to_owned(),
            count: render_count(count),
        })
        .collect()
}

/// Renders the progress of a watched scan.
pub(crate) fn render_progress(progress: &Progress) -> v1::WatchScanResponse {
    v1::WatchScanResponse {
        image: Some(render_image(&progress.image)),
        event: Some(Event::Progress(v1::ScanProgress {
            manifest: Some(render_manifest_scan(&progress.input)),
            ended: progress.ended,
            watched_for: prost_types::Duration::try_from(progress.watched_for).ok(),
        })),
        ended_count: render_count(progress.ended_count),
        total_count: render_count(progress.total),
    }
}

/// Renders a heartbeat after the last response: it repeats the image and the counts.
pub(crate) fn render_heartbeat(last: Option<&v1::WatchScanResponse>) -> v1::WatchScanResponse {
    let last = last.cloned().unwrap_or_default();
    v1::WatchScanResponse { event: Some(Event::Heartbeat(v1::Heartbeat {})), ..last }
}

/// Renders the outcome of StartScan for one manifest.
pub(crate) fn render_started((manifest, started): &(Manifest, Started)) -> v1::StartedScan {
    use v1::StartScanOutcome as Outcome;
    let (outcome, next, detail) = match started {
        Started::Started => (Outcome::Started, None, "scan started; use WatchScan to follow it".to_owned()),
        Started::AlreadyInProgress => {
            (Outcome::AlreadyInProgress, None, "scan already in progress; use WatchScan to follow it".to_owned())
        }
        Started::AlreadyScanned { next_scan_time } => {
            let detail =
                "basic scanning allows one scan per image every 24 hours; use GetFindings to read the last result"
                    .to_owned();
            (Outcome::AlreadyScanned, *next_scan_time, detail)
        }
        Started::ManagedByInspector => {
            let detail = "enhanced scanning is on: Amazon Inspector scans the image continuously".to_owned();
            (Outcome::ManagedByInspector, None, detail)
        }
        Started::Unsupported(reason) => (Outcome::Unsupported, None, reason.clone()),
    };
    v1::StartedScan {
        digest: manifest.digest.to_string(),
        platform: manifest.platform.as_ref().map(render_platform),
        outcome: outcome.into(),
        next_scan_time: next.map(render_timestamp),
        detail,
    }
}

/// Renders a scan type.
pub(crate) fn render_scan_type(scan_type: ScanType) -> v1::ScanType {
    match scan_type {
        ScanType::Basic => v1::ScanType::Basic,
        ScanType::Enhanced => v1::ScanType::Enhanced,
    }
}

fn render_status(status: &Status) -> v1::ScanStatus {
    match status {
        Status::NotFound => v1::ScanStatus::NotFound,
        Status::InProgress => v1::ScanStatus::InProgress,
        Status::Pending => v1::ScanStatus::Pending,
        Status::Complete => v1::ScanStatus::Complete,
        Status::Active => v1::ScanStatus::Active,
        Status::Failed => v1::ScanStatus::Failed,
        Status::UnsupportedImage => v1::ScanStatus::UnsupportedImage,
        Status::ScanEligibilityExpired => v1::ScanStatus::ScanEligibilityExpired,
        Status::FindingsUnavailable => v1::ScanStatus::FindingsUnavailable,
        Status::LimitExceeded => v1::ScanStatus::LimitExceeded,
        Status::ImageArchived => v1::ScanStatus::ImageArchived,
        Status::ImageSizeExceeded => v1::ScanStatus::ImageSizeExceeded,
        Status::Unrecognised(_) => v1::ScanStatus::Unknown,
    }
}

fn render_enrichment(enrichment: &Enrichment) -> v1::Enrichment {
    match enrichment {
        Enrichment::NotAsked => v1::Enrichment::NotAsked,
        Enrichment::Complete => v1::Enrichment::Complete,
        Enrichment::Partial(_) => v1::Enrichment::Partial,
        Enrichment::Missing(_) => v1::Enrichment::Missing,
    }
}

/// Renders evidence.
pub(crate) fn render_evidence(evidence: Evidence) -> v1::Evidence {
    match evidence {
        Evidence::Proven => v1::Evidence::Proven,
        Evidence::ScanPending => v1::Evidence::ScanPending,
        Evidence::NotScanned => v1::Evidence::NotScanned,
        Evidence::ScanFailed => v1::Evidence::ScanFailed,
        Evidence::Unsupported => v1::Evidence::Unsupported,
        Evidence::EligibilityExpired => v1::Evidence::EligibilityExpired,
        Evidence::FindingsUnavailable => v1::Evidence::FindingsUnavailable,
        Evidence::LimitExceeded => v1::Evidence::LimitExceeded,
        Evidence::Archived => v1::Evidence::Archived,
        Evidence::TooLarge => v1::Evidence::TooLarge,
        Evidence::Stale => v1::Evidence::Stale,
        Evidence::Incomplete => v1::Evidence::Incomplete,
        Evidence::Inconsistent => v1::Evidence::Inconsistent,
        Evidence::Malformed => v1::Evidence::Malformed,
        Evidence::Mismatch => v1::Evidence::Mismatch,
        Evidence::UnprovenClean => v1::Evidence::UnprovenClean,
        Evidence::NotCovered => v1::Evidence::NotCovered,
        Evidence::UnknownStatus => v1::Evidence::UnknownStatus,
    }
}
