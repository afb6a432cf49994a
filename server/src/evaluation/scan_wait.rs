//! Waits for a running scan with exponential backoff.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use crate::registry::Freshness;

/// The first delay between two reads of a running scan; it doubles up to [`MAX_DELAY`].
const INITIAL_DELAY: Duration = Duration::from_secs(1);
const MAX_DELAY: Duration = Duration::from_secs(10);
/// The maximum age of a reading that the answer of a stopping server rests on: the last one of the wait is enough.
const MAX_LAST_READING_AGE: Duration = Duration::from_mins(1);

/// The remaining wait of a call and its next delay.
pub(super) struct WaitBackoff {
    until: Instant,
    delay: Duration,
    stopping: CancellationToken,
}

impl WaitBackoff {
    /// The wait of a call. It ends at once when `stopping` is cancelled.
    pub(super) fn new(wait: Duration, deadline: Option<Instant>, stopping: CancellationToken) -> Self {
        let now = Instant::now();
        let until = now.checked_add(wait).unwrap_or(now);
        Self { until: deadline.map_or(until, |deadline| deadline.min(until)), delay: INITIAL_DELAY, stopping }
    }

    /// Waits for this long, or until the server stops, and returns the freshness of the next read.
    pub(super) async fn pause(&self, delay: Duration) -> Freshness {
        match self.stopping.run_until_cancelled(tokio::time::sleep(delay)).await {
            Some(()) => Freshness::within(INITIAL_DELAY),
            None => Freshness::within(MAX_LAST_READING_AGE),
        }
    }

    /// The next delay; `None` if too little time is left for another read, or the server stops.
    pub(super) fn next_delay(&mut self, retry_after: Option<SignedDuration>) -> Option<Duration> {
        if self.stopping.is_cancelled() {
            return None;
        }
        let left = self.until.checked_duration_since(Instant::now())?;
        let limit = retry_after.and_then(|after| Duration::try_from(after).ok()).unwrap_or(MAX_DELAY);
        let delay = self.delay.min(limit);
        self.delay = (self.delay * 2).min(MAX_DELAY);
        (left > delay).then_some(delay)
    }
}
