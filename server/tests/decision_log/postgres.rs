//! PostgreSQL under trouble: a busy pool, a failover, abandoned commits and reads, and keys that two servers use.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use scangate_server::{
    decision_log::{DecisionId, DecisionLog as _, Error, sql::SqlDecisionLog},
    idempotency::RequestKey,
    sql::{Address, Database},
};
use scangate_test_postgres::{Cluster, TcpProxy};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use crate::fixtures::{append_request, recorded, with_request_key};

async fn open(url: &str) -> Arc<SqlDecisionLog> {
    Arc::new(SqlDecisionLog::new(&Database::open(&Address::parse(url)).await.unwrap()))
}

fn key(id: &str) -> RequestKey {
    with_request_key(id, "print", append_request(1)).request_key.unwrap()
}

async fn append(log: &SqlDecisionLog, number: u64) -> DecisionId {
    recorded(log.append(append_request(number)).await.unwrap())
}

/// Executes statements in a session beside the server's.
fn execute_beside(cluster: &Arc<Cluster>, url: &str, statements: &'static str) -> JoinHandle<()> {
    let (cluster, url) = (Arc::clone(cluster), url.to_owned());
    tokio::task::spawn_blocking(move || cluster.execute(&url, statements))
}

/// Blocks all reads of idempotency keys for some seconds; returns once they block.
async fn block_reads(cluster: &Arc<Cluster>, url: &str, log: &SqlDecisionLog) {
    let lock = "begin; lock table requests in access exclusive mode; select pg_sleep(4); commit";
    execute_beside(cluster, url, lock);
    while timeout(Duration::from_millis(100), log.find_by_request(&key("unknown"))).await.is_ok() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn commit_never_waits_behind_reads() {
    let cluster = Arc::new(Cluster::start());
    let url = cluster.database();
    let log = open(&url).await;
    append(&log, 1).await;

    block_reads(&cluster, &url, &log).await;
    let mut reads = JoinSet::new();
    for _ in 0..32 {
        let log = Arc::clone(&log);
        reads.spawn(async move { log.find_by_request(&key("unknown")).await });
    }
    let read = timeout(Duration::from_millis(500), reads.join_next()).await;
    let committed = timeout(Duration::from_secs(1), log.append(append_request(2))).await;

    assert!(read.is_err(), "the reads do not block");
    assert!(matches!(committed, Ok(Ok(_))), "{committed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn abandoned_reads_keep_their_place() {
    let cluster = Arc::new(Cluster::start());
    let url = cluster.database();
    let log = open(&url).await;

    block_reads(&cluster, &url, &log).await;
    for _ in 0..4 {
        let mut reads = JoinSet::new();
        for _ in 0..16 {
            let log = Arc::clone(&log);
            reads.spawn(async move { log.find_by_request(&key("unknown")).await });
        }
        assert!(timeout(Duration::from_millis(200), reads.join_next()).await.is_err(), "the reads do not block");
    }

    let bounded = "do $$ begin
        assert (select count(*) from pg_stat_activity where application_name = 'scangate') <= 16; end $$";
    cluster.execute(&url, bounded);
}

#[tokio::test(flavor = "multi_thread")]
async fn failover_fails_one_commit() {
    let cluster = Cluster::start();
    let log = open(&cluster.database()).await;
    append(&log, 1).await;
    let mut reads = JoinSet::new();
    for _ in 0..256 {
        let log = Arc::clone(&log);
        reads.spawn(async move { log.find_by_request(&key("unknown")).await.unwrap() });
    }
    reads.join_all().await;

    cluster.terminate_connections();
    let mut failures = 0;
    while log.append(append_request(1)).await.is_err() {
        failures += 1;
    }

    assert!(failures <= 1, "{failures} commits failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn abandoned_commit_is_no_loss() {
    let cluster = Cluster::start();
    let url = cluster.database();
    let link = TcpProxy::start(cluster.address()).await;
    let log = open(&Cluster::url_at(&url, link.address())).await;
    let first = append(&log, 1).await;
    cluster.execute(
        &url,
        "create function wait() returns trigger language plpgsql as $$ begin perform pg_sleep(2); return new; end $$;
         create trigger wait before insert on decision_segments for each row execute function wait()",
    );

    // The server goes on with the commit of the closed connection.
    let (abandoned, ()) = tokio::join!(log.append(append_request(1)), async {
        sleep(Duration::from_millis(500)).await;
        link.close_connections();
    });
    let next = append(&log, 1).await;

    assert!(matches!(abandoned, Err(Error::Unavailable(_))), "{abandoned:?}");
    assert_eq!(next, DecisionId { sequence: 3, ..first });
    assert_eq!(log.verify().await.unwrap().damage, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_key_in_use_is_left_alone() {
    let cluster = Arc::new(Cluster::start());
    let url = cluster.database();
    let log = open(&url).await;
    log.append(with_request_key("old", "print", append_request(1))).await.unwrap();
    cluster.execute(&url, "update requests set expire_time = 1");

    // Another server claims the expired key.
    let claim = "begin; update requests set expire_time = 9000000000000000; select pg_sleep(2); commit";
    let claimed = execute_beside(&cluster, &url, claim);
    sleep(Duration::from_millis(500)).await;
    let began = Instant::now();
    log.append(with_request_key("new", "print", append_request(2))).await.unwrap();

    assert!(began.elapsed() < Duration::from_secs(1), "the commit waited for the other server");
    claimed.await.unwrap();
    assert!(log.find_by_request(&key("old")).await.unwrap().is_some());
}
