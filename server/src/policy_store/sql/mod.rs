//! The policy store in a SQL database: SQLite, in a file that one server owns, or PostgreSQL, which several servers share.
//!
//! `apply` executes a change, `changes` reads them, `queries` holds the SQL, `row` converts between rows and resources.

mod apply;
mod changes;
mod history_check;
mod partial;
mod queries;
mod row;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use scangate_core::{
    name::PolicyId,
    policy::{Policy, PolicySet},
};
use tokio::{sync::Notify, task::JoinHandle};

use super::{Change, ChangeSet, Entry, Error, PolicyStore, Resource, ResourceName, Write, WriteResult, apply_changes};
use crate::{
    idempotency::RequestKey,
    sql::{self, Database},
};

impl From<sql::Error> for Error {
    fn from(error: sql::Error) -> Self {
        match error {
            sql::Error::Unavailable(source) => Self::Unavailable(source),
            sql::Error::Corrupt { what, source } => Self::Corrupt { what, source },
        }
    }
}

/// Timeout of the first attempt of a refresh. A connection that is lost during a read does not answer at all; the second attempt
/// takes another one, before the snapshot is stale.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(2);

/// A store of policies and waivers in a SQL database.
#[derive(Debug)]
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

    async fn seed(&self) -> Result<(), Error> {
        self.database
            .write(|connection| {
                Box::pin(async move {
                    if queries::init_revision(connection).await? {
                        let default = Policy::built_in_default().map_err(|source| Error::Unavailable(source.into()))?;
                        let change = Change::Create(vec![Resource::Policy(default)]);
                        let (author, at) = (String::new(), Timestamp::now());
                        apply::apply(connection, Write { change, author, request: None, at }).await?;
                    }
                    Ok(())
                })
            })
            .await
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
        let after = after.map(row::to_i64);
        let read = |limit| {
            self.database.read_snapshot(Some(limit), move |connection| Box::pin(changes::read(connection, after)))
        };
        let page = match after {
            Some(_) => match read(REFRESH_TIMEOUT).await {
                Err(Error::Unavailable(_)) => read(sql::QUERY_TIMEOUT).await?,
                refreshed => refreshed?,
            },
            None => read(sql::LOAD_TIMEOUT).await?,
        };
        changes::parse(|| page.parse()).await
    }

    async fn snapshot_at(&self, revision: u64) -> Result<PolicySet, Error> {
        let at = row::to_i64(revision);
        let rows = self.database.read_snapshot(Some(sql::LOAD_TIMEOUT), move |connection| {
            Box::pin(async move { queries::load_current_at(connection, at).await.map_err(Error::from) })
        });
        let rows = rows.await?;
        let parser = move || {
            let entries = row::into_entries(revision, rows)?;
            let mut set = PolicySet::default();
            apply_changes(&mut set, ChangeSet { revision, entries, ..ChangeSet::default() });
            Ok(set)
        };
        changes::parse(parser).await
    }

    async fn history(&self, name: &ResourceName, before: Option<u64>, limit: usize) -> Result<Vec<Entry>, Error> {
        let before = before.map_or(i64::MAX, row::to_i64);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let name = name.clone();
        let rows = self.database.read(move |connection| {
            Box::pin(async move { queries::load_history(connection, &name, before, limit).await })
        });
        rows.await?.into_iter().map(row::Row::into_entry).collect()
    }

    async fn apply(&self, write: Write) -> Result<WriteResult, Error> {
        self.database
            .write(|connection| {
                Box::pin(async move {
                    queries::lock_for_write(connection).await?;
                    let written = apply::apply(connection, write).await?;
                    connection.announce(written.revision).await?;
                    Ok(written)
                })
            })
            .await
    }

    async fn recorded(&self, request: &RequestKey, now: Timestamp) -> Result<Option<WriteResult>, Error> {
        let request = request.clone();
        let read = self.database.read(move |connection| {
            Box::pin(async move { apply::recorded(connection, &request, now.as_microsecond()).await })
        });
        read.await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.database.read(|connection| Box::pin(queries::revision(connection))).await?;
        Ok(())
    }

    async fn corrupt_revisions(&self) -> Result<Vec<String>, Error> {
        self.database.read_snapshot(None, |connection| Box::pin(history_check::corrupt_revisions(connection))).await
    }

    async fn content_digest(&self, id: &PolicyId, revision: u64) -> Result<Option<String>, Error> {
        let (id, revision) = (id.clone(), row::to_i64(revision));
        let digest = self.database.read(move |connection| {
            Box::pin(async move { queries::policy_digest(connection, id.as_str(), revision).await })
        });
        Ok(digest.await?)
    }

    fn is_shared(&self) -> bool {
        self.database.notification_url().is_some()
    }

    async fn changed(&self) {
        if self.is_shared() {
            self.notified.notified().await;
        } else {
            std::future::pending::<()>().await;
        }
    }
}
