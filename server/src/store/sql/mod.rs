//! The store over SQL. [`sqlite`] opens the database, [`row`] brings rows into policies and back, [`write`] is the one
//! transaction that changes anything.

mod row;
mod sqlite;
mod write;

use std::{fs::File, path::Path, sync::Arc};

use scangate_core::policy::PolicySet;
use sqlx::SqlitePool;

pub use self::sqlite::OpenError;
use super::{Error, Store, Write, Written};

/// A policy store in an SQLite file, which belongs to this process as long as the value lives.
#[derive(Debug)]
pub struct Sql {
    /// One connection: SQLite has one writer at a time, and waiting here is fair.
    writer: SqlitePool,
    readers: SqlitePool,
    /// Holds the lock that keeps a second server out: its snapshot would miss our writes.
    _lock: File,
}

impl Sql {
    /// Opens the file, makes it where it does not exist, brings its schema up to date and seeds `policies/default`.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        let lock = sqlite::lock(path)?;
        let store = Self { writer: sqlite::writer(path).await?, readers: sqlite::readers(path).await?, _lock: lock };
        write::seed(&store.writer).await?;
        Ok(store)
    }
}

#[async_trait::async_trait]
impl Store for Sql {
    async fn load(&self) -> Result<PolicySet, Error> {
        let mut snapshot = self.readers.begin().await.map_err(unavailable)?;
        let revision = sqlx::query_scalar("select revision from store_revision where id = 1")
            .fetch_one(&mut *snapshot)
            .await
            .map_err(unavailable)?;
        let rows: Vec<row::Stored> = sqlx::query_as(
            "select id, revision, body, content_digest, create_time, update_time from policies order by id",
        )
        .fetch_all(&mut *snapshot)
        .await
        .map_err(unavailable)?;
        let mut set = PolicySet { revision: row::revision(revision)?, ..PolicySet::default() };
        for stored in rows {
            let revised = stored.read()?;
            set.policies.insert(revised.policy.id.clone(), Arc::new(revised));
        }
        Ok(set)
    }

    async fn apply(&self, write: Write) -> Result<Written, Error> {
        write::apply(&self.writer, write).await
    }

    async fn ping(&self) -> Result<(), Error> {
        let _revision: i64 = sqlx::query_scalar("select revision from store_revision where id = 1")
            .fetch_one(&self.readers)
            .await
            .map_err(unavailable)?;
        Ok(())
    }
}

fn unavailable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Unavailable(error.into())
}
