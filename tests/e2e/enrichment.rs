//! What Inspector adds to a decision: EPSS and known exploitation, and a rule that asks for them without it.

use scangate_client::v1::{
    CreateWaiverRequest, Enrichment, ExploitFilter, ExploitKnowledge, FindingFilter, GetFindingsRequest, Policy,
    PolicyMatch, Rule, RuleEffect, ScanState, Verdict, Waiver, WaiverConditions, WaiverScope, WhenUnknown,
};
use scangate_ecr_simulator::{EnhancedFinding, Fault, ImageSpec, ScanScript, World};

use crate::harness::{Gate, create, gate};

const IMAGE: &str = "shop/web:1";

fn probable(when_unknown: WhenUnknown) -> FindingFilter {
    FindingFilter { min_epss: Some(0.5), when_unknown: when_unknown.into(), ..Default::default() }
}

fn exploited(when_unknown: WhenUnknown) -> FindingFilter {
    FindingFilter { exploit: ExploitFilter::Known.into(), when_unknown: when_unknown.into(), ..Default::default() }
}

/// A gate over one image with a finding that ECR rates MEDIUM, without an exploit, and Inspector holds to be probably exploited.
async fn gate_with(enrichment: &str, filter: FindingFilter) -> Gate {
    let finding =
        EnhancedFinding::new("CVE-2024-1", "MEDIUM").package("openssl", "3.0.1").epss(0.9).known_exploited(1, 2);
    let mut world = World::enhanced();
    world.push(ImageSpec::single("shop/web", "1").scan(ScanScript::complete(vec![finding])));
    let gate = gate(world).flag("--inspector-enrichment", enrichment).start().await;
    let effect = RuleEffect::Deny.into();
    let rule = Rule { id: "none".to_owned(), when: Some(filter), effect, ..Default::default() };
    let matches = PolicyMatch { repositories: vec!["shop/*".into()], ..Default::default() };
    let policy = Policy { rules: vec![rule], r#match: Some(matches), ..Default::default() };
    gate.client.create_policy(create("epss", policy)).await.unwrap();
    gate
}

fn told(scan: Option<&ScanState>) -> (Enrichment, &str) {
    let scan = scan.unwrap();
    (scan.enrichment(), &scan.enrichment_detail)
}

#[tokio::test]
async fn a_probable_exploit_denies_where_inspector_is_asked() {
    let gate = gate_with("true", probable(WhenUnknown::NoMatch)).await;

    let decision = gate.decide(IMAGE).await;

    assert_eq!(decision.verdict(), Verdict::Deny);
    assert_eq!(decision.violations[0].rule, "none");
    let finding = &decision.violations[0].findings[0];
    assert_eq!((finding.epss, finding.exploit()), (Some(0.9), ExploitKnowledge::Known));
    assert_eq!(told(decision.manifests[0].scan.as_ref()), (Enrichment::Complete, ""));
}

#[tokio::test]
async fn without_inspector_the_rule_follows_when_unknown() {
    for (when_unknown, verdict) in [(WhenUnknown::NoMatch, Verdict::Allow), (WhenUnknown::Match, Verdict::Deny)] {
        let gate = gate_with("false", probable(when_unknown)).await;

        let decision = gate.decide(IMAGE).await;

        assert_eq!(decision.verdict(), verdict, "{when_unknown:?}");
        assert_eq!(told(decision.manifests[0].scan.as_ref()), (Enrichment::NotAsked, ""));
        assert_eq!(gate.ecr.calls().count("ListFindings"), 0);
    }
}

#[tokio::test]
async fn an_inspector_that_refuses_is_told_with_the_missing_right_and_decides_nothing() {
    let gate = gate_with("true", probable(WhenUnknown::Match)).await;
    gate.ecr.faults().script(Fault::access_denied().on("ListFindings"));

    let decision = gate.decide(IMAGE).await;
    let request = GetFindingsRequest { image: IMAGE.to_owned(), ..Default::default() };
    let read = gate.client.all_findings(request).await.unwrap();

    let missing = "AWS denies this server inspector2:ListFindings; grant it to the server's role";
    assert_eq!(decision.verdict(), Verdict::Deny);
    assert_eq!(told(decision.manifests[0].scan.as_ref()), (Enrichment::Missing, missing));
    assert_eq!(told(read.manifests[0].scan.as_ref()), (Enrichment::Missing, missing));
    assert_eq!(read.findings[0].epss, None);
}

#[tokio::test]
async fn what_no_inspector_was_heard_about_is_not_taken_for_unexploited() {
    for (when_unknown, verdict) in [(WhenUnknown::NoMatch, Verdict::Allow), (WhenUnknown::Match, Verdict::Deny)] {
        for operation in ["ListFindings", "BatchGetFindingDetails"] {
            let gate = gate_with("true", exploited(when_unknown)).await;
            gate.ecr.faults().script(Fault::access_denied().on(operation));

            let decision = gate.decide(IMAGE).await;

            assert_eq!(decision.verdict(), verdict, "{when_unknown:?} without {operation}");
        }
    }
}

#[tokio::test]
async fn a_waiver_while_not_exploited_does_not_cover_what_no_inspector_was_heard_about() {
    let gate = gate_with("true", probable(WhenUnknown::Match)).await;
    let waiver = Waiver {
        scope: Some(WaiverScope { vulnerability_id: "CVE-2024-1".to_owned(), ..Default::default() }),
        conditions: Some(WaiverConditions { while_not_exploited: true, ..Default::default() }),
        reason: "Nobody exploits it.".to_owned(),
        ..Default::default()
    };
    let request = CreateWaiverRequest { waiver: Some(waiver), ..Default::default() };
    gate.client.policies().create_waiver(request).await.unwrap();
    gate.ecr.faults().script(Fault::access_denied().on("BatchGetFindingDetails"));

    let decision = gate.decide(IMAGE).await;

    assert_eq!((decision.verdict(), decision.waived_total), (Verdict::Deny, 0));
}
