//! The `scan` of a manifest in a case.

use std::sync::Arc;

use jiff::Timestamp;
use scangate_core::{
    finding::{Exploit, Finding, Fix, Package, Score, Status as FindingStatus},
    scan::{Counts, Coverage, Enrichment, Flaw, Frequency, Report, Scan, ScanType, Status, Usage},
    severity::Rating,
};
use scangate_test_fixtures::severity_counts;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::instant::{parse_instant, parse_optional};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScanFixture {
    #[serde(rename = "type")]
    scan_type: ScanType,
    frequency: Frequency,
    status: String,
    description: Option<String>,
    read: String,
    unchanged_since: String,
    completed: Option<String>,
    source_updated: Option<String>,
    findings: Option<Vec<FindingFixture>>,
    counts: Option<CountsFixture>,
    coverage: Option<CoverageFixture>,
    flaws: Vec<Flaw>,
    first_scanned: Option<String>,
    eligibility_expire_time: Option<String>,
    #[serde(default)]
    usage: UsageFixture,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct UsageFixture {
    in_use_count: Option<u64>,
    last_in_use: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum CountsFixture {
    AsListed(AsListed),
    Explicit(Counts),
}

#[derive(Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum AsListed {
    AsListed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CoverageFixture {
    active: bool,
    reason: String,
    last_scanned: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FindingFixture {
    severity: Rating,
    id: Option<Arc<str>>,
    #[serde(default)]
    related_ids: Vec<Arc<str>>,
    #[serde(default)]
    package: Arc<str>,
    #[serde(default)]
    version: Arc<str>,
    manager: Option<Arc<str>>,
    path: Option<Arc<str>>,
    #[serde(default)]
    fix: Fix,
    cvss: Option<Score>,
    epss: Option<Score>,
    #[serde(default)]
    exploit: Exploit,
    #[serde(default)]
    status: FindingStatus,
    fixed_version: Option<Arc<str>>,
    published: Option<String>,
}

/// Builds a scan from the fields of a case and the defaults.
pub(crate) fn scan(fields: &Map<String, Value>, now: Timestamp) -> Scan {
    let scan: ScanFixture = serde_json::from_value(Value::Object(with_defaults(fields))).unwrap();
    Scan {
        read_time: parse_instant(&scan.read, now),
        unchanged_since: parse_instant(&scan.unchanged_since, now),
        status: if scan.status == "NOT_FOUND" { Status::NotFound } else { Status::parse(&scan.status) },
        scan_type: scan.scan_type,
        frequency: scan.frequency,
        report: report(&scan, now),
        coverage: scan.coverage.as_ref().map(|coverage| Coverage {
            active: coverage.active,
            reason: coverage.reason.clone(),
            last_scan_time: parse_optional(coverage.last_scanned.as_deref(), now),
        }),
        description: scan.description,
        enrichment: Enrichment::NotAsked,
        first_scan_time: parse_optional(scan.first_scanned.as_deref(), now),
        eligibility_expire_time: parse_optional(scan.eligibility_expire_time.as_deref(), now),
        usage: Usage {
            in_use_count: scan.usage.in_use_count,
            last_in_use_time: parse_optional(scan.usage.last_in_use.as_deref(), now),
        },
        flaws: scan.flaws,
    }
}

/// Adds the defaults: a scan that ended well is complete, consistent, settled and clean; any other has no result.
fn with_defaults(fields: &Map<String, Value>) -> Map<String, Value> {
    let ended_well = fields.get("status").is_none_or(|status| status == "COMPLETE" || status == "ACTIVE");
    let result = |value: Value| if ended_well { value } else { Value::Null };
    let Value::Object(mut scan) = json!({
        "type": "BASIC", "frequency": "SCAN_ON_PUSH", "status": "COMPLETE", "description": null,
        "read": "0s ago", "unchanged_since": "0s ago",
        "completed": result(json!("20h ago")), "source_updated": result(json!("21h ago")),
        "findings": result(json!([])), "counts": result(json!("AS_LISTED")),
        "coverage": null, "flaws": [],
    }) else {
        unreachable!("an object literal")
    };
    scan.extend(fields.clone());
    scan
}

fn report(scan: &ScanFixture, now: Timestamp) -> Option<Report> {
    let findings: Option<Vec<Finding>> = scan
        .findings
        .as_ref()
        .map(|findings| findings.iter().enumerate().map(|(index, fixture)| finding(index, fixture, now)).collect());
    let enumerated = severity_counts(findings.iter().flatten());
    let report = Report {
        complete_time: parse_optional(scan.completed.as_deref(), now),
        source_update_time: parse_optional(scan.source_updated.as_deref(), now),
        counts: scan.counts.as_ref().map(|counts| match counts {
            CountsFixture::AsListed(AsListed::AsListed) => enumerated.clone(),
            CountsFixture::Explicit(counts) => counts.clone(),
        }),
        enumerated,
        findings: None,
    };
    let report = match findings {
        Some(findings) => report.with_findings(findings),
        None => report,
    };
    (report != Report::default()).then_some(report)
}

fn finding(index: usize, fixture: &FindingFixture, now: Timestamp) -> Finding {
    let package = Package {
        name: Arc::clone(&fixture.package),
        version: Arc::clone(&fixture.version),
        manager: fixture.manager.clone(),
        path: fixture.path.clone(),
        fixed_version: fixture.fixed_version.clone(),
        source_layer: None,
    };
    Finding {
        id: fixture.id.clone().unwrap_or_else(|| format!("CVE-2026-{index:04}").into()),
        related_ids: fixture.related_ids.clone().into(),
        package,
        severity: fixture.severity.clone(),
        fix: fixture.fix,
        cvss: fixture.cvss,
        epss: fixture.epss,
        exploit: fixture.exploit,
        status: fixture.status,
        publish_time: parse_optional(fixture.published.as_deref(), now).map(Into::into),
        ..scangate_test_fixtures::finding("")
    }
}
