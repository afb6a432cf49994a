//! Reading findings for people: all manifests of an image, filtered, worst first, in pages.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use scangate_core::{
    decision::ManifestInput,
    finding::{Finding, Fix},
    image::{Image, ImageReference, Platform},
    scan::Manifest,
    severity::{Rating, Severity},
};
use sha2::{Digest as _, Sha256};

use crate::{
    registry::{Freshness, Registry},
    scan_reader::{Error, read_scans, select_manifests},
};

/// Which findings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// At least this severity; unrated findings are always included.
    pub min_severity: Option<Severity>,
    /// Exactly this package.
    pub package: Option<String>,
    /// Exactly this vulnerability.
    pub vulnerability_id: Option<String>,
    /// Exactly this availability of a fix.
    pub fix: Option<Fix>,
}

impl Filter {
    fn admits(&self, finding: &Finding) -> bool {
        let severe = |least: Severity| match &finding.severity {
            Rating::Rated(severity) => *severity >= least,
            Rating::Unrated(_) => true,
        };
        self.min_severity.is_none_or(severe)
            && self.package.as_deref().is_none_or(|package| package == &*finding.package.name)
            && self.vulnerability_id.as_deref().is_none_or(|id| id == &*finding.id)
            && self.fix.is_none_or(|fix| fix == finding.fix)
    }
}

/// Where a page begins, and what the pages before it were read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// How many findings lie before it.
    pub offset: usize,
    /// [`Page::fingerprint`] of the page before.
    pub fingerprint: String,
}

/// What to read.
#[derive(Clone, Debug)]
pub struct Query {
    /// The image.
    pub image: ImageReference,
    /// Only these platforms; empty: all.
    pub platforms: Vec<Platform>,
    /// Which findings.
    pub filter: Filter,
    /// How many at most.
    pub page_size: usize,
    /// Where to begin.
    pub cursor: Option<Cursor>,
    /// How old the reading may be.
    pub max_age: Duration,
}

/// One page of findings.
#[derive(Clone, Debug)]
pub struct Page {
    /// The image as resolved.
    pub image: Image,
    /// Its manifests with their scans.
    pub examined: Vec<ManifestInput>,
    /// The findings, each with its manifest.
    pub findings: Vec<(Manifest, Finding)>,
    /// How many match in all.
    pub total: usize,
    /// Tells whether two pages were read from the same scans.
    pub fingerprint: String,
    /// Where the next page begins; `None`: this is the last.
    pub next_offset: Option<usize>,
}

/// Reads one page.
pub async fn read(registry: &Arc<dyn Registry>, query: &Query) -> Result<Page, Error> {
    let freshness = Freshness::within(query.max_age);
    let resolved = registry.resolve(&query.image, freshness).await?;
    let examined = read_scans(registry, &resolved, select_manifests(&resolved, &query.platforms)?, freshness).await?;
    let fingerprint = fingerprint(&examined);
    if query.cursor.as_ref().is_some_and(|cursor| cursor.fingerprint != fingerprint) {
        return Err(Error::FindingsChanged);
    }

    let mut matching: Vec<(&Manifest, &Finding)> = examined
        .iter()
        .flat_map(|examined| examined.scan.findings().iter().map(|finding| (&examined.manifest, finding)))
        .filter(|(_, finding)| query.filter.admits(finding))
        .collect();
    // Each scan is sorted already; stable over platforms, so that pages never shift.
    matching.sort_by(|a, b| a.1.worst_first(b.1).then_with(|| a.0.digest.cmp(&b.0.digest)));
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
    Ok(Page { image: resolved.image.clone(), examined, findings, total, fingerprint, next_offset })
}

/// The same for every server that has read the same scans.
fn fingerprint(examined: &[ManifestInput]) -> String {
    let mut hash = Sha256::new();
    for ManifestInput { manifest, scan, start: _, first_seen: _ } in examined {
        let report = scan.report.as_ref();
        let times = report.map(|report| (report.completed_at, report.source_updated_at));
        let counts = report.map(|report| (&report.counts, report.findings.as_ref().map(Vec::len)));
        hash.update(format!("{}\n{:?}\n{times:?}\n{counts:?}\n", manifest.digest, scan.status));
    }
    URL_SAFE_NO_PAD.encode(hash.finalize())
}
