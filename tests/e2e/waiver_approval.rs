//! Waivers that need the approval of another caller.

use scangate_client::{
    Client, Code,
    prost_types::Timestamp,
    v1::{
        ApproveWaiverRequest, ApproveWaiverResponse, CreateWaiverResponse, GetWaiverRequest, ImportWaiversRequest,
        ListWaiversRequest, UpdateWaiverRequest, UpdateWaiverResponse, Verdict, Waiver, WaiverConditions, WaiverFilter,
        WaiverState, import_waivers_request::Document,
    },
};
use scangate_ecr_simulator::World;
use scangate_test_postgres::Cluster;

use crate::{
    harness::{
        Gate,
        callers::{Callers, grant},
        create_waiver_request, evaluate_request, gate, status_rejection, waiver,
    },
    newer_server::document,
};

/// The image whose only finding that denies is the waived one.
const IMAGE: &str = "shop/worker:3.1.0";
const PROPOSED: &str = r#""AWAITED""#;
const APPROVED: &str = r#"{"GIVEN":{"by":"bob","at":"2026-01-02T00:00:00Z"}}"#;

/// A gate with the waiver `waivers/w` in a state of approval, at revision 2.
async fn gate_with(approval: &str) -> (Cluster, Gate) {
    let cluster = Cluster::start();
    let database = cluster.database();
    let gate = gate(World::demo()).store(&database).flag("--waiver-max-term", "40000d").start().await;
    assert_eq!(gate.decide(IMAGE).await.verdict(), Verdict::Deny);
    let body = format!(
        r#"{{"scope":{{"vulnerability":"CVE-2022-2274","everywhere":true}},"reason":"not reachable","requested_by":"ann","approval":{approval},"start_time":"2026-01-01T00:00:00Z","expire_time":"2100-01-01T00:00:00Z"}}"#
    );
    cluster.execute(&database, &document("waivers", "w", 2, &body));
    (cluster, gate)
}

async fn verdict(gate: &Gate, revision: &str) -> Verdict {
    let mut request = evaluate_request(IMAGE);
    revision.clone_into(&mut request.at_least_as_fresh);
    gate.client.evaluate(request).await.unwrap().verdict()
}

async fn read(gate: &Gate) -> Waiver {
    let request = GetWaiverRequest { name: "waivers/w".into(), at_least_as_fresh: "rev-2".into() };
    gate.client.policies().get_waiver(request).await.unwrap().into_inner().waiver.unwrap()
}

async fn update(gate: &Gate, change: Waiver) -> UpdateWaiverResponse {
    let change = Waiver { name: "waivers/w".into(), etag: "*".into(), ..change };
    let request = UpdateWaiverRequest { waiver: Some(change), ..Default::default() };
    gate.client.policies().update_waiver(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn proposed_waiver_is_listed_and_covers_nothing() {
    let (_cluster, gate) = gate_with(PROPOSED).await;

    let verdict = verdict(&gate, "rev-2").await;
    let listed = |state: WaiverState| {
        let request = ListWaiversRequest {
            filter: Some(WaiverFilter { states: vec![state.into()], ..Default::default() }),
            ..Default::default()
        };
        let mut policies = gate.client.policies();
        async move { policies.list_waivers(request).await.unwrap().into_inner().waivers }
    };

    assert_eq!(verdict, Verdict::Deny);
    let waiver = &listed(WaiverState::Proposed).await[0];
    assert_eq!((waiver.state(), waiver.requested_by.as_str()), (WaiverState::Proposed, "ann"));
    assert_eq!((waiver.approved_by.as_str(), waiver.approve_time), ("", None));
    assert!(listed(WaiverState::Active).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn narrowed_waiver_keeps_its_approval() {
    let (_cluster, gate) = gate_with(APPROVED).await;
    assert_eq!(verdict(&gate, "rev-2").await, Verdict::Allow);
    let approved = read(&gate).await;
    let conditions = Some(WaiverConditions { max_epss: Some(0.99), ..Default::default() });
    let end = Some(Timestamp { seconds: 4_000_000_000, nanos: 0 });

    let narrowed = update(&gate, Waiver { expire_time: end, conditions, ..Default::default() }).await;

    let waiver = narrowed.waiver.unwrap();
    assert_eq!((waiver.state(), waiver.approved_by.as_str()), (WaiverState::Active, "bob"));
    assert_eq!((waiver.approve_time, waiver.requested_by.as_str()), (approved.approve_time, "ann"));
    assert!(waiver.approve_time.is_some());
    assert!(!narrowed.notes.iter().any(|note| note.contains("approved")), "{:?}", narrowed.notes);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_change_makes_waiver_proposed() {
    let (_cluster, gate) = gate_with(APPROVED).await;
    drop(read(&gate).await);

    let changed = update(&gate, Waiver { reason: "another".into(), ..Default::default() }).await;

    let waiver = changed.waiver.unwrap();
    assert_eq!((waiver.state(), waiver.approved_by.as_str()), (WaiverState::Proposed, ""));
    assert!(changed.notes.iter().any(|note| note.contains("until another caller approves it")), "{:?}", changed.notes);
    assert_eq!(verdict(&gate, &changed.revision).await, Verdict::Deny);
}

/// A gate that demands approval, with clients of two proposers and of an approver.
async fn gate_with_callers() -> (Gate, Callers, [Client; 3]) {
    let grants = ["ann", "bob", "eve"].map(|subject| grant(subject, "admin", ""));
    let callers = Callers::new(&grants.concat());
    let gate = gate(World::demo()).callers(&callers).start().await;
    let ann = callers.client(&gate, "ann").await;
    let bob = callers.client(&gate, "bob").await;
    let eve = callers.client(&gate, "eve").await;
    (gate, callers, [ann, bob, eve])
}

async fn propose(client: &Client) -> CreateWaiverResponse {
    let request = create_waiver_request("w", waiver("CVE-2022-2274"));
    client.policies().create_waiver(request).await.unwrap().into_inner()
}

async fn approve(client: &Client) -> Result<ApproveWaiverResponse, tonic::Status> {
    let request = ApproveWaiverRequest { name: "waivers/w".into(), etag: "*".into(), ..Default::default() };
    client.policies().approve_waiver(request).await.map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn approved_waiver_covers_and_names_its_callers() {
    let (_gate, _callers, [ann, bob, _]) = gate_with_callers().await;
    let proposed = propose(&ann).await;
    let before = ann.evaluate(evaluate_request(IMAGE)).await.unwrap();
    let own = status_rejection(approve(&ann).await);

    let approved = approve(&bob).await.unwrap();

    let after = ann.evaluate(evaluate_request(IMAGE)).await.unwrap();
    assert_eq!((proposed.waiver.unwrap().state(), before.verdict()), (WaiverState::Proposed, Verdict::Deny));
    assert!(
        proposed.notes.iter().any(|note| note.contains("until another caller approves it")),
        "{:?}",
        proposed.notes
    );
    assert_eq!((own.code, own.reason.as_str()), (Code::PermissionDenied, "SELF_APPROVAL"));
    let waiver = approved.waiver.unwrap();
    assert_eq!((waiver.state(), waiver.requested_by.as_str()), (WaiverState::Active, "test:ann"));
    assert!(waiver.approve_time.is_some());
    assert_eq!(after.verdict(), Verdict::Allow);
    let decision = after.into_message();
    let applied = &decision.waived_findings[0].waivers[0];
    assert_eq!((applied.requested_by.as_str(), applied.approved_by.as_str()), ("test:ann", "test:bob"));
    assert_eq!(decision.caller, "test:ann");
}

#[tokio::test(flavor = "multi_thread")]
async fn approval_of_earlier_version_is_a_conflict() {
    let (_gate, _callers, [ann, bob, eve]) = gate_with_callers().await;
    let read = propose(&ann).await.waiver.unwrap();
    let change = Waiver { name: read.name.clone(), etag: "*".into(), reason: "another".into(), ..Waiver::default() };
    let change = UpdateWaiverRequest { waiver: Some(change), ..UpdateWaiverRequest::default() };
    ann.policies().update_waiver(change).await.unwrap();
    approve(&eve).await.unwrap();

    let request = ApproveWaiverRequest { name: read.name, etag: read.etag, ..Default::default() };
    let refused = status_rejection(bob.policies().approve_waiver(request).await);

    assert_eq!((refused.code, refused.reason.as_str()), (Code::Aborted, "ETAG_MISMATCH"));
}

#[tokio::test(flavor = "multi_thread")]
async fn author_of_wider_scope_cannot_approve_it() {
    let (_gate, _callers, [ann, bob, eve]) = gate_with_callers().await;
    propose(&ann).await;
    approve(&bob).await.unwrap();
    for (client, reason) in [(&eve, "wider"), (&bob, "a trivial change")] {
        let change = Waiver { name: "waivers/w".into(), etag: "*".into(), reason: reason.into(), ..Default::default() };
        let request = UpdateWaiverRequest { waiver: Some(change), ..Default::default() };
        client.policies().update_waiver(request).await.unwrap();
    }

    for client in [&ann, &bob, &eve] {
        let refused = status_rejection(approve(client).await);
        assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "SELF_APPROVAL"));
    }
    assert_eq!(ann.evaluate(evaluate_request(IMAGE)).await.unwrap().verdict(), Verdict::Deny);
}

#[tokio::test(flavor = "multi_thread")]
async fn imported_waivers_are_proposed() {
    let (_gate, _callers, [ann, ..]) = gate_with_callers().await;
    let document = r#"{"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.com/vex/1", "author": "ann",
        "statements": [{"vulnerability": {"name": "CVE-2022-2274"}, "status": "fixed", "products": [{"@id":
        "pkg:oci/worker@sha256%3Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}]}]}"#;
    let document = Some(Document::OpenvexJson(document.into()));
    let request = ImportWaiversRequest { document, ..Default::default() };

    let imported = ann.policies().import_waivers(request).await.unwrap().into_inner();

    let states: Vec<WaiverState> = imported.waivers.iter().map(Waiver::state).collect();
    assert_eq!((states, imported.waivers[0].requested_by.as_str()), (vec![WaiverState::Proposed], "test:ann"));
    assert!(imported.notes.iter().any(|note| note.contains("cover nothing until")), "{:?}", imported.notes);
}
