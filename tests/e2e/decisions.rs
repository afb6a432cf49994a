//! Decisions after the fact: read, listed, followed, decided again, tried with a draft.

use std::{collections::BTreeSet, time::Duration};

use scangate_client::{
    Code, prost_types,
    v1::{
        CreateWaiverRequest, Decision, DecisionFilter, EvaluateGateRequest, GetDecisionRequest, GetPolicyRequest,
        ListDecisionsRequest, Policy, PolicyMode, PreviewPolicyRequest, ReplayDecisionRequest, ScanRequirements,
        Severity, ShortfallAction, Verdict, Waiver, WaiverScope, WatchDecisionsRequest, preview_policy_request::Draft,
    },
};
use scangate_ecr_simulator::World;

use crate::harness::{Gate, create, gate, no_findings_from, question, refused, rejection};

const IMAGES: [&str; 5] =
    ["shop/web:1.4.2", "shop/api:2.0.0", "shop/worker:3.1.0", "shop/gateway:1.1.0", "shop/search:5.0.0"];

async fn get(gate: &Gate, name: &str) -> Decision {
    let request = GetDecisionRequest { name: name.to_owned() };
    gate.client.decisions().get_decision(request).await.unwrap().into_inner().decision.unwrap()
}

#[tokio::test]
async fn a_decision_is_read_again_as_it_was_answered() {
    let gate = gate(World::demo()).start().await;
    for image in IMAGES {
        let labels = [("pipeline".to_owned(), "release-7".to_owned())].into();
        let asked = EvaluateGateRequest { labels, environment: "prod".into(), ..question(image) };
        // Warm ones as well.
        for _ in 0..3 {
            let answered = gate.client.evaluate(asked.clone()).await.unwrap();
            assert_eq!(get(&gate, answered.name()).await, *answered.as_message(), "{image}");
        }
    }
    let missing = GetDecisionRequest { name: "decisions/nobody-1".into() };
    let missing = gate.client.decisions().get_decision(missing).await;
    assert_eq!(refused(missing).reason, "DECISION_NOT_FOUND");
}

#[tokio::test]
async fn a_request_sent_again_gets_the_same_decision_and_records_no_second_one() {
    let gate = gate(World::demo()).start().await;
    let asked = EvaluateGateRequest { request_id: "deploy-42".into(), ..question("shop/api:2.0.0") };

    let first = gate.client.evaluate(asked.clone()).await.unwrap();
    gate.client.create_policy(create("strict", no_findings_from(Severity::Informational))).await.unwrap();
    let again = gate.client.evaluate(asked.clone()).await.unwrap();
    let other = EvaluateGateRequest { image: "shop/web:1.4.2".into(), ..asked };
    let refused = rejection(gate.client.evaluate(other).await);

    assert_eq!(again, first);
    assert_eq!(refused.reason, "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn a_request_with_many_labels_is_the_same_one_each_time_it_is_sent() {
    let gate = gate(World::demo()).start().await;
    let labels = (0..16).map(|number| (format!("label-{number}"), number.to_string())).collect();
    let asked = EvaluateGateRequest { request_id: "deploy-43".into(), labels, ..question("shop/api:2.0.0") };

    let first = gate.client.evaluate(asked.clone()).await.unwrap();
    for _ in 0..8 {
        assert_eq!(gate.client.evaluate(asked.clone()).await.unwrap(), first);
    }
}

#[tokio::test]
async fn decisions_are_listed_by_what_they_are_about() {
    let gate = gate(World::demo()).start().await;
    let mut names = Vec::new();
    for image in IMAGES {
        names.push(gate.decide(image).await.name.clone());
    }
    let list = async |filter: DecisionFilter, page_size| -> Vec<String> {
        let (mut listed, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListDecisionsRequest { filter: Some(filter.clone()), page_size, page_token };
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

#[tokio::test]
async fn the_same_inputs_give_the_same_decision_and_another_policy_what_would_have_been() {
    let gate = gate(World::demo()).start().await;
    let mut answered = Vec::new();
    for image in IMAGES {
        answered.push(gate.decide(image).await);
    }
    // What is in force now is not what was then.
    gate.client.create_policy(create("lax", Policy::default())).await.unwrap();

    for answered in &answered {
        let replay = ReplayDecisionRequest { name: answered.name.clone(), policy: None };
        let replayed = gate.client.decisions().replay_decision(replay).await.unwrap().into_inner();
        assert!(replayed.same, "{replayed:?}");
        assert_eq!(replayed.recorded.as_ref(), Some(answered));
        assert_eq!(replayed.replayed, replayed.recorded);
    }
    let strict = no_findings_from(Severity::Informational);
    let replay = ReplayDecisionRequest { name: answered[0].name.clone(), policy: Some(Policy::default()) };
    let lax = gate.client.decisions().replay_decision(replay).await.unwrap().into_inner();
    let replay = ReplayDecisionRequest { name: answered[2].name.clone(), policy: Some(strict) };
    let strict = gate.client.decisions().replay_decision(replay).await.unwrap().into_inner();

    assert_eq!(lax.recorded.unwrap().verdict(), Verdict::Deny);
    assert_eq!(lax.replayed.as_ref().unwrap().verdict(), Verdict::Allow);
    assert!(!lax.same && !lax.replayed.unwrap().authoritative);
    assert_eq!(strict.replayed.unwrap().verdict(), Verdict::Deny);

    let default = gate
        .client
        .policies()
        .get_policy(GetPolicyRequest { name: "policies/default".into(), ..Default::default() })
        .await
        .unwrap();
    let replay = ReplayDecisionRequest { name: answered[0].name.clone(), policy: default.into_inner().policy };
    for name in ["policies/default", ""] {
        let mut replay = replay.clone();
        name.clone_into(&mut replay.policy.as_mut().unwrap().name);
        let alike = gate.client.decisions().replay_decision(replay).await.unwrap().into_inner();
        assert!(alike.same, "{alike:?}");
    }
}

#[tokio::test]
async fn a_draft_without_a_name_takes_nobodys_place() {
    let gate = gate(World::demo()).start().await;
    let strict = no_findings_from(Severity::Informational);
    gate.client.create_policy(create("draft", strict)).await.unwrap();
    let denied = gate.decide(IMAGES[0]).await;
    assert_eq!(denied.verdict(), Verdict::Deny);

    let (replayed, flipped) = preview(&gate, Draft::Policy(Policy::default())).await;

    assert_eq!((replayed, flipped), (1, Vec::new()), "policies/draft denies as it did");
}

#[tokio::test]
async fn whoever_watches_sees_each_decision_as_it_is_made() {
    let gate = gate(World::demo()).start().await;
    drop(gate.decide("shop/web:1.4.2").await);
    let filter = Some(DecisionFilter { verdicts: vec![Verdict::Allow.into()], ..Default::default() });
    let mut watched =
        gate.client.decisions().watch_decisions(WatchDecisionsRequest { filter }).await.unwrap().into_inner();
    assert!(watched.message().await.unwrap().unwrap().decision.is_none(), "the stream begins with a heartbeat");

    let mut made = BTreeSet::new();
    for _ in 0..10 {
        drop(gate.decide("shop/web:1.4.2").await);
        made.insert(gate.decide("shop/api:2.0.0").await.name.clone());
    }
    let mut seen = BTreeSet::new();
    while seen.len() < 10 {
        let message = tokio::time::timeout(Duration::from_secs(20), watched.message()).await.unwrap();
        seen.extend(message.unwrap().unwrap().decision.map(|decision| decision.name));
    }

    assert_eq!(seen, made);
}

async fn preview(gate: &Gate, draft: Draft) -> (u64, Vec<(String, Verdict, String)>) {
    let window = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
    let request = PreviewPolicyRequest { draft: Some(draft), window, ..Default::default() };
    let mut stream = gate.client.policies().preview_policy(request).await.unwrap().into_inner();
    let (mut totals, mut flipped) = ((0, 0), Vec::new());
    while let Some(message) = stream.message().await.unwrap() {
        totals = (message.replayed, message.flipped);
        let more = message
            .decisions
            .iter()
            .map(|flipped| (flipped.decision.clone(), flipped.would_be(), flipped.flipped_by.clone()));
        flipped.extend(more);
    }
    assert_eq!(totals.1, flipped.len() as u64);
    (totals.0, flipped)
}

#[tokio::test]
async fn a_draft_is_tried_on_what_was_decided() {
    let gate = gate(World::demo()).start().await;
    let mut names = Vec::new();
    for image in IMAGES {
        names.push(gate.decide(image).await.name.clone());
    }

    let strict = Policy { name: "policies/strict".into(), ..no_findings_from(Severity::Low) };
    let lax = Policy { name: "policies/lax".into(), ..Policy::default() };
    let scope = WaiverScope { vulnerability_id: "CVE-2022-2274".into(), ..Default::default() };
    let waiver = Waiver { scope: Some(scope), reason: "not reachable".into(), ..Default::default() };

    assert_eq!(preview(&gate, Draft::Policy(strict)).await, (5, Vec::new()), "what was denied stays so");
    let (replayed, flipped) = preview(&gate, Draft::Policy(lax)).await;
    let flips: Vec<&str> = flipped.iter().map(|(name, _, _)| name.as_str()).collect();
    assert_eq!((replayed, flips), (5, vec![names[2].as_str(), names[0].as_str()]));
    assert!(flipped.iter().all(|(_, would_be, by)| *would_be == Verdict::Allow && by.starts_with("default/no-")));
    let (_, flipped) = preview(&gate, Draft::Waiver(waiver)).await;
    assert_eq!(flipped, [(names[2].clone(), Verdict::Allow, "default/no-critical".to_owned())]);
    let tomorrow = prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 };
    let lax_one_day = Policy { name: "policies/lax".into(), effective_time: Some(tomorrow), ..Policy::default() };
    assert_eq!(preview(&gate, Draft::Policy(lax_one_day)).await.1.len(), 2, "it is tried as if it were in force");
}

#[tokio::test]
async fn a_draft_that_takes_the_place_of_the_default_is_told_so() {
    let gate = gate(World::demo()).start().await;
    let window = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
    let notes = async |mode: PolicyMode| {
        let draft = Draft::Policy(Policy { mode: mode.into(), ..Policy::default() });
        let request = PreviewPolicyRequest { draft: Some(draft), window, ..Default::default() };
        let mut stream = gate.client.policies().preview_policy(request).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap().notes
    };

    let (enforced, warning) = (notes(PolicyMode::Enforce).await, notes(PolicyMode::Warn).await);

    assert!(enforced[0].contains("takes the place of policies/default"), "{enforced:?}");
    assert!(warning[0].contains("never denies"), "{warning:?}");
}

#[tokio::test]
async fn a_flip_between_permission_and_waiting_is_laid_to_the_policy_that_waits() {
    let gate = gate(World::demo()).start().await;
    let shop = |scan| Policy { name: "policies/shop".into(), scan: Some(scan), ..Policy::default() };
    let warns = ShortfallAction::Warn.into();
    let lax = shop(ScanRequirements { never_scanned: warns, scanning: warns, ..Default::default() });
    let waits = gate.decide("shop/cart:0.9.0").await;
    gate.client.create_policy(create("shop", lax.clone())).await.unwrap();
    let allowed = gate.decide("shop/search:5.0.0").await;
    assert_eq!([waits.verdict(), allowed.verdict()], [Verdict::Indeterminate, Verdict::Allow]);

    let strict = shop(ScanRequirements {
        never_scanned: ShortfallAction::StartScan.into(),
        scanning: warns,
        ..Default::default()
    });
    let (_, flipped) = preview(&gate, Draft::Policy(strict)).await;

    let expected = [
        (allowed.name.clone(), Verdict::Indeterminate, "shop/scan".to_owned()),
        (waits.name.clone(), Verdict::Allow, "default/scan".to_owned()),
    ];
    assert_eq!(flipped, expected);
}

#[tokio::test]
async fn a_draft_takes_the_place_of_what_has_its_name() {
    let gate = gate(World::demo()).start().await;
    let scope = |repository: &str| {
        Some(WaiverScope {
            vulnerability_id: "CVE-2022-2274".into(),
            repository: repository.into(),
            ..Default::default()
        })
    };
    let waiver = Waiver { scope: scope(""), reason: "not reachable".into(), ..Default::default() };
    let request = CreateWaiverRequest { waiver_id: "w".into(), waiver: Some(waiver.clone()), ..Default::default() };
    gate.client.policies().create_waiver(request).await.unwrap();
    let allowed = gate.decide(IMAGES[2]).await;
    assert_eq!(allowed.verdict(), Verdict::Allow);

    let narrower = Waiver { name: "waivers/w".into(), scope: scope("elsewhere/*"), ..waiver };
    let (_, flipped) = preview(&gate, Draft::Waiver(narrower)).await;
    let window = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
    let try_out = async |draft| {
        let request = PreviewPolicyRequest { draft: Some(draft), window, ..Default::default() };
        refused(gate.client.policies().preview_policy(request).await.map(|_| ()))
    };
    let missing = try_out(Draft::DeletePolicy("policies/none".into())).await;
    let unclear = try_out(Draft::Policy(Policy { name: "none".into(), ..Policy::default() })).await;

    assert_eq!(flipped, [(allowed.name.clone(), Verdict::Deny, "default/no-critical".to_owned())]);
    assert_eq!((missing.code, missing.reason.as_str()), (Code::NotFound, "POLICY_NOT_FOUND"));
    assert_eq!((unclear.code, unclear.reason.as_str()), (Code::InvalidArgument, "INVALID_FIELDS"));
}
