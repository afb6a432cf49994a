//! An open database: its connection pools, its transactions and their timeouts.

use std::{fmt, sync::Arc, time::Duration};

use sqlx::{Any, AnyConnection, Connection as _, Pool, Transaction, migrate::Migrator, pool::PoolConnection};

use super::{Address, Error, OpenError, postgres, sqlite};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// A connection to either kind of database.
pub(crate) type Connection = AnyConnection;

/// The kind of database, where SQL or behaviour differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// A file that one server owns.
    Sqlite,
    /// A database that several servers share.
    Postgres,
}

impl Dialect {
    /// The statement that begins a write transaction. SQLite locks at once: a transaction that locks later can fail midway.
    fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "begin immediate",
            Self::Postgres => "begin",
        }
    }

    /// Returns the dialect of a connection.
    pub(crate) fn from_connection(connection: &Connection) -> Self {
        if connection.backend_name() == "PostgreSQL" { Self::Postgres } else { Self::Sqlite }
    }

    /// A table expression over the JSON array in the first parameter, with a row `value` for each element.
    pub(super) fn json_rows(self) -> &'static str {
        match self {
            Self::Sqlite => "json_each($1)",
            Self::Postgres => "json_array_elements(cast($1 as json))",
        }
    }

    /// The statement that begins a read transaction over one snapshot of the database.
    fn begin_read(self) -> &'static str {
        match self {
            Self::Sqlite => "begin",
            Self::Postgres => "begin isolation level repeatable read read only",
        }
    }
}

/// An open database.
pub struct Database {
    pub(crate) dialect: Dialect,
    address: Address,
    // SQLite: one connection, so that writes queue here in order. The file's lock is not fair.
    writers: Pool<Any>,
    readers: Pool<Any>,
    /// Excludes other servers from the SQLite file until the last user of the database is dropped.
    lock: Option<sqlite::Lock>,
}

impl Database {
    /// Opens the database and migrates its schema. Creates a missing SQLite file.
    pub async fn open(address: &Address) -> Result<Arc<Self>, OpenError> {
        let database = Self::connect(address).await?;
        MIGRATIONS.run(&database.writers).await?;
        Ok(Arc::new(database))
    }

    /// Opens an existing database of the current schema version. Creates and migrates nothing.
    pub async fn open_existing(address: &Address) -> Result<Arc<Self>, OpenError> {
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
        let current = MIGRATIONS.iter().map(|migration| migration.version).max();
        match newest {
            Ok(newest) if newest == current => Ok(Arc::new(database)),
            Ok(_) | Err(sqlx::Error::Database(_)) => Err(OpenError::NoStore),
            Err(error) => Err(query_error(error).into()),
        }
    }

    async fn connect(address: &Address) -> Result<Self, OpenError> {
        sqlx::any::install_default_drivers();
        let database = match address {
            Address::File(path) => {
                // Blocking, but only at startup.
                let file = sqlite::File::claim(path)?;
                let (writers, readers) = (file.writer().await?, file.readers().await?);
                Self {
                    dialect: Dialect::Sqlite,
                    address: address.clone(),
                    writers,
                    readers,
                    lock: Some(file.into_lock()),
                }
            }
            Address::Unknown => return Err(OpenError::Address),
            Address::Postgres(url) => {
                let pool = postgres::pool(url).await?;
                Self {
                    dialect: Dialect::Postgres,
                    address: address.clone(),
                    writers: pool.clone(),
                    readers: pool,
                    lock: None,
                }
            }
        };
        Ok(database)
    }

    /// Runs calls with the timeout of one request. Only PostgreSQL has one: a server can vanish without closing the connection.
    pub(crate) async fn with_timeout<T, E: From<Error>>(
        &self,
        calls: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.run_with_timeout(postgres::QUERY_TIMEOUT, calls).await
    }

    /// Runs calls with the longer timeout of a full load.
    pub(crate) async fn with_load_timeout<T, E: From<Error>>(
        &self,
        calls: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.run_with_timeout(postgres::LOAD_TIMEOUT, calls).await
    }

    async fn run_with_timeout<T, E: From<Error>>(
        &self,
        limit: Duration,
        calls: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        match self.dialect {
            Dialect::Sqlite => calls.await,
            Dialect::Postgres => tokio::time::timeout(limit, calls)
                .await
                .unwrap_or_else(|elapsed| Err(Error::Unavailable(elapsed.into()).into())),
        }
    }

    /// The URL to listen on for notifications; `None` for a file, which has no other writers.
    pub(crate) fn notification_url(&self) -> Option<&str> {
        match &self.address {
            Address::Postgres(url) => Some(url),
            Address::File(_) | Address::Unknown => None,
        }
    }

    /// Acquires a connection for writing.
    pub(crate) async fn writer(&self) -> Result<PoolConnection<Any>, Error> {
        self.writers.acquire().await.map_err(query_error)
    }

    /// Acquires a connection for reading.
    pub(crate) async fn reader(&self) -> Result<PoolConnection<Any>, Error> {
        self.readers.acquire().await.map_err(query_error)
    }

    /// Begins a write transaction.
    pub(crate) async fn begin_write<'c>(&self, connection: &'c mut Connection) -> Result<Transaction<'c, Any>, Error> {
        connection.begin_with(self.dialect.begin_write()).await.map_err(query_error)
    }

    /// Begins a read transaction over one snapshot of the database.
    pub(crate) async fn begin_read<'c>(&self, connection: &'c mut Connection) -> Result<Transaction<'c, Any>, Error> {
        connection.begin_with(self.dialect.begin_read()).await.map_err(query_error)
    }
}

impl fmt::Debug for Database {
    /// Omits the connections, whose options contain the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dialect, lock, address: _, writers: _, readers: _ } = self;
        f.debug_struct("Database").field("dialect", dialect).field("lock", lock).finish_non_exhaustive()
    }
}

/// Converts the error of a statement that failed before the commit.
pub(crate) fn query_error(error: sqlx::Error) -> Error {
    if sqlite::is_corrupt(&error) {
        return Error::Corrupt { what: "the database file".to_owned(), source: error.into() };
    }
    if matches!(error, sqlx::Error::ColumnDecode { .. }) {
        return Error::Corrupt { what: "a row".to_owned(), source: error.into() };
    }
    Error::Unavailable(error.into())
}

/// Converts the error of a commit. Its outcome is unknown: the write may or may not be in the database.
pub(crate) fn commit_error(error: sqlx::Error) -> Error {
    Error::Unavailable(error.into())
}

/// Closes the connection after an error, so that the next user gets a new one.
///
/// When a disk is full or fails, SQLite ends the transaction by itself. The driver does not notice, and would refuse every
/// later write on this connection.
pub(crate) fn discard_if_broken<T>(
    connection: &mut PoolConnection<Any>,
    outcome: Result<T, Error>,
) -> Result<T, Error> {
    if outcome.is_err() {
        connection.close_on_drop();
    }
    outcome
}
