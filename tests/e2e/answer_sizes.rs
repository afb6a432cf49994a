//! Responses that every client accepts: no response comes near 4 MiB, whatever the findings, policies and waivers.
//!
//! The clients of these tests have the default limit.

use prost::Message;
use scangate_client::v1::{
    BatchEvaluateGateRequest, Decision, DecisionView, EvaluateGateRequest, FindingCondition, GetDecisionRequest,
    GetFindingsRequest, ListPoliciesRequest, ListPolicyRevisionsRequest, ListWaiversRequest, Policy, PolicyMatch,
    ReplayDecisionRequest, Rule, Severity, Verdict, Waiver, batch_evaluate_gate_item,
};
use scangate_ecr_simulator::{EnhancedFinding, ImageSpec, ScanScript, World};
use tokio::task::JoinSet;

use crate::harness::{Gate, create_waiver_request, evaluate_request, gate, waiver};

/// The documented maximum size of a response.
const MAX_RESPONSE_BYTES: usize = 3_584 * 1024;

/// Findings with the longest texts that the gate keeps, and a description of that many bytes.
pub fn large_findings(count: usize, description: usize) -> Vec<EnhancedFinding> {
    let finding = |number: usize| {
        EnhancedFinding::new(&format!("CVE-2026-{number:05}"), "MEDIUM")
            .package(&format!("lib{number:05}"), "1.0.0")
            .fixed_version("1.0.1")
            .field("/title", "title ".repeat(100))
            .field("/packageVulnerabilityDetails/sourceUrl", format!("https://example.org/{}", "advisory/".repeat(60)))
            .field("/description", "описание ".repeat(description / 17))
    };
    (0..count).map(finding).collect()
}

/// A policy with rules that each count every finding.
pub fn policy_with_rules(rules: usize) -> Policy {
    let rule = |number| Rule {
        id: format!("r{number}"),
        when: Some(FindingCondition { min_severity: Severity::Low.into(), ..Default::default() }),
        ..Default::default()
    };
    Policy { rules: (0..rules).map(rule).collect(), ..Default::default() }
}

/// A gate with the image `team/big:1` and a policy of 30 rules that it breaks.
async fn gate_with_large_image() -> Gate {
    let mut world = World::enhanced();
    let findings = large_findings(1500, 10_000);
    world.push(ImageSpec::single("team/big", "1").scan(ScanScript::complete(findings)));
    let gate = gate(world).start().await;
    gate.create_policy("many", policy_with_rules(30)).await;
    gate
}

#[track_caller]
fn assert_fits(response: &impl Message) {
    assert!(response.encoded_len() <= MAX_RESPONSE_BYTES, "{} bytes", response.encoded_len());
}

#[tokio::test]
async fn pages_of_large_findings_end_early() {
    let gate = gate_with_large_image().await;
    let (mut sizes, mut ids, mut page_token) = (Vec::new(), Vec::new(), String::new());
    loop {
        let request =
            GetFindingsRequest { image: "team/big:1".into(), page_size: 1000, page_token, ..Default::default() };
        let page = gate.client.findings(request).await.unwrap();
        assert_fits(&page);
        assert_eq!(page.total_size, 1500);
        sizes.push(page.findings.len());
        ids.extend(page.findings.into_iter().map(|finding| finding.vulnerability_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }

    let all = GetFindingsRequest { image: "team/big:1".into(), ..Default::default() };
    assert_eq!(gate.client.all_findings(all).await.unwrap().findings.len(), 1500);
    assert!(sizes[0] < 1000, "{sizes:?}");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 1500);
}

#[tokio::test]
async fn large_decision_states_what_it_omits() {
    let gate = gate_with_large_image().await;

    let returned = gate.client.gate().evaluate_gate(evaluate_request("team/big:1")).await.unwrap().into_inner();
    assert_fits(&returned);
    let decision = returned.decision.unwrap();
    let request = GetDecisionRequest { name: decision.name.clone(), ..Default::default() };
    let read = gate.client.decisions().get_decision(request).await.unwrap().into_inner();
    let request = ReplayDecisionRequest { name: decision.name.clone(), ..Default::default() };
    let replayed = gate.client.decisions().replay_decision(request).await.unwrap().into_inner();

    let listed: usize = decision.violations.iter().map(|violation| violation.findings.len()).sum();
    let omitted = decision.omitted.clone().unwrap();
    assert_eq!((decision.verdict(), decision.violations.len()), (Verdict::Deny, 30));
    assert!(
        decision.violations.iter().all(|violation| violation.matched_count() == 1500 && violation.findings.len() > 9)
    );
    assert_eq!(usize::try_from(omitted.finding_count).unwrap() + listed, 30 * 1500);
    assert!(omitted.next_step.contains("GetFindings"), "{omitted:?}");
    assert_eq!(omitted.violation_count, 0);
    assert!(decision.encoded_len() > MAX_RESPONSE_BYTES / 2, "the budget is used");
    assert_eq!(read.decision.as_ref(), Some(&decision));
    assert_fits(&replayed);
    assert!(replayed.same);
}

#[tokio::test]
async fn batch_of_hundred_large_images_fits() {
    let mut world = World::enhanced();
    for number in 0..100 {
        let findings = large_findings(60, 100);
        world.push(ImageSpec::single(&format!("team/app{number}"), "1").scan(ScanScript::complete(findings)));
    }
    let gate = gate(world).start().await;
    gate.create_policy("many", policy_with_rules(5)).await;
    let requests = (0..100).map(|number| evaluate_request(&format!("team/app{number}:1"))).collect();

    let request = BatchEvaluateGateRequest { requests };
    let batch = gate.client.gate().batch_evaluate_gate(request).await.unwrap().into_inner();

    assert_fits(&batch);
    assert_eq!((batch.verdict(), batch.items.len()), (Verdict::Deny, 100));
    for item in &batch.items {
        let Some(batch_evaluate_gate_item::Result::Response(response)) = &item.result else { panic!("{item:?}") };
        let decision = response.decision.as_ref().unwrap();
        assert_eq!((decision.verdict(), decision.violations.len()), (Verdict::Deny, 5));
        assert!(!decision.reasons.is_empty());
        assert!(decision.manifests[0].scan.is_some());
        assert!(decision.violations.iter().all(|violation| !violation.findings.is_empty()));
        assert!(decision.omitted.as_ref().unwrap().finding_count > 0);
    }
}

/// A policy of about 1 MB that applies to no image.
fn large_policy(version: usize) -> Policy {
    let ids = |rule: usize| (0..1000).map(|id| format!("CVE-2026-{rule:03}{id:04}")).collect();
    let rule = |number| Rule {
        id: format!("r{number}"),
        when: Some(FindingCondition { vulnerability_ids: ids(number), ..Default::default() }),
        ..Default::default()
    };
    let matches = PolicyMatch { repositories: vec!["none/*".into()], ..Default::default() };
    let description = format!("version {version}");
    Policy { rules: (0..50).map(rule).collect(), r#match: Some(matches), description, ..Default::default() }
}

#[tokio::test]
async fn lists_of_large_policies_end_pages_early() {
    let gate = gate(World::new()).start().await;
    for number in 0..5 {
        gate.create_policy(&format!("large{number}"), large_policy(number)).await;
    }
    for version in 1..5 {
        let policy = Policy { name: "policies/large0".into(), etag: "*".into(), ..large_policy(version) };
        let update = scangate_client::v1::UpdatePolicyRequest { policy: Some(policy), ..Default::default() };
        gate.client.update_policy(update).await.unwrap();
    }

    let page = gate.client.policies().list_policies(ListPoliciesRequest::default()).await.unwrap().into_inner();
    let all = gate.client.list_policies(ListPoliciesRequest::default()).await.unwrap();
    let (mut versions, mut sizes, mut page_token) = (Vec::new(), Vec::new(), String::new());
    loop {
        let request = ListPolicyRevisionsRequest { name: "policies/large0".into(), page_token, ..Default::default() };
        let page = gate.client.policies().list_policy_revisions(request).await.unwrap().into_inner();
        assert_fits(&page);
        sizes.push(page.revisions.len());
        versions.extend(page.revisions.into_iter().map(|revision| revision.policy.unwrap().description));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }

    assert_fits(&page);
    assert!(!page.next_page_token.is_empty());
    assert_eq!(all.policies.len(), 6);
    assert!(sizes.len() > 1, "{sizes:?}");
    assert_eq!(versions, ["version 4", "version 3", "version 2", "version 1", "version 0"]);
}

#[tokio::test]
async fn policy_beyond_one_response_is_refused() {
    let gate = gate(World::new()).start().await;
    let wide = |number| Rule {
        id: format!("r{number}"),
        when: Some(FindingCondition {
            packages: (0..1000).map(|name| format!("{:x<90}{name}", "package")).collect(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let policy = Policy { rules: (0..36).map(wide).collect(), ..Default::default() };

    let refused = crate::harness::rejection(
        gate.client.create_policy(crate::harness::create_policy_request("wide", policy)).await,
    );

    assert_eq!(refused.violations[0].field, "policy");
}

#[tokio::test(flavor = "multi_thread")]
async fn list_of_large_waivers_ends_pages_early() {
    const COUNT: usize = 900;
    let gate = gate(World::new()).start().await;
    let mut creating = JoinSet::new();
    for number in 0..COUNT {
        let mut policies = gate.client.policies();
        let waiver = Waiver { reason: "🙂".repeat(1000), ticket: "🙂".repeat(200), ..waiver("CVE-2026-1") };
        let request = create_waiver_request(&format!("w{number}"), waiver);
        creating.spawn(async move { policies.create_waiver(request).await.unwrap() });
    }
    creating.join_all().await;

    let (mut sizes, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListWaiversRequest { page_size: 1000, page_token, ..Default::default() };
        let page = gate.client.policies().list_waivers(request).await.unwrap().into_inner();
        assert_fits(&page);
        sizes.push(page.waivers.len());
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }

    assert!(sizes.len() > 1, "{sizes:?}");
    assert_eq!(sizes.iter().sum::<usize>(), COUNT);
}

#[tokio::test]
async fn page_size_beyond_maximum_counts_as_maximum() {
    let gate = gate(World::demo()).start().await;
    let request = |page_size| ListPoliciesRequest { page_size, ..Default::default() };

    let page = gate.client.policies().list_policies(request(i32::MAX)).await.unwrap().into_inner();
    let refused = crate::harness::status_rejection(gate.client.policies().list_policies(request(-1)).await);

    assert_eq!(page.policies.len(), 1);
    assert_eq!(refused.violations[0].field, "page_size");
}

#[tokio::test]
async fn views_select_fields_of_decisions() {
    let gate = gate(World::demo()).start().await;
    let labels = [("pipeline".to_owned(), "release-7".to_owned())].into();
    let request = EvaluateGateRequest { labels, environment: "prod".into(), ..evaluate_request("shop/web:1.4.2") };
    let full = gate.client.evaluate(request).await.unwrap().into_message();
    let mut image = full.image.clone().unwrap();
    image.push_time = None;
    let mut policies = full.policies.clone();
    for policy in &mut policies {
        *policy = scangate_client::v1::PolicyReference { policy: policy.policy.clone(), ..Default::default() };
    }
    let basic = Decision {
        name: full.name.clone(),
        verdict: full.verdict,
        reasons: vec![full.reasons[0].clone()],
        image: Some(image),
        environment: full.environment.clone(),
        policies,
        evaluate_time: full.evaluate_time,
        labels: full.labels.clone(),
        caller: full.caller.clone(),
        view: DecisionView::Basic.into(),
        ..Default::default()
    };

    for (view, got, listed) in [
        (DecisionView::Unspecified, &full, &basic),
        (DecisionView::Basic, &basic, &basic),
        (DecisionView::Full, &full, &full),
    ] {
        let request = GetDecisionRequest { name: full.name.clone(), view: view.into() };
        let read = gate.client.decisions().get_decision(request).await.unwrap().into_inner().decision;
        let request = scangate_client::v1::ListDecisionsRequest { view: view.into(), ..Default::default() };
        let page = gate.client.decisions().list_decisions(request).await.unwrap().into_inner();

        assert_eq!(read.as_ref(), Some(got), "{view:?}");
        assert_eq!(page.decisions, std::slice::from_ref(listed), "{view:?}");
    }
}
