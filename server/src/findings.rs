//! Lists the findings of all manifests of an image, filtered, most severe first, in pages.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use scangate_core::{
    decision::ManifestInput,
    finding::{Finding, Fix},
    image::{Image, ImageReference, Platform},
    package_name,
    scan::Manifest,
    severity::{Rating, Severity},
};
use sha2::{Digest as _, Sha256};

use crate::{
    registry::{self, Freshness, Registry},
    scan_reader::{self, read_scans, select_manifests},
};

/// A failure to list findings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image cannot be resolved.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The scans cannot be read.
    #[error(transparent)]
    Scans(#[from] scan_reader::Error),
    /// The scans have changed since the previous page.
    #[error("the findings have changed since the previous page")]
    Changed,
}

/// Conditions on findings; all given ones must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The lowest severity; unrated findings always match.
    pub min_severity: Option<Severity>,
    /// The package name, in any spelling.
    pub package: Option<String>,
    /// The vulnerability id or a related id, without regard to case.
    pub vulnerability_id: Option<String>,
    /// The exact availability of a fix.
    pub fix: Option<Fix>,
}

impl Filter {
    fn matches(&self, finding: &Finding) -> bool {
        let is_severe = |least: Severity| match &finding.severity {
            Rating::Rated(severity) => *severity >= least,
            Rating::Unrated(_) => true,
        };
        let has_id = |id: &str| {
            let mut ids = std::iter::once(&finding.id).chain(finding.related_ids.iter());
            ids.any(|own| own.eq_ignore_ascii_case(id))
        };
        self.min_severity.is_none_or(is_severe)
            && self.package.as_deref().is_none_or(|package| package_name::may_be(package, &finding.package))
            && self.vulnerability_id.as_deref().is_none_or(has_id)
            && self.fix.is_none_or(|fix| fix == finding.fix)
    }
}

/// The start of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The number of findings before the page.
    pub offset: usize,
    /// The [`Page::fingerprint`] of the previous page.
    pub fingerprint: String,
}

/// A query for one page of findings.
#[derive(Clone, Debug)]
pub struct Query {
    /// The image.
    pub image: ImageReference,
    /// The platforms to include; empty: all.
    pub platforms: Vec<Platform>,
    /// The conditions on findings.
    pub filter: Filter,
    /// The most findings to return.
    pub page_size: usize,
    /// The start of the page; `None`: the first page.
    pub cursor: Option<Cursor>,
    /// The maximum age of the scans as read from the registry.
    pub max_age: Duration,
}

/// One page of findings.
#[derive(Clone, Debug)]
pub struct Page {
    /// The image as resolved.
    pub image: Image,
    /// The selected manifests with their scans.
    pub inputs: Vec<ManifestInput>,
    /// The findings, each with its manifest.
    pub findings: Vec<(Manifest, Finding)>,
    /// The number of matching findings on all pages.
    pub total: usize,
    /// A hash of the scans that were read: equal for pages of the same scans.
    pub fingerprint: String,
    /// The offset of the next page; `None`: this page is the last.
    pub next_offset: Option<usize>,
}

/// Reads one page.
pub async fn read_page(registry: &Arc<dyn Registry>, query: &Query) -> Result<Page, Error> {
    let freshness = Freshness::within(query.max_age);
    let resolved = registry.resolve(&query.image, &query.platforms, freshness).await?;
    let inputs = read_scans(registry, &resolved, select_manifests(&resolved, &query.platforms)?, freshness).await?;
    let fingerprint = fingerprint(&inputs);
    if query.cursor.as_ref().is_some_and(|cursor| cursor.fingerprint != fingerprint) {
        return Err(Error::Changed);
    }

    let matching = matching_findings(&inputs, &query.filter);
    let offset = query.cursor.as_ref().map_or(0, |cursor| cursor.offset);
    let findings: Vec<(Manifest, Finding)> = matching
        .iter()
        .skip(offset)
        .take(query.page_size)
        .map(|(manifest, finding)| ((*manifest).clone(), (*finding).clone()))
        .collect();
    let end = offset.saturating_add(findings.len());
    let total = matching.len();
    let next_offset = (end < total && !findings.is_empty()).then_some(end);
    Ok(Page { image: resolved.image.clone(), inputs, findings, total, fingerprint, next_offset })
}

/// The matching findings, most severe first.
fn matching_findings<'a>(inputs: &'a [ManifestInput], filter: &Filter) -> Vec<(&'a Manifest, &'a Finding)> {
    let mut matching: Vec<(&Manifest, &Finding)> = inputs
        .iter()
        .flat_map(|input| input.scan.findings().iter().map(|finding| (&input.manifest, finding)))
        .filter(|(_, finding)| filter.matches(finding))
        .collect();
    // Equal findings are ordered by manifest digest, then as in their scan (the sort is stable). So the order is the same for
    // every page.
    matching.sort_by(|a, b| a.1.worst_first(b.1).then_with(|| a.0.digest.cmp(&b.0.digest)));
    matching
}

/// A hash that is equal on every server that has read the same scans.
fn fingerprint(inputs: &[ManifestInput]) -> String {
    let mut hash = Sha256::new();
    for ManifestInput { manifest, scan, start: _, first_seen: _ } in inputs {
        let report = scan.report.as_ref();
        let times = report.map(|report| (report.complete_time, report.source_update_time));
        let counts = report.map(|report| (&report.counts, report.findings.as_ref().map(Vec::len)));
        hash.update(format!("{}\n{:?}\n{times:?}\n{counts:?}\n", manifest.digest, scan.status));
    }
    URL_SAFE_NO_PAD.encode(hash.finalize())
}
