//! What is PostgreSQL's own: how its connections are set up, and how it tells that somebody has written.

use std::{io, str::FromStr as _, sync::Arc, time::Duration};

use sqlx::{
    Any, AnyConnection, Connection as _, Executor as _, Pool,
    pool::PoolOptions,
    postgres::{PgConnectOptions, PgListener, PgSslMode},
};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::OpenError;

/// The channel that writes are told on.
const CHANNEL: &str = "scangate_revision";
/// Connections to one server process.
const CONNECTIONS: u32 = 16;
/// How long a call waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// No statement of ours takes long; one that does stands in somebody's way. What a database or a role has been set to otherwise
/// does not matter to us.
const SETTINGS: &str = "set statement_timeout = '10s';
    set lock_timeout = '5s';
    set idle_in_transaction_session_timeout = '30s';
    set synchronous_commit = on;
    set application_name = 'scangate';
    set session characteristics as transaction isolation level read committed, read write, not deferrable";
/// How long all the statements of one answer may take. Beyond what the server allows a statement: it is for a server that is no
/// longer there, and whose end of the connection nobody has closed.
pub(super) const QUERY_TIMEOUT: Duration = Duration::from_secs(12);
/// How long it may take to read all that is in force: a million waivers are hundreds of megabytes.
pub(super) const LOAD_TIMEOUT: Duration = Duration::from_mins(2);
/// How long a connection may take to show that it is alive.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to wait before listening again after the connection was lost.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);
/// How long nothing may be heard before the listening connection is tried: one that was lost without a word is silent, too.
const SILENCE: Duration = Duration::from_secs(10);

/// The server follows another one, and may lag behind: what it says is in force may not be any more.
#[derive(Debug, thiserror::Error)]
#[error("this PostgreSQL server is a standby: the store needs the primary")]
struct Standby;

/// The parameters that an address may have.
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

/// Whether every parameter is one that is understood. One that is not would be passed over, and its value be logged.
fn check_parameters(url: &str) -> Result<(), OpenError> {
    let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
    let names = parameters.split('&').filter(|parameter| !parameter.is_empty());
    for parameter in names {
        // What has no name is all value, and is not told.
        let (name, _) = parameter.split_once('=').ok_or_else(|| OpenError::Parameter(String::new()))?;
        if !PARAMETERS.contains(&name) {
            return Err(OpenError::Parameter(name.to_owned()));
        }
    }
    Ok(())
}

/// Connections to the server of this URL.
pub(super) async fn pool(url: &str) -> Result<Pool<Any>, OpenError> {
    check_parameters(url)?;
    let options = PgConnectOptions::from_str(url).map_err(OpenError::Connect)?;
    if !is_local(&options) && !matches!(options.get_ssl_mode(), PgSslMode::VerifyCa | PgSslMode::VerifyFull) {
        tracing::warn!(
            "the connection to the store does not check whom it talks to: who can answer in the database's place decides what \
             may be deployed. Add sslmode=verify-full to its address"
        );
    }
    PoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(|connection, _| Box::pin(set_up(connection)))
        // The hooks do what the pool would do, in bounded time.
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(is_alive(connection)))
        .after_release(|connection, _| Box::pin(is_alive(connection)))
        .connect(url)
        .await
        .map_err(OpenError::Connect)
}

/// Whether nobody can come in between.
fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn set_up(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(SETTINGS).execute(&mut *connection).await?;
    let is_standby: bool = sqlx::query_scalar("select pg_is_in_recovery()").fetch_one(connection).await?;
    if is_standby { Err(sqlx::Error::Configuration(Standby.into())) } else { Ok(()) }
}

/// Whether the other end still answers. An error: the connection is left without a farewell, which nobody might hear.
async fn is_alive(connection: &mut AnyConnection) -> Result<bool, sqlx::Error> {
    timeout(PING_TIMEOUT, connection.ping()).await.map_err(|late| io::Error::new(io::ErrorKind::TimedOut, late))??;
    Ok(true)
}

/// Lets the statements of this transaction take as long as a load may.
pub(crate) async fn extend_timeout(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let limit = format!("{}ms", LOAD_TIMEOUT.as_millis());
    sqlx::query("select set_config('statement_timeout', $1, true)").bind(limit).execute(connection).await.map(|_| ())
}

/// Tells the others of a write, once it is committed.
pub(crate) async fn announce(connection: &mut AnyConnection, revision: i64) -> Result<(), sqlx::Error> {
    sqlx::query("select pg_notify($1, $2)")
        .bind(CHANNEL)
        .bind(revision.to_string())
        .execute(connection)
        .await
        .map(|_| ())
}

/// Listens for writes until it is aborted.
pub(crate) fn listen(url: String, notified: Arc<Notify>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            if let Err(error) = listen_once(&url, &notified).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the store's notifications do not come; it is asked now and then instead"
                );
            }
            sleep(RECONNECT_DELAY).await;
        }
    })
}

async fn listen_once(url: &str, notified: &Notify) -> Result<(), sqlx::Error> {
    let late = |late| io::Error::new(io::ErrorKind::TimedOut, late);
    let mut listener = timeout(ACQUIRE_TIMEOUT, PgListener::connect(url)).await.map_err(late)??;
    listener.eager_reconnect(false);
    timeout(ACQUIRE_TIMEOUT, listener.listen(CHANNEL)).await.map_err(late)??;
    loop {
        // What came while nobody listened is not told again.
        notified.notify_one();
        loop {
            match timeout(SILENCE, listener.try_recv()).await {
                Ok(Ok(Some(_))) => break,
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => return Err(error),
                Err(_) => timeout(PING_TIMEOUT, listener.execute("select 1")).await.map_err(late)??,
            };
        }
    }
}
