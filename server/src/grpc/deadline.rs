//! A call's deadline: `grpc-timeout` less a margin for the response to travel.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use http::HeaderMap;
use tonic::{Status, metadata::MetadataMap};

use super::status;

/// The largest part of the caller's timeout that is reserved for the response to travel.
const RESPONSE_MARGIN: Duration = Duration::from_millis(100);
/// The timeout of a call that sets none.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);

/// The header with the time that the caller gives to the call.
const TIMEOUT_HEADER: &str = "grpc-timeout";

/// Refuses a malformed timeout: without it, a call would take longer than its caller allows.
pub(super) fn check_timeout(headers: &HeaderMap) -> Result<(), Status> {
    match headers.get(TIMEOUT_HEADER).map(|timeout| timeout.to_str().ok().and_then(parse_timeout)) {
        Some(None) => Err(status::malformed_request("grpc-timeout must be 1 to 8 digits and one of H, M, S, m, u, n")),
        Some(Some(_)) | None => Ok(()),
    }
}

/// Returns the instant by which the response must be sent; `wait` extends the default timeout only.
pub(crate) fn parse_deadline(metadata: &MetadataMap, wait: Duration) -> Instant {
    let timeout = metadata.get(TIMEOUT_HEADER).and_then(|timeout| parse_timeout(timeout.to_str().ok()?));
    let timeout = match timeout {
        Some(timeout) => timeout.saturating_sub(RESPONSE_MARGIN.min(timeout / 10)),
        // A caller that asks the gate to wait and sets no timeout accepts that wait.
        None => DEFAULT_TIMEOUT.saturating_add(wait),
    };
    let now = Instant::now();
    now.checked_add(timeout).unwrap_or(now)
}

/// Runs a future until the deadline, then fails with `DEADLINE_EXCEEDED`.
pub(crate) fn with_deadline<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, Status>>,
) -> impl Future<Output = Result<T, Status>> {
    // Boxed: each wrapper would otherwise copy the whole future.
    let timeout = tokio::time::timeout_at(deadline.into(), Box::pin(work));
    async move { timeout.await.unwrap_or_else(|_| Err(status::deadline())) }
}

/// Parses the value of `grpc-timeout`: at most 8 digits and a unit. tonic's own parser is private.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount.saturating_mul(3600)),
        "M" => Duration::from_secs(amount.saturating_mul(60)),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeout_is_parsed_in_every_unit() {
        assert_eq!(parse_timeout("2H"), Some(Duration::from_hours(2)));
        assert_eq!(parse_timeout("3M"), Some(Duration::from_mins(3)));
        assert_eq!(parse_timeout("4S"), Some(Duration::from_secs(4)));
        assert_eq!(parse_timeout("5m"), Some(Duration::from_millis(5)));
        assert_eq!(parse_timeout("6u"), Some(Duration::from_micros(6)));
        assert_eq!(parse_timeout("7n"), Some(Duration::from_nanos(7)));
        for malformed in ["", "S", "123456789S", "1x", "1é", "-1S", "+1S"] {
            assert_eq!(parse_timeout(malformed), None, "{malformed}");
        }
    }
}
