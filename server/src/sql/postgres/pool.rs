//! The pool of connections of one server process.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use sqlx::{Connection as _, postgres::PgConnectOptions};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{PING_TIMEOUT, parse_url};
use crate::sql::{
    Connection, Error, OpenError,
    connection::{Condition, Driver},
    database::{Access, Calls},
};

/// Maximum connections of one server process.
const MAX_CONNECTIONS: usize = 16;
/// Maximum wait for a place in the pool, and for a new connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum idle time after which a commit uses a connection without a ping.
const COMMIT_REUSE: Duration = Duration::from_secs(1);
/// Idle time after which a connection is closed.
const MAX_IDLE: Duration = Duration::from_mins(10);

/// A pool. The connection that was used last is used next.
pub(in crate::sql) struct Pool {
    options: PgConnectOptions,
    places: Arc<Semaphore>,
    /// The place of commits, so that they never wait behind reads.
    commit_place: Arc<Semaphore>,
    /// The idle connections, with the start of their idle time.
    idle: Mutex<Vec<(Connection, Instant)>>,
}

impl Pool {
    /// Opens a pool, with one connection, to the server of a URL.
    pub(in crate::sql) async fn open(url: &str) -> Result<Self, OpenError> {
        let options = parse_url(url)?;
        let first = connect(&options).await.map_err(OpenError::Connect)?;
        Ok(Self {
            options,
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS - 1)),
            commit_place: Arc::new(Semaphore::new(1)),
            idle: Mutex::new(vec![(first, Instant::now())]),
        })
    }

    /// Waits for a place in the pool.
    pub(in crate::sql) async fn place(&self, access: Access) -> Result<OwnedSemaphorePermit, Error> {
        let places = match access {
            Access::Read | Access::Write => &self.places,
            Access::Commit => &self.commit_place,
        };
        match timeout(ACQUIRE_TIMEOUT, Arc::clone(places).acquire_owned()).await {
            Ok(place) => place.map_err(|closed| Error::Unavailable(closed.into())),
            Err(elapsed) => Err(Error::Unavailable(elapsed.into())),
        }
    }

    /// Runs an operation on a connection. A broken connection, or one whose operation is dropped, is closed.
    pub(in crate::sql) async fn run<T, E: From<Error>>(
        &self,
        _place: OwnedSemaphorePermit,
        access: Access,
        calls: impl Calls<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.acquire(access).await?;
        let outcome = calls(&mut connection).await;
        let condition = connection.settle().await;
        let mut idle = self.idle.lock();
        match condition {
            Condition::Whole => {
                idle.retain(|(_, since)| since.elapsed() < MAX_IDLE);
                idle.push((connection, Instant::now()));
            }
            Condition::Broken => {}
            // A commit would use each of them without a ping.
            Condition::Lost => idle.clear(),
        }
        outcome
    }

    async fn acquire(&self, access: Access) -> Result<Connection, Error> {
        let last = self.idle.lock().pop();
        if let Some((mut connection, since)) = last {
            if access == Access::Commit && since.elapsed() < COMMIT_REUSE {
                return Ok(connection);
            }
            if let Driver::Postgres(driver) = connection.driver_mut()
                && timeout(PING_TIMEOUT, driver.connection.ping()).await.is_ok_and(|answer| answer.is_ok())
            {
                return Ok(connection);
            }
            // The others are probably lost, too: each ping would take its whole timeout.
            self.idle.lock().clear();
        }
        connect(&self.options).await.map_err(|error| Error::Unavailable(error.into()))
    }
}

async fn connect(options: &PgConnectOptions) -> Result<Connection, sqlx::Error> {
    let opened = timeout(ACQUIRE_TIMEOUT, super::Connection::open(options)).await;
    Ok(Connection::new(Driver::Postgres(opened.unwrap_or(Err(sqlx::Error::PoolTimedOut))?)))
}
