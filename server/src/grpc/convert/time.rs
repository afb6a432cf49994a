//! Instants and periods.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::grpc::field_violations::Fields;

/// An instant for the wire, where nanoseconds count up even before 1970.
pub(crate) fn render_timestamp(instant: Timestamp) -> prost_types::Timestamp {
    let mut timestamp = prost_types::Timestamp { seconds: instant.as_second(), nanos: instant.subsec_nanosecond() };
    timestamp.normalize();
    timestamp
}

/// A period for the wire.
pub(crate) fn render_duration(period: SignedDuration) -> prost_types::Duration {
    prost_types::Duration { seconds: period.as_secs(), nanos: period.subsec_nanos() }
}

/// An instant from the wire.
pub(crate) fn parse_timestamp(
    fields: &mut Fields,
    path: &str,
    given: Option<&prost_types::Timestamp>,
) -> Option<Timestamp> {
    let given = given?;
    let instant = Timestamp::new(given.seconds, given.nanos).ok().filter(|_| given.nanos >= 0);
    if instant.is_none() {
        fields.refuse(path, "must be an instant from the year 1 to 9999, e.g. 2030-01-31T12:00:00Z");
    }
    instant
}

/// A period from the wire, refused where it is negative or longer than `most`.
pub(crate) fn parse_duration(
    fields: &mut Fields,
    path: &str,
    given: Option<&prost_types::Duration>,
    most: Duration,
) -> Option<Duration> {
    let given = given?;
    let period = Duration::try_from(*given).ok().filter(|period| *period <= most);
    if period.is_none() {
        fields.refuse(path, format!("must be 0s to {}s", most.as_secs()));
    }
    period
}
