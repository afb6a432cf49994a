//! The contract of observations, over SQLite and PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test panics on a failed step")]

mod contract;

use std::sync::Arc;

use scangate_server::{
    observations::sql::SqlObservations,
    sql::{Address, Database},
};
use scangate_test_postgres::Cluster;
use tempfile::TempDir;

use crate::contract::PROMISES;

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_meets_contract() {
    let mut broken = Vec::new();
    for (name, promise) in PROMISES {
        let directory = TempDir::new().unwrap();
        let database = Database::open(&Address::File(directory.path().join("scangate.db"))).await.unwrap();
        if let Err(failure) = tokio::spawn(promise(Arc::new(SqlObservations::new(&database)))).await {
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
        let database = Database::open(&Address::parse(&cluster.database())).await.unwrap();
        if let Err(failure) = tokio::spawn(promise(Arc::new(SqlObservations::new(&database)))).await {
            broken.push((name, failure));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
