//! Retention: an hourly task that removes decisions past their retention time.

use std::{error::Error, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinHandle;

use crate::decision_log::DecisionLog;

/// The interval between two runs.
const INTERVAL: Duration = Duration::from_hours(1);

/// The running task; it ends when this is dropped.
pub(crate) struct Retention(JoinHandle<()>);

impl Drop for Retention {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts the task; it removes decisions older than `retention`.
pub(crate) fn spawn(log: Arc<dyn DecisionLog>, retention: Duration) -> Retention {
    let retention = SignedDuration::try_from(retention).unwrap_or(SignedDuration::MAX);
    Retention(tokio::spawn(async move {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let Ok(before) = Timestamp::now().checked_sub(retention) else { continue };
            match log.trim(before).await {
                Ok(0) => {}
                Ok(removed) => tracing::info!(removed, %before, "removed decisions past their retention"),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn Error,
                        "removal of old decisions failed; will retry in an hour"
                    );
                }
            }
        }
    }))
}
