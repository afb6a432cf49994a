//! GetFindings: complete lists, filters and stable pages, for basic and enhanced scans.

use std::collections::BTreeMap;

use scangate_client::v1::{
    ExploitKnowledge, FindingsFilter, FixAvailability, GetFindingsRequest, GetFindingsResponse, ScanStatus, Severity,
};
use scangate_ecr_simulator::World;

use crate::harness::{Gate, gate, rejection};

fn findings_request(image: &str) -> GetFindingsRequest {
    GetFindingsRequest { image: image.to_owned(), ..Default::default() }
}

async fn filtered(gate: &Gate, filter: FindingsFilter) -> GetFindingsResponse {
    gate.client
        .all_findings(GetFindingsRequest { filter: Some(filter), ..findings_request("shop/web:1.4.2") })
        .await
        .unwrap()
}

#[tokio::test]
async fn recorded_image_has_all_findings_and_counts() {
    let gate = gate(World::demo()).start().await;

    let all = gate.client.all_findings(findings_request("shop/web:1.4.2")).await.unwrap();

    let scan = all.manifests[0].scan.as_ref().unwrap();
    let counts: BTreeMap<&str, i32> =
        scan.severity_counts.iter().map(|count| (count.label.as_str(), count.count)).collect();
    let expected =
        [("CRITICAL", 1), ("HIGH", 5), ("INFORMATIONAL", 183), ("LOW", 25), ("MEDIUM", 32), ("UNDEFINED", 11)];
    assert_eq!(all.findings.len(), 257);
    assert_eq!(counts, BTreeMap::from(expected));
    assert_eq!(scan.status(), ScanStatus::Complete);
    assert!(all.findings.iter().take(11).all(|finding| finding.severity() == Severity::Unrated));
    assert_eq!(all.findings[11].vulnerability_id, "CVE-2019-19814");
}

#[tokio::test]
async fn pages_together_equal_whole_list() {
    let gate = gate(World::demo()).start().await;
    let whole = gate.client.all_findings(findings_request("shop/web:1.4.2")).await.unwrap().findings;

    let mut paged = Vec::new();
    let mut token = String::new();
    loop {
        let request = GetFindingsRequest { page_size: 40, page_token: token, ..findings_request("shop/web:1.4.2") };
        let page = gate.client.findings(request).await.unwrap();
        assert_eq!(page.total_size, 257);
        paged.extend(page.findings);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }

    assert_eq!(paged, whole);
}

#[tokio::test]
async fn filters_narrow_but_keep_unrated_findings() {
    let gate = gate(World::demo()).start().await;

    let severe =
        filtered(&gate, FindingsFilter { min_severity: Severity::High.into(), ..Default::default() }).await.findings;
    let named =
        filtered(&gate, FindingsFilter { vulnerability_id: "CVE-2019-19814".into(), ..Default::default() }).await;
    let packaged = filtered(&gate, FindingsFilter { package: "linux".into(), ..Default::default() }).await;
    let fixed = filtered(&gate, FindingsFilter { fix: FixAvailability::Available.into(), ..Default::default() }).await;

    assert_eq!(severe.len(), 1 + 5 + 11);
    assert_eq!(named.findings.len(), 1);
    assert!(packaged.findings.iter().all(|finding| finding.package.as_ref().unwrap().name == "linux"));
    assert!(!packaged.findings.is_empty());
    assert!(fixed.findings.is_empty());
}

#[tokio::test]
async fn enhanced_scan_has_same_finding_fields() {
    let gate = gate(World::demo_enhanced()).start().await;

    let log4j = gate.client.all_findings(findings_request("shop/web:1.4.2")).await.unwrap().findings.remove(0);
    let untriaged = gate.client.all_findings(findings_request("shop/report:4.2.0")).await.unwrap().findings;

    assert_eq!(log4j.vulnerability_id, "CVE-2021-44228");
    assert_eq!(log4j.severity(), Severity::Critical);
    assert_eq!(log4j.cvss, Some(10.0));
    assert_eq!(log4j.exploit(), ExploitKnowledge::Known);
    assert_eq!(log4j.fix(), FixAvailability::Available);
    assert_eq!(log4j.package.unwrap().fixed_in, "2.15.0");
    let unrated = untriaged.iter().find(|finding| finding.severity_label == "UNTRIAGED").unwrap();
    assert_eq!(unrated.severity(), Severity::Unrated);
    assert_eq!(unrated.cvss, None);
}

#[tokio::test]
async fn page_token_is_bound_to_its_query() {
    let gate = gate(World::demo()).start().await;
    let first =
        gate.client.findings(GetFindingsRequest { page_size: 10, ..findings_request("shop/web:1.4.2") }).await.unwrap();
    let token = first.next_page_token;

    let other = GetFindingsRequest { page_token: token.clone(), ..findings_request("shop/worker:3.1.0") };
    let refused = rejection(gate.client.findings(other).await);
    let forged = GetFindingsRequest { page_token: format!("{token}x"), ..findings_request("shop/web:1.4.2") };
    let forged = rejection(gate.client.findings(forged).await);

    for refused in [refused, forged] {
        assert_eq!(refused.violations[0].field, "page_token");
    }
}

#[tokio::test]
async fn page_token_of_older_scan_is_rejected() {
    let gate = gate(World::demo()).start().await;
    let first =
        gate.client.findings(GetFindingsRequest { page_size: 10, ..findings_request("shop/web:1.4.2") }).await.unwrap();
    gate.ecr.world(|world| {
        let script = scangate_ecr_simulator::ScanScript::complete(scangate_ecr_simulator::generate::basic(50, 1));
        world.rescan("shop/web", "1.4.2", script).unwrap();
    });

    let next = GetFindingsRequest {
        page_size: 10,
        page_token: first.next_page_token,
        max_findings_age: Some(Default::default()),
        ..findings_request("shop/web:1.4.2")
    };
    let refused = rejection(gate.client.findings(next).await);

    assert_eq!(refused.reason, "FINDINGS_CHANGED");
}

#[tokio::test]
async fn unscanned_image_returns_empty_list_and_reason() {
    let gate = gate(World::demo()).start().await;

    let read = gate.client.all_findings(findings_request("shop/search:5.0.0")).await.unwrap();

    let scan = read.manifests[0].scan.as_ref().unwrap();
    assert!(read.findings.is_empty());
    assert_eq!(scan.status(), ScanStatus::NotFound);
    assert!(scan.evidence_detail.contains("StartScan"), "{}", scan.evidence_detail);
}
