//! One of several servers is cut off from the store that they share, and the others are not.

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

use crate::harness::{Gate, create, gate, no_findings_from, question};

/// How old what a server decides on may be, here.
const BOUND: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_mins(1);
const IMAGE: &str = "shop/worker:3.1.0";

async fn replica(store: &str) -> Gate {
    gate(World::demo()).store(store).flag("--store-staleness", "2s").start().await
}

/// Creates policies about something else until told to stop, and names those that were acknowledged.
fn write(client: &Client, prefix: &'static str, stop: &Arc<AtomicBool>) -> JoinHandle<Vec<String>> {
    let (client, stop) = (client.clone(), Arc::clone(stop));
    tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let elsewhere = PolicyMatch { repositories: vec!["elsewhere/*".to_owned()], ..Default::default() };
            let policy = Policy { r#match: Some(elsewhere), ..no_findings_from(Severity::Critical) };
            let id = format!("{prefix}-{number}");
            match client.create_policy(create(&id, policy)).await {
                Ok(_) => acknowledged.push(id),
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
        acknowledged
    })
}

/// Takes what was allowed back. The database may take a while to give up a write that was cut off halfway, and others wait for it.
async fn tighten(client: &Client) {
    let strict = Policy { name: "policies/shop".into(), etag: "*".into(), ..no_findings_from(Severity::Low) };
    let update = UpdatePolicyRequest { policy: Some(strict), ..Default::default() };
    let began = Instant::now();
    while let Err(refused) = client.update_policy(update.clone()).await {
        assert!(is_unavailable(&refused) && began.elapsed() < PATIENCE, "{refused:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

fn is_unavailable(error: &Error) -> bool {
    error.rejection().is_some_and(|rejection| rejection.code == Code::Unavailable)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_cut_off_allows_nothing_past_the_bound_and_no_acknowledged_write_is_lost() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let link = TcpProxy::start(cluster.address()).await;
    let one = replica(&database).await;
    let cut_off = replica(&Cluster::url_at(&database, link.address())).await;
    let created = one.client.create_policy(create("shop", Policy::default())).await.unwrap();
    let ask = EvaluateGateRequest { at_least_as_fresh: created.revision_token, ..question(IMAGE) };
    assert_eq!(cut_off.client.evaluate(ask).await.unwrap().verdict(), Verdict::Allow);
    let stop = Arc::new(AtomicBool::new(false));
    let writing = [write(&one.client, "one", &stop), write(&cut_off.client, "other", &stop)];
    sleep(Duration::from_millis(500)).await;

    link.partition();
    tighten(&one.client).await;
    sleep(BOUND).await;
    let mut told = Vec::new();
    for _ in 0..20 {
        told.push(cut_off.evaluate(IMAGE).await);
    }
    link.heal();
    let mended = Instant::now();
    while cut_off.evaluate("shop/api:2.0.0").await.is_err() {
        assert!(mended.elapsed() < PATIENCE, "it does not come back");
        sleep(Duration::from_millis(100)).await;
    }
    stop.store(true, Ordering::Relaxed);

    assert!(told.iter().all(|told| told.as_ref().is_err_and(is_unavailable)), "{told:?}");
    assert_eq!(cut_off.decide(IMAGE).await.verdict(), Verdict::Deny);
    for writing in writing {
        let acknowledged = writing.await.unwrap();
        assert!(!acknowledged.is_empty());
        for id in acknowledged {
            let get = GetPolicyRequest { name: format!("policies/{id}"), ..Default::default() };
            assert!(one.client.get_policy(get).await.is_ok(), "{id} was acknowledged, and is lost");
        }
    }
}
