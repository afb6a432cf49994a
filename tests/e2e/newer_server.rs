//! A rolling upgrade: a newer replica writes a document with a field that an older one does not know.

use scangate_client::{
    Code,
    v1::{
        EvaluateGateRequest, GetDecisionRequest, GetPolicyRequest, GetWaiverRequest, ListPoliciesRequest,
        ListWaiversRequest, PolicyMatch, RollbackPolicyRequest, Severity, UpdatePolicyRequest, Verdict, WaiverState,
    },
};
use scangate_ecr_simulator::World;
use scangate_test_postgres::Cluster;
use sha2::{Digest as _, Sha256};

use crate::harness::{
    Gate, create_policy_request, deny_findings_from, evaluate_request, gate, rejection, status_rejection,
};

/// SQL of a newer replica that writes a document at a revision of the store.
pub(crate) fn document(kind: &str, id: &str, revision: u64, body: &str) -> String {
    let digest = Sha256::digest(body).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let columns = "(kind, id, revision, body, content_digest, create_time, write_time, author)";
    let values = format!("('{kind}', '{id}', {revision}, '{body}', '{digest}', 1, 1, 'eve')");
    format!(
        "insert into document_revisions {columns} values {values}; insert into documents {columns} values {values}; \
         update store_revision set revision = {revision};"
    )
}

const POLICY: &str = r#"{"description":"two must agree","match":{"repositories":["shop/api"]},"quorum":2}"#;
const WAIVER: &str = r#"{"scope":{"vulnerability":"CVE-2022-2274","cluster":"edge"},"reason":"not reachable","start_time":"2026-01-01T00:00:00Z","expire_time":"2100-01-01T00:00:00Z"}"#;

/// An older replica with a policy (revision 3) and a waiver (revision 2) of a newer one.
async fn upgrade(cluster: &Cluster) -> Gate {
    let database = cluster.database();
    let replica = gate(World::demo()).store(&database).start().await;
    assert_eq!(replica.decide("shop/api:2.0.0").await.verdict(), Verdict::Allow);
    cluster.execute(&database, &document("waivers", "edge", 2, WAIVER));
    cluster.execute(&database, &document("policies", "quorum", 3, POLICY));
    replica
}

async fn decide_at_revision(replica: &Gate, image: &str) -> scangate_client::v1::Decision {
    let mut request = evaluate_request(image);
    "rev-3".clone_into(&mut request.at_least_as_fresh);
    replica.client.evaluate(request).await.unwrap().into_message()
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_policy_denies_only_what_it_matches() {
    let cluster = Cluster::start();
    let replica = upgrade(&cluster).await;

    let matched = decide_at_revision(&replica, "shop/api:2.0.0").await;
    let other = decide_at_revision(&replica, "shop/gateway:1.1.0").await;
    let waived = decide_at_revision(&replica, "shop/worker:3.1.0").await;

    assert_eq!(matched.verdict(), Verdict::Deny);
    assert!(matched.reasons[1].contains("policies/quorum"), "{:?}", matched.reasons);
    assert!(matched.reasons[1].contains("upgrade this server"), "{:?}", matched.reasons);
    assert_eq!(matched.violations[0].policy, "policies/quorum");
    assert_eq!(other.verdict(), Verdict::Allow);
    assert_eq!((waived.verdict(), waived.waived_finding_count), (Verdict::Deny, 0), "the waiver covers nothing");
    let created = replica.client.create_policy(create_policy_request("team", deny_findings_from(Severity::Low))).await;
    created.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_documents_are_shown_but_not_replaced() {
    let cluster = Cluster::start();
    let replica = upgrade(&cluster).await;
    let (name, token) = ("policies/quorum".to_owned(), "rev-3".to_owned());

    let get = GetPolicyRequest { name: name.clone(), at_least_as_fresh: token.clone() };
    let shown = replica.client.get_policy(get).await.unwrap().policy.unwrap();
    let listed = replica.client.list_policies(ListPoliciesRequest::default()).await.unwrap().policies;
    let get = GetWaiverRequest { name: "waivers/edge".into(), at_least_as_fresh: token };
    let waiver = replica.client.policies().get_waiver(get).await.unwrap().into_inner().waiver.unwrap();
    let waivers = replica.client.policies().list_waivers(ListWaiversRequest::default()).await.unwrap().into_inner();

    assert_eq!(shown.not_understood, ["quorum: unknown field `quorum`"]);
    assert_eq!(shown.description, "two must agree");
    let repositories = vec!["shop/api".to_owned()];
    assert_eq!(shown.r#match, Some(PolicyMatch { repositories, ..Default::default() }));
    assert_eq!(listed.len(), 2);
    assert_eq!((waiver.state(), waiver.not_understood.len()), (WaiverState::Unknown, 1));
    assert_eq!(waivers.waivers.len(), 1);

    let mut changed = shown.clone();
    changed.not_understood.clear();
    let update = |policy| UpdatePolicyRequest { policy: Some(policy), ..Default::default() };
    let refused = rejection(replica.client.update_policy(update(changed)).await);
    let as_shown = rejection(replica.client.update_policy(update(shown)).await);
    let rollback = RollbackPolicyRequest { name, revision: "rev-3".into(), etag: "*".into(), ..Default::default() };
    let rolled_back = status_rejection(replica.client.policies().rollback_policy(rollback).await);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "DOCUMENT_FROM_NEWER_SERVER"));
    assert_eq!(as_shown.violations[0].field, "policy.not_understood");
    assert_eq!(rolled_back.reason, "DOCUMENT_FROM_NEWER_SERVER");
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_of_unreadable_decision_decides_again() {
    let cluster = Cluster::start();
    let lost_parts = "delete from decision_blobs where is_case = 0";
    let unreadable_record = "update decision_blobs set body = '{}' where is_case = 1";
    for damage in [lost_parts, unreadable_record] {
        let database = cluster.database();
        let newer = gate(World::demo()).store(&database).start().await;
        let request = EvaluateGateRequest {
            request_id: "6f1c2a34-9d0e-4b7a-8c55-0a1b2c3d4e5f".into(),
            ..evaluate_request("shop/api:2.0.0")
        };
        let first = newer.client.evaluate(request.clone()).await.unwrap().into_message();
        cluster.execute(&database, damage);
        let older = gate(World::demo()).store(&database).start().await;
        let get = GetDecisionRequest { name: first.name.clone(), ..Default::default() };

        let unread = status_rejection(older.client.decisions().get_decision(get).await);
        let second = older.client.gate().evaluate_gate(request.clone()).await.unwrap().into_inner();
        let third = older.client.gate().evaluate_gate(request).await.unwrap().into_inner();

        assert_eq!((unread.code, unread.reason.as_str()), (Code::DataLoss, "DECISION_DAMAGED"));
        assert!(unread.message.contains("newer server"), "{}", unread.message);
        let decision = second.decision.unwrap();
        assert!(!second.replayed && decision.name != first.name, "{damage}");
        assert_eq!(decision.verdict(), Verdict::Allow);
        assert!(third.replayed, "{damage}");
        assert_eq!(third.decision.unwrap().name, decision.name);
    }
}
