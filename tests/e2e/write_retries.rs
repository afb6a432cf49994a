//! Request ids of writes: an honest retry gets the recorded answer, even if its write would now be refused.

use std::time::{Duration, SystemTime};

use scangate_client::{
    Code,
    v1::{
        CreatePolicyRequest, CreateWaiverRequest, CreateWaiverResponse, DeletePolicyRequest, ImportWaiversRequest,
        Policy, PolicyMode, RevokeWaiverRequest, RollbackPolicyRequest, Severity, UpdatePolicyRequest,
        UpdateWaiverRequest, Waiver, WaiverTemplate, WaiverTemplateScope, import_waivers_request::Document,
    },
};
use scangate_ecr_simulator::World;
use scangate_test_postgres::Cluster;

use crate::harness::{
    Gate, create_policy_request, create_waiver_request, deny_findings_from, gate, rejection, status_rejection, waiver,
};

const ID: &str = "6f1c2a34-9d0e-4b7a-8c55-0a1b2c3d4e5f";
const OTHER_ID: &str = "0d9c8b7a-1111-4222-8333-444455556666";

async fn update(gate: &Gate, policy: &Policy, changed: Policy) -> UpdatePolicyRequest {
    let policy = Policy { name: policy.name.clone(), etag: policy.etag.clone(), ..changed };
    let request = UpdatePolicyRequest { policy: Some(policy), request_id: ID.into(), ..Default::default() };
    let first = gate.client.update_policy(request.clone()).await.unwrap();
    let again = gate.client.update_policy(request.clone()).await.unwrap();
    assert_eq!(again, first);
    assert!(!first.notes.is_empty());
    request
}

#[tokio::test]
async fn retried_policy_update_returns_recorded_answer() {
    let gate = gate(World::demo()).start().await;
    let created = gate.create_policy("team", deny_findings_from(Severity::Low)).await.policy.unwrap();
    let warning = Policy { mode: PolicyMode::Warn.into(), ..deny_findings_from(Severity::Low) };
    let request = update(&gate, &created, warning).await;
    let delete = DeletePolicyRequest {
        name: created.name.clone(),
        etag: "*".into(),
        request_id: OTHER_ID.into(),
        ..Default::default()
    };

    let deleted = gate.client.delete_policy(delete.clone()).await.unwrap();
    let again = gate.client.delete_policy(delete).await.unwrap();
    let updated = gate.client.update_policy(request.clone()).await.unwrap();
    let policy = request.policy.as_ref().map(|policy| Policy { etag: "*".into(), ..policy.clone() });
    let other = rejection(gate.client.update_policy(UpdatePolicyRequest { policy, ..request }).await);

    assert_eq!(again, deleted);
    assert!(!deleted.notes.is_empty());
    assert_eq!(updated.policy.unwrap().mode(), PolicyMode::Warn);
    assert_eq!((other.code, other.reason.as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
}

#[tokio::test]
async fn request_id_of_another_method_is_refused() {
    let gate = gate(World::demo()).start().await;
    // Both requests have the same bytes.
    let policy = CreatePolicyRequest { request_id: ID.into(), ..create_policy_request("x", Policy::default()) };
    let waiver = CreateWaiverRequest { request_id: ID.into(), ..create_waiver_request("x", Waiver::default()) };

    gate.client.create_policy(policy).await.unwrap();
    let other = status_rejection(gate.client.policies().create_waiver(waiver).await);

    assert_eq!((other.code, other.reason.as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
}

#[tokio::test]
async fn retried_rollback_returns_recorded_answer() {
    let gate = gate(World::demo()).start().await;
    let old = gate.create_policy("team", deny_findings_from(Severity::Low)).await;
    let policy = Policy { etag: "*".into(), name: "policies/team".into(), ..deny_findings_from(Severity::High) };
    let request = UpdatePolicyRequest { policy: Some(policy), ..Default::default() };
    let etag = gate.client.update_policy(request).await.unwrap().policy.unwrap().etag;
    let rollback = RollbackPolicyRequest {
        name: "policies/team".into(),
        revision: old.revision,
        etag,
        request_id: ID.into(),
        ..Default::default()
    };

    let first = gate.client.policies().rollback_policy(rollback.clone()).await.unwrap().into_inner();
    let again = gate.client.policies().rollback_policy(rollback).await.unwrap().into_inner();

    assert_eq!(again, first);
}

#[tokio::test]
async fn retried_waiver_writes_return_recorded_answers() {
    let gate = gate(World::demo()).start().await;
    let created = gate.create_waiver("w", Waiver { ticket: "SEC-1".into(), ..waiver("CVE-1") }).await;
    let update = UpdateWaiverRequest {
        waiver: Some(Waiver { ticket: "SEC-2".into(), ..created }),
        request_id: ID.into(),
        ..Default::default()
    };
    let updated = gate.client.policies().update_waiver(update.clone()).await.unwrap().into_inner();
    let revoke = RevokeWaiverRequest {
        name: "waivers/w".into(),
        etag: updated.waiver.as_ref().unwrap().etag.clone(),
        reason: "over".into(),
        request_id: OTHER_ID.into(),
        ..Default::default()
    };

    let updated_again = gate.client.policies().update_waiver(update.clone()).await.unwrap().into_inner();
    let revoked = gate.client.policies().revoke_waiver(revoke.clone()).await.unwrap().into_inner();
    let revoked_again = gate.client.policies().revoke_waiver(revoke).await.unwrap().into_inner();
    let updated_late = gate.client.policies().update_waiver(update).await.unwrap().into_inner();

    assert_eq!(updated_again, updated);
    assert_eq!(revoked_again, revoked);
    assert_eq!(updated_late, updated);
}

#[tokio::test]
async fn retried_waiver_is_returned_after_its_end() {
    let gate = gate(World::demo()).start().await;
    let end = SystemTime::now() + Duration::from_secs(2);
    let short = Waiver { expire_time: Some(end.into()), ..waiver("CVE-1") };
    let create = CreateWaiverRequest { request_id: ID.into(), ..create_waiver_request("", short.clone()) };
    let template = WaiverTemplate {
        expire_time: short.expire_time,
        scope: Some(WaiverTemplateScope { everywhere: Some(true), ..Default::default() }),
        ..Default::default()
    };
    let import = ImportWaiversRequest {
        document: Some(Document::OpenvexJson(VEX.into())),
        template: Some(template),
        request_id: OTHER_ID.into(),
        ..Default::default()
    };
    let created = gate.client.policies().create_waiver(create.clone()).await.unwrap().into_inner();
    let imported = gate.client.policies().import_waivers(import.clone()).await.unwrap().into_inner();

    tokio::time::sleep(end.duration_since(SystemTime::now()).unwrap_or_default()).await;
    let new = status_rejection(
        gate.client.policies().create_waiver(CreateWaiverRequest { request_id: String::new(), ..create.clone() }).await,
    );
    let created_again = gate.client.policies().create_waiver(create).await.unwrap().into_inner();
    let imported_again = gate.client.policies().import_waivers(import).await.unwrap().into_inner();

    let name = |response: &CreateWaiverResponse| response.waiver.as_ref().unwrap().name.clone();
    assert_eq!(new.violations[0].field, "waiver.expire_time");
    assert_eq!((name(&created_again), &created_again.revision), (name(&created), &created.revision));
    assert_eq!((imported_again.waivers.len(), &imported_again.revision), (1, &imported.revision));
    assert_eq!(imported_again.skipped, imported.skipped);
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_on_another_replica_returns_recorded_answer() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let replica = async || gate(World::demo()).store(&database).start().await;
    let (one, other) = (replica().await, replica().await);
    let created = one.create_policy("team", deny_findings_from(Severity::Low)).await.policy.unwrap();
    let policy = Policy { mode: PolicyMode::Warn.into(), ..created };
    let request = UpdatePolicyRequest { policy: Some(policy), request_id: ID.into(), ..Default::default() };

    let first = one.client.update_policy(request.clone()).await.unwrap();
    let again = other.client.update_policy(request).await.unwrap();

    assert_eq!(again, first);
}

#[tokio::test]
async fn dry_run_with_request_id_is_not_recorded() {
    let gate = gate(World::demo()).start().await;
    let mut request = create_policy_request("team", deny_findings_from(Severity::Low));
    request.request_id = ID.into();
    request.validate_only = true;

    let _ = gate.client.create_policy(request.clone()).await.unwrap();
    request.validate_only = false;
    let written = gate.client.create_policy(request).await.unwrap();

    assert_eq!(written.policy.unwrap().name, "policies/team");
}

const VEX: &str = r#"{
    "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.com/1", "author": "Security",
    "timestamp": "2026-01-01T00:00:00Z", "version": 1, "statements": [
        {"vulnerability": {"name": "CVE-2024-1001"}, "products": [{"@id": "pkg:deb/debian/openssl"}],
         "status": "not_affected", "justification": "vulnerable_code_not_present"}]
}"#;
