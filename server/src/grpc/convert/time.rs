//! Conversions of timestamps and durations.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::grpc::field_violations::{FieldReason, Fields};

/// Renders a timestamp. On the wire, nanoseconds count upwards even before 1970.
pub(crate) fn render_timestamp(timestamp: impl Into<Timestamp>) -> prost_types::Timestamp {
    let timestamp = timestamp.into();
    let mut wire = prost_types::Timestamp { seconds: timestamp.as_second(), nanos: timestamp.subsec_nanosecond() };
    wire.normalize();
    wire
}

/// Renders a duration.
pub(crate) fn render_duration(duration: SignedDuration) -> prost_types::Duration {
    prost_types::Duration { seconds: duration.as_secs(), nanos: duration.subsec_nanos() }
}

/// Parses a timestamp.
pub(crate) fn parse_timestamp(
    fields: &mut Fields,
    path: &str,
    wire: Option<&prost_types::Timestamp>,
) -> Option<Timestamp> {
    let wire = wire?;
    let timestamp = Timestamp::new(wire.seconds, wire.nanos).ok().filter(|_| wire.nanos >= 0);
    if timestamp.is_none() {
        fields.refuse(path, "must be a timestamp from year 1 to 9999, e.g. 2030-01-31T12:00:00Z");
    }
    timestamp
}

/// Parses a duration; a negative one, or one longer than `max`, is a violation.
pub(crate) fn parse_duration(
    fields: &mut Fields,
    path: &str,
    wire: Option<&prost_types::Duration>,
    max: Duration,
) -> Option<Duration> {
    let wire = wire?;
    let duration = Duration::try_from(*wire).ok().filter(|duration| *duration <= max);
    if duration.is_none() {
        fields.refuse_as(FieldReason::OutOfRange, path, format!("must be 0s to {}s", max.as_secs()));
    }
    duration
}
