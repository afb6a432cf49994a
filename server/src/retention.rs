//! Retention: decisions that are older than they are to be kept are removed, now and then.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinHandle;

use crate::decision_log::DecisionLog;

/// How often.
const EVERY: Duration = Duration::from_hours(1);

/// Removes what is too old until it is dropped.
pub(crate) struct Retention(JoinHandle<()>);

impl Drop for Retention {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps decisions for so long.
pub(crate) fn keep(log: Arc<dyn DecisionLog>, term: Duration) -> Retention {
    Retention(tokio::spawn(async move {
        loop {
            tokio::time::sleep(EVERY).await;
            let term = SignedDuration::try_from(term).unwrap_or(SignedDuration::MAX);
            let Ok(before) = Timestamp::now().checked_sub(term) else { continue };
            match log.trim(before).await {
                Ok(0) => {}
                Ok(removed) => tracing::info!(removed, %before, "decisions were removed, since their time has passed"),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "old decisions were not removed");
                }
            }
        }
    }))
}
