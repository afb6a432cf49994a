//! The store in a SQL database: SQLite, in a file that belongs to one server at a time, or PostgreSQL, which several share.
//!
//! `write` decides what a change does, `statements` holds the SQL, `row` turns rows into documents and back, `many` hands a
//! statement many rows at once, `database` opens connections and transactions; `sqlite` and `postgres` have what no other database shares.

mod address;
mod database;
mod log;
mod many;
mod observations;
mod postgres;
mod row;
mod sqlite;
mod statements;
mod write;

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use scangate_core::{
    name::PolicyId,
    policy::{Policy, PolicySet},
};
use sqlx::{Any, migrate::MigrateError, pool::PoolConnection};
use tokio::{sync::Notify, task::JoinHandle};

pub(crate) use self::database::{Connection, Database, Dialect, failed, outcome_unknown, part_with, parted};
pub use self::{address::Address, log::SqlLog};
use super::{Change, Changes, Document, Entry, Error, Store, Write, Written, fold};

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server has the file.
    #[error("{} belongs to another server that runs: one server for each file", .0.display())]
    InUse(std::path::PathBuf),
    /// The file or its directory cannot be made or locked.
    #[error("cannot make or lock {}", path.display())]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no database, or cannot be read.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// The address is a URL, and not one of PostgreSQL, or a list of parameters.
    #[error("the store's address is neither a file's path nor begins with postgres://")]
    Address,
    /// The address has a parameter that would not be heeded, and be told to the log.
    #[error(
        "the store's address has the parameter {0:?}, which is none of those that are understood: see docs/replicas.md"
    )]
    Parameter(String),
    /// Nothing is there to be read.
    #[error("there is no store of this version there: check the address, or run `migrate` first")]
    NoStore,
    /// The database server cannot be reached, or refuses us.
    #[error("cannot connect to the PostgreSQL server")]
    Connect(#[source] sqlx::Error),
    /// The schema cannot be brought up to date, or is that of a newer server.
    #[error("cannot bring the schema up to date")]
    Migrate(#[from] MigrateError),
    /// The store cannot be begun.
    #[error(transparent)]
    Store(#[from] Error),
}

/// What a store has read of its database for [`Store::changes`].
struct Read {
    revision: i64,
    write_time: i64,
    begin_time: Option<i64>,
    rows: Vec<row::Row>,
}

/// A store of policies and waivers in a SQL database.
pub struct Sql {
    database: Arc<Database>,
    heard: Arc<Notify>,
    listening: Option<JoinHandle<()>>,
}

impl Sql {
    /// Opens the store, and begins it where there is none, with `policies/default` in it. A SQLite file is made readable by its
    /// owner only.
    ///
    /// A file is this store's own until it is dropped, and until the last write that it began has ended: a second server would
    /// decide by policies that the first has long replaced.
    pub async fn open(address: &Address) -> Result<Self, OpenError> {
        let database = Database::open(address).await?;
        let heard = Arc::new(Notify::new());
        let listening = match address {
            Address::File(_) | Address::Unknown => None,
            Address::Postgres(url) => Some(postgres::listen(url.clone(), Arc::clone(&heard))),
        };
        let store = Self { database, heard, listening };
        store.seed().await?;
        Ok(store)
    }

    /// Opens a store that is there already, and makes nothing: an address with a slip in it must not look like a store where all
    /// is well.
    pub async fn open_existing(address: &Address) -> Result<Self, OpenError> {
        let database = Database::open_existing(address).await?;
        Ok(Self { database, heard: Arc::new(Notify::new()), listening: None })
    }

    /// The database underneath, for what else is kept there.
    pub(crate) fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// The rows that [`Store::changes`] tells of, with the numbers and times that belong to them.
    async fn read_changes(&self, after: Option<i64>) -> Result<Read, Error> {
        let mut connection = self.database.reader().await?;
        let mut transaction = self.database.begin_read(&mut connection).await?;
        let revision = row::required("the store's revision", statements::revision(&mut transaction).await?)?;
        let write_time = statements::written_at(&mut transaction, revision).await?;
        let write_time = row::required("the store's last write", write_time)?;
        let (begin_time, rows) = if let Some(after) = after {
            let begin_time = statements::written_at(&mut transaction, after).await?;
            (begin_time, statements::between(&mut transaction, after, revision).await?)
        } else {
            if self.database.dialect == Dialect::Postgres {
                postgres::take_time(&mut transaction).await.map_err(failed)?;
            }
            (None, statements::in_force(&mut transaction).await?)
        };
        transaction.rollback().await.map_err(failed)?;
        Ok(Read { revision, write_time, begin_time, rows })
    }

    async fn seed(&self) -> Result<(), Error> {
        let mut connection = self.database.writer().await?;
        let mut transaction = self.database.begin_write(&mut connection).await?;
        if statements::begin_revisions(&mut transaction).await? {
            let default = Policy::built_in_default().map_err(|source| Error::Unavailable(source.into()))?;
            let change = Change::Create(vec![Document::Policy(default)]);
            let write = Write { change, request: None, at: Timestamp::now() };
            write::apply(&mut transaction, write).await?;
        }
        transaction.commit().await.map_err(outcome_unknown)
    }
}

impl fmt::Debug for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sql").field("database", &self.database).finish_non_exhaustive()
    }
}

impl Drop for Sql {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

#[async_trait::async_trait]
impl Store for Sql {
    async fn changes(&self, after: Option<u64>) -> Result<Changes, Error> {
        let read = self.read_changes(after.map(row::stored));
        let read =
            if after.is_some() { self.database.bounded(read).await? } else { self.database.loaded(read).await? };
        let revision = row::revision(read.revision)?;
        Ok(Changes {
            revision,
            write_time: row::time(read.write_time)?,
            begin_time: read.begin_time.map(row::time).transpose()?,
            entries: row::entries(revision, read.rows)?,
        })
    }

    async fn at(&self, revision: u64) -> Result<PolicySet, Error> {
        let rows = async {
            let mut connection = self.database.reader().await?;
            statements::in_force_at(&mut connection, row::stored(revision)).await
        };
        let entries = row::entries(revision, self.database.bounded(rows).await?)?;
        let mut set = PolicySet::default();
        fold(&mut set, Changes { revision, entries, ..Changes::default() });
        Ok(set)
    }

    async fn history(&self, id: &PolicyId, before: Option<u64>, limit: usize) -> Result<Vec<Entry>, Error> {
        let before = before.map_or(i64::MAX, row::stored);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = async {
            let mut connection = self.database.reader().await?;
            statements::history(&mut connection, id.as_str(), before, limit).await
        };
        self.database.bounded(rows).await?.into_iter().map(row::Row::read).collect()
    }

    async fn apply(&self, write: Write) -> Result<Written, Error> {
        let connection = self.database.writer().await?;
        let database = Arc::clone(&self.database);
        // A task of its own, so that a caller who gives up does not leave it to chance whether the write happens.
        let task = tokio::spawn(async move { in_transaction(&database, connection, write).await });
        task.await.unwrap_or_else(|lost| Err(Error::Unavailable(lost.into())))
    }

    async fn ping(&self) -> Result<(), Error> {
        let answer = async {
            let mut connection = self.database.reader().await?;
            statements::revision(&mut connection).await
        };
        self.database.bounded(answer).await.map(|_| ())
    }

    fn is_shared(&self) -> bool {
        self.database.dialect == Dialect::Postgres
    }

    async fn hint(&self) {
        if self.is_shared() {
            self.heard.notified().await;
        } else {
            std::future::pending::<()>().await;
        }
    }
}

async fn in_transaction(
    database: &Database,
    mut connection: PoolConnection<Any>,
    write: Write,
) -> Result<Written, Error> {
    let outcome = database.bounded(commit(database, &mut connection, write)).await;
    if let Err(error) = &outcome {
        part_with(&mut connection, error);
    }
    outcome
}

async fn commit(database: &Database, connection: &mut Connection, write: Write) -> Result<Written, Error> {
    let mut transaction = database.begin_write(connection).await?;
    statements::take_turn(&mut transaction).await?;
    let written = write::apply(&mut transaction, write).await?;
    if database.dialect == Dialect::Postgres {
        postgres::announce(&mut transaction, row::stored(written.revision)).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(outcome_unknown)?;
    Ok(written)
}
