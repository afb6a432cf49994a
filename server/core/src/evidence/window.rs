//! The windows of time within which ECR's data may still change.

use jiff::{SignedDuration, Timestamp};

/// Time after the push within which ECR may have no record of a scan yet (30 to 90 s are reported).
pub const REGISTRATION_WINDOW: SignedDuration = SignedDuration::from_mins(5);
/// Time after the completion within which findings may still arrive (AWS's own gate waits 120 s). For an empty enhanced
/// result, it counts from the first scan of the digest.
pub const SETTLE_TIME: SignedDuration = SignedDuration::from_secs(120);
/// Minimum time between two equal readings that prove a scan settled within the settle time.
pub const SETTLE_DELAY: SignedDuration = SignedDuration::from_secs(10);
/// Time after the push within which a completed scan may still lack its findings.
pub const ARRIVAL_WINDOW: SignedDuration = SignedDuration::from_mins(15);
/// Tolerance for clocks of ECR and Inspector that run ahead of this server's clock.
pub const CLOCK_SLACK: SignedDuration = SignedDuration::from_mins(5);
/// Delay before a running scan is worth reading again.
pub const POLL: SignedDuration = SignedDuration::from_secs(10);
/// Age from which on a decision warns of an enhanced scan on push, which nothing renews.
pub const UNRENEWED_AGE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// True if an instant lies less than a window before `now`.
pub(super) fn happened_within(instant: Option<Timestamp>, window: SignedDuration, now: Timestamp) -> bool {
    instant.is_some_and(|instant| now.duration_since(instant) < window)
}
