//! An open database: operations on its connections, their transactions and their timeouts.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::timeout_at;

use super::{Address, Connection, Error, OpenError, RowStatement, Value, postgres, schema, sqlite};

/// Timeout for all statements of one request. It exceeds the statement timeout of PostgreSQL and the wait of SQLite for the file,
/// so it expires only if the database no longer responds.
pub(crate) const QUERY_TIMEOUT: Duration = Duration::from_secs(12);
/// Timeout for a full load: a million waivers are hundreds of megabytes.
pub(crate) const LOAD_TIMEOUT: Duration = Duration::from_mins(2);
/// Timeout of one commit of decisions. The outcome of a longer one is unknown.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(15);

/// The kind of database, where SQL or behaviour differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// A file that one server owns.
    Sqlite,
    /// A database that several servers share.
    Postgres,
}

/// The use of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
    /// The commit of decisions: it takes the connection of the commit before without a ping, to save a round trip.
    Commit,
}

/// A future on the heap.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An operation: calls on one connection. It owns what it needs, since it may run on another thread.
pub(crate) trait Calls<T, E>:
    for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, E>> + Send + 'static
{
}

impl<T, E, F> Calls<T, E> for F where
    F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, E>> + Send + 'static
{
}

/// The error of an operation.
pub(crate) trait Failure: From<Error> + Send + 'static {}

impl<E: From<Error> + Send + 'static> Failure for E {}

/// An open database.
pub struct Database {
    address: Address,
    backend: Backend,
}

enum Backend {
    Sqlite(sqlite::Threads),
    Postgres(Arc<postgres::Pool>),
}

impl Database {
    /// Opens the database and creates or migrates its schema. Creates a missing SQLite file.
    pub async fn open(address: &Address) -> Result<Arc<Self>, OpenError> {
        let database = Self::connect(address).await?;
        database
            .run(Access::Write, None, |connection| Box::pin(schema::migrate(connection)))
            .await
            .map(|()| Arc::new(database))
    }

    /// Opens an existing database of the current schema version. Creates and migrates nothing.
    pub async fn open_existing(address: &Address) -> Result<Arc<Self>, OpenError> {
        if let Address::File(path) = address
            && !path.try_exists().is_ok_and(|exists| exists)
        {
            return Err(OpenError::NoStore);
        }
        let database = Self::connect(address).await?;
        database
            .run(Access::Read, None, |connection| Box::pin(schema::check(connection)))
            .await
            .map(|()| Arc::new(database))
    }

    async fn connect(address: &Address) -> Result<Self, OpenError> {
        let backend = match address {
            // Blocks, but only at startup.
            Address::File(path) => Backend::Sqlite(sqlite::Threads::start(sqlite::File::claim(path)?)?),
            Address::Postgres(url) => Backend::Postgres(Arc::new(postgres::Pool::open(url).await?)),
            Address::Unknown => return Err(OpenError::Address),
        };
        Ok(Self { address: address.clone(), backend })
    }

    /// The URL to listen on for notifications; `None` for a file, which has no other writers.
    pub(crate) fn notification_url(&self) -> Option<&str> {
        match &self.address {
            Address::Postgres(url) => Some(url),
            Address::File(_) | Address::Unknown => None,
        }
    }

    /// Runs an operation that reads.
    pub(crate) async fn read<T: Send + 'static, E: Failure>(&self, calls: impl Calls<T, E>) -> Result<T, E> {
        self.run(Access::Read, Some(QUERY_TIMEOUT), calls).await
    }

    /// Runs an operation that reads one snapshot of the database, within a limit if there is one.
    pub(crate) async fn read_snapshot<T: Send + 'static, E: Failure>(
        &self,
        limit: Option<Duration>,
        calls: impl Calls<T, E>,
    ) -> Result<T, E> {
        self.run(Access::Read, limit, move |connection| {
            Box::pin(async move {
                connection.begin_read().await?;
                if let Some(limit) = limit.filter(|limit| *limit != QUERY_TIMEOUT) {
                    connection.set_timeout(limit).await?;
                }
                let read = calls(connection).await?;
                connection.rollback().await?;
                Ok(read)
            })
        })
        .await
    }

    /// Runs an operation in a write transaction, which commits if the operation succeeds.
    pub(crate) async fn write<T: Send + 'static, E: Failure>(&self, calls: impl Calls<T, E>) -> Result<T, E> {
        self.run(Access::Write, Some(QUERY_TIMEOUT), move |connection| {
            Box::pin(async move {
                connection.begin_write().await?;
                // Without a commit, the transaction ends with the operation.
                let written = calls(connection).await?;
                connection.commit().await?;
                Ok(written)
            })
        })
        .await
    }

    /// Executes a statement for each row, in a transaction of its own.
    pub(crate) async fn write_each<const N: usize, const M: usize>(
        &self,
        statement: RowStatement,
        rows: Vec<[Value<'static>; N]>,
        values: [Value<'static>; M],
    ) -> Result<u64, Error> {
        self.write(move |connection| Box::pin(async move { connection.execute_each(statement, &rows, &values).await }))
            .await
    }

    /// Runs the commit of decisions, which begins its own transaction if it needs one.
    pub(crate) async fn commit<T: Send + 'static, E: Failure>(&self, calls: impl Calls<T, E>) -> Result<T, E> {
        self.run(Access::Commit, Some(COMMIT_TIMEOUT), calls).await
    }

    /// Runs an operation. Once it has begun, it runs to its end or to the limit, also if the caller is gone: a database goes on
    /// with a statement whose caller is gone, so the operation must keep its place.
    async fn run<T: Send + 'static, E: Failure>(
        &self,
        access: Access,
        limit: Option<Duration>,
        calls: impl Calls<T, E>,
    ) -> Result<T, E> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        match &self.backend {
            Backend::Sqlite(threads) => within(deadline, threads.run(access, deadline, calls)).await,
            Backend::Postgres(pool) => {
                let place = within(deadline, pool.place(access)).await?;
                let pool = Arc::clone(pool);
                let task = tokio::spawn(async move { within(deadline, pool.run(place, access, calls)).await });
                task.await.unwrap_or_else(|lost| Err(Error::Unavailable(lost.into()).into()))
            }
        }
    }
}

impl fmt::Debug for Database {
    /// Omits the connections, whose options contain the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("address", &self.address).finish_non_exhaustive()
    }
}

async fn within<T, E: From<Error>>(
    deadline: Option<Instant>,
    calls: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match deadline {
        None => calls.await,
        Some(deadline) => timeout_at(deadline.into(), calls)
            .await
            .unwrap_or_else(|elapsed| Err(Error::Unavailable(elapsed.into()).into())),
    }
}
