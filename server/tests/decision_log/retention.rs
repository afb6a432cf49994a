//! Retention: the deletion of blobs with the decisions that reference them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use scangate_core::Verdict;
use scangate_server::{
    decision_log::{Blob, DecisionLog as _, Hash, sql::SqlDecisionLog},
    sql::{Address, Database},
};
use scangate_test_fixtures::noon;
use scangate_test_postgres::Cluster;
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;

use crate::fixtures::{append_request, prepared_record};

/// Returns the blobs that the decisions of these numbers reference.
fn blobs(numbers: impl IntoIterator<Item = u64>) -> BTreeSet<Hash> {
    let records = numbers.into_iter().map(|number| append_request(number).record);
    let hashes =
        records.flat_map(|record| record.parts.iter().chain([&record.blob]).map(Blob::hash).collect::<Vec<_>>());
    hashes.collect()
}

#[tokio::test]
async fn trim_deletes_blobs_of_removed_decisions_only() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("scangate.db");
    let store = Database::open(&Address::File(path.clone())).await.unwrap();
    let log = SqlDecisionLog::new(&store);
    // More than one transaction removes.
    for number in 0..1400 {
        log.append(append_request(number)).await.unwrap();
    }
    let all: Vec<Hash> = blobs(0..1400).into_iter().collect();
    let before = "2026-03-01T12:20:00Z".parse().unwrap();

    // Recently used blobs stay: a server may be about to reference them again.
    assert_eq!(log.trim(before).await.unwrap(), 1200);
    let spared = log.blobs(&all).await.unwrap();
    rusqlite::Connection::open(&path).unwrap().execute_batch("update decision_blobs set used = 0").unwrap();
    log.trim(before).await.unwrap();
    let left: BTreeSet<Hash> = log.blobs(&all).await.unwrap().into_keys().collect();

    assert_eq!(spared.len(), all.len());
    assert_eq!(left, blobs(1200..1400));
    let report = log.verify().await.unwrap();
    assert_eq!((report.decisions, report.removed, report.damage), (200, 1200, Vec::new()));
}

/// Waits until a session waits for a lock.
async fn wait_for_blocked_session(shell: &mut PgConnection) {
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut *shell).await.unwrap() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blob_reused_during_trim_stays_with_parts() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let store = Database::open(&Address::parse(&database)).await.unwrap();
    let log = Arc::new(SqlDecisionLog::new(&store));
    log.append(append_request(0)).await.unwrap();
    log.append(append_request(2)).await.unwrap();
    let (mut other, mut shell) =
        (PgConnection::connect(&database).await.unwrap(), PgConnection::connect(&database).await.unwrap());
    log.trim(noon() + Duration::from_mins(1)).await.unwrap();
    sqlx::query("update decision_blobs set used = 0").execute(&mut shell).await.unwrap();

    // Another server references the record again, in a transaction that is not committed yet.
    let mut recording = other.begin().await.unwrap();
    let again = prepared_record(0, Verdict::Deny);
    sqlx::query("update decision_blobs set used = $1 where hash = $2")
        .bind(i64::MAX)
        .bind(again.blob.hash().to_string())
        .execute(&mut *recording)
        .await
        .unwrap();
    let trimming = tokio::spawn(async move {
        log.trim(noon() + Duration::from_mins(1)).await.unwrap();
        log
    });
    wait_for_blocked_session(&mut shell).await;
    recording.commit().await.unwrap();
    let log = trimming.await.unwrap();

    let all: Vec<Hash> = blobs([0, 2]).into_iter().collect();
    let left: BTreeSet<Hash> = log.blobs(&all).await.unwrap().into_keys().collect();
    assert_eq!(left, blobs([0]));
}
