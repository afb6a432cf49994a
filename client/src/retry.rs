//! When to repeat a call, and how long to wait before: exponential backoff with full jitter, never past the deadline.

use std::time::Duration;

/// When and how often a call that is safe to repeat is repeated.
///
/// Only UNAVAILABLE and broken connections are. The wait before attempt *n* is random between nothing and
/// `base_backoff · 2ⁿ⁻²`, at most `max_backoff`; where the server said how long to wait (`RetryInfo`), that much on top.
/// A wait that would outlast the call's deadline is not begun: the error is returned at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    max_attempts: u32,
    base_backoff: Duration,
    max_backoff: Duration,
}

impl RetryPolicy {
    /// At most `max_attempts` in all, the first included. 4 by default.
    pub fn new(max_attempts: u32) -> Self {
        Self { max_attempts, base_backoff: Duration::from_millis(200), max_backoff: Duration::from_secs(5) }
    }

    /// One attempt and no more.
    pub fn none() -> Self {
        Self::new(1)
    }

    /// Upper bound of the wait before the second attempt; it doubles with each. 200 ms by default.
    #[must_use]
    pub fn base_backoff(mut self, backoff: Duration) -> Self {
        self.base_backoff = backoff;
        self
    }

    /// Upper bound of every wait of our own; the server may ask for more. 5 seconds by default.
    #[must_use]
    pub fn max_backoff(mut self, backoff: Duration) -> Self {
        self.max_backoff = backoff;
        self
    }

    /// The wait after `attempts` failed ones; none where there shall be no other.
    ///
    /// The jitter comes on top of what the server asked for: callers that were told the same must not return together.
    pub(crate) fn wait(&self, attempts: u32, asked_for: Option<Duration>) -> Option<Duration> {
        if attempts >= self.max_attempts {
            return None;
        }
        let doubled =
            self.base_backoff.saturating_mul(1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX));
        let jitter = doubled.min(self.max_backoff).mul_f64(rand::random::<f64>());
        Some(asked_for.unwrap_or_default().saturating_add(jitter))
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::new(4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_attempt_is_followed_by_none() {
        let policy = RetryPolicy::new(3);

        assert_eq!((policy.wait(2, None).is_some(), policy.wait(3, None)), (true, None));
    }

    #[test]
    fn our_own_wait_never_exceeds_its_bound() {
        let policy =
            RetryPolicy::new(u32::MAX).base_backoff(Duration::from_secs(1)).max_backoff(Duration::from_secs(2));

        assert!((1..200).all(|attempts| policy.wait(attempts, None).unwrap() <= Duration::from_secs(2)));
    }

    #[test]
    fn what_the_server_asks_for_is_the_least_wait() {
        let asked_for = Duration::from_mins(1);

        assert!(RetryPolicy::default().wait(1, Some(asked_for)).unwrap() >= asked_for);
    }
}
