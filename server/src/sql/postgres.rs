//! PostgreSQL specifics: connection setup, timeouts, and notifications of writes.

use std::{io, str::FromStr as _, sync::Arc, time::Duration};

use sqlx::{
    Any, AnyConnection, Connection as _, Executor as _, Pool,
    pool::PoolOptions,
    postgres::{PgConnectOptions, PgListener, PgSslMode},
};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{error::Elapsed, sleep, timeout},
};

use super::OpenError;

/// The notification channel for writes.
const CHANNEL: &str = "scangate_revision";
/// Maximum connections of one server process.
const MAX_CONNECTIONS: u32 = 16;
/// Maximum wait for a connection from the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Session settings. They override those of the database or role, and bound each statement, lock and idle transaction so that a
/// stuck one cannot block other servers.
const SETTINGS: &str = "set statement_timeout = '10s';
    set lock_timeout = '5s';
    set idle_in_transaction_session_timeout = '30s';
    set synchronous_commit = on;
    set application_name = 'scangate';
    set session characteristics as transaction isolation level read committed, read write, not deferrable";
/// Timeout for all statements of one request. It exceeds `statement_timeout`, so it expires only if the database no longer
/// responds, for example because its host failed without closing the connection.
pub(super) const QUERY_TIMEOUT: Duration = Duration::from_secs(12);
/// Timeout for a full load: a million waivers are hundreds of megabytes.
pub(super) const LOAD_TIMEOUT: Duration = Duration::from_mins(2);
/// Timeout for a connection to answer a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// Delay before the listener reconnects.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);
/// Idle time after which the listener pings its connection. Without notifications, a dead connection looks like an idle one.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// The server is a standby. It may lag behind the primary and return outdated policies.
#[derive(Debug, thiserror::Error)]
#[error("this PostgreSQL server is a standby; connect to the primary")]
struct Standby;

/// The parameters that a store's URL may have.
const PARAMETERS: [&str; 13] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "options",
];

/// Refuses unknown parameters: the driver would ignore them and log their values.
fn check_parameters(url: &str) -> Result<(), OpenError> {
    let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
    let names = parameters.split('&').filter(|parameter| !parameter.is_empty());
    for parameter in names {
        // A parameter without a name may be a secret, so the error omits it.
        let (name, _) = parameter.split_once('=').ok_or_else(|| OpenError::Parameter(String::new()))?;
        if !PARAMETERS.contains(&name) {
            return Err(OpenError::Parameter(name.to_owned()));
        }
    }
    Ok(())
}

/// Opens a connection pool to the server of a URL.
pub(super) async fn pool(url: &str) -> Result<Pool<Any>, OpenError> {
    check_parameters(url)?;
    let options = PgConnectOptions::from_str(url).map_err(OpenError::Connect)?;
    if !is_local(&options) && !matches!(options.get_ssl_mode(), PgSslMode::VerifyCa | PgSslMode::VerifyFull) {
        tracing::warn!(
            "the identity of the PostgreSQL server is not verified: an impostor could decide what may be deployed; add \
             sslmode=verify-full to the store's address"
        );
    }
    PoolOptions::new()
        .max_connections(MAX_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(|connection, _| Box::pin(configure(connection)))
        // The hooks replace the test of the pool, which has no timeout.
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(is_alive(connection)))
        .after_release(|connection, _| Box::pin(is_alive(connection)))
        .connect(url)
        .await
        .map_err(OpenError::Connect)
}

/// True for a local (Unix socket or loopback) connection.
fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn configure(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(SETTINGS).execute(&mut *connection).await?;
    let is_standby: bool = sqlx::query_scalar("select pg_is_in_recovery()").fetch_one(connection).await?;
    if is_standby { Err(sqlx::Error::Configuration(Standby.into())) } else { Ok(()) }
}

/// True if the server answers a ping. After an error the pool drops the connection without a closing message, which could block.
async fn is_alive(connection: &mut AnyConnection) -> Result<bool, sqlx::Error> {
    timeout(PING_TIMEOUT, connection.ping()).await.map_err(timed_out)??;
    Ok(true)
}

/// Raises the statement timeout of this transaction to that of a full load.
pub(crate) async fn extend_timeout(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let limit = format!("{}ms", LOAD_TIMEOUT.as_millis());
    sqlx::query("select set_config('statement_timeout', $1, true)").bind(limit).execute(connection).await.map(|_| ())
}

/// Notifies other servers of a write when the transaction commits.
pub(crate) async fn announce(connection: &mut AnyConnection, revision: i64) -> Result<(), sqlx::Error> {
    sqlx::query("select pg_notify($1, $2)")
        .bind(CHANNEL)
        .bind(revision.to_string())
        .execute(connection)
        .await
        .map(|_| ())
}

/// Spawns a task that listens for writes, until it is aborted.
pub(crate) fn listen(url: String, notified: Arc<Notify>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            if let Err(error) = listen_once(&url, &notified).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "notifications from the store unavailable; falling back to polling"
                );
            }
            sleep(RECONNECT_DELAY).await;
        }
    })
}

fn timed_out(elapsed: Elapsed) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, elapsed)
}

async fn listen_once(url: &str, notified: &Notify) -> Result<(), sqlx::Error> {
    let mut listener = timeout(ACQUIRE_TIMEOUT, PgListener::connect(url)).await.map_err(timed_out)??;
    listener.eager_reconnect(false);
    timeout(ACQUIRE_TIMEOUT, listener.listen(CHANNEL)).await.map_err(timed_out)??;
    loop {
        // Notifications sent while disconnected are lost.
        notified.notify_one();
        loop {
            match timeout(IDLE_CHECK_INTERVAL, listener.try_recv()).await {
                Ok(Ok(Some(_))) => break,
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => return Err(error),
                Err(_) => timeout(PING_TIMEOUT, listener.execute("select 1")).await.map_err(timed_out)??,
            };
        }
    }
}
