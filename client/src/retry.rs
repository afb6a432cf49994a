//! Retries with exponential backoff and full jitter, bounded by the call's deadline.

use std::time::Duration;

/// The limits of retries of a call that is safe to repeat.
///
/// Only UNAVAILABLE and broken connections are retried. The delay before attempt *n* is random between zero and
/// `base_backoff · 2ⁿ⁻²`, at most `max_backoff`. A delay that the server requested (`RetryInfo`) is added to it.
/// If the delay would outlast the call's deadline, the error is returned at once.
///
/// ```
/// use std::time::Duration;
///
/// use scangate_client::RetryPolicy;
///
/// let policy = RetryPolicy::new(6).base_backoff(Duration::from_secs(1)).max_backoff(Duration::from_secs(20));
/// assert_eq!(RetryPolicy::default(), RetryPolicy::new(4));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    max_attempts: u32,
    base_backoff: Duration,
    max_backoff: Duration,
}

impl RetryPolicy {
    /// A policy of at most `max_attempts` attempts, including the first. Default: 4.
    pub fn new(max_attempts: u32) -> Self {
        Self { max_attempts, base_backoff: Duration::from_millis(200), max_backoff: Duration::from_secs(5) }
    }

    /// A policy of a single attempt.
    pub fn none() -> Self {
        Self::new(1)
    }

    /// Upper bound of the delay before the second attempt; it doubles with each further attempt. Default: 200 ms.
    #[must_use]
    pub fn base_backoff(mut self, backoff: Duration) -> Self {
        self.base_backoff = backoff;
        self
    }

    /// Upper bound of each backoff, without the delay that the server requested. Default: 5 seconds.
    #[must_use]
    pub fn max_backoff(mut self, backoff: Duration) -> Self {
        self.max_backoff = backoff;
        self
    }

    /// The delay after `attempts` failed attempts; `None` if no attempt is left.
    ///
    /// The jitter is added to the delay that the server requested: callers with the same delay must not retry together.
    pub(crate) fn delay(&self, attempts: u32, retry_after: Option<Duration>) -> Option<Duration> {
        if attempts >= self.max_attempts {
            return None;
        }
        let backoff =
            self.base_backoff.saturating_mul(1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX));
        let jitter = backoff.min(self.max_backoff).mul_f64(rand::random::<f64>());
        Some(retry_after.unwrap_or_default().saturating_add(jitter))
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::new(4)
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;
    use serde_json::{Value, json};

    use super::*;
    use crate::options::CALL_TIMEOUT;

    /// The longest `wait` of a call.
    const MAX_WAIT: Duration = Duration::from_mins(15);

    #[test]
    fn last_attempt_has_no_delay() {
        let policy = RetryPolicy::new(3);

        assert_eq!((policy.delay(2, None).is_some(), policy.delay(3, None)), (true, None));
    }

    #[test]
    fn backoff_never_exceeds_its_maximum() {
        let policy =
            RetryPolicy::new(u32::MAX).base_backoff(Duration::from_secs(1)).max_backoff(Duration::from_secs(2));

        assert!((1..200).all(|attempts| policy.delay(attempts, None).unwrap() <= Duration::from_secs(2)));
    }

    /// The service config that other languages use.
    const SERVICE_CONFIG: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/scangate/v1/service_config.json"));

    /// Returns the entry of the service config that applies to a method: its own, or that of its service.
    fn config_of<'a>(config: &'a Value, service: &str, method: &str) -> &'a Value {
        let find = |name: Value| {
            let has_name = |entry: &&Value| entry["name"].as_array().is_some_and(|names| names.contains(&name));
            config["methodConfig"].as_array().unwrap().iter().find(has_name)
        };
        find(json!({"service": service, "method": method}))
            .or_else(|| find(json!({"service": service})))
            .unwrap_or_else(|| panic!("{service}/{method} has no entry"))
    }

    #[test]
    fn service_config_has_defaults_of_this_client() {
        let config: Value = serde_json::from_str(SERVICE_CONFIG).unwrap();
        let pool = DescriptorPool::decode(scangate_proto::FILE_DESCRIPTOR_SET).unwrap();
        let policy = RetryPolicy::default();
        let expected = json!({
            "maxAttempts": policy.max_attempts,
            "initialBackoff": format!("{}s", policy.base_backoff.as_secs_f64()),
            "maxBackoff": format!("{}s", policy.max_backoff.as_secs_f64()),
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        });

        for service in pool.services() {
            for method in service.methods() {
                let entry = config_of(&config, service.full_name(), method.name());
                // A stream has no timeout. A call that waits for a scan is allowed the longest wait.
                let can_wait = method.input().get_field_by_name("wait").is_some() || method.name().starts_with("Batch");
                let timeout = match (method.is_server_streaming(), can_wait) {
                    (true, _) => Value::Null,
                    (false, true) => json!(format!("{}s", (CALL_TIMEOUT + MAX_WAIT).as_secs())),
                    (false, false) => json!(format!("{}s", CALL_TIMEOUT.as_secs())),
                };
                // A retried write finds its own change. Only a request id makes it safe, and a service config cannot see it.
                let is_write = !can_wait && method.input().get_field_by_name("validate_only").is_some();
                let retry = if is_write { &Value::Null } else { &expected };
                assert_eq!((&entry["retryPolicy"], &entry["timeout"]), (retry, &timeout), "{}", method.full_name());
            }
        }
    }

    #[test]
    fn requested_delay_is_a_lower_bound() {
        let requested = Duration::from_mins(1);

        assert!(RetryPolicy::default().delay(1, Some(requested)).unwrap() >= requested);
    }
}
