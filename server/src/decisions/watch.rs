//! Watches the decision log for new decisions.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::{Decisions, Error, ListedDecision};
use crate::decision_log::{Bookmark, Cursors, Filter};

/// The interval between two reads of the log.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The longest time without an event.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);
/// The most decisions of one read, before the filter.
const BATCH_SIZE: usize = 1_000;

/// An event of a watch.
#[derive(Clone, Debug)]
pub struct WatchEvent {
    /// A recorded decision. `None` for a heartbeat, which is sent when the watch begins, and every 10 seconds without a decision.
    pub decision: Option<ListedDecision>,
    /// The position after the event: a watch from here has exactly the rest.
    pub bookmark: Bookmark,
}

impl Decisions {
    /// Sends the matching decisions recorded after `cursors`, until the receiver is closed. An error is sent and ends the watch.
    pub async fn watch(
        self: Arc<Self>,
        filter: Filter,
        mut cursors: Cursors,
        sender: mpsc::Sender<Result<WatchEvent, Error>>,
    ) {
        let event = |decision, at: &Cursors| WatchEvent { decision, bookmark: at.bookmark(Timestamp::now()) };
        // The first event confirms the start: every decision recorded from here on is reported.
        if sender.send(Ok(event(None, &cursors))).await.is_err() {
            return;
        }
        let mut last_event = Instant::now();
        while !sender.is_closed() {
            let mut progress = cursors.clone();
            let listed = match self.read_from(&mut cursors, &filter, BATCH_SIZE).await {
                Ok(listed) => listed,
                Err(error) => {
                    sender.send(Err(error)).await.ok();
                    return;
                }
            };
            progress.look_ahead(&cursors);
            let mut decisions = self.listed_loader();
            for entry in listed {
                progress.advance(entry.id());
                let loaded = decisions.load(entry).await;
                let is_last = loaded.is_err();
                let loaded = loaded.map(|decision| event(Some(decision), &progress));
                if sender.send(loaded).await.is_err() || is_last {
                    return;
                }
                last_event = Instant::now();
            }
            if last_event.elapsed() >= HEARTBEAT_INTERVAL {
                if sender.send(Ok(event(None, &cursors))).await.is_err() {
                    return;
                }
                last_event = Instant::now();
            }
            if !cursors.has_unread() {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
    }
}
