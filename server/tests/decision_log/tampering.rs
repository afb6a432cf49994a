//! Verification of a log that was changed outside the server: every change is reported.

use jiff::Timestamp;
use rusqlite::Connection;
use scangate_server::{
    decision_log::{AppendRequest, DecisionLog as _, sql::SqlDecisionLog},
    decisions,
    policy_store::sql::SqlPolicyStore,
    sql::{Address, Database, OpenError},
};
use tempfile::TempDir;

use crate::fixtures::{append_request, recorded, rewrite_segment, with_request_key};

/// Runs SQL on a log of twenty decisions and returns the reported damage.
async fn damage_after(sql: &str) -> Vec<String> {
    damage_by(|shell| shell.execute_batch(sql).unwrap()).await
}

/// Changes a log of twenty decisions and returns the reported damage.
async fn damage_by(change: impl FnOnce(&Connection)) -> Vec<String> {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("scangate.db");
    let database = Database::open(&Address::File(path.clone())).await.unwrap();
    let store = SqlPolicyStore::open(&database).await.unwrap();
    let log = SqlDecisionLog::new(&database);
    for number in 0..20 {
        log.append(with_request_key(&format!("deploy-{number}"), "same", append_request(number))).await.unwrap();
    }
    // Indexes the tail.
    log.close().await;
    assert_eq!(decisions::verify(&log, &store).await.unwrap().damage, Vec::<String>::new());
    let shell = Connection::open(&path).unwrap();
    change(&shell);
    assert!(shell.total_changes() > 0, "nothing was changed");

    decisions::verify(&log, &store).await.unwrap().damage
}

#[tokio::test]
async fn modified_segment_is_reported() {
    let found = damage_after(
        "update decision_segments set body = (select body from decision_segments where first_sequence = 8)
         where first_sequence = 7",
    )
    .await;

    assert!(found[0].contains("-7 to ") && found[0].contains("were modified"), "{found:?}");
}

#[tokio::test]
async fn changed_caller_is_reported() {
    for (from, to) in [(r#""caller":"ci""#, r#""caller":"eve""#), (r#""caller":"ci","#, "")] {
        let found = damage_by(|shell| rewrite_segment(shell, 7, from, to)).await;

        assert!(found.iter().any(|damage| damage.contains("-7 were modified: their hash differs")), "{found:?}");
        assert!(found.iter().any(|damage| damage.contains("do not match the decisions")), "{found:?}");
    }
}

#[tokio::test]
async fn segment_modified_with_hash_breaks_next() {
    let found = damage_after(
        "update decision_segments set body = (select body from decision_segments where first_sequence = 8),
             hash = (select hash from decision_segments where first_sequence = 8) where first_sequence = 7",
    )
    .await;

    assert!(found.iter().any(|damage| damage.contains("-8 to ")), "{found:?}");
}

#[tokio::test]
async fn missing_segment_is_reported() {
    let found = damage_after("delete from decision_segments where first_sequence = 7").await;

    assert!(found.iter().any(|damage| damage.contains("-7 are missing")), "{found:?}");
}

#[tokio::test]
async fn swapped_segments_are_reported() {
    let found = damage_after(
        "update decision_segments set
             body = (select o.body from decision_segments o where o.first_sequence = 15 - decision_segments.first_sequence),
             hash = (select o.hash from decision_segments o where o.first_sequence = 15 - decision_segments.first_sequence)
         where first_sequence in (7, 8)",
    )
    .await;

    assert!(!found.is_empty());
}

#[tokio::test]
async fn truncated_chain_is_reported() {
    let found = damage_after("delete from decision_segments where first_sequence > 15").await;

    assert!(found.iter().any(|damage| damage.contains("missing at the end")), "{found:?}");
}

#[tokio::test]
async fn missing_writer_row_is_reported() {
    let found = damage_after("delete from decision_writers").await;

    assert!(found.iter().any(|damage| damage.contains("the end of their chain is not stored")), "{found:?}");
}

#[tokio::test]
async fn undecodable_segment_is_reported() {
    let found = damage_after("update decision_segments set body = x'00ff' where first_sequence = 7").await;

    assert!(found.iter().any(|damage| damage.contains("cannot be read")), "{found:?}");
}

#[tokio::test]
async fn modified_blob_is_reported() {
    let found = damage_after(
        "update decision_blobs set body = (select body from decision_blobs where is_case = 0 order by hash limit 1)
         where is_case = 1",
    )
    .await;

    assert!(found.iter().any(|damage| damage.contains("was modified")), "{found:?}");
}

#[tokio::test]
async fn missing_blob_is_reported() {
    for kind in [0, 1] {
        let found = damage_after(&format!(
            "delete from decision_blobs where hash = (select min(hash) from decision_blobs where is_case = {kind})"
        ))
        .await;

        assert!(found.iter().any(|damage| damage.contains("is missing or damaged")), "{found:?}");
    }
}

#[tokio::test]
async fn renumbered_decisions_are_reported() {
    let moved = damage_after(
        "update decision_segments set first_sequence = -first_sequence, last_sequence = -last_sequence;
         update decision_segments set first_sequence = 1 - first_sequence, last_sequence = 1 - last_sequence;
         update decision_keys set first_sequence = first_sequence + 1000;
         update decision_keys set first_sequence = first_sequence - 999;
         update decision_writers set sequence = sequence + 1, pruned_sequence = 1, indexed = indexed + 1;
         update requests set sequence = sequence + 1",
    )
    .await;
    let renamed = damage_after(
        "update decision_segments set writer = 'other';
         update decision_keys set writer = 'other';
         update decision_writers set writer = 'other';
         update requests set writer = 'other'",
    )
    .await;

    assert!(moved[0].contains("their hash differs"), "{moved:?}");
    assert!(renamed[0].contains("does not start with the writer's first hash"), "{renamed:?}");
}

#[tokio::test]
async fn damaged_keys_are_reported() {
    for (sql, expected) in [
        ("delete from decision_keys", "index keys are missing"),
        ("update decision_keys set name = 'Other' where name = 'Allow'", "do not match the decisions"),
        ("update decision_keys set name = 'eve' where kind = 'caller'", "do not match the decisions"),
        ("update decision_keys set last_time = 0", "do not match the times"),
        ("update decision_keys set first_time = 0 where kind = 'verdict'", "do not match the times"),
        ("update decision_keys set segments = segments - 1 where segments % 2 = 1", "do not match the decisions"),
        ("update decision_keys set segments = segments | 1 where kind = 'digest'", "do not match the decisions"),
        ("update decision_keys set segments = segments | (1 << 62)", "do not match the times or the segments"),
        (
            "insert into decision_keys select kind, 'team/other', first_time, last_time, writer, first_sequence, segments
                 from decision_keys where name = 'team/even'",
            "do not match the decisions",
        ),
        ("update decision_writers set indexed = 3", "do not match the decisions"),
        ("update decision_keys set writer = 'other' where kind = 'digest'", "keys lead to decisions that do not exist"),
        ("update decision_segments set last_time = 0", "the stored time is not that of their latest decision"),
        ("update requests set sequence = 7 where sequence = 8", "leads to decision"),
        ("update requests set id = 'other' where sequence = 8", "was not recorded for that request"),
        ("update requests set caller = 'other'", "was not recorded for that request"),
        ("update requests set fingerprint = 'other'", "was not recorded for that request"),
    ] {
        let found = damage_after(sql).await;

        assert!(found.iter().any(|damage| damage.contains(expected)), "{sql}: {found:?}");
    }
}

#[tokio::test]
async fn unreadable_key_replaces_terms_only() {
    let replace = |kind| {
        format!(
            "update decision_keys set kind = 'unreadable', name = '' where kind = '{kind}' and name = (
                     select max(name) from decision_keys where kind = '{kind}')"
        )
    };

    let terms = damage_after(&replace("digest")).await;
    let records = damage_after(&replace("case")).await;

    assert_eq!(terms, Vec::<String>::new(), "an older server indexed these");
    assert!(records.iter().any(|damage| damage.contains("do not match the decisions")), "{records:?}");
}

#[tokio::test]
async fn unindexed_tail_is_valid_unless_marked_indexed() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("scangate.db");
    let store = Database::open(&Address::File(path.clone())).await.unwrap();
    let log = SqlDecisionLog::new(&store);
    log.append(append_request(1)).await.unwrap();
    let shell = Connection::open(&path).unwrap();

    let unindexed = log.verify().await.unwrap();
    shell.execute_batch("update decision_writers set indexed = 1").unwrap();
    let hidden = log.verify().await.unwrap();

    assert_eq!((unindexed.decisions, unindexed.damage), (1, Vec::new()));
    assert!(hidden.damage[0].contains("index keys are missing"), "{hidden:?}");
}

#[tokio::test]
async fn missing_policy_history_is_reported() {
    let found = damage_after(
        "pragma foreign_keys = off; delete from documents; delete from document_revisions where kind = 'policies'",
    )
    .await;

    assert!(found.iter().any(|damage| damage.contains("the entries of revisions 1 to 1 are missing")), "{found:?}");
}

#[tokio::test]
async fn trimmed_decisions_are_counted() {
    let directory = TempDir::new().unwrap();
    let store = Database::open(&Address::File(directory.path().join("scangate.db"))).await.unwrap();
    let log = SqlDecisionLog::new(&store);
    for number in 0..20 {
        log.append(with_request_key(&format!("deploy-{number}"), "same", append_request(number))).await.unwrap();
    }

    log.trim("2026-03-01T12:00:10Z".parse().unwrap()).await.unwrap();

    let report = log.verify().await.unwrap();
    assert_eq!((report.decisions, report.removed, report.damage), (10, 10, Vec::new()));
}

#[tokio::test]
async fn request_led_back_to_superseded_is_reported() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("scangate.db");
    let store = Database::open(&Address::File(path.clone())).await.unwrap();
    let log = SqlDecisionLog::new(&store);
    let request = |supersedes| AppendRequest {
        evaluate_time: Timestamp::now(),
        supersedes,
        ..with_request_key("r-1", "same", append_request(1))
    };
    let first = recorded(log.append(request(None)).await.unwrap());
    log.append(request(Some(first))).await.unwrap();
    let intact = log.verify().await.unwrap().damage;
    let shell = Connection::open(&path).unwrap();

    shell.execute_batch("update requests set sequence = 1").unwrap();
    let led_back = log.verify().await.unwrap().damage;
    shell.execute_batch("delete from requests").unwrap();
    let deleted = log.verify().await.unwrap().damage;

    assert_eq!(intact, Vec::<String>::new());
    assert!(led_back[0].contains("which was superseded"), "{led_back:?}");
    assert!(deleted[0].contains("no longer leads to decision"), "{deleted:?}");
}

#[tokio::test]
async fn missing_store_is_not_opened() {
    let directory = TempDir::new().unwrap();
    let missing = directory.path().join("typo.db");
    let empty = directory.path().join("empty.db");
    std::fs::write(&empty, "").unwrap();

    for path in [&missing, &empty] {
        let refused = Database::open_existing(&Address::File(path.clone())).await.unwrap_err();
        assert!(matches!(refused, OpenError::NoStore), "{refused:?}");
    }
    assert!(!missing.exists());
}
