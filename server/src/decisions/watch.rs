//! Watches the decision log for new decisions.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::{Decisions, Error, ListedDecision};
use crate::decision_log::{Cursors, Filter};

/// The interval between two reads of the log.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The longest time without an event.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);
/// The most entries of one read.
const BATCH_SIZE: usize = 1_000;

/// An event of a watch.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// A decision was recorded.
    Decision(ListedDecision),
    /// The watch is running; sent when it begins, and every 10 seconds without a decision.
    Heartbeat,
}

impl Decisions {
    /// Sends the matching decisions recorded after `cursors`, until the receiver is closed. An error is sent and ends the watch.
    pub async fn watch(
        self: Arc<Self>,
        filter: Filter,
        mut cursors: Cursors,
        sender: mpsc::Sender<Result<WatchEvent, Error>>,
    ) {
        let mut idle = Duration::ZERO;
        // The first event confirms the start: every decision recorded from here on is reported.
        let mut sent = sender.send(Ok(WatchEvent::Heartbeat)).await;
        while sent.is_ok() && !sender.is_closed() {
            let listed = match self.read_from(&mut cursors, &filter, BATCH_SIZE).await {
                Ok(listed) => listed,
                Err(error) => {
                    sender.send(Err(error)).await.ok();
                    return;
                }
            };
            let count = listed.len();
            idle = if count == 0 { idle + POLL_INTERVAL } else { Duration::ZERO };
            let mut decisions = self.listed_loader();
            for entry in listed {
                let loaded = decisions.load(entry).await;
                let is_last = loaded.is_err();
                if sender.send(loaded.map(WatchEvent::Decision)).await.is_err() || is_last {
                    return;
                }
            }
            if idle >= HEARTBEAT_INTERVAL {
                idle = Duration::ZERO;
                sent = sender.send(Ok(WatchEvent::Heartbeat)).await;
            }
            if count < BATCH_SIZE {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
    }
}
