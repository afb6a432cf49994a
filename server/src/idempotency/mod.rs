//! Idempotency keys: a request that is sent again takes effect once. Each kind of request has its own window.

pub(crate) mod sql;

use jiff::{SignedDuration, Timestamp};

/// The window of writes of policies and waivers.
pub const WRITE_WINDOW: SignedDuration = MAX_WINDOW;
/// The longest window of any request: the log keeps recorded decisions for at least this long.
pub const MAX_WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// The caller and the id of a request.
pub(crate) type Key<'a> = (&'a str, &'a str);

/// The idempotency key of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// The caller's name: equal ids of two callers are different requests.
    pub caller: String,
    /// The caller's `request_id`.
    pub id: String,
    /// SHA-256 over the parts that identify the request, base64: it distinguishes a retry from a reuse of the id.
    pub fingerprint: String,
    /// The time for which a store keeps the key.
    pub window: SignedDuration,
}

impl RequestKey {
    /// Returns the caller and the id.
    pub(crate) fn key(&self) -> Key<'_> {
        (&self.caller, &self.id)
    }

    /// Returns the first instant at which the key is forgotten, if it is recorded at an instant; in microseconds.
    pub(crate) fn expire_micros(&self, recorded_at: Timestamp) -> i64 {
        recorded_at.saturating_add(self.window).unwrap_or(Timestamp::MAX).as_microsecond()
    }
}
