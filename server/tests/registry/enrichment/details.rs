//! The selection of findings whose details are requested.

use scangate_core::{finding::Exploit, scan::Enrichment};
use scangate_ecr_simulator::{EnhancedFinding, Fault};

use super::{ADDED, DETAILS, epss, harness, many, named, read};

#[tokio::test]
async fn details_are_requested_where_they_matter() {
    let worth = [
        named("CVE-1", "CRITICAL").epss(0.01),
        named("CVE-2", "HIGH").epss(0.01),
        named("CVE-3", "UNTRIAGED").epss(0.01),
        named("CVE-4", "LOW").epss(0.1),
        named("CVE-5", "LOW"),
        named("CVE-6", "LOW").epss(0.01).exploit_available(),
        named("CVE-7", "LOW").epss(0.01).listed("/exploitAvailable", "YES"),
    ];
    let not_worth = [named("CVE-8", "MEDIUM").epss(0.09), named("CVE-9", "CRITICAL").closed()];
    let listed = worth.map(|finding| finding.known_exploited(ADDED, ADDED));
    let not_asked = not_worth.map(|finding| finding.detail("/epssScore", 1.0));

    let read = read(listed.into_iter().chain(not_asked)).await;

    for finding in read.scan.findings() {
        let asked = !["CVE-8", "CVE-9"].contains(&&*finding.id);
        assert_ne!(finding.epss, epss(1.0), "{}", finding.id);
        assert_eq!((finding.kev.is_some(), finding.exploit == Exploit::Known), (asked, asked), "{}", finding.id);
    }
}

#[tokio::test]
async fn mild_finding_needs_no_details() {
    let finding = named("CVE-1", "MEDIUM").epss(0.09).known_exploited(ADDED, ADDED);

    let harness = harness([finding]).await;

    assert_eq!(harness.read().await.scan.findings()[0].exploit, Exploit::NotKnown);
    assert_eq!(harness.calls(DETAILS), 0);
}

#[tokio::test]
async fn finding_without_details_has_no_known_exploit() {
    let harness = harness(many(25, "HIGH").into_iter().map(EnhancedFinding::without_details)).await;

    let read = harness.read().await;

    assert_eq!(read.scan.enrichment, Enrichment::Complete);
    assert_eq!(harness.calls(DETAILS), 3);
    assert!(read.scan.findings().iter().all(|finding| finding.exploit == Exploit::NotKnown));
}

#[tokio::test]
async fn unknown_exploits_are_looked_up_first() {
    let mut findings: Vec<_> = many(20, "CRITICAL").into_iter().map(EnhancedFinding::exploit_available).collect();
    findings.push(named("CVE-2024-9999", "HIGH").epss(0.01).known_exploited(ADDED, ADDED));
    let harness = harness(findings).await;
    harness.simulator.faults().script(Fault::access_denied().on(DETAILS).skip(1));

    let read = harness.read().await;

    let last = read.scan.findings().last().unwrap();
    assert_eq!((&*last.id, last.exploit), ("CVE-2024-9999", Exploit::Known));
    assert!(read.scan.findings().iter().all(|finding| finding.exploit == Exploit::Known));
}

#[tokio::test]
async fn only_worst_findings_get_details() {
    let mut findings = many(205, "HIGH");
    findings.push(named("CVE-2024-9999", "CRITICAL").epss(0.01).known_exploited(ADDED, ADDED));
    let harness = harness(findings).await;

    let read = harness.read().await;

    assert_eq!(harness.calls(DETAILS), 20);
    assert_eq!(read.scan.findings()[0].exploit, Exploit::Known);
    let unchecked = read.scan.findings().iter().filter(|finding| finding.exploit == Exploit::Unknown).count();
    assert_eq!(unchecked, 6);
    let Enrichment::Partial(what) = &read.scan.enrichment else { panic!("{:?}", read.scan.enrichment) };
    assert!(what.starts_with("6 findings were not looked up"), "{what}");
}
