//! The callers of writes and decisions: recorded, never taken from a request, and the scope of request ids.

use scangate_client::{
    Client,
    prost_types::Timestamp,
    v1::{
        CreatePolicyRequest, Decision, DecisionFilter, EvaluateGateRequest, ListDecisionsRequest,
        ListPolicyRevisionsRequest, Policy, Severity, UpdatePolicyRequest, Waiver, WaiverState,
    },
};
use scangate_ecr_simulator::World;

use crate::harness::{
    Gate,
    callers::{Callers, grant},
    create_policy_request, deny_findings_from, evaluate_request, gate, waiver,
};

const IMAGE: &str = "shop/web:1.4.2";
const REQUEST_ID: &str = "6f1c2a34-9d0e-4b7a-8c55-0a1b2c3d4e5f";

async fn decisions_of(client: &Client, caller: &str) -> Vec<Decision> {
    let filter = Some(DecisionFilter { caller: caller.into(), ..Default::default() });
    let request = ListDecisionsRequest { filter, ..Default::default() };
    client.decisions().list_decisions(request).await.unwrap().into_inner().decisions
}

async fn gate_with_callers() -> (Gate, Callers, [Client; 2]) {
    let grants = ["ann", "bob"].map(|subject| grant(subject, "admin", ""));
    let callers = Callers::new(&grants.concat());
    let gate = gate(World::demo()).callers(&callers).start().await;
    let clients = [callers.client(&gate, "ann").await, callers.client(&gate, "bob").await];
    (gate, callers, clients)
}

#[tokio::test]
async fn forged_author_is_ignored() {
    let gate = gate(World::demo()).start().await;
    let policy = Policy { update_author: "eve".into(), ..deny_findings_from(Severity::Critical) };
    let time = Some(Timestamp { seconds: 1_700_000_000, nanos: 0 });
    let state = WaiverState::Proposed.into();
    let (requested_by, approved_by) = ("eve".to_owned(), "eve".to_owned());
    let forged = Waiver { requested_by, approved_by, approve_time: time, state, ..waiver("CVE-2022-2274") };

    let created = gate.create_policy("team", policy).await.policy.unwrap();
    let waiver = gate.create_waiver("w", forged).await;

    assert_eq!(created.update_author, "anonymous");
    assert_eq!((waiver.requested_by.as_str(), waiver.approved_by.as_str()), ("anonymous", ""));
    assert_eq!((waiver.approve_time, waiver.state()), (None, WaiverState::Active));
}

#[tokio::test]
async fn decisions_are_listed_by_caller() {
    let gate = gate(World::demo()).start().await;
    let decision = gate.decide(IMAGE).await;

    let listed = decisions_of(&gate.client, "anonymous").await;

    assert_eq!(decision.caller, "anonymous");
    assert_eq!(listed.iter().map(|listed| listed.name.as_str()).collect::<Vec<_>>(), [decision.name.as_str()]);
    assert_eq!(listed[0].caller, "anonymous");
    assert!(decisions_of(&gate.client, "eve").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_revision_states_its_author() {
    let (_gate, _callers, [ann, bob]) = gate_with_callers().await;
    ann.create_policy(create_policy_request("team", deny_findings_from(Severity::High))).await.unwrap();
    let change = Policy {
        name: "policies/team".into(),
        etag: "*".into(),
        description: "as bob sees it".into(),
        update_author: "test:ann".into(),
        ..Default::default()
    };
    bob.update_policy(UpdatePolicyRequest { policy: Some(change), ..Default::default() }).await.unwrap();

    let request = ListPolicyRevisionsRequest { name: "policies/team".into(), ..Default::default() };
    let revisions = ann.policies().list_policy_revisions(request).await.unwrap().into_inner().revisions;

    let authors = revisions.iter().map(|revision| revision.author.as_str()).collect::<Vec<_>>();
    assert_eq!(authors, ["test:bob", "test:ann"]);
    assert_eq!(revisions[0].policy.as_ref().unwrap().update_author, "test:bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_do_not_share_request_ids() {
    let (_gate, _callers, [ann, bob]) = gate_with_callers().await;
    let evaluate = |image: &str| EvaluateGateRequest { request_id: REQUEST_ID.into(), ..evaluate_request(image) };
    let create = |id: &str| CreatePolicyRequest {
        request_id: REQUEST_ID.into(),
        ..create_policy_request(id, deny_findings_from(Severity::High))
    };
    let of_ann = ann.evaluate(evaluate(IMAGE)).await.unwrap().into_message();
    ann.create_policy(create("of-ann")).await.unwrap();

    let of_bob = bob.evaluate(evaluate(IMAGE)).await.unwrap().into_message();
    bob.evaluate(evaluate("shop/api:2.0.0")).await.unwrap_err();
    let created = bob.create_policy(create("of-bob")).await.unwrap();

    assert_ne!(of_ann.name, of_bob.name);
    assert_eq!((of_ann.caller.as_str(), of_bob.caller.as_str()), ("test:ann", "test:bob"));
    assert_eq!(created.policy.unwrap().name, "policies/of-bob");
    let listed = decisions_of(&ann, "test:bob").await;
    assert_eq!(listed.iter().map(|decision| decision.name.as_str()).collect::<Vec<_>>(), [of_bob.name.as_str()]);
}
