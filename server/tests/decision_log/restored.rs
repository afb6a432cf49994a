//! A database that has gone back to an earlier state under a server that runs: restored, or taken over by a standby that lagged.

use scangate_server::{
    decision_log::sql::SqlDecisionLog,
    decision_log::{DecisionLog as _, Filter},
    sql::{Address, Database},
};
use scangate_test_postgres::Cluster;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};
use tempfile::TempDir;

use crate::fixtures::{record, recorded, requested};

/// Takes everything back to when three decisions had been recorded, and not indexed.
const BACK: [&str; 5] = [
    "update decision_writers set sequence = 3, hash = (select hash from decision_segments where last_sequence = 3), indexed = 0",
    "delete from decision_keys",
    "delete from decision_segments where first_sequence > 3",
    "delete from decision_requests",
    "delete from decision_parts where whole not in ({cases})",
];

async fn nothing_is_taken_for_stored_and_no_name_is_given_twice(address: &Address, shell: &str) {
    let store = Database::open(address).await.unwrap();
    let log = SqlDecisionLog::new(&store);
    let mut before = Vec::new();
    for number in 1..=6 {
        before
            .push(recorded(log.append(requested(&format!("deploy-{number}"), "same", record(number))).await.unwrap()));
    }
    let mut shell = AnyConnection::connect(shell).await.unwrap();
    let cases: Vec<String> = (1..=3).map(|number| format!("'{}'", record(number).case.case.hash())).collect();
    let cases = cases.join(", ");
    for statement in BACK {
        sqlx::query(AssertSqlSafe(statement.replace("{cases}", &cases))).execute(&mut shell).await.unwrap();
    }
    let blobs = format!(
        "delete from decision_blobs where hash not in (select part from decision_parts) and hash not in ({cases})"
    );
    assert!(sqlx::query(AssertSqlSafe(blobs)).execute(&mut shell).await.unwrap().rows_affected() > 0);

    let again = recorded(log.append(requested("deploy-6", "same", record(6))).await.unwrap());
    let next = recorded(log.append(record(5)).await.unwrap());

    assert!(!before.contains(&again), "{again}");
    assert_ne!(again.writer, before[0].writer);
    assert_eq!((&next.writer, next.sequence), (&again.writer, again.sequence + 1));
    for id in [&before[0], &before[2], &again, &next] {
        let found = log.get(id).await.unwrap();
        assert_eq!(log.blobs(&[found.case.inputs, found.case.outcome]).await.unwrap().len(), 2);
    }
    let listed = log.list(&Filter::default(), None, 100).await.unwrap();
    assert_eq!(listed.decisions.len(), 5);
    let report = log.verify().await.unwrap();
    assert_eq!((report.decisions, report.writers), (5, 2));
    let lost: Vec<_> = report.damage.iter().filter(|damage| !damage.contains("no longer leads to")).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[tokio::test]
async fn sqlite_that_was_restored_records_all_of_what_comes_then() {
    let place = TempDir::new().unwrap();
    let path = place.path().join("scangate.db");

    nothing_is_taken_for_stored_and_no_name_is_given_twice(
        &Address::File(path.clone()),
        &format!("sqlite://{}", path.display()),
    )
    .await;
}

#[tokio::test]
async fn postgres_that_was_restored_records_all_of_what_comes_then() {
    let cluster = Cluster::start();
    let database = cluster.database();

    nothing_is_taken_for_stored_and_no_name_is_given_twice(&Address::parse(&database), &database).await;
}
