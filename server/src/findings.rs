//! Lists the findings of all manifests of an image that match a condition, most severe first, in pages.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use scangate_core::{
    decision::ManifestInput,
    finding::{Finding, Package},
    image::{Image, ImageReference, Platform},
    rule::Condition,
    scan::Manifest,
    severity::Severity,
};
use serde::{Deserialize, Serialize};
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

/// The start of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The number of findings before the page.
    pub offset: usize,
    /// The [`Page::fingerprint`] of the previous page.
    pub fingerprint: String,
    /// The time of the first page, at which the condition is evaluated for every page.
    pub evaluate_time: Timestamp,
}

/// A query for one page of findings.
#[derive(Clone, Debug)]
pub struct Query {
    /// The image.
    pub image: ImageReference,
    /// The platforms to include; empty: all.
    pub platforms: Vec<Platform>,
    /// The condition on findings.
    pub condition: Condition,
    /// The severity as which unrated findings rank.
    pub unrated_as: Severity,
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
    fingerprint: String,
    /// The time of the first page.
    evaluate_time: Timestamp,
    /// The number of matching findings before this page.
    offset: usize,
}

impl Page {
    /// Returns the start of the page after the first `count` findings of this one; `None` if nothing follows, or if not even one
    /// was taken.
    pub fn cursor_after(&self, count: usize) -> Option<Cursor> {
        let end = self.offset.saturating_add(count);
        let next = Cursor { offset: end, fingerprint: self.fingerprint.clone(), evaluate_time: self.evaluate_time };
        (count > 0 && end < self.total).then_some(next)
    }
}

/// Reads one page.
pub async fn read_page(registry: &Arc<dyn Registry>, query: &Query) -> Result<Page, Error> {
    let freshness = Freshness::within(query.max_age);
    let resolved = registry.resolve(&query.image, &query.platforms, freshness).await?;
    let inputs = read_scans(registry, &resolved, select_manifests(&resolved, &query.platforms)?, freshness).await?;
    let evaluate_time = query.cursor.as_ref().map_or_else(Timestamp::now, |cursor| cursor.evaluate_time);
    let matching = matching_findings(&inputs, query, evaluate_time);
    let fingerprint = fingerprint(&inputs, &matching);
    if query.cursor.as_ref().is_some_and(|cursor| cursor.fingerprint != fingerprint) {
        return Err(Error::Changed);
    }

    let offset = query.cursor.as_ref().map_or(0, |cursor| cursor.offset);
    let findings: Vec<(Manifest, Finding)> = matching
        .iter()
        .skip(offset)
        .take(query.page_size)
        .map(|(manifest, finding)| ((*manifest).clone(), (*finding).clone()))
        .collect();
    let total = matching.len();
    Ok(Page { image: resolved.image.clone(), inputs, findings, total, fingerprint, evaluate_time, offset })
}

/// The matching findings, most severe first.
fn matching_findings<'a>(
    inputs: &'a [ManifestInput],
    query: &Query,
    now: Timestamp,
) -> Vec<(&'a Manifest, &'a Finding)> {
    let of_manifest = |input: &'a ManifestInput| {
        let matches =
            move |finding: &&Finding| query.condition.matches(finding, &input.scan.usage, query.unrated_as, now);
        input.scan.findings().iter().filter(matches).map(|finding| (&input.manifest, finding))
    };
    let mut matching: Vec<(&Manifest, &Finding)> = inputs.iter().flat_map(of_manifest).collect();
    // Equal findings are ordered by manifest digest, then as in their scan (the sort is stable). So the order is the same for
    // every page.
    matching.sort_by(|a, b| a.1.worst_first(b.1).then_with(|| a.0.digest.cmp(&b.0.digest)));
    matching
}

/// A hash that is equal on every server that has read the same scans. The matching findings are a part: enrichment, and the use of
/// an image, change them without a new scan.
fn fingerprint(inputs: &[ManifestInput], matching: &[(&Manifest, &Finding)]) -> String {
    let mut hash = Sha256::new();
    for ManifestInput { manifest, scan, start: _, first_seen: _ } in inputs {
        let report = scan.report.as_ref();
        let times = report.map(|report| (report.complete_time, report.source_update_time));
        let counts = report.map(|report| (&report.counts, report.findings.as_ref().map(Vec::len)));
        hash.update(format!("{}\n{:?}\n{times:?}\n{counts:?}\n", manifest.digest, scan.status));
    }
    for (manifest, finding) in matching {
        let Package { name, version, path, .. } = &finding.package;
        hash.update(format!("{}\n{}\n{name}\n{version}\n{path:?}\n", manifest.digest, finding.id));
    }
    URL_SAFE_NO_PAD.encode(hash.finalize())
}
