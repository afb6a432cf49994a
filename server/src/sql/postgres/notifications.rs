//! Notifications of writes between servers.

use std::{io, sync::Arc, time::Duration};

use sqlx::{Executor as _, postgres::PgListener};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{error::Elapsed, sleep, timeout},
};

use super::PING_TIMEOUT;

/// The notification channel for writes.
pub(in crate::sql) const CHANNEL: &str = "scangate_revision";
/// Maximum wait for the listener's connection and for its subscription.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Delay before the listener reconnects.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);
/// Idle time after which the listener pings its connection. Without notifications, a dead connection looks like an idle one.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_secs(10);

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
    let mut listener = timeout(CONNECT_TIMEOUT, PgListener::connect(url)).await.map_err(timed_out)??;
    listener.eager_reconnect(false);
    timeout(CONNECT_TIMEOUT, listener.listen(CHANNEL)).await.map_err(timed_out)??;
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
