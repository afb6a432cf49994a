//! A log that somebody has changed: every way of changing it shows.

use scangate_server::{
    log::Log as _,
    store::sql::{Address, Sql, SqlLog},
};
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::given::record;

/// What is found after this was done to a log of twenty decisions.
async fn found_after(sql: &str) -> Vec<String> {
    let place = TempDir::new().unwrap();
    let path = place.path().join("scangate.db");
    let store = Sql::open(&Address::File(path.clone())).await.unwrap();
    let log = SqlLog::new(&store);
    for number in 0..20 {
        log.append(record(number)).await.unwrap();
    }
    assert_eq!(log.verify().await.unwrap().damage, Vec::<String>::new());
    let mut shell = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    let changed = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut shell).await.unwrap();
    assert!(changed.rows_affected() > 0, "{sql} changes nothing");

    log.verify().await.unwrap().damage
}

#[tokio::test]
async fn a_changed_record_is_found() {
    let found = found_after(
        "update decision_segments set body = (select body from decision_segments where first_sequence = 8)
         where first_sequence = 7",
    )
    .await;

    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("-7 to ") && found[0].contains("are not what was recorded"), "{found:?}");
}

#[tokio::test]
async fn a_record_that_was_changed_with_its_hash_is_found_in_the_next() {
    let found = found_after(
        "update decision_segments set body = (select body from decision_segments where first_sequence = 8),
             hash = (select hash from decision_segments where first_sequence = 8) where first_sequence = 7",
    )
    .await;

    assert!(found.iter().any(|damage| damage.contains("-8 to ")), "{found:?}");
}

#[tokio::test]
async fn a_missing_record_is_found() {
    let found = found_after("delete from decision_segments where first_sequence = 7").await;

    assert!(found.iter().any(|damage| damage.contains("-7 are missing")), "{found:?}");
}

#[tokio::test]
async fn records_in_another_order_are_found() {
    let found = found_after(
        "update decision_segments set
             body = (select o.body from decision_segments o where o.first_sequence = 15 - decision_segments.first_sequence),
             hash = (select o.hash from decision_segments o where o.first_sequence = 15 - decision_segments.first_sequence)
         where first_sequence in (7, 8)",
    )
    .await;

    assert!(!found.is_empty());
}

#[tokio::test]
async fn an_end_that_was_cut_off_is_found() {
    let found = found_after("delete from decision_segments where first_sequence > 15").await;

    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("missing at the end"), "{found:?}");
}

#[tokio::test]
async fn a_chain_that_nobody_noted_is_found() {
    let found = found_after("delete from decision_writers").await;

    assert!(found.iter().any(|damage| damage.contains("no note of how far its chain goes")), "{found:?}");
}

#[tokio::test]
async fn bytes_that_are_no_record_are_found() {
    let found = found_after("update decision_segments set body = x'00ff' where first_sequence = 7").await;

    assert!(found.iter().any(|damage| damage.contains("cannot be read")), "{found:?}");
}

#[tokio::test]
async fn a_blob_that_was_changed_is_found() {
    let found = found_after(
        "update decision_blobs set body = (select body from decision_blobs where is_case = 0 order by hash limit 1)
         where is_case = 1",
    )
    .await;

    assert!(found.iter().any(|damage| damage.contains("is not what was recorded")), "{found:?}");
}

#[tokio::test]
async fn a_blob_that_is_missing_is_found() {
    for kind in [0, 1] {
        let found = found_after(&format!(
            "delete from decision_blobs where hash = (select min(hash) from decision_blobs where is_case = {kind})"
        ))
        .await;

        assert!(found.iter().any(|damage| damage.contains("is missing or damaged")), "{found:?}");
    }
}
