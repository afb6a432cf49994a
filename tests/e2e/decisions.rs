//! Recorded decisions: read, listed, watched and replayed.

use scangate_client::v1::{
    Decision, DecisionFilter, EvaluateGateRequest, GetDecisionRequest, GetPolicyRequest, ListDecisionsRequest,
    ManifestDecision, ManifestSimulation, Policy, ReplayDecisionRequest, ReplayDecisionResponse, Severity, Simulation,
    Verdict, replay_decision_request::SimulatedPolicy,
};
use scangate_ecr_simulator::World;

use crate::harness::{Gate, deny_findings_from, evaluate_request, gate, status_rejection};

const IMAGES: [&str; 5] =
    ["shop/web:1.4.2", "shop/api:2.0.0", "shop/worker:3.1.0", "shop/gateway:1.1.0", "shop/search:5.0.0"];

async fn get(gate: &Gate, name: &str) -> Decision {
    let request = GetDecisionRequest { name: name.to_owned(), ..Default::default() };
    gate.client.decisions().get_decision(request).await.unwrap().into_inner().decision.unwrap()
}

#[tokio::test]
async fn recorded_decision_equals_returned_one() {
    let gate = gate(World::demo()).start().await;
    for image in IMAGES {
        let labels = [("pipeline".to_owned(), "release-7".to_owned())].into();
        let request = EvaluateGateRequest { labels, environment: "prod".into(), ..evaluate_request(image) };
        // The first decision is evaluated, the others come from the decision cache.
        for _ in 0..3 {
            let returned = gate.client.evaluate(request.clone()).await.unwrap();
            assert_eq!(get(&gate, returned.name()).await, *returned.as_message(), "{image}");
        }
    }
    let missing = GetDecisionRequest { name: "decisions/unknown-1".into(), ..Default::default() };
    let missing = gate.client.decisions().get_decision(missing).await;
    assert_eq!(status_rejection(missing).reason, "DECISION_NOT_FOUND");
}

#[tokio::test]
async fn decision_filters_select_matching_records() {
    let gate = gate(World::demo()).start().await;
    let mut names = Vec::new();
    for image in IMAGES {
        names.push(gate.decide(image).await.name.clone());
    }
    let list = async |filter: DecisionFilter, page_size| -> Vec<String> {
        let (mut listed, mut page_token) = (Vec::new(), String::new());
        loop {
            let request =
                ListDecisionsRequest { filter: Some(filter.clone()), page_size, page_token, ..Default::default() };
            let page = gate.client.decisions().list_decisions(request).await.unwrap().into_inner();
            listed.extend(page.decisions.into_iter().map(|decision| decision.name));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return listed;
            }
        }
    };

    names.reverse();
    assert_eq!(list(DecisionFilter::default(), 2).await, names);
    let allowed = DecisionFilter { verdicts: vec![Verdict::Allow.into()], ..Default::default() };
    assert_eq!(list(allowed, 100).await, [names[1].clone(), names[3].clone()]);
    let web = DecisionFilter { repository: "shop/web".into(), ..Default::default() };
    assert_eq!(list(web, 100).await, [names[4].clone()]);
    let worker = get(&gate, &names[2]).await;
    let by_platform = DecisionFilter { digest: worker.manifests[1].digest.clone(), ..Default::default() };
    assert_eq!(list(by_platform, 100).await, [names[2].clone()]);
    let by_policy = DecisionFilter { policy: "policies/none".into(), ..Default::default() };
    assert_eq!(list(by_policy, 100).await, Vec::<String>::new());
}

async fn replay(gate: &Gate, name: &str, policy: Option<Policy>) -> ReplayDecisionResponse {
    let request = ReplayDecisionRequest { name: name.to_owned(), simulated_policy: policy.map(SimulatedPolicy::Draft) };
    gate.client.decisions().replay_decision(request).await.unwrap().into_inner()
}

/// The simulation that says the same as a decision.
fn as_simulation(decision: &Decision) -> Simulation {
    let decision = decision.clone();
    let manifests = decision.manifests.into_iter().map(|manifest| {
        let ManifestDecision {
            digest,
            platform,
            scan,
            verdict,
            reasons,
            deploy_image: _,
            in_use_count,
            last_in_use_time,
        } = manifest;
        ManifestSimulation { digest, platform, scan, verdict, reasons, in_use_count, last_in_use_time }
    });
    Simulation {
        verdict: decision.verdict,
        reasons: decision.reasons,
        image: decision.image,
        environment: decision.environment,
        manifests: manifests.collect(),
        violations: decision.violations,
        warnings: decision.warnings,
        waived_findings: decision.waived_findings,
        waived_finding_count: decision.waived_finding_count,
        remediation: decision.remediation,
        policies: decision.policies,
        revision: decision.revision,
        evaluate_time: decision.evaluate_time,
        expire_time: decision.expire_time,
        next_change: decision.next_change,
        retry_after: decision.retry_after,
        omitted: decision.omitted,
    }
}

#[tokio::test]
async fn replay_reproduces_recorded_decision() {
    let gate = gate(World::demo()).start().await;
    let mut decisions = Vec::new();
    for image in IMAGES {
        decisions.push(gate.decide(image).await);
    }
    // The current policies differ from those of the decisions.
    gate.create_policy("lax", Policy { replaces_default: Some(true), ..Policy::default() }).await;

    for decision in decisions {
        let replayed = replay(&gate, &decision.name, None).await;

        assert!(replayed.same, "{replayed:?}");
        assert_eq!(replayed.simulation, Some(as_simulation(&decision)));
        assert_eq!(replayed.recorded, Some(decision));
    }
}

#[tokio::test]
async fn replay_under_draft_returns_its_verdict() {
    let gate = gate(World::demo()).start().await;
    let denied = gate.decide("shop/web:1.4.2").await;
    let also_denied = gate.decide("shop/worker:3.1.0").await;
    gate.create_policy("lax", Policy { replaces_default: Some(true), ..Policy::default() }).await;

    let lax = replay(&gate, &denied.name, Some(Policy::default())).await;
    let strict = deny_findings_from(Severity::Informational);
    let strict = replay(&gate, &also_denied.name, Some(strict)).await;

    assert_eq!(lax.recorded.unwrap().verdict(), Verdict::Deny);
    assert_eq!(lax.simulation.as_ref().unwrap().verdict(), Verdict::Allow);
    assert!(!lax.same);
    assert_eq!(strict.simulation.unwrap().verdict(), Verdict::Deny);
}

#[tokio::test]
async fn replay_under_own_policy_reports_no_change() {
    let gate = gate(World::demo()).start().await;
    let decision = gate.decide("shop/web:1.4.2").await;
    gate.create_policy("lax", Policy { replaces_default: Some(true), ..Policy::default() }).await;
    let request = GetPolicyRequest { name: "policies/default".into(), ..Default::default() };
    let default = gate.client.get_policy(request).await.unwrap().policy.unwrap();

    for name in ["policies/default", ""] {
        let draft = Policy { name: name.to_owned(), ..default.clone() };
        let replayed = replay(&gate, &decision.name, Some(draft)).await;

        assert!(replayed.same, "{replayed:?}");
    }
}
