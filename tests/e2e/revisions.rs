//! The history of policies, going back in it, and following it.

use scangate_client::v1::{
    DeletePolicyRequest, GetPolicyRequest, ListPolicyRevisionsRequest, Policy, RollbackPolicyRequest, Severity,
    UpdatePolicyRequest, Waiver, WaiverScope, WatchPoliciesRequest, WatchPoliciesResponse,
    watch_policies_response::Change,
};
use scangate_ecr_simulator::World;
use tonic::Streaming;

use crate::harness::{Gate, create, gate, no_findings_from, refused};

async fn update(gate: &Gate, id: &str, severity: Severity) -> u64 {
    let policy = Policy { name: format!("policies/{id}"), etag: "*".into(), ..no_findings_from(severity) };
    gate.client
        .update_policy(UpdatePolicyRequest { policy: Some(policy), ..Default::default() })
        .await
        .unwrap()
        .revision
}

async fn delete(gate: &Gate, id: &str) -> u64 {
    let request = DeletePolicyRequest { name: format!("policies/{id}"), etag: "*".into(), ..Default::default() };
    gate.client.delete_policy(request).await.unwrap().revision
}

#[tokio::test]
async fn every_revision_of_a_policy_can_be_listed_and_gone_back_to() {
    let gate = gate(World::demo()).start().await;
    let created = gate.client.create_policy(create("team", no_findings_from(Severity::Low))).await.unwrap();
    let updated = update(&gate, "team", Severity::High).await;
    let list =
        |page_size, page_token| ListPolicyRevisionsRequest { name: "policies/team".into(), page_size, page_token };

    let back = RollbackPolicyRequest {
        name: "policies/team".into(),
        revision: created.revision,
        etag: "*".into(),
        ..Default::default()
    };
    let back = gate.client.policies().rollback_policy(back).await.unwrap().into_inner();
    let first = gate.client.policies().list_policy_revisions(list(2, String::new())).await.unwrap().into_inner();
    let second =
        gate.client.policies().list_policy_revisions(list(2, first.next_page_token)).await.unwrap().into_inner();

    let revisions: Vec<u64> = first.revisions.iter().chain(&second.revisions).map(|entry| entry.revision).collect();
    assert_eq!(revisions, [back.revision, updated, created.revision]);
    assert_eq!(second.next_page_token, "");
    let policy = back.policy.unwrap();
    assert_eq!(policy.content_digest, created.policy.as_ref().unwrap().content_digest);
    assert_eq!(policy.rules, created.policy.unwrap().rules);
    let missing =
        RollbackPolicyRequest { name: "policies/team".into(), revision: 1, etag: "*".into(), ..Default::default() };
    let missing = gate.client.policies().rollback_policy(missing).await;
    assert_eq!(refused(missing).reason, "REVISION_NOT_FOUND");
}

#[tokio::test]
async fn going_back_can_be_tried_without_going() {
    let gate = gate(World::demo()).start().await;
    let created = gate.client.create_policy(create("team", no_findings_from(Severity::Low))).await.unwrap();
    let updated = update(&gate, "team", Severity::High).await;
    let try_out = async |revision| {
        let name = "policies/team".into();
        let back =
            RollbackPolicyRequest { name, revision, etag: "*".into(), validate_only: true, ..Default::default() };
        gate.client.policies().rollback_policy(back).await
    };

    let tried = try_out(created.revision).await.unwrap().into_inner();
    let missing = refused(try_out(1).await);

    let name = "policies/team".into();
    let now = gate.client.get_policy(GetPolicyRequest { name, ..Default::default() }).await.unwrap();
    assert_eq!((tried.revision, tried.policy.unwrap().rules), (updated, created.policy.unwrap().rules));
    assert_eq!(missing.reason, "REVISION_NOT_FOUND");
    assert_eq!((now.revision, now.policy.unwrap().revision), (updated, updated));
}

#[tokio::test]
async fn a_deleted_policy_is_brought_back_by_going_back_to_it() {
    let gate = gate(World::demo()).start().await;
    let created = gate.client.create_policy(create("team", no_findings_from(Severity::Low))).await.unwrap();
    let old = created.policy.unwrap();
    let deleted = delete(&gate, "team").await;
    let back = |etag: &str| RollbackPolicyRequest {
        name: "policies/team".into(),
        revision: created.revision,
        etag: etag.into(),
        request_id: format!("back-{etag}"),
        ..Default::default()
    };

    let refused = refused(gate.client.policies().rollback_policy(back(&old.etag)).await);
    let returned = gate.client.policies().rollback_policy(back("*")).await.unwrap().into_inner();
    let again = gate.client.policies().rollback_policy(back("*")).await.unwrap().into_inner();

    assert_eq!(refused.reason, "POLICY_NOT_FOUND");
    assert_eq!(returned.revision, deleted + 1);
    assert_eq!(returned.policy.as_ref().unwrap().content_digest, old.content_digest);
    assert_eq!(again, returned);
}

/// What a stream says next that is no heartbeat: its revision, and what changed.
async fn next(stream: &mut Streaming<WatchPoliciesResponse>) -> (u64, String) {
    loop {
        let message = stream.message().await.unwrap().unwrap();
        let told = match message.change.unwrap() {
            Change::Policy(policy) => policy.name,
            Change::DeletedPolicy(name) => format!("-{name}"),
            Change::Waiver(waiver) => waiver.name,
            Change::Heartbeat(_) => continue,
        };
        return (message.revision, told);
    }
}

async fn watch(gate: &Gate, after_revision: u64) -> Streaming<WatchPoliciesResponse> {
    gate.client.policies().watch_policies(WatchPoliciesRequest { after_revision }).await.unwrap().into_inner()
}

#[tokio::test]
async fn whoever_watches_is_told_the_state_and_then_every_change_and_can_resume_anywhere() {
    let gate = gate(World::demo()).start().await;
    let created = gate.client.create_policy(create("team", no_findings_from(Severity::Low))).await.unwrap().revision;

    let mut from_the_start = watch(&gate, 0).await;
    let state = [next(&mut from_the_start).await.1, next(&mut from_the_start).await.1];
    let updated = update(&gate, "team", Severity::High).await;
    let deleted = delete(&gate, "team").await;
    let scope = WaiverScope { vulnerability_id: "CVE-1".into(), ..Default::default() };
    let waiver = Waiver { scope: Some(scope), reason: "because".into(), ..Default::default() };
    let request =
        scangate_client::v1::CreateWaiverRequest { waiver_id: "w".into(), waiver: Some(waiver), ..Default::default() };
    let excused = gate.client.policies().create_waiver(request).await.unwrap().into_inner().revision;

    assert_eq!(state, ["policies/default", "policies/team"]);
    let all = [
        (created, "policies/team".to_owned()),
        (updated, "policies/team".to_owned()),
        (deleted, "-policies/team".to_owned()),
        (excused, "waivers/w".to_owned()),
    ];
    for told in &all[1..] {
        assert_eq!(next(&mut from_the_start).await, *told);
    }
    for (seen, (revision, _)) in all.iter().enumerate() {
        let mut resumed = watch(&gate, *revision).await;
        for told in &all[seen + 1..] {
            assert_eq!(next(&mut resumed).await, *told);
        }
    }
}
