//! GetFindings: complete lists, filters and stable pages, for basic and enhanced scans.

use std::collections::BTreeMap;

use scangate_client::v1::{
    ExploitKnowledge, FindingCondition, FixAvailability, FixFilter, GetFindingsRequest, GetFindingsResponse, Policy,
    Rule, ScanStatus, Severity,
};
use scangate_ecr_simulator::World;

use crate::harness::{Gate, gate, rejection};

fn findings_request(image: &str) -> GetFindingsRequest {
    GetFindingsRequest { image: image.to_owned(), ..Default::default() }
}

async fn filtered(gate: &Gate, filter: FindingCondition) -> GetFindingsResponse {
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
        scan.severity_counts.iter().map(|count| (count.severity_label.as_str(), count.count)).collect();
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
        filtered(&gate, FindingCondition { min_severity: Severity::High.into(), ..Default::default() }).await.findings;
    let named =
        filtered(&gate, FindingCondition { vulnerability_ids: vec!["CVE-2019-19814".into()], ..Default::default() })
            .await;
    let packaged = filtered(&gate, FindingCondition { packages: vec!["linux".into()], ..Default::default() }).await;
    let unfixable = filtered(&gate, FindingCondition { fix: FixFilter::None.into(), ..Default::default() }).await;

    assert_eq!(severe.len(), 1 + 5 + 11);
    assert_eq!(named.findings.len(), 1);
    assert!(packaged.findings.iter().all(|finding| finding.package.as_ref().unwrap().name == "linux"));
    assert!(!packaged.findings.is_empty());
    assert!(unfixable.findings.is_empty());
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
    assert_eq!(log4j.package.unwrap().fixed_version, "2.15.0");
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

/// All findings of the image that match, two on a page.
async fn paged(gate: &Gate, condition: FindingCondition) -> Vec<String> {
    let (mut ids, mut page_token) = (Vec::new(), String::new());
    loop {
        let filter = Some(condition.clone());
        let request = GetFindingsRequest { filter, page_size: 2, page_token, ..findings_request("shop/web:1.4.2") };
        let page = gate.client.findings(request).await.unwrap();
        ids.extend(page.findings.into_iter().map(|finding| finding.vulnerability_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return ids;
        }
    }
}

#[tokio::test]
async fn findings_by_condition_are_those_of_rule() {
    let gate = gate(World::demo()).start().await;
    let expression = "finding.severity in ['CRITICAL', 'HIGH'] && now > timestamp('2020-01-01T00:00:00Z')".to_owned();
    let condition = FindingCondition { expression, ..Default::default() };
    let rule = Rule { id: "asked".into(), when: Some(condition.clone()), ..Default::default() };
    gate.create_policy("team", Policy { rules: vec![rule], replaces_default: Some(true), ..Default::default() }).await;

    let denied = gate.decide("shop/web:1.4.2").await;
    let mut listed = paged(&gate, condition).await;

    let violation = denied.violations.iter().find(|violation| violation.rule == "asked").unwrap();
    let mut counted: Vec<String> = violation.findings.iter().map(|found| found.vulnerability_id.clone()).collect();
    listed.sort();
    counted.sort();
    assert!(listed.len() > 2, "{listed:?}");
    assert_eq!(listed, counted);
}

#[tokio::test]
async fn unrated_findings_rank_as_request_says() {
    let gate = gate(World::demo()).start().await;
    let count = async |unrated_as: Severity| {
        let filter = FindingCondition { min_severity: Severity::High.into(), ..Default::default() };
        let request = findings_request("shop/web:1.4.2");
        let request = GetFindingsRequest { filter: Some(filter), unrated_as: unrated_as.into(), ..request };
        gate.client.findings(request).await.unwrap().total_size
    };

    assert_eq!([count(Severity::Unspecified).await, count(Severity::Low).await], [1 + 5 + 11, 1 + 5]);
}

#[tokio::test]
async fn unreported_values_are_unknown() {
    let gate = gate(World::demo()).start().await;

    let basic = gate.client.findings(findings_request("shop/web:1.4.2")).await.unwrap().findings.remove(0);

    assert_eq!((basic.fix(), basic.exploit()), (FixAvailability::Unknown, ExploitKnowledge::Unknown));
}

#[tokio::test]
async fn page_size_above_maximum_is_the_maximum() {
    let gate = gate(World::demo()).start().await;

    let request = GetFindingsRequest { page_size: i32::MAX, ..findings_request("shop/web:1.4.2") };
    let page = gate.client.findings(request).await.unwrap();

    assert_eq!((page.findings.len(), page.next_page_token.as_str()), (257, ""));
}
