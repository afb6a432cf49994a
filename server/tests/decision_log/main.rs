//! The promises of the decision log and of what the gate remembers of findings, over SQLite and PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall panic")]

mod contract;
mod fixtures;
mod indexing;
mod killed;
mod restored;
mod retention;
mod tampered;

use scangate_server::sql::{Address, Database};
use scangate_test_postgres::Cluster;
use tempfile::TempDir;

use crate::contract::PROMISES;

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_every_promise() {
    let mut broken = Vec::new();
    for (name, promise) in PROMISES {
        let place = TempDir::new().unwrap();
        let store = Database::open(&Address::File(place.path().join("scangate.db"))).await.unwrap();
        if let Err(failure) = tokio::spawn(promise(store)).await {
            broken.push((name, failure));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_every_promise() {
    let cluster = Cluster::start();
    let mut broken = Vec::new();
    for (name, promise) in PROMISES {
        let store = Database::open(&Address::parse(&cluster.database())).await.unwrap();
        if let Err(failure) = tokio::spawn(promise(store)).await {
            broken.push((name, failure));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
