//! Several servers over one PostgreSQL: one gate.

use std::time::{Duration, Instant};

use scangate_client::{
    Code,
    v1::{EvaluateGateRequest, Severity, UpdatePolicyRequest},
};
use scangate_ecr_simulator::World;
use scangate_test_postgres::Cluster;
use tokio::time::sleep;
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::harness::{Gate, create, gate, no_findings_from, question, rejection};

const PATIENCE: Duration = Duration::from_secs(40);

async fn replica(store: &str) -> Gate {
    gate(World::demo()).store(store).flag("--store-staleness", "2s").start().await
}

/// How the replica's load balancer sees it.
async fn status(replica: &Gate) -> ServingStatus {
    let channel = Channel::from_shared(format!("http://{}", replica.address)).unwrap().connect().await.unwrap();
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();
    answer.into_inner().status()
}

async fn becomes(replica: &Gate, expected: ServingStatus) {
    let began = Instant::now();
    while status(replica).await != expected {
        assert!(began.elapsed() < PATIENCE, "it does not become {expected:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_on_one_replica_is_enforced_on_the_other_with_its_token_at_once() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let (one, other) = (replica(&database).await, replica(&database).await);
    one.client.create_policy(create("team", no_findings_from(Severity::High))).await.unwrap();

    for round in 0..30 {
        let severity = if round % 2 == 0 { Severity::Low } else { Severity::Critical };
        let mut policy = no_findings_from(severity);
        "policies/team".clone_into(&mut policy.name);
        "*".clone_into(&mut policy.etag);
        let update = UpdatePolicyRequest { policy: Some(policy), ..Default::default() };
        let written = one.client.update_policy(update).await.unwrap();

        let ask = EvaluateGateRequest { at_least_as_fresh: written.revision_token, ..question("shop/api:2.0.0") };
        let decision = other.client.evaluate(ask).await.unwrap();

        assert_eq!(decision.revision, written.revision);
        let team = decision.policies.iter().find(|policy| policy.name == "policies/team").unwrap();
        assert_eq!(team.revision, written.revision);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_without_its_store_says_so_and_comes_back_by_itself() {
    let mut cluster = Cluster::start();
    let replica = replica(&cluster.database()).await;
    let _ = replica.decide("shop/api:2.0.0").await;

    cluster.crash();
    becomes(&replica, ServingStatus::NotServing).await;
    let refused = rejection(replica.evaluate("shop/api:2.0.0").await);
    cluster.start_server();
    becomes(&replica, ServingStatus::Serving).await;
    let decision = replica.evaluate("shop/api:2.0.0").await;

    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unavailable, "STORE_UNAVAILABLE"));
    assert!(decision.is_ok(), "{decision:?}");
}
