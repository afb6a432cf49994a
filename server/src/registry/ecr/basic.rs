//! Conversion of basic findings, whose details are pairs of strings.

use aws_sdk_ecr::types::ImageScanFinding;
use scangate_core::{
    finding::{Exploit, Finding, Fix, Package, Score, Status},
    severity::Rating,
};

use super::{
    diagnostics::{MAX_DESCRIPTION_BYTES, MAX_NAME_BYTES, ScanDiagnostics},
    finding_list::FindingList,
};

const SCORES: [&str; 3] = ["CVSS2_SCORE", "CVSS3_SCORE", "CVSS4_SCORE"];

/// Adds the findings of one page to a list.
pub(super) fn add_findings(page: &[ImageScanFinding], list: &mut FindingList, diagnostics: &mut ScanDiagnostics) {
    for found in page {
        let finding = finding(found, diagnostics);
        *list.enumerated.entry(diagnostics.intern(finding.severity.label(), MAX_NAME_BYTES)).or_default() += 1;
        list.findings.push(finding);
    }
}

fn finding(found: &ImageScanFinding, diagnostics: &mut ScanDiagnostics) -> Finding {
    let fixed_version = diagnostics.non_empty(attribute(found, "fixed_in_versions"), MAX_NAME_BYTES);
    let name = found.name.as_deref().unwrap_or_default();
    Finding {
        id: diagnostics.intern(name, MAX_NAME_BYTES),
        related_ids: Box::default(),
        fix: if fixed_version.is_some() { Fix::Available } else { Fix::Unknown },
        package: Package {
            name: diagnostics.intern(attribute(found, "package_name").unwrap_or_default(), MAX_NAME_BYTES),
            version: diagnostics.intern(attribute(found, "package_version").unwrap_or_default(), MAX_NAME_BYTES),
            manager: None,
            path: None,
            fixed_version,
            source_layer: None,
        },
        severity: rating(found.severity.as_ref().map_or("", |severity| severity.as_str()), diagnostics),
        cvss: score(found, name, diagnostics),
        epss: None,
        exploit: Exploit::Unknown,
        kev: None,
        status: Status::Active,
        title: None,
        description: diagnostics.non_empty(found.description.as_deref(), MAX_DESCRIPTION_BYTES),
        uri: diagnostics.non_empty(found.uri.as_deref(), MAX_NAME_BYTES),
        first_observe_time: None,
        publish_time: None,
        arn: None,
    }
}

/// Parses a severity. An unrated one keeps ECR's label, truncated.
pub(super) fn rating(label: &str, diagnostics: &mut ScanDiagnostics) -> Rating {
    match Rating::parse(label) {
        rated @ Rating::Rated(_) => rated,
        Rating::Unrated(_) => Rating::Unrated(diagnostics.intern(label, MAX_NAME_BYTES)),
    }
}

fn attribute<'a>(found: &'a ImageScanFinding, key: &str) -> Option<&'a str> {
    let attributes = found.attributes.as_deref().unwrap_or_default();
    attributes.iter().find(|attribute| attribute.key == key).and_then(|attribute| attribute.value.as_deref())
}

/// Returns the highest score. An unparsable score is a flaw: without it, the finding could look harmless.
fn score(found: &ImageScanFinding, name: &str, diagnostics: &mut ScanDiagnostics) -> Option<Score> {
    let attributes = found.attributes.iter().flatten();
    let scores = attributes.filter(|attribute| SCORES.contains(&attribute.key.as_str()));
    scores
        .filter_map(|attribute| {
            let text = attribute.value.as_deref()?;
            let Ok(value) = text.trim().parse() else {
                diagnostics.malformed(format!("{name} has the invalid score {text:?}"));
                return None;
            };
            diagnostics.score(name, value)
        })
        .max()
}
