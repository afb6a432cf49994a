//! Waivers that need approval, as a server with identities stores them.

use scangate_client::{
    prost_types::Timestamp,
    v1::{
        GetWaiverRequest, ListWaiversRequest, UpdateWaiverRequest, UpdateWaiverResponse, Verdict, Waiver,
        WaiverConditions, WaiverFilter, WaiverState,
    },
};
use scangate_ecr_simulator::World;
use scangate_test_postgres::Cluster;

use crate::{
    harness::{Gate, evaluate_request, gate},
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
    assert!(changed.notes.iter().any(|note| note.contains("until it is approved again")), "{:?}", changed.notes);
    assert_eq!(verdict(&gate, &changed.revision).await, Verdict::Deny);
}
