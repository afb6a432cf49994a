//! A network partition between one of two servers and the store that they share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use scangate_client::{
    Client, Code, Error,
    v1::{EvaluateGateRequest, GetPolicyRequest, Policy, PolicyMatch, Severity, UpdatePolicyRequest, Verdict},
};
use scangate_ecr_simulator::World;
use scangate_test_postgres::{Cluster, TcpProxy};
use tokio::{task::JoinHandle, time::sleep};

use crate::harness::{Gate, create_policy_request, deny_findings_from, evaluate_request, gate};

/// The maximum age of a server's policy snapshot in this test.
const STALENESS_BOUND: Duration = Duration::from_secs(2);
/// The time in which a server must recover.
const RECOVERY_TIMEOUT: Duration = Duration::from_mins(1);
const IMAGE: &str = "shop/worker:3.1.0";

async fn replica(store: &str) -> Gate {
    gate(World::demo()).store(store).flag("--store-staleness", "2s").start().await
}

/// Creates policies for other repositories until `stop` is set, and returns the ids of the acknowledged ones.
fn create_policies(client: &Client, prefix: &'static str, stop: &Arc<AtomicBool>) -> JoinHandle<Vec<String>> {
    let (client, stop) = (client.clone(), Arc::clone(stop));
    tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let elsewhere = PolicyMatch { repositories: vec!["elsewhere/*".to_owned()], ..Default::default() };
            let policy = Policy { r#match: Some(elsewhere), ..deny_findings_from(Severity::Critical) };
            let id = format!("{prefix}-{number}");
            match client.create_policy(create_policy_request(&id, policy)).await {
                Ok(_) => acknowledged.push(id),
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
        acknowledged
    })
}

/// Denies the image again. Retries, since the database may hold the locks of an interrupted write for a while.
async fn tighten(client: &Client) {
    let strict = Policy { name: "policies/shop".into(), etag: "*".into(), ..deny_findings_from(Severity::Low) };
    let update = UpdatePolicyRequest { policy: Some(strict), ..Default::default() };
    let began = Instant::now();
    while let Err(refused) = client.update_policy(update.clone()).await {
        assert!(is_unavailable(&refused) && began.elapsed() < RECOVERY_TIMEOUT, "{refused:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

async fn wait_for_recovery(replica: &Gate) {
    let began = Instant::now();
    while replica.evaluate("shop/api:2.0.0").await.is_err() {
        assert!(began.elapsed() < RECOVERY_TIMEOUT, "the replica does not recover");
        sleep(Duration::from_millis(100)).await;
    }
}

fn is_unavailable(error: &Error) -> bool {
    error.rejection().is_some_and(|rejection| rejection.code == Code::Unavailable)
}

#[tokio::test(flavor = "multi_thread")]
async fn partition_fails_closed_and_loses_no_write() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let proxy = TcpProxy::start(cluster.address()).await;
    let connected = replica(&database).await;
    let partitioned = replica(&Cluster::url_at(&database, proxy.address())).await;
    let created = connected.create_policy("shop", Policy { replaces_default: Some(true), ..Policy::default() }).await;
    let request = EvaluateGateRequest { at_least_as_fresh: created.revision, ..evaluate_request(IMAGE) };
    assert_eq!(partitioned.client.evaluate(request).await.unwrap().verdict(), Verdict::Allow);
    let stop = Arc::new(AtomicBool::new(false));
    let writers = [
        create_policies(&connected.client, "connected", &stop),
        create_policies(&partitioned.client, "partitioned", &stop),
    ];
    sleep(Duration::from_millis(500)).await;

    proxy.partition();
    tighten(&connected.client).await;
    sleep(STALENESS_BOUND).await;
    let mut outcomes = Vec::new();
    for _ in 0..20 {
        outcomes.push(partitioned.evaluate(IMAGE).await);
    }
    proxy.heal();
    wait_for_recovery(&partitioned).await;
    stop.store(true, Ordering::Relaxed);

    assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_err_and(is_unavailable)), "{outcomes:?}");
    assert_eq!(partitioned.decide(IMAGE).await.verdict(), Verdict::Deny);
    for writer in writers {
        let acknowledged = writer.await.unwrap();
        assert!(!acknowledged.is_empty());
        for id in acknowledged {
            let get = GetPolicyRequest { name: format!("policies/{id}"), ..Default::default() };
            assert!(connected.client.get_policy(get).await.is_ok(), "acknowledged policy {id} is lost");
        }
    }
}
