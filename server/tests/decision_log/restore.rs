//! A database that goes back to an earlier state under a running server: restored from a backup, or a lagging standby was promoted.

use rusqlite::Connection;
use scangate_server::{
    decision_log::{DecisionLog as _, Filter, sql::SqlDecisionLog},
    sql::{Address, Database},
};
use scangate_test_postgres::Cluster;
use tempfile::TempDir;

use crate::fixtures::{append_request, recorded, with_request_key};

/// Restores the state with three recorded decisions, not indexed.
const RESTORE: [&str; 5] = [
    "update decision_writers set sequence = 3, hash = (select hash from decision_segments where last_sequence = 3), indexed = 0",
    "delete from decision_keys",
    "delete from decision_segments where first_sequence > 3",
    "delete from requests",
    "delete from decision_parts where whole not in ({records})",
];

/// `execute` runs a statement in the database, outside the server.
async fn check_appends_after_restore(address: &Address, execute: impl Fn(&str)) {
    let store = Database::open(address).await.unwrap();
    let log = SqlDecisionLog::new(&store);
    let mut before = Vec::new();
    for number in 1..=6 {
        before.push(recorded(
            log.append(with_request_key(&format!("deploy-{number}"), "same", append_request(number))).await.unwrap(),
        ));
    }
    let records: Vec<String> =
        (1..=3).map(|number| format!("'{}'", append_request(number).record.blob.hash())).collect();
    let records = records.join(", ");
    for statement in RESTORE {
        execute(&statement.replace("{records}", &records));
    }
    let blobs = format!(
        "delete from decision_blobs where hash not in (select part from decision_parts) and hash not in ({records})"
    );
    let lost = append_request(6).record.blob.hash();
    assert_eq!(log.blobs(&[lost]).await.unwrap().len(), 1);
    execute(&blobs);
    assert_eq!(log.blobs(&[lost]).await.unwrap().len(), 0);

    let again = recorded(log.append(with_request_key("deploy-6", "same", append_request(6))).await.unwrap());
    let next = recorded(log.append(append_request(5)).await.unwrap());

    assert!(!before.contains(&again), "{again}");
    assert_ne!(again.writer, before[0].writer);
    assert_eq!((&next.writer, next.sequence), (&again.writer, again.sequence + 1));
    for id in [&before[0], &before[2], &again, &next] {
        let found = log.get(id).await.unwrap();
        assert_eq!(log.blobs(&[found.record.inputs, found.record.outcome]).await.unwrap().len(), 2);
    }
    let listed = log.list(&Filter::default(), None, 100).await.unwrap();
    assert_eq!(listed.decisions.len(), 5);
    let report = log.verify().await.unwrap();
    assert_eq!((report.decisions, report.writers), (5, 2));
    let lost: Vec<_> = report.damage.iter().filter(|damage| !damage.contains("no longer leads to")).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[tokio::test]
async fn restored_sqlite_starts_new_chain() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("scangate.db");

    let execute = |statement: &str| Connection::open(&path).unwrap().execute_batch(statement).unwrap();
    check_appends_after_restore(&Address::File(path.clone()), execute).await;
}

#[tokio::test]
async fn restored_postgres_starts_new_chain() {
    let cluster = Cluster::start();
    let database = cluster.database();

    check_appends_after_restore(&Address::parse(&database), |statement| cluster.execute(&database, statement)).await;
}
