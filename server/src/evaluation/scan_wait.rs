//! Waits for a running scan with exponential backoff.

use std::time::{Duration, Instant};

use jiff::SignedDuration;

/// The first delay between two reads of a running scan; it doubles up to [`MAX_DELAY`].
pub(super) const INITIAL_DELAY: Duration = Duration::from_secs(1);
const MAX_DELAY: Duration = Duration::from_secs(10);

/// The remaining wait of a call and its next delay.
pub(super) struct WaitBackoff {
    until: Instant,
    delay: Duration,
}

impl WaitBackoff {
    pub(super) fn new(wait: Duration, deadline: Option<Instant>) -> Self {
        let now = Instant::now();
        let until = now.checked_add(wait).unwrap_or(now);
        Self { until: deadline.map_or(until, |deadline| deadline.min(until)), delay: INITIAL_DELAY }
    }

    /// The next delay; `None` if too little time is left for another read.
    pub(super) fn next_delay(&mut self, retry_after: Option<SignedDuration>) -> Option<Duration> {
        let left = self.until.checked_duration_since(Instant::now())?;
        let limit = retry_after.and_then(|after| Duration::try_from(after).ok()).unwrap_or(MAX_DELAY);
        let delay = self.delay.min(limit);
        self.delay = (self.delay * 2).min(MAX_DELAY);
        (left > delay).then_some(delay)
    }
}
