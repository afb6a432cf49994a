//! Enrichment by Inspector: EPSS, known exploits, and rules that need them without Inspector.

use scangate_client::v1::{
    CreateWaiverRequest, Enrichment, ExploitFilter, ExploitKnowledge, FindingCondition, GetFindingsRequest, Policy,
    PolicyMatch, Rule, RuleEffect, ScanState, Verdict, Waiver, WaiverConditions, WaiverScope, WhenUnknown,
};
use scangate_ecr_simulator::{EnhancedFinding, Fault, ImageSpec, ScanScript, World};

use crate::harness::{Gate, gate};

const IMAGE: &str = "shop/web:1";

fn probable_exploit(when_unknown: WhenUnknown) -> FindingCondition {
    FindingCondition { min_epss: Some(0.5), when_unknown: when_unknown.into(), ..Default::default() }
}

fn known_exploit(when_unknown: WhenUnknown) -> FindingCondition {
    FindingCondition { exploit: ExploitFilter::Known.into(), when_unknown: when_unknown.into(), ..Default::default() }
}

/// A gate over one image with one finding: MEDIUM without an exploit in ECR, probably exploited in Inspector.
async fn gate_with(enrichment: &str, filter: FindingCondition) -> Gate {
    let finding =
        EnhancedFinding::new("CVE-2024-1", "MEDIUM").package("openssl", "3.0.1").epss(0.9).known_exploited(1, 2);
    let mut world = World::enhanced();
    world.push(ImageSpec::single("shop/web", "1").scan(ScanScript::complete(vec![finding])));
    let gate = gate(world).flag("--inspector-enrichment", enrichment).start().await;
    let effect = RuleEffect::Deny.into();
    let rule = Rule { id: "none".to_owned(), when: Some(filter), effect, ..Default::default() };
    let matches = PolicyMatch { repositories: vec!["shop/*".into()], ..Default::default() };
    let policy = Policy { rules: vec![rule], r#match: Some(matches), ..Default::default() };
    gate.create_policy("epss", policy).await;
    gate
}

fn enrichment(scan: Option<&ScanState>) -> (Enrichment, &str) {
    let scan = scan.unwrap();
    (scan.enrichment(), &scan.enrichment_detail)
}

#[tokio::test]
async fn probable_exploit_denies_with_enrichment() {
    let gate = gate_with("true", probable_exploit(WhenUnknown::NoMatch)).await;

    let decision = gate.decide(IMAGE).await;

    assert_eq!(decision.verdict(), Verdict::Deny);
    assert_eq!(decision.violations[0].rule, "none");
    let finding = &decision.violations[0].findings[0];
    assert_eq!((finding.epss, finding.exploit()), (Some(0.9), ExploitKnowledge::Known));
    assert_eq!(enrichment(decision.manifests[0].scan.as_ref()), (Enrichment::Complete, ""));
}

#[tokio::test]
async fn rule_without_inspector_uses_when_unknown() {
    for (when_unknown, verdict) in [(WhenUnknown::NoMatch, Verdict::Allow), (WhenUnknown::Match, Verdict::Deny)] {
        let gate = gate_with("false", probable_exploit(when_unknown)).await;

        let decision = gate.decide(IMAGE).await;

        assert_eq!(decision.verdict(), verdict, "{when_unknown:?}");
        assert_eq!(enrichment(decision.manifests[0].scan.as_ref()), (Enrichment::NotAsked, ""));
        assert_eq!(gate.ecr.calls().count("ListFindings"), 0);
    }
}

#[tokio::test]
async fn denied_inspector_names_missing_permission() {
    let gate = gate_with("true", probable_exploit(WhenUnknown::Match)).await;
    gate.ecr.faults().script(Fault::access_denied().on("ListFindings"));

    let decision = gate.decide(IMAGE).await;
    let request = GetFindingsRequest { image: IMAGE.to_owned(), ..Default::default() };
    let read = gate.client.all_findings(request).await.unwrap();

    let missing = "AWS denies this server inspector2:ListFindings; grant it to the server's role";
    assert_eq!(decision.verdict(), Verdict::Deny);
    assert_eq!(enrichment(decision.manifests[0].scan.as_ref()), (Enrichment::Missing, missing));
    assert_eq!(enrichment(read.manifests[0].scan.as_ref()), (Enrichment::Missing, missing));
    assert_eq!(read.findings[0].epss, None);
}

#[tokio::test]
async fn missing_exploit_data_uses_when_unknown() {
    for (when_unknown, verdict) in [(WhenUnknown::NoMatch, Verdict::Allow), (WhenUnknown::Match, Verdict::Deny)] {
        for operation in ["ListFindings", "BatchGetFindingDetails"] {
            let gate = gate_with("true", known_exploit(when_unknown)).await;
            gate.ecr.faults().script(Fault::access_denied().on(operation));

            let decision = gate.decide(IMAGE).await;

            assert_eq!(decision.verdict(), verdict, "{when_unknown:?} without {operation}");
        }
    }
}

#[tokio::test]
async fn waiver_while_not_exploited_needs_exploit_data() {
    let gate = gate_with("true", probable_exploit(WhenUnknown::Match)).await;
    let waiver = Waiver {
        scope: Some(WaiverScope {
            vulnerability_id: "CVE-2024-1".to_owned(),
            everywhere: Some(true),
            ..Default::default()
        }),
        conditions: Some(WaiverConditions { while_not_exploited: Some(true), ..Default::default() }),
        reason: "not exploited".to_owned(),
        ..Default::default()
    };
    let request = CreateWaiverRequest { waiver: Some(waiver), ..Default::default() };
    gate.client.policies().create_waiver(request).await.unwrap();
    gate.ecr.faults().script(Fault::access_denied().on("BatchGetFindingDetails"));

    let decision = gate.decide(IMAGE).await;

    assert_eq!((decision.verdict(), decision.waived_finding_count), (Verdict::Deny, 0));
}
