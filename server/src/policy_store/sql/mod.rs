//! The policy store in a SQL database: SQLite, in a file that one server owns, or PostgreSQL, which several servers share.
//!
//! `apply` executes a change, `queries` holds the SQL, `row` converts between rows and resources.

mod apply;
mod history_check;
mod partial;
mod queries;
mod row;

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use scangate_core::{
    name::PolicyId,
    policy::{Policy, PolicySet},
};
use sqlx::{Any, pool::PoolConnection};
use tokio::{sync::Notify, task::JoinHandle};

use super::{Change, ChangeSet, Entry, Error, PolicyStore, Resource, Write, WriteResult, apply_changes};
use crate::sql::{self, Connection, Database, Dialect, commit_error, query_error};

impl From<sql::Error> for Error {
    fn from(error: sql::Error) -> Self {
        match error {
            sql::Error::Unavailable(source) => Self::Unavailable(source),
            sql::Error::Corrupt { what, source } => Self::Corrupt { what, source },
        }
    }
}

/// The rows of [`PolicyStore::changes`], with their revision and times.
struct ChangedRows {
    revision: i64,
    write_time: i64,
    begin_time: Option<i64>,
    rows: Vec<row::Row>,
}

/// A store of policies and waivers in a SQL database.
pub struct SqlPolicyStore {
    database: Arc<Database>,
    notified: Arc<Notify>,
    listener: Option<JoinHandle<()>>,
}

impl SqlPolicyStore {
    /// Opens the store of a database. A new store gets `policies/default`; a shared one listens for writes of other servers.
    pub async fn open(database: &Arc<Database>) -> Result<Self, Error> {
        let notified = Arc::new(Notify::new());
        let listener = database.notification_url().map(|url| sql::listen(url.to_owned(), Arc::clone(&notified)));
        let store = Self { database: Arc::clone(database), notified, listener };
        store.seed().await?;
        Ok(store)
    }

    /// Opens the store of a database for reading: it writes nothing and does not listen.
    pub fn open_existing(database: &Arc<Database>) -> Self {
        Self { database: Arc::clone(database), notified: Arc::new(Notify::new()), listener: None }
    }

    async fn read_changes(&self, after: Option<i64>) -> Result<ChangedRows, Error> {
        let mut connection = self.database.reader().await?;
        let mut transaction = self.database.begin_read(&mut connection).await?;
        let revision = row::required("the store's revision", queries::revision(&mut transaction).await?)?;
        let write_time = queries::write_time(&mut transaction, revision).await?;
        let write_time = row::required("the store's last write", write_time)?;
        let (begin_time, rows) = if let Some(after) = after {
            let begin_time = queries::write_time(&mut transaction, after).await?;
            (begin_time, queries::load_between(&mut transaction, after, revision).await?)
        } else {
            if self.database.dialect == Dialect::Postgres {
                sql::extend_timeout(&mut transaction).await.map_err(query_error)?;
            }
            (None, queries::load_current(&mut transaction).await?)
        };
        transaction.rollback().await.map_err(query_error)?;
        Ok(ChangedRows { revision, write_time, begin_time, rows })
    }

    async fn seed(&self) -> Result<(), Error> {
        let mut connection = self.database.writer().await?;
        let mut transaction = self.database.begin_write(&mut connection).await?;
        if queries::init_revision(&mut transaction).await? {
            let default = Policy::built_in_default().map_err(|source| Error::Unavailable(source.into()))?;
            let change = Change::Create(vec![Resource::Policy(default)]);
            let write = Write { change, request: None, at: Timestamp::now() };
            apply::apply(&mut transaction, write).await?;
        }
        Ok(transaction.commit().await.map_err(commit_error)?)
    }
}

impl fmt::Debug for SqlPolicyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlPolicyStore").field("database", &self.database).finish_non_exhaustive()
    }
}

impl Drop for SqlPolicyStore {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

#[async_trait::async_trait]
impl PolicyStore for SqlPolicyStore {
    async fn changes(&self, after: Option<u64>) -> Result<ChangeSet, Error> {
        let read = self.read_changes(after.map(row::to_i64));
        let read = if after.is_some() {
            self.database.with_timeout(read).await?
        } else {
            self.database.with_load_timeout(read).await?
        };
        let revision = row::to_revision(read.revision)?;
        Ok(ChangeSet {
            revision,
            write_time: row::to_timestamp(read.write_time)?,
            begin_time: read.begin_time.map(row::to_timestamp).transpose()?,
            entries: row::into_entries(revision, read.rows)?,
        })
    }

    async fn snapshot_at(&self, revision: u64) -> Result<PolicySet, Error> {
        let rows = async {
            let mut connection = self.database.reader().await?;
            queries::load_current_at(&mut connection, row::to_i64(revision)).await
        };
        let entries = row::into_entries(revision, self.database.with_timeout(rows).await?)?;
        let mut set = PolicySet::default();
        apply_changes(&mut set, ChangeSet { revision, entries, ..ChangeSet::default() });
        Ok(set)
    }

    async fn history(&self, id: &PolicyId, before: Option<u64>, limit: usize) -> Result<Vec<Entry>, Error> {
        let before = before.map_or(i64::MAX, row::to_i64);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = async {
            let mut connection = self.database.reader().await?;
            queries::load_history(&mut connection, id.as_str(), before, limit).await
        };
        self.database.with_timeout(rows).await?.into_iter().map(row::Row::into_entry).collect()
    }

    async fn apply(&self, write: Write) -> Result<WriteResult, Error> {
        let connection = self.database.writer().await?;
        let database = Arc::clone(&self.database);
        // In its own task, so that a cancelled caller does not interrupt the write.
        let task = tokio::spawn(async move { in_transaction(&database, connection, write).await });
        task.await.unwrap_or_else(|lost| Err(Error::Unavailable(lost.into())))
    }

    async fn ping(&self) -> Result<(), Error> {
        let answer = async {
            let mut connection = self.database.reader().await?;
            queries::revision(&mut connection).await
        };
        self.database.with_timeout(answer).await?;
        Ok(())
    }

    async fn corrupt_revisions(&self) -> Result<Vec<String>, Error> {
        let mut connection = self.database.reader().await?;
        let mut transaction = self.database.begin_read(&mut connection).await?;
        let corrupt = history_check::corrupt_revisions(&mut transaction).await?;
        transaction.rollback().await.map_err(query_error)?;
        Ok(corrupt)
    }

    async fn content_digest(&self, id: &PolicyId, revision: u64) -> Result<Option<String>, Error> {
        let mut connection = self.database.reader().await?;
        Ok(queries::policy_digest(&mut connection, id.as_str(), row::to_i64(revision)).await?)
    }

    fn is_shared(&self) -> bool {
        self.database.dialect == Dialect::Postgres
    }

    async fn changed(&self) {
        if self.is_shared() {
            self.notified.notified().await;
        } else {
            std::future::pending::<()>().await;
        }
    }
}

async fn in_transaction(
    database: &Database,
    mut connection: PoolConnection<Any>,
    write: Write,
) -> Result<WriteResult, Error> {
    let outcome = database.with_timeout(commit(database, &mut connection, write)).await;
    if let Err(Error::Unavailable(_) | Error::Corrupt { .. }) = &outcome {
        connection.close_on_drop();
    }
    outcome
}

async fn commit(database: &Database, connection: &mut Connection, write: Write) -> Result<WriteResult, Error> {
    let mut transaction = database.begin_write(connection).await?;
    queries::lock_for_write(&mut transaction).await?;
    let written = apply::apply(&mut transaction, write).await?;
    if database.dialect == Dialect::Postgres {
        sql::announce(&mut transaction, row::to_i64(written.revision)).await.map_err(query_error)?;
    }
    transaction.commit().await.map_err(commit_error)?;
    Ok(written)
}
