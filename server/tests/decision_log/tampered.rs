//! A log that somebody has changed: every way of changing it shows.

use scangate_server::{
    decision_log::{DecisionLog as _, sql::SqlDecisionLog},
    decisions,
    policy_store::sql::SqlPolicyStore,
    sql::{Address, Database, OpenError},
};
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::fixtures::{record, requested};

/// What is found after this was done to a log of twenty decisions.
async fn found_after(sql: &str) -> Vec<String> {
    let place = TempDir::new().unwrap();
    let path = place.path().join("scangate.db");
    let database = Database::open(&Address::File(path.clone())).await.unwrap();
    let store = SqlPolicyStore::open(&database).await.unwrap();
    let log = SqlDecisionLog::new(&database);
    for number in 0..20 {
        log.append(requested(&format!("deploy-{number}"), "same", record(number))).await.unwrap();
    }
    // With that everything can be found by keys.
    log.close().await;
    assert_eq!(decisions::verify(&log, &store).await.unwrap().damage, Vec::<String>::new());
    let mut shell = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    let changed = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut shell).await.unwrap();
    assert!(changed.rows_affected() > 0, "{sql} changes nothing");

    decisions::verify(&log, &store).await.unwrap().damage
}

#[tokio::test]
async fn a_changed_record_is_found() {
    let found = found_after(
        "update decision_segments set body = (select body from decision_segments where first_sequence = 8)
         where first_sequence = 7",
    )
    .await;

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

    assert!(found.iter().any(|damage| damage.contains("missing at the end")), "{found:?}");
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

#[tokio::test]
async fn decisions_that_were_given_other_names_are_found() {
    let moved = found_after(
        "update decision_segments set first_sequence = -first_sequence, last_sequence = -last_sequence;
         update decision_segments set first_sequence = 1 - first_sequence, last_sequence = 1 - last_sequence;
         update decision_keys set first_sequence = first_sequence + 1000;
         update decision_keys set first_sequence = first_sequence - 999;
         update decision_writers set sequence = sequence + 1, pruned_sequence = 1, indexed = indexed + 1;
         update decision_requests set sequence = sequence + 1",
    )
    .await;
    let renamed = found_after(
        "update decision_segments set writer = 'somebody';
         update decision_keys set writer = 'somebody';
         update decision_writers set writer = 'somebody';
         update decision_requests set writer = 'somebody'",
    )
    .await;

    assert!(moved[0].contains("their hash differs"), "{moved:?}");
    assert!(renamed[0].contains("does not begin as it was noted to"), "{renamed:?}");
}

#[tokio::test]
async fn what_no_longer_leads_to_its_decision_is_found() {
    for (sql, expected) in [
        ("delete from decision_keys", "are not found by all that they are about"),
        ("update decision_keys set name = 'Other' where name = 'Allow'", "are not found by all that they are about"),
        ("update decision_keys set last_time = 0", "are not found by all that they are about"),
        ("update decision_keys set first_time = 0 where kind = 'verdict'", "are not found by all that they are about"),
        ("update decision_keys set segments = segments - 1 where segments % 2 = 1", "are not found by all that they"),
        ("update decision_keys set segments = segments | 1 where kind = 'digest'", "are not found by all that they are"),
        ("update decision_keys set segments = segments | (1 << 62)", "are not found by all that they are about"),
        (
            "insert into decision_keys select kind, 'team/other', first_time, last_time, writer, first_sequence, segments
                 from decision_keys where name = 'team/even'",
            "are not found by all that they are about",
        ),
        ("update decision_writers set indexed = 3", "are not found by all that they are about, or by more than that"),
        (
            "update decision_keys set writer = 'nobody' where kind = 'digest'",
            "keys lead to decisions that are not there",
        ),
        ("update decision_segments set last_time = 0", "a time that none of them was made at"),
        ("update decision_requests set sequence = 7 where sequence = 8", "leads to decision"),
        ("update decision_requests set id = 'other' where sequence = 8", "which another or none has asked for"),
        ("update decision_requests set fingerprint = 'other'", "which another or none has asked for"),
    ] {
        let found = found_after(sql).await;

        assert!(found.iter().any(|damage| damage.contains(expected)), "{sql}: {found:?}");
    }
}

#[tokio::test]
async fn decisions_that_nobody_has_indexed_are_no_damage_and_those_said_to_be_indexed_are() {
    let place = TempDir::new().unwrap();
    let path = place.path().join("scangate.db");
    let store = Database::open(&Address::File(path.clone())).await.unwrap();
    let log = SqlDecisionLog::new(&store);
    log.append(record(1)).await.unwrap();
    let mut shell = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();

    let unindexed = log.verify().await.unwrap();
    sqlx::query("update decision_writers set indexed = 1").execute(&mut shell).await.unwrap();
    let hidden = log.verify().await.unwrap();

    assert_eq!((unindexed.decisions, unindexed.damage), (1, Vec::new()));
    assert!(hidden.damage[0].contains("are not found by all that they are about"), "{hidden:?}");
}

#[tokio::test]
async fn policies_of_then_that_are_gone_are_found() {
    let found = found_after(
        "pragma foreign_keys = off; delete from documents; delete from document_revisions where kind = 'policies'",
    )
    .await;

    assert!(found.iter().any(|damage| damage.contains("the entries of revisions 1 to 1 are missing")), "{found:?}");
}

#[tokio::test]
async fn what_was_removed_is_told() {
    let place = TempDir::new().unwrap();
    let store = Database::open(&Address::File(place.path().join("scangate.db"))).await.unwrap();
    let log = SqlDecisionLog::new(&store);
    for number in 0..20 {
        log.append(requested(&format!("deploy-{number}"), "same", record(number))).await.unwrap();
    }

    log.trim("2026-03-01T12:00:10Z".parse().unwrap()).await.unwrap();

    let report = log.verify().await.unwrap();
    assert_eq!((report.decisions, report.removed, report.damage), (10, 10, Vec::new()));
}

#[tokio::test]
async fn where_there_is_no_store_nothing_is_said_to_be_well() {
    let place = TempDir::new().unwrap();
    let missing = place.path().join("typo.db");
    let empty = place.path().join("empty.db");
    std::fs::write(&empty, "").unwrap();

    for path in [&missing, &empty] {
        let refused = Database::open_existing(&Address::File(path.clone())).await.unwrap_err();
        assert!(matches!(refused, OpenError::NoStore), "{refused:?}");
    }
    assert!(!missing.exists());
}
