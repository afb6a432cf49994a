//! Policy revisions: history, rollback and watches.

use scangate_client::v1::{
    DeletePolicyRequest, GetPolicyRequest, ListPolicyRevisionsRequest, Policy, RollbackPolicyRequest, Severity,
    UpdatePolicyRequest, WatchPoliciesRequest, WatchPoliciesResponse, watch_policies_response::Change,
};
use scangate_ecr_simulator::World;
use tonic::Streaming;

use crate::harness::{
    Gate, create_waiver_request, deny_findings_from, gate, revision_number, status_rejection, waiver,
};

async fn update(gate: &Gate, id: &str, severity: Severity) -> String {
    let policy = Policy { name: format!("policies/{id}"), etag: "*".into(), ..deny_findings_from(severity) };
    gate.client
        .update_policy(UpdatePolicyRequest { policy: Some(policy), ..Default::default() })
        .await
        .unwrap()
        .revision
}

async fn delete(gate: &Gate, id: &str) -> String {
    let request = DeletePolicyRequest { name: format!("policies/{id}"), etag: "*".into(), ..Default::default() };
    gate.client.delete_policy(request).await.unwrap().revision
}

#[tokio::test]
async fn policy_revisions_are_listed_and_restorable() {
    let gate = gate(World::demo()).start().await;
    let created = gate.create_policy("team", deny_findings_from(Severity::Low)).await;
    let updated = update(&gate, "team", Severity::High).await;
    let list =
        |page_size, page_token| ListPolicyRevisionsRequest { name: "policies/team".into(), page_size, page_token };

    let rollback = RollbackPolicyRequest {
        name: "policies/team".into(),
        revision: created.revision.clone(),
        etag: "*".into(),
        ..Default::default()
    };
    let restored = gate.client.policies().rollback_policy(rollback).await.unwrap().into_inner();
    let first = gate.client.policies().list_policy_revisions(list(2, String::new())).await.unwrap().into_inner();
    let second =
        gate.client.policies().list_policy_revisions(list(2, first.next_page_token)).await.unwrap().into_inner();

    let revisions: Vec<String> =
        first.revisions.into_iter().chain(second.revisions).map(|entry| entry.revision).collect();
    assert_eq!(revisions, [restored.revision, updated, created.revision]);
    assert_eq!(second.next_page_token, "");
    let policy = restored.policy.unwrap();
    assert_eq!(policy.content_digest, created.policy.as_ref().unwrap().content_digest);
    assert_eq!(policy.rules, created.policy.unwrap().rules);
    let missing = RollbackPolicyRequest {
        name: "policies/team".into(),
        revision: "rev-1".into(),
        etag: "*".into(),
        ..Default::default()
    };
    let missing = gate.client.policies().rollback_policy(missing).await;
    assert_eq!(status_rejection(missing).reason, "REVISION_NOT_FOUND");
}

#[tokio::test]
async fn rollback_dry_run_changes_nothing() {
    let gate = gate(World::demo()).start().await;
    let created = gate.create_policy("team", deny_findings_from(Severity::Low)).await;
    let updated = update(&gate, "team", Severity::High).await;
    let dry_run = async |revision: String| {
        let name = "policies/team".into();
        let rollback =
            RollbackPolicyRequest { name, revision, etag: "*".into(), validate_only: true, ..Default::default() };
        gate.client.policies().rollback_policy(rollback).await
    };

    let previewed = dry_run(created.revision).await.unwrap().into_inner();
    let missing = status_rejection(dry_run("rev-1".into()).await);

    let name = "policies/team".into();
    let current = gate.client.get_policy(GetPolicyRequest { name, ..Default::default() }).await.unwrap();
    assert_eq!((previewed.revision, previewed.policy.unwrap().rules), (updated.clone(), created.policy.unwrap().rules));
    assert_eq!(missing.reason, "REVISION_NOT_FOUND");
    assert_eq!((current.revision, current.policy.unwrap().revision), (updated.clone(), updated));
}

const REFUSED_ID: &str = "1b4e28ba-2fa1-4d3c-883f-0016d3cca427";
const RESTORED_ID: &str = "6f1c2a34-9d0e-4b7a-8c55-0a1b2c3d4e5f";

#[tokio::test]
async fn rollback_restores_deleted_policy() {
    let gate = gate(World::demo()).start().await;
    let created = gate.create_policy("team", deny_findings_from(Severity::Low)).await;
    let old = created.policy.unwrap();
    let deleted = delete(&gate, "team").await;
    let rollback = |etag: &str, request_id: &str| RollbackPolicyRequest {
        name: "policies/team".into(),
        revision: created.revision.clone(),
        etag: etag.into(),
        request_id: request_id.into(),
        ..Default::default()
    };

    let refused = status_rejection(gate.client.policies().rollback_policy(rollback(&old.etag, REFUSED_ID)).await);
    let restored = gate.client.policies().rollback_policy(rollback("*", RESTORED_ID)).await.unwrap().into_inner();
    let again = gate.client.policies().rollback_policy(rollback("*", RESTORED_ID)).await.unwrap().into_inner();

    assert_eq!(refused.reason, "POLICY_NOT_FOUND");
    assert_eq!(revision_number(&restored.revision), revision_number(&deleted) + 1);
    assert_eq!(restored.policy.as_ref().unwrap().content_digest, old.content_digest);
    assert_eq!(again, restored);
}

/// The next change of a stream, without heartbeats: its revision and the resource name, with `-` for a deletion.
async fn next(stream: &mut Streaming<WatchPoliciesResponse>) -> (String, String) {
    loop {
        let message = stream.message().await.unwrap().unwrap();
        let name = match message.change.unwrap() {
            Change::Policy(policy) => policy.name,
            Change::DeletedPolicy(name) => format!("-{name}"),
            Change::Waiver(waiver) => waiver.name,
            Change::Heartbeat(_) => continue,
        };
        return (message.revision, name);
    }
}

async fn watch(gate: &Gate, after_revision: &str) -> Streaming<WatchPoliciesResponse> {
    gate.client
        .policies()
        .watch_policies(WatchPoliciesRequest { after_revision: after_revision.into() })
        .await
        .unwrap()
        .into_inner()
}

#[tokio::test]
async fn watch_streams_state_then_changes_and_resumes() {
    let gate = gate(World::demo()).start().await;
    let created = gate.create_policy("team", deny_findings_from(Severity::Low)).await.revision;

    let mut from_start = watch(&gate, "").await;
    let state = [next(&mut from_start).await.1, next(&mut from_start).await.1];
    let updated = update(&gate, "team", Severity::High).await;
    let deleted = delete(&gate, "team").await;
    let request = create_waiver_request("w", waiver("CVE-1"));
    let waived = gate.client.policies().create_waiver(request).await.unwrap().into_inner().revision;

    assert_eq!(state, ["policies/default", "policies/team"]);
    let changes = [
        (created, "policies/team".to_owned()),
        (updated, "policies/team".to_owned()),
        (deleted, "-policies/team".to_owned()),
        (waived, "waivers/w".to_owned()),
    ];
    for change in &changes[1..] {
        assert_eq!(next(&mut from_start).await, *change);
    }
    for (seen, (revision, _)) in changes.iter().enumerate() {
        let mut resumed = watch(&gate, revision).await;
        for change in &changes[seen + 1..] {
            assert_eq!(next(&mut resumed).await, *change);
        }
    }
}
