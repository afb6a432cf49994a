//! Which details are asked for.

use scangate_core::{finding::Exploit, scan::Enrichment};
use scangate_ecr_simulator::EnhancedFinding;

use super::{ADDED, DETAILS, bench, epss, many, named, read};

#[tokio::test]
async fn details_are_asked_for_where_they_could_change_a_decision() {
    let worth = [
        named("CVE-1", "CRITICAL").epss(0.01),
        named("CVE-2", "HIGH").epss(0.01),
        named("CVE-3", "UNTRIAGED").epss(0.01),
        named("CVE-4", "LOW").epss(0.1),
        named("CVE-5", "LOW"),
    ];
    let not_worth = [
        named("CVE-6", "MEDIUM").epss(0.09),
        named("CVE-7", "CRITICAL").exploit_available(),
        named("CVE-8", "CRITICAL").listed("/exploitAvailable", "YES"),
        named("CVE-9", "CRITICAL").closed(),
    ];
    let listed = worth.map(|finding| finding.known_exploited(ADDED, ADDED));
    let not_asked = not_worth.map(|finding| finding.detail("/epssScore", 1.0));

    let read = read(listed.into_iter().chain(not_asked)).await;

    for finding in read.scan.findings() {
        let asked = ["CVE-1", "CVE-2", "CVE-3", "CVE-4", "CVE-5"].contains(&&*finding.id);
        assert_ne!(finding.epss, epss(1.0), "{}", finding.id);
        assert!(!asked || finding.exploit == Exploit::Known, "{}", finding.id);
    }
}

#[tokio::test]
async fn of_what_is_neither_severe_nor_probable_the_list_says_enough() {
    let finding = named("CVE-1", "MEDIUM").epss(0.09).known_exploited(ADDED, ADDED);

    let bench = bench([finding]).await;

    assert_eq!(bench.read().await.scan.findings()[0].exploit, Exploit::NotKnown);
    assert_eq!(bench.calls(DETAILS), 0);
}

#[tokio::test]
async fn details_come_ten_at_a_time_and_a_finding_without_any_is_none() {
    let bench = bench(many(25, "HIGH").into_iter().map(EnhancedFinding::without_details)).await;

    let read = bench.read().await;

    assert_eq!(read.scan.enrichment, Enrichment::Complete);
    assert_eq!(bench.calls(DETAILS), 3);
    assert!(read.scan.findings().iter().all(|finding| finding.exploit == Exploit::NotKnown));
}

#[tokio::test]
async fn beyond_two_hundred_findings_the_worst_are_looked_up() {
    let mut findings = many(205, "HIGH");
    findings.push(named("CVE-2024-9999", "CRITICAL").epss(0.01).known_exploited(ADDED, ADDED));
    let bench = bench(findings).await;

    let read = bench.read().await;

    assert_eq!(bench.calls(DETAILS), 20);
    assert_eq!(read.scan.findings()[0].exploit, Exploit::Known);
    let unheard = read.scan.findings().iter().filter(|finding| finding.exploit == Exploit::Unknown).count();
    assert_eq!(unheard, 6);
    let Enrichment::Partial(what) = &read.scan.enrichment else { panic!("{:?}", read.scan.enrichment) };
    assert!(what.starts_with("6 findings were not looked up"), "{what}");
}
