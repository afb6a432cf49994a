//! Waiting for a scan that runs.

use std::time::{Duration, Instant};

use jiff::SignedDuration;

/// The first pause between two looks at a running scan; it doubles up to [`LONGEST_PAUSE`].
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long a call may still wait, and in which steps.
pub(super) struct WaitBackoff {
    until: Instant,
    pause: Duration,
}

impl WaitBackoff {
    pub(super) fn new(wait: Duration, deadline: Option<Instant>) -> Self {
        let now = Instant::now();
        let until = now.checked_add(wait).unwrap_or(now);
        Self { until: deadline.map_or(until, |deadline| deadline.min(until)), pause: FIRST_PAUSE }
    }

    /// The next pause; `None` once there is no time left for another look.
    pub(super) fn next_pause(&mut self, retry_after: Option<SignedDuration>) -> Option<Duration> {
        let left = self.until.checked_duration_since(Instant::now())?;
        let asked = retry_after.and_then(|after| Duration::try_from(after).ok()).unwrap_or(LONGEST_PAUSE);
        let pause = self.pause.min(asked);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        (left > pause).then_some(pause)
    }
}
