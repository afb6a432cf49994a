//! Findings of basic scanning, whose details are pairs of strings.

use aws_sdk_ecr::types::ImageScanFinding;
use scangate_core::{
    finding::{Exploit, Finding, Fix, Package, Score, Status},
    severity::Rating,
};

use super::{
    diagnostics::{DESCRIPTION, NAME, Notes},
    pages::List,
};

const SCORES: [&str; 3] = ["CVSS2_SCORE", "CVSS3_SCORE", "CVSS4_SCORE"];

/// Takes the findings of a page.
pub(super) fn take(page: &[ImageScanFinding], list: &mut List, notes: &mut Notes) {
    for found in page {
        let finding = finding(found, notes);
        *list.enumerated.entry(notes.text(finding.severity.label(), NAME)).or_default() += 1;
        list.findings.push(finding);
    }
}

fn finding(found: &ImageScanFinding, notes: &mut Notes) -> Finding {
    let fixed_in = notes.said(attribute(found, "fixed_in_versions"), NAME);
    let name = found.name.as_deref().unwrap_or_default();
    Finding {
        id: notes.text(name, NAME),
        fix: if fixed_in.is_some() { Fix::Available } else { Fix::Unknown },
        package: Package {
            name: notes.text(attribute(found, "package_name").unwrap_or_default(), NAME),
            version: notes.text(attribute(found, "package_version").unwrap_or_default(), NAME),
            manager: None,
            path: None,
            fixed_in,
        },
        severity: rating(found.severity.as_ref().map_or("", |severity| severity.as_str()), notes),
        cvss: score(found, name, notes),
        epss: None,
        exploit: Exploit::Unknown,
        status: Status::Active,
        title: None,
        description: notes.said(found.description.as_deref(), DESCRIPTION),
        uri: notes.said(found.uri.as_deref(), NAME),
        first_observed_at: None,
        published_at: None,
        arn: None,
    }
}

/// A severity as ECR wrote it, cut to size.
pub(super) fn rating(label: &str, notes: &mut Notes) -> Rating {
    match Rating::parse(label) {
        rated @ Rating::Rated(_) => rated,
        Rating::Unrated(_) => Rating::Unrated(notes.text(label, NAME)),
    }
}

fn attribute<'a>(found: &'a ImageScanFinding, key: &str) -> Option<&'a str> {
    let attributes = found.attributes.as_deref().unwrap_or_default();
    attributes.iter().find(|attribute| attribute.key == key).and_then(|attribute| attribute.value.as_deref())
}

/// The highest of the scores. One that cannot be read is a flaw: left out, it could make the finding look harmless.
fn score(found: &ImageScanFinding, name: &str, notes: &mut Notes) -> Option<Score> {
    let attributes = found.attributes.iter().flatten();
    let scores = attributes.filter(|attribute| SCORES.contains(&attribute.key.as_str()));
    scores
        .filter_map(|attribute| {
            let text = attribute.value.as_deref().unwrap_or_default();
            let Ok(value) = text.trim().parse() else {
                notes.malformed(format!("{name} has the score {text:?}"));
                return None;
            };
            notes.score(name, value)
        })
        .max()
}
