//! Policy revisions: history and rollback.

use scangate_client::v1::{
    DeletePolicyRequest, GetPolicyRequest, ListPolicyRevisionsRequest, Policy, RollbackPolicyRequest, Severity,
    UpdatePolicyRequest,
};
use scangate_ecr_simulator::World;

use crate::harness::{Gate, deny_findings_from, gate, revision_number, status_rejection};

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
