//! Conversions of findings and severities.

use std::sync::Arc;

use scangate_core::{
    finding::{Exploit, Finding, Fix, Kev, Package, Status},
    image::{Digest, Platform},
    severity::{Rating, Severity},
};
use scangate_proto::v1;

use super::{image::render_platform, time::render_timestamp};
use crate::grpc::field_violations::Fields;

/// Renders a severity.
pub(crate) fn render_severity(severity: Severity) -> v1::Severity {
    match severity {
        Severity::Informational => v1::Severity::Informational,
        Severity::Low => v1::Severity::Low,
        Severity::Medium => v1::Severity::Medium,
        Severity::High => v1::Severity::High,
        Severity::Critical => v1::Severity::Critical,
    }
}

/// Renders a scan's rating; a rating that is no severity is UNRATED.
pub(crate) fn render_rating(rating: &Rating) -> v1::Severity {
    match rating {
        Rating::Rated(severity) => render_severity(*severity),
        Rating::Unrated(_) => v1::Severity::Unrated,
    }
}

/// Parses one of the five severities; UNSPECIFIED is `None`.
pub(crate) fn parse_severity(fields: &mut Fields, path: &str, value: i32) -> Option<Severity> {
    match v1::Severity::try_from(value) {
        Ok(v1::Severity::Unspecified) => None,
        Ok(v1::Severity::Informational) => Some(Severity::Informational),
        Ok(v1::Severity::Low) => Some(Severity::Low),
        Ok(v1::Severity::Medium) => Some(Severity::Medium),
        Ok(v1::Severity::High) => Some(Severity::High),
        Ok(v1::Severity::Critical) => Some(Severity::Critical),
        Ok(v1::Severity::Unrated) | Err(_) => {
            fields.refuse(
                path,
                "must be SEVERITY_INFORMATIONAL, SEVERITY_LOW, SEVERITY_MEDIUM, SEVERITY_HIGH or SEVERITY_CRITICAL",
            );
            None
        }
    }
}

/// Renders a finding of a manifest.
pub(crate) fn render_finding(finding: &Finding, manifest: &Digest, platform: Option<&Platform>) -> v1::Finding {
    v1::Finding {
        vulnerability_id: finding.id.to_string(),
        package: Some(render_package(&finding.package)),
        severity: render_rating(&finding.severity).into(),
        severity_label: finding.severity.label().to_owned(),
        fix: render_fix(finding.fix).into(),
        cvss: finding.cvss.map(f64::from),
        epss: finding.epss.map(f64::from),
        exploit: render_exploit(finding.exploit).into(),
        status: render_status(finding.status).into(),
        title: text(finding.title.as_ref()),
        description: text(finding.description.as_ref()),
        uri: text(finding.uri.as_ref()),
        first_observe_time: finding.first_observe_time.map(render_timestamp),
        publish_time: finding.publish_time.map(render_timestamp),
        manifest_digest: manifest.to_string(),
        platform: platform.map(render_platform),
        finding_arn: text(finding.arn.as_ref()),
        related_ids: finding.related_ids.iter().map(ToString::to_string).collect(),
        kev: finding.kev.as_deref().map(render_kev),
    }
}

/// Renders a package.
pub(crate) fn render_package(package: &Package) -> v1::AffectedPackage {
    v1::AffectedPackage {
        name: package.name.to_string(),
        version: package.version.to_string(),
        manager: text(package.manager.as_ref()),
        path: text(package.path.as_ref()),
        fixed_version: text(package.fixed_version.as_ref()),
        source_layer_digest: text(package.source_layer.as_ref()),
    }
}

fn render_kev(kev: &Kev) -> v1::KnownExploitedVulnerability {
    v1::KnownExploitedVulnerability {
        add_time: kev.add_time.map(render_timestamp),
        due_time: kev.due_time.map(render_timestamp),
    }
}

fn text(value: Option<&Arc<str>>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

fn render_fix(fix: Fix) -> v1::FixAvailability {
    match fix {
        Fix::Unknown => v1::FixAvailability::Unknown,
        Fix::Available => v1::FixAvailability::Available,
        Fix::Partial => v1::FixAvailability::Partial,
        Fix::None => v1::FixAvailability::None,
    }
}

fn render_exploit(exploit: Exploit) -> v1::ExploitKnowledge {
    match exploit {
        Exploit::Unknown => v1::ExploitKnowledge::Unknown,
        Exploit::Known => v1::ExploitKnowledge::Known,
        Exploit::NotKnown => v1::ExploitKnowledge::NotKnown,
    }
}

fn render_status(status: Status) -> v1::FindingStatus {
    match status {
        Status::Active => v1::FindingStatus::Active,
        Status::Suppressed => v1::FindingStatus::Suppressed,
        Status::Closed => v1::FindingStatus::Closed,
        Status::Unrecognised => v1::FindingStatus::Unknown,
    }
}
