//! A call's deadline: read from the wire, kept with a margin for the answer's way back.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use tonic::{Status, metadata::MetadataMap};

use super::status;

/// Left of the caller's time for the answer to travel.
const MARGIN: Duration = Duration::from_millis(100);
/// A call that names no deadline gets this one.
const DEFAULT: Duration = Duration::from_mins(1);

/// When the answer must be on its way.
pub(crate) fn parse_deadline(metadata: &MetadataMap, wait: Duration) -> Instant {
    let given = metadata.get("grpc-timeout").and_then(|given| parse_timeout(given.to_str().ok()?));
    let time = match given {
        Some(given) => given.saturating_sub(MARGIN.min(given / 10)),
        // Who asks the gate to wait and names no deadline means to wait.
        None => DEFAULT.saturating_add(wait),
    };
    let now = Instant::now();
    now.checked_add(time).unwrap_or(now)
}

/// EvaluateCodec in time, or says that it could not.
pub(crate) fn with_deadline<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, Status>>,
) -> impl Future<Output = Result<T, Status>> {
    // Boxed, because a future that is handed on is copied whole at each step.
    let timeout = tokio::time::timeout_at(deadline.into(), Box::pin(work));
    async move { timeout.await.unwrap_or_else(|_| Err(status::deadline())) }
}

/// The wire form of a timeout: at most 8 digits and a unit.
fn parse_timeout(given: &str) -> Option<Duration> {
    let (digits, unit) = given.split_at_checked(given.len().checked_sub(1)?)?;
    if digits.len() > 8 {
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
    fn the_wire_form_of_a_timeout_is_read_in_every_unit() {
        assert_eq!(parse_timeout("2H"), Some(Duration::from_hours(2)));
        assert_eq!(parse_timeout("3M"), Some(Duration::from_mins(3)));
        assert_eq!(parse_timeout("4S"), Some(Duration::from_secs(4)));
        assert_eq!(parse_timeout("5m"), Some(Duration::from_millis(5)));
        assert_eq!(parse_timeout("6u"), Some(Duration::from_micros(6)));
        assert_eq!(parse_timeout("7n"), Some(Duration::from_nanos(7)));
        for malformed in ["", "S", "123456789S", "1x", "1é", "-1S"] {
            assert_eq!(parse_timeout(malformed), None, "{malformed}");
        }
    }
}
