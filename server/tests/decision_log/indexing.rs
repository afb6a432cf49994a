//! Asynchronous indexing: its failures and delays do not stop appends, lists or retention.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use rusqlite::Connection;
use scangate_server::{
    decision_log::{DecisionLog as _, Filter, sql::SqlDecisionLog},
    sql::{Address, Database},
};
use scangate_test_fixtures::noon;
use scangate_test_postgres::Cluster;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::fixtures::{append_request, entry};

/// Timeout of an operation that a defect would keep running.
const TIMEOUT: Duration = Duration::from_mins(2);

fn shell(directory: &TempDir) -> Connection {
    Connection::open(directory.path().join("scangate.db")).unwrap()
}

async fn open(directory: &TempDir) -> Arc<SqlDecisionLog> {
    let store = Database::open(&Address::File(directory.path().join("scangate.db"))).await.unwrap();
    Arc::new(SqlDecisionLog::new(&store))
}

/// Trims a log during concurrent appends, and returns the number of recorded decisions.
async fn trim_busy_log(log: Arc<SqlDecisionLog>) -> usize {
    let is_over = Arc::new(AtomicBool::new(false));
    let mut busy = JoinSet::new();
    for number in 0..32 {
        let (log, is_over) = (Arc::clone(&log), Arc::clone(&is_over));
        busy.spawn(async move {
            let mut recorded = 0;
            while !is_over.load(Ordering::Relaxed) {
                log.append(append_request(number)).await.unwrap();
                recorded += 1;
            }
            recorded
        });
    }
    let trimmed = tokio::time::timeout(TIMEOUT, log.trim(noon())).await;
    is_over.store(true, Ordering::Relaxed);
    let recorded = busy.join_all().await.into_iter().sum();

    assert_eq!(trimmed.unwrap().unwrap(), 0);
    recorded
}

#[tokio::test(flavor = "multi_thread")]
async fn trim_ends_despite_concurrent_appends_on_sqlite() {
    let directory = TempDir::new().unwrap();
    let log = open(&directory).await;

    let recorded = trim_busy_log(Arc::clone(&log)).await;

    let report = log.verify().await.unwrap();
    assert_eq!((usize::try_from(report.decisions).unwrap(), report.damage), (recorded, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn trim_ends_despite_concurrent_appends_on_postgres() {
    let cluster = Cluster::start();
    let store = Database::open(&Address::parse(&cluster.database())).await.unwrap();
    let log = Arc::new(SqlDecisionLog::new(&store));

    let recorded = trim_busy_log(Arc::clone(&log)).await;

    let report = log.verify().await.unwrap();
    assert_eq!((usize::try_from(report.decisions).unwrap(), report.damage), (recorded, Vec::new()));
}

#[tokio::test]
async fn index_rolled_back_by_sqlite_leaves_log_usable() {
    let directory = TempDir::new().unwrap();
    let log = open(&directory).await;
    for number in 0..3 {
        log.append(append_request(number)).await.unwrap();
    }
    let shell = shell(&directory);
    // On a full disk SQLite rolls back the whole transaction, not only the statement.
    let full = "create trigger full before insert on decision_keys begin select raise(rollback, 'disk full'); end";
    shell.execute_batch(full).unwrap();

    let failed = log.trim(noon()).await;
    // A new record needs a transaction.
    log.append(append_request(3)).await.unwrap();
    let listed = log.list(&Filter::default(), None, 10).await.unwrap();
    shell.execute_batch("drop trigger full").unwrap();
    let trimmed = log.trim(noon()).await;

    assert!(failed.is_err());
    assert_eq!(listed.decisions.len(), 4);
    assert_eq!(trimmed.unwrap(), 0);
    log.close().await;
    assert_eq!(log.verify().await.unwrap().damage, Vec::<String>::new());
}

#[tokio::test]
async fn list_reads_no_parts() {
    let directory = TempDir::new().unwrap();
    let log = open(&directory).await;
    let requests: Vec<_> = (0..3).map(append_request).collect();
    for request in &requests {
        log.append(request.clone()).await.unwrap();
    }
    log.trim(Timestamp::MIN).await.unwrap();
    log.append(append_request(3)).await.unwrap();
    let shell = shell(&directory);
    let deleted = shell.execute("delete from decision_blobs where is_case = 0", []).unwrap();

    let listed = log.list(&Filter::default(), None, 10).await.unwrap().decisions;

    assert!(deleted > 0);
    assert_eq!(listed.len(), 4);
    for ((listed, _), request) in listed.iter().rev().zip(&requests) {
        let entry = entry(listed);
        assert_eq!((entry.evaluate_time, &entry.labels), (request.evaluate_time, &request.labels));
        assert_eq!(entry.record.keys, request.record.keys);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_key_is_reported_among_many_records() {
    const CASES: u64 = 2_500;
    let directory = TempDir::new().unwrap();
    let log = open(&directory).await;
    let mut appending = JoinSet::new();
    for number in 0..CASES {
        let log = Arc::clone(&log);
        appending.spawn(async move { log.append(append_request(number)).await.unwrap() });
    }
    appending.join_all().await;
    log.close().await;
    let whole = log.verify().await.unwrap();
    let shell = shell(&directory);
    let removed = shell.execute(
        "delete from decision_keys where kind = 'digest'
             and name = (select max(name) from decision_keys where kind = 'digest')",
        [],
    );

    assert!(removed.unwrap() > 0);
    let found = log.verify().await.unwrap().damage;

    assert_eq!((whole.decisions, whole.damage), (CASES, Vec::new()));
    assert!(found.iter().any(|damage| damage.contains("index keys are missing")), "{found:?}");
}
