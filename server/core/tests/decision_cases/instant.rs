//! Instants as a case writes them.

use jiff::{Span, SpanRelativeTo, Timestamp};

/// Parses an RFC 3339 instant, or a distance from `now` such as `1h ago` or `3m ahead`.
pub(crate) fn parse_instant(text: &str, now: Timestamp) -> Timestamp {
    text.parse().unwrap_or_else(|_| {
        let span: Span = text.strip_suffix(" ahead").unwrap_or(text).parse().unwrap();
        now + span.to_duration(SpanRelativeTo::days_are_24_hours()).unwrap()
    })
}

pub(crate) fn parse_optional(text: Option<&str>, now: Timestamp) -> Option<Timestamp> {
    text.map(|text| parse_instant(text, now))
}
