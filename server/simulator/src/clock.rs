//! The time the simulated registry lives in: the system's, or one that only a test moves.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

/// A clock shared by the world, the server and the test. Cloning gives another handle to the same clock.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Mutex<Hands>>);

/// A manual clock stands at `base`; a system clock runs, and `ahead` is how far it was moved forward.
#[derive(Debug)]
struct Hands {
    base: Option<Timestamp>,
    ahead: Duration,
}

impl Clock {
    /// The system's time. [`Clock::advance`] still moves it forward, as far as the simulator sees it.
    pub fn system() -> Self {
        Self::with_base(None)
    }

    /// A clock that stands still at `start` until it is advanced.
    pub fn manual(start: Timestamp) -> Self {
        Self::with_base(Some(start))
    }

    fn with_base(base: Option<Timestamp>) -> Self {
        Self(Arc::new(Mutex::new(Hands { base, ahead: Duration::ZERO })))
    }

    /// Now, in whole milliseconds: what ECR sends, so that a time read back equals the time set.
    pub fn now(&self) -> Timestamp {
        let hands = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = later(hands.base.unwrap_or_else(Timestamp::now), hands.ahead);
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    /// Moves the clock forward. Scans that run until then have completed afterwards.
    pub fn advance(&self, by: Duration) {
        let mut hands = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hands.ahead = hands.ahead.saturating_add(by);
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

/// `time` plus `by`, or the end of time: a scan that never ends is one of very long duration.
pub(crate) fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// `time` less `by`, or the beginning of time.
pub(crate) fn earlier(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_sub(by).unwrap_or(Timestamp::MIN)
}

/// A timestamp as both protocols write it: epoch seconds as a JSON number.
pub(crate) fn epoch(time: Timestamp) -> serde_json::Value {
    let whole = time.as_second();
    if time.subsec_nanosecond() == 0 { whole.into() } else { time.as_duration().as_secs_f64().into() }
}
