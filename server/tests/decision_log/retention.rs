//! What goes when decisions go.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use scangate_core::Verdict;
use scangate_server::{
    decision_log::DecisionLog as _,
    decision_log::Hash,
    decision_log::sql::SqlDecisionLog,
    sql::{Address, Database},
};
use scangate_test_postgres::Cluster;
use sqlx::{AnyConnection, Connection as _};
use tempfile::TempDir;

use crate::fixtures::{case, noon, record};

/// Everything that decisions of that many numbers rest on.
fn blobs(numbers: impl IntoIterator<Item = u64>) -> BTreeSet<Hash> {
    let of = |number: u64| case(number, if number.is_multiple_of(3) { Verdict::Deny } else { Verdict::Allow });
    let hashes = numbers.into_iter().map(of).flat_map(|case| {
        case.parts.iter().chain([&case.case]).map(scangate_server::decision_log::Blob::hash).collect::<Vec<_>>()
    });
    hashes.collect()
}

#[tokio::test]
async fn what_only_removed_decisions_rested_on_goes_and_the_rest_stays() {
    let place = TempDir::new().unwrap();
    let path = place.path().join("scangate.db");
    let store = Database::open(&Address::File(path.clone())).await.unwrap();
    let log = SqlDecisionLog::new(&store);
    // More than are removed at once.
    for number in 0..1400 {
        log.append(record(number)).await.unwrap();
    }
    let mut shell = AnyConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    let all: Vec<Hash> = blobs(0..1400).into_iter().collect();
    let before = "2026-03-01T12:20:00Z".parse().unwrap();

    // Used a moment ago: a server may be about to record it again.
    assert_eq!(log.trim(before).await.unwrap(), 1200);
    let spared = log.blobs(&all).await.unwrap();
    sqlx::query("update decision_blobs set used = 0").execute(&mut shell).await.unwrap();
    log.trim(before).await.unwrap();
    let left: BTreeSet<Hash> = log.blobs(&all).await.unwrap().into_keys().collect();

    assert_eq!(spared.len(), all.len());
    assert_eq!(left, blobs(1200..1400));
    let report = log.verify().await.unwrap();
    assert_eq!((report.decisions, report.removed, report.damage), (200, 1200, Vec::new()));
}

/// Waits until somebody waits for what another holds.
async fn somebody_waits(shell: &mut AnyConnection) {
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut *shell).await.unwrap() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_used_again_while_it_is_swept_stays_with_its_parts() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let store = Database::open(&Address::parse(&database)).await.unwrap();
    let log = Arc::new(SqlDecisionLog::new(&store));
    log.append(record(0)).await.unwrap();
    log.append(record(2)).await.unwrap();
    let (mut other, mut shell) =
        (AnyConnection::connect(&database).await.unwrap(), AnyConnection::connect(&database).await.unwrap());
    log.trim(noon() + Duration::from_mins(1)).await.unwrap();
    sqlx::query("update decision_blobs set used = 0").execute(&mut shell).await.unwrap();

    // Another server records the case again, and has not committed yet.
    let mut recording = other.begin().await.unwrap();
    let again = case(0, Verdict::Deny);
    sqlx::query("update decision_blobs set used = $1 where hash = $2")
        .bind(i64::MAX)
        .bind(again.case.hash().to_string())
        .execute(&mut *recording)
        .await
        .unwrap();
    let sweeping = tokio::spawn(async move {
        log.trim(noon() + Duration::from_mins(1)).await.unwrap();
        log
    });
    somebody_waits(&mut shell).await;
    recording.commit().await.unwrap();
    let log = sweeping.await.unwrap();

    let all: Vec<Hash> = blobs([0, 2]).into_iter().collect();
    let left: BTreeSet<Hash> = log.blobs(&all).await.unwrap().into_keys().collect();
    assert_eq!(left, blobs([0]));
}
