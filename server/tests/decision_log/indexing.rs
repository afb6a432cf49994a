//! What decisions are found by is written after they are recorded: whatever happens to that, the log goes on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use scangate_server::{
    decision_log::sql::SqlDecisionLog,
    decision_log::{DecisionLog as _, Filter},
    sql::{Address, Database},
};
use scangate_test_postgres::Cluster;
use sqlx::{ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::fixtures::{noon, record};

/// How long a test waits for what would otherwise never end.
const PATIENCE: Duration = Duration::from_mins(2);

async fn shell(place: &TempDir) -> SqliteConnection {
    SqliteConnectOptions::new().filename(place.path().join("scangate.db")).connect().await.unwrap()
}

async fn open(place: &TempDir) -> Arc<SqlDecisionLog> {
    let store = Database::open(&Address::File(place.path().join("scangate.db"))).await.unwrap();
    Arc::new(SqlDecisionLog::new(&store))
}

/// Removes nothing from a log to which many append all the while; says how many decisions were recorded.
async fn retention_of_a_busy_log(log: Arc<SqlDecisionLog>) -> usize {
    let is_over = Arc::new(AtomicBool::new(false));
    let mut busy = JoinSet::new();
    for number in 0..32 {
        let (log, is_over) = (Arc::clone(&log), Arc::clone(&is_over));
        busy.spawn(async move {
            let mut recorded = 0;
            while !is_over.load(Ordering::Relaxed) {
                log.append(record(number)).await.unwrap();
                recorded += 1;
            }
            recorded
        });
    }
    let pruned = tokio::time::timeout(PATIENCE, log.trim(noon())).await;
    is_over.store(true, Ordering::Relaxed);
    let recorded = busy.join_all().await.into_iter().sum();

    assert_eq!(pruned.unwrap().unwrap(), 0);
    recorded
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_comes_to_an_end_while_decisions_are_recorded_in_sqlite() {
    let place = TempDir::new().unwrap();
    let log = open(&place).await;

    let recorded = retention_of_a_busy_log(Arc::clone(&log)).await;

    let report = log.verify().await.unwrap();
    assert_eq!((usize::try_from(report.decisions).unwrap(), report.damage), (recorded, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_comes_to_an_end_while_decisions_are_recorded_in_postgres() {
    let cluster = Cluster::start();
    let store = Database::open(&Address::parse(&cluster.database())).await.unwrap();
    let log = Arc::new(SqlDecisionLog::new(&store));

    let recorded = retention_of_a_busy_log(Arc::clone(&log)).await;

    let report = log.verify().await.unwrap();
    assert_eq!((usize::try_from(report.decisions).unwrap(), report.damage), (recorded, Vec::new()));
}

#[tokio::test]
async fn keys_that_the_database_rolls_back_by_itself_leave_the_log_usable() {
    let place = TempDir::new().unwrap();
    let log = open(&place).await;
    for number in 0..3 {
        log.append(record(number)).await.unwrap();
    }
    let mut shell = shell(&place).await;
    // What SQLite does where the disk is full: it ends the whole transaction, not the statement alone.
    let full = "create trigger full before insert on decision_keys begin select raise(rollback, 'disk full'); end";
    sqlx::raw_sql(full).execute(&mut shell).await.unwrap();

    let failed = log.trim(noon()).await;
    // About something new, which takes a transaction.
    log.append(record(3)).await.unwrap();
    let listed = log.list(&Filter::default(), None, 10).await.unwrap();
    sqlx::raw_sql("drop trigger full").execute(&mut shell).await.unwrap();
    let pruned = log.trim(noon()).await;

    assert!(failed.is_err());
    assert_eq!(listed.decisions.len(), 4);
    assert_eq!(pruned.unwrap(), 0);
    log.close().await;
    assert_eq!(log.verify().await.unwrap().damage, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_missing_is_found_among_however_many_cases() {
    const CASES: u64 = 2_500;
    let place = TempDir::new().unwrap();
    let log = open(&place).await;
    let mut appending = JoinSet::new();
    for number in 0..CASES {
        let log = Arc::clone(&log);
        appending.spawn(async move { log.append(record(number)).await.unwrap() });
    }
    appending.join_all().await;
    log.close().await;
    let whole = log.verify().await.unwrap();
    let mut shell = shell(&place).await;
    let removed = sqlx::raw_sql(
        "delete from decision_keys where kind = 'digest'
             and name = (select max(name) from decision_keys where kind = 'digest')",
    );

    assert!(removed.execute(&mut shell).await.unwrap().rows_affected() > 0);
    let found = log.verify().await.unwrap().damage;

    assert_eq!((whole.decisions, whole.damage), (CASES, Vec::new()));
    assert!(found.iter().any(|damage| damage.contains("are not found by all that they are about")), "{found:?}");
}
