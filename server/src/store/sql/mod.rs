//! The policy store in a SQL database: today SQLite, in a file that belongs to one server at a time.
//!
//! `write` decides what a change does, `statements` holds the SQL, `row` turns rows into policies and back, and
//! `sqlite` what no other database shares.

mod row;
mod sqlite;
mod statements;
mod write;

use std::{path::Path, sync::Arc};

use jiff::Timestamp;
use scangate_core::policy::{Policy, PolicySet};
use sqlx::{Connection as _, Pool, pool::PoolConnection};

pub use self::sqlite::OpenError;
use super::{Change, Error, Store, Write, Written};
use sqlite::{Database, Lock};

/// A store of policies in a SQL database.
#[derive(Debug)]
pub struct Sql {
    // One connection: writes queue here, in order, and not at the file's lock, where the luckiest goes first.
    writer: Pool<Database>,
    readers: Pool<Database>,
    lock: Arc<Lock>,
}

impl Sql {
    /// Opens the SQLite file, and makes it where there is none: readable by its owner only, with `policies/default` in it.
    ///
    /// The file is this store's own until it is dropped, and until the last write that it began has ended: a second server
    /// would decide by policies that the first has long replaced.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        // Blocks for some system calls, once, before anything is served.
        let file = sqlite::File::claim(path)?;
        let writer = file.writer().await?;
        let readers = file.readers().await?;
        let store = Self { writer, readers, lock: Arc::new(file.into_lock()) };
        store.seed().await?;
        Ok(store)
    }

    async fn seed(&self) -> Result<(), Error> {
        let mut connection = self.writer.acquire().await.map_err(failed)?;
        let mut transaction = connection.begin_with(sqlite::BEGIN_WRITE).await.map_err(failed)?;
        if statements::revision(&mut transaction).await?.is_some() {
            return Ok(());
        }
        statements::begin_revisions(&mut transaction).await?;
        let default = Policy::built_in_default().map_err(|source| Error::Unavailable(source.into()))?;
        let write = Write { change: Change::Create(default), request: None, at: Timestamp::now() };
        write::apply(&mut transaction, write).await?;
        transaction.commit().await.map_err(outcome_unknown)
    }
}

#[async_trait::async_trait]
impl Store for Sql {
    async fn load(&self) -> Result<PolicySet, Error> {
        let mut transaction = self.readers.begin().await.map_err(failed)?;
        let revision = statements::revision(&mut transaction).await?;
        let rows = statements::policies(&mut transaction).await?;
        transaction.rollback().await.map_err(failed)?;
        row::policy_set(revision, rows)
    }

    async fn apply(&self, write: Write) -> Result<Written, Error> {
        let connection = self.writer.acquire().await.map_err(failed)?;
        let lock = Arc::clone(&self.lock);
        // A task of its own, so that a caller who gives up does not leave it to chance whether the write happens.
        let task = tokio::spawn(async move {
            let outcome = in_transaction(connection, write).await;
            drop(lock);
            outcome
        });
        task.await.unwrap_or_else(|lost| Err(Error::Unavailable(lost.into())))
    }

    async fn ping(&self) -> Result<(), Error> {
        let mut connection = self.readers.acquire().await.map_err(failed)?;
        statements::revision(&mut connection).await.map(|_| ())
    }
}

async fn in_transaction(mut connection: PoolConnection<Database>, write: Write) -> Result<Written, Error> {
    let outcome = commit(&mut connection, write).await;
    if let Err(Error::Unavailable(_) | Error::Corrupt { .. }) = outcome {
        // When a disk is full or fails, SQLite ends the transaction by itself, which the driver does not notice: every later
        // write on this connection would be refused.
        connection.close_on_drop();
    }
    outcome
}

async fn commit(connection: &mut PoolConnection<Database>, write: Write) -> Result<Written, Error> {
    let mut transaction = connection.begin_with(sqlite::BEGIN_WRITE).await.map_err(failed)?;
    let written = write::apply(&mut transaction, write).await?;
    transaction.commit().await.map_err(outcome_unknown)?;
    Ok(written)
}

/// A statement failed before anything was committed.
fn failed(error: sqlx::Error) -> Error {
    if sqlite::is_damage(&error) {
        return Error::Corrupt { what: "the database file".to_owned(), source: error.into() };
    }
    if matches!(error, sqlx::Error::ColumnDecode { .. }) {
        return Error::Corrupt { what: "a row".to_owned(), source: error.into() };
    }
    Error::Unavailable(error.into())
}

/// A commit failed: whatever the reason, nobody knows whether the write is in the file.
fn outcome_unknown(error: sqlx::Error) -> Error {
    Error::Unavailable(error.into())
}
