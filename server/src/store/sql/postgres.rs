//! What is PostgreSQL's own: how its connections are set up, and how it tells that somebody has written.

use std::{sync::Arc, time::Duration};

use sqlx::{Any, AnyConnection, Pool, pool::PoolOptions, postgres::PgListener};
use tokio::{sync::Notify, task::JoinHandle};

use super::OpenError;

/// The channel that writes are told on.
const CHANNEL: &str = "scangate_revision";
/// Connections to one server process.
const CONNECTIONS: u32 = 16;
/// How long a call waits for a connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// No statement of ours takes long; one that does stands in somebody's way.
const SETTINGS: &str = "set statement_timeout = '10s';
    set lock_timeout = '5s';
    set idle_in_transaction_session_timeout = '30s';
    set synchronous_commit = on;
    set application_name = 'scangate'";
/// How long to wait before listening again after the connection was lost.
const AGAIN: Duration = Duration::from_secs(1);

/// Connections to the server of this URL.
pub(super) async fn pool(url: &str) -> Result<Pool<Any>, OpenError> {
    PoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(PATIENCE)
        .after_connect(|connection, _| {
            Box::pin(async move { sqlx::raw_sql(SETTINGS).execute(connection).await.map(|_| ()) })
        })
        .connect(url)
        .await
        .map_err(OpenError::Connect)
}

/// Tells the others of a write, once it is committed.
pub(super) async fn announce(connection: &mut AnyConnection, revision: i64) -> Result<(), sqlx::Error> {
    sqlx::query("select pg_notify($1, $2)")
        .bind(CHANNEL)
        .bind(revision.to_string())
        .execute(connection)
        .await
        .map(|_| ())
}

/// Listens for writes until it is aborted.
pub(super) fn listen(url: String, heard: Arc<Notify>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            if let Err(error) = hear(&url, &heard).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the store's notifications do not come; it is asked now and then instead"
                );
            }
            tokio::time::sleep(AGAIN).await;
        }
    })
}

async fn hear(url: &str, heard: &Notify) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect(url).await?;
    listener.listen(CHANNEL).await?;
    loop {
        // What came while nobody listened is not told again.
        heard.notify_one();
        listener.try_recv().await?;
    }
}
