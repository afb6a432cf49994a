//! Tests of the decision log, over SQLite and PostgreSQL: [`contract`] holds for both backends.

#![expect(clippy::unwrap_used, reason = "a test panics on a failed step")]

mod contract;
mod crash_recovery;
mod damage;
mod fixtures;
mod indexing;
mod postgres;
mod restore;
mod retention;
mod tampering;

use scangate_server::sql::{Address, Database};
use scangate_test_postgres::Cluster;
use tempfile::TempDir;

use crate::contract::PROMISES;

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_meets_contract() {
    let mut broken = Vec::new();
    for (name, promise) in PROMISES {
        let directory = TempDir::new().unwrap();
        let store = Database::open(&Address::File(directory.path().join("scangate.db"))).await.unwrap();
        if let Err(failure) = tokio::spawn(promise(store)).await {
            broken.push((name, failure));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_meets_contract() {
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
