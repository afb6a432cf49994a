//! The database under the store and the decision log: its connections, and how its transactions begin and end.

use std::{fmt, sync::Arc, time::Duration};

use sqlx::{Any, AnyConnection, Connection as _, Pool, Transaction, migrate::Migrator, pool::PoolConnection};

use super::{Address, OpenError, postgres, sqlite};
use crate::store::Error;

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// One connection, whatever the database.
pub(crate) type Connection = AnyConnection;

/// What the databases do not share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// A file that belongs to this server alone.
    Sqlite,
    /// A server that others write to, too.
    Postgres,
}

impl Dialect {
    /// Begins a transaction that writes. SQLite takes the write lock at once: one that reads first and locks later can fail midway.
    fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "begin immediate",
            Self::Postgres => "begin",
        }
    }

    /// That of a connection.
    pub(super) fn of(connection: &Connection) -> Self {
        if connection.backend_name() == "PostgreSQL" { Self::Postgres } else { Self::Sqlite }
    }

    /// The elements of the JSON array that is the first parameter, each as `value`.
    pub(super) fn rows(self) -> &'static str {
        match self {
            Self::Sqlite => "json_each($1)",
            Self::Postgres => "json_array_elements(cast($1 as json))",
        }
    }

    /// Begins a transaction that sees one state of everything.
    fn begin_read(self) -> &'static str {
        match self {
            Self::Sqlite => "begin",
            Self::Postgres => "begin isolation level repeatable read read only",
        }
    }
}

/// A database, opened.
pub(crate) struct Database {
    pub(crate) dialect: Dialect,
    // SQLite: one connection, so that writes queue here, in order, and not at the file's lock, where the luckiest goes first.
    writers: Pool<Any>,
    readers: Pool<Any>,
    /// Keeps the file ours for as long as anything writes to it.
    lock: Option<sqlite::Lock>,
}

impl Database {
    /// Opens the database, and makes the file where there is none, with the schema up to date.
    pub(crate) async fn open(address: &Address) -> Result<Arc<Self>, OpenError> {
        let database = Self::connect(address).await?;
        MIGRATIONS.run(&database.writers).await?;
        Ok(Arc::new(database))
    }

    /// Opens a database that is there, and of our schema, and makes nothing.
    pub(crate) async fn open_existing(address: &Address) -> Result<Arc<Self>, OpenError> {
        if let Address::File(path) = address
            && !path.try_exists().is_ok_and(|exists| exists)
        {
            return Err(OpenError::NoStore);
        }
        let database = Self::connect(address).await?;
        let newest: Result<Option<i64>, _> =
            sqlx::query_scalar("select max(version) from _sqlx_migrations where success")
                .fetch_one(&database.readers)
                .await;
        let ours = MIGRATIONS.iter().map(|migration| migration.version).max();
        match newest {
            Ok(newest) if newest == ours => Ok(Arc::new(database)),
            Ok(_) | Err(sqlx::Error::Database(_)) => Err(OpenError::NoStore),
            Err(error) => Err(failed(error).into()),
        }
    }

    async fn connect(address: &Address) -> Result<Self, OpenError> {
        sqlx::any::install_default_drivers();
        let database = match address {
            Address::File(path) => {
                // Blocks for some system calls, once, before anything is served.
                let file = sqlite::File::claim(path)?;
                let (writers, readers) = (file.writer().await?, file.readers().await?);
                Self { dialect: Dialect::Sqlite, writers, readers, lock: Some(file.into_lock()) }
            }
            Address::Unknown => return Err(OpenError::Address),
            Address::Postgres(url) => {
                let pool = postgres::pool(url).await?;
                Self { dialect: Dialect::Postgres, writers: pool.clone(), readers: pool, lock: None }
            }
        };
        Ok(database)
    }

    /// Waits for an answer as long as one can come. A file answers, or fails; a server may be gone without a word.
    pub(crate) async fn bounded<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.within(postgres::ANSWER, answer).await
    }

    /// Waits for all that there is, which may be a lot.
    pub(super) async fn loaded<T>(&self, all: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.within(postgres::LOAD, all).await
    }

    async fn within<T>(&self, limit: Duration, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match self.dialect {
            Dialect::Sqlite => answer.await,
            Dialect::Postgres => {
                tokio::time::timeout(limit, answer).await.unwrap_or_else(|late| Err(Error::Unavailable(late.into())))
            }
        }
    }

    /// A connection to write with.
    pub(crate) async fn writer(&self) -> Result<PoolConnection<Any>, Error> {
        self.writers.acquire().await.map_err(failed)
    }

    /// A connection to read with.
    pub(crate) async fn reader(&self) -> Result<PoolConnection<Any>, Error> {
        self.readers.acquire().await.map_err(failed)
    }

    /// Begins a transaction that writes.
    pub(crate) async fn begin_write<'c>(&self, connection: &'c mut Connection) -> Result<Transaction<'c, Any>, Error> {
        connection.begin_with(self.dialect.begin_write()).await.map_err(failed)
    }

    /// Begins a transaction that sees one state of everything.
    pub(crate) async fn begin_read<'c>(&self, connection: &'c mut Connection) -> Result<Transaction<'c, Any>, Error> {
        connection.begin_with(self.dialect.begin_read()).await.map_err(failed)
    }
}

impl fmt::Debug for Database {
    /// Without the connections, whose options know the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dialect, lock, writers: _, readers: _ } = self;
        f.debug_struct("Database").field("dialect", dialect).field("lock", lock).finish_non_exhaustive()
    }
}

/// A statement failed before anything was committed.
pub(crate) fn failed(error: sqlx::Error) -> Error {
    if sqlite::is_damage(&error) {
        return Error::Corrupt { what: "the database file".to_owned(), source: error.into() };
    }
    if matches!(error, sqlx::Error::ColumnDecode { .. }) {
        return Error::Corrupt { what: "a row".to_owned(), source: error.into() };
    }
    Error::Unavailable(error.into())
}

/// A commit failed: whatever the reason, nobody knows whether the write is in the database.
pub(crate) fn outcome_unknown(error: sqlx::Error) -> Error {
    Error::Unavailable(error.into())
}

/// After an error that leaves a connection in doubt, the next user gets another one.
pub(crate) fn part_with(connection: &mut PoolConnection<Any>, error: &Error) {
    if let Error::Unavailable(_) | Error::Corrupt { .. } = error {
        // When a disk is full or fails, SQLite ends the transaction by itself, which the driver does not notice: every later
        // write on this connection would be refused.
        connection.close_on_drop();
    }
}

/// What came of a write, with which the connection is parted with where it is left in doubt.
pub(crate) fn parted<T>(connection: &mut PoolConnection<Any>, outcome: Result<T, Error>) -> Result<T, Error> {
    if let Err(error) = &outcome {
        part_with(connection, error);
    }
    outcome
}
