//! Replicas over one PostgreSQL: revisions, and recovery from failures of the database.

use std::time::{Duration, Instant};

use scangate_client::{
    Code, prost_types,
    v1::{
        EvaluateGateRequest, GetWaiverRequest, ListWaiversRequest, PreviewPolicyRequest, RevokeWaiverRequest, Severity,
        UpdatePolicyRequest, UpdateWaiverRequest, Waiver, WaiverFilter, WaiverState, preview_policy_request::Draft,
    },
};
use scangate_ecr_simulator::World;
use scangate_test_postgres::Cluster;
use tokio::time::sleep;
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::harness::{
    Gate, create_waiver_request, deny_findings_from, evaluate_request, gate, rejection, status_rejection, waiver,
};

/// The time in which the health status of a replica must change.
const STATUS_TIMEOUT: Duration = Duration::from_secs(40);

async fn replica(store: &str) -> Gate {
    gate(World::demo()).store(store).flag("--store-staleness", "2s").start().await
}

/// The overall health status of a replica.
async fn status(replica: &Gate) -> ServingStatus {
    let channel = Channel::from_shared(format!("http://{}", replica.address)).unwrap().connect().await.unwrap();
    let response = HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();
    response.into_inner().status()
}

async fn wait_for_status(replica: &Gate, expected: ServingStatus) {
    let began = Instant::now();
    while status(replica).await != expected {
        assert!(began.elapsed() < STATUS_TIMEOUT, "status is not {expected:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revision_enforces_write_on_other_replica() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let (one, other) = (replica(&database).await, replica(&database).await);
    one.create_policy("team", deny_findings_from(Severity::High)).await;

    for round in 0..30 {
        let severity = if round % 2 == 0 { Severity::Low } else { Severity::Critical };
        let mut policy = deny_findings_from(severity);
        "policies/team".clone_into(&mut policy.name);
        "*".clone_into(&mut policy.etag);
        let update = UpdatePolicyRequest { policy: Some(policy), ..Default::default() };
        let written = one.client.update_policy(update).await.unwrap();

        let request =
            EvaluateGateRequest { at_least_as_fresh: written.revision.clone(), ..evaluate_request("shop/api:2.0.0") };
        let decision = other.client.evaluate(request).await.unwrap().into_message();

        assert_eq!(decision.revision, written.revision);
        let team = decision.policies.iter().find(|reference| reference.policy == "policies/team").unwrap();
        assert_eq!(team.revision, written.revision);
    }
}

/// Revokes a waiver through a replica, and returns it with the revision of the write.
async fn revoke_waiver(replica: &Gate, name: &str) -> (Waiver, String) {
    let (etag, reason) = ("*".into(), "fixed".into());
    let request = RevokeWaiverRequest { name: name.to_owned(), etag, reason, ..Default::default() };
    let revoked = replica.client.policies().revoke_waiver(request).await.unwrap().into_inner();
    (revoked.waiver.unwrap(), revoked.revision)
}

#[tokio::test(flavor = "multi_thread")]
async fn revision_makes_write_visible_to_reads() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let (one, other) = (replica(&database).await, replica(&database).await);

    for round in 0..10 {
        let request = create_waiver_request(&format!("w-{round}"), waiver("CVE-1"));
        let token = one.client.policies().create_waiver(request).await.unwrap().into_inner().revision;

        let name = format!("waivers/w-{round}");
        let get = GetWaiverRequest { name: name.clone(), at_least_as_fresh: token };
        let read = other.client.policies().get_waiver(get).await.unwrap().into_inner().waiver.unwrap();

        assert_eq!(read.name, name);
        let (_, token) = revoke_waiver(&one, &name).await;

        let states = vec![WaiverState::Active.into()];
        let list = ListWaiversRequest {
            filter: Some(WaiverFilter { states, ..Default::default() }),
            at_least_as_fresh: token,
            ..Default::default()
        };
        let active = other.client.policies().list_waivers(list).await.unwrap().into_inner().waivers;

        assert_eq!(active, Vec::new());
        let id = format!("p-{round}");
        let written = one.create_policy(&id, deny_findings_from(Severity::Low)).await;

        let preview = PreviewPolicyRequest {
            draft: Some(Draft::DeletePolicy(format!("policies/{id}"))),
            window: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
            at_least_as_fresh: written.revision,
        };
        let previewed = other.client.policies().preview_policy(preview).await;

        assert!(previewed.is_ok(), "{previewed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_replica_rejects_update_of_revoked_waiver() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let (one, other) = (replica(&database).await, replica(&database).await);

    for round in 0..30 {
        let request = create_waiver_request(&format!("w-{round}"), waiver("CVE-1"));
        let created = one.client.policies().create_waiver(request).await.unwrap().into_inner();
        let request = EvaluateGateRequest { at_least_as_fresh: created.revision, ..evaluate_request("shop/api:2.0.0") };
        drop(other.client.evaluate(request).await.unwrap());
        let (revoked, _) = revoke_waiver(&one, &format!("waivers/w-{round}")).await;

        let update = Waiver { name: revoked.name, etag: revoked.etag, ..waiver("CVE-1") };
        let update = UpdateWaiverRequest { waiver: Some(update), ..Default::default() };
        let refused = status_rejection(other.client.policies().update_waiver(update).await);

        assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "WAIVER_REVOKED"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replica_recovers_after_store_outage() {
    let mut cluster = Cluster::start();
    let replica = replica(&cluster.database()).await;
    let _ = replica.decide("shop/api:2.0.0").await;

    cluster.crash();
    wait_for_status(&replica, ServingStatus::NotServing).await;
    let refused = rejection(replica.evaluate("shop/api:2.0.0").await);
    cluster.start_server();
    wait_for_status(&replica, ServingStatus::Serving).await;
    let decision = replica.evaluate("shop/api:2.0.0").await;

    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unavailable, "STORE_UNAVAILABLE"));
    assert!(decision.is_ok(), "{decision:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replica_recovers_after_recording_failure() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let replica = replica(&database).await;
    let _ = replica.decide("shop/web:1.4.2").await;

    cluster.execute(&database, "alter table decision_blobs add constraint reject_all check (false) not valid");
    let refused = rejection(replica.evaluate("shop/api:2.0.0").await);
    wait_for_status(&replica, ServingStatus::NotServing).await;
    cluster.execute(&database, "alter table decision_blobs drop constraint reject_all");
    wait_for_status(&replica, ServingStatus::Serving).await;
    let decision = replica.evaluate("shop/api:2.0.0").await;

    assert_eq!(refused.code, Code::Unavailable);
    assert!(decision.is_ok(), "{decision:?}");
}
