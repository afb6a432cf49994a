//! Enrichment of enhanced findings by Inspector, and its failures.

mod details;
mod failures;
mod join;

use scangate_core::{
    finding::{Finding, Score},
    scan::Enrichment,
};
use scangate_ecr_simulator::{EnhancedFinding, ScanScript};
use scangate_server::registry::ecr::{Config, Ecr};

use crate::support::{Harness, Read, ecr_with, enhanced};

pub(crate) const LIST: &str = "ListFindings";
pub(crate) const DETAILS: &str = "BatchGetFindingDetails";
pub(crate) const ADDED: i64 = 1_639_094_400;

pub(crate) fn enriching(config: Config) -> Config {
    Config { inspector_enrichment: true, ..config }
}

pub(crate) async fn harness(findings: impl IntoIterator<Item = EnhancedFinding>) -> Harness<Ecr> {
    let findings: Vec<_> = findings.into_iter().collect();
    ecr_with(enhanced(ScanScript::complete(findings)), enriching).await
}

pub(crate) async fn read(findings: impl IntoIterator<Item = EnhancedFinding>) -> Read {
    harness(findings).await.read().await
}

pub(crate) async fn read_one(finding: EnhancedFinding) -> (Finding, Enrichment) {
    let read = read([finding]).await;
    let [finding] = read.scan.findings() else { panic!("not one finding: {:?}", read.scan) };
    (finding.clone(), read.scan.enrichment.clone())
}

pub(crate) fn named(id: &str, severity: &str) -> EnhancedFinding {
    EnhancedFinding::new(id, severity).package("openssl", "3.0.1")
}

pub(crate) fn high() -> EnhancedFinding {
    named("CVE-2024-1", "HIGH")
}

pub(crate) fn epss(value: f64) -> Option<Score> {
    Score::new(value).ok()
}

pub(crate) fn many(count: usize, severity: &str) -> Vec<EnhancedFinding> {
    (0..count).map(|number| named(&format!("CVE-2024-{number:04}"), severity).epss(0.01)).collect()
}

pub(crate) fn missing_reason(enrichment: &Enrichment) -> &str {
    let Enrichment::Missing(reason) = enrichment else { panic!("nothing is missing: {enrichment:?}") };
    reason
}
