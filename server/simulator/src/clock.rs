//! The simulated registry's time: the system's, or one that only a test advances.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

/// A clock shared by the world, the server and the test. A clone is another handle to the same clock.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Mutex<ClockState>>);

#[derive(Debug)]
struct ClockState {
    /// The start of a manual clock; `None` follows the system's clock.
    manual_start: Option<Timestamp>,
    /// The sum of all advances.
    offset: Duration,
}

impl Clock {
    /// The system's time. [`Clock::advance`] moves it forward, for the simulator only.
    pub fn system() -> Self {
        Self::new(None)
    }

    /// A clock that stands still at `start` until it is advanced.
    pub fn manual(start: Timestamp) -> Self {
        Self::new(Some(start))
    }

    fn new(manual_start: Option<Timestamp>) -> Self {
        Self(Arc::new(Mutex::new(ClockState { manual_start, offset: Duration::ZERO })))
    }

    /// The current time in whole milliseconds, as ECR sends it, so that a time read back equals the time set.
    pub fn now(&self) -> Timestamp {
        let state = self.0.lock();
        let now = saturating_add(state.manual_start.unwrap_or_else(Timestamp::now), state.offset);
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    /// Moves the clock forward. Scans that end within `by` are completed afterwards.
    pub fn advance(&self, by: Duration) {
        let mut state = self.0.lock();
        state.offset = state.offset.saturating_add(by);
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

/// `time` plus `by`, at most [`Timestamp::MAX`]: a scan that never ends has a very long duration.
pub(crate) fn saturating_add(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// `time` minus `by`, at least [`Timestamp::MIN`].
pub(crate) fn saturating_sub(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_sub(by).unwrap_or(Timestamp::MIN)
}

/// The timestamp in the wire form of both protocols: epoch seconds as a JSON number.
pub(crate) fn epoch_seconds(time: Timestamp) -> serde_json::Value {
    let whole = time.as_second();
    if time.subsec_nanosecond() == 0 { whole.into() } else { time.as_duration().as_secs_f64().into() }
}
