//! Idempotency keys: a request that is sent again takes effect once and gets the same answer.

use jiff::SignedDuration;

/// The deduplication window: a repeated request within it gets the first answer. Stores record each key for this long.
pub const DEDUP_WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// The idempotency key of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// The caller's `request_id`.
    pub id: String,
    /// SHA-256 over the request without its id, base64: it distinguishes a retry from a reuse of the id.
    pub fingerprint: String,
}
