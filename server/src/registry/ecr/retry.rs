//! The retry loop of AWS calls: it ends with a response, a permanent error or the deadline.
//!
//! The SDK's own retries are disabled. They retry LimitExceededException (one manual scan per image per 24 hours), which
//! cannot succeed. They do not retry HTTP 429, which ECR documents as its throttling response.

use std::{future::Future, time::Duration};

use aws_sdk_ecr::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use scangate_core::registry::Registry as RegistryId;
use tokio::time::Instant;

use super::{
    error::{CallError, ErrorKind},
    operation::Operation,
};

/// The maximum of attempts, including the first.
const MAX_ATTEMPTS: u32 = 4;
/// The maximum delay between two attempts, unless AWS asks for a longer one.
const MAX_DELAY: Duration = Duration::from_secs(5);

/// The maximum budget: a longer one could overflow the clock.
const MAX_BUDGET: Duration = Duration::from_hours(24);

/// The deadline of a whole reading, with every page and retry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Instant);

impl Deadline {
    /// Returns the deadline of work that begins now.
    pub(super) fn after(budget: Duration) -> Self {
        Self(Instant::now() + budget.min(MAX_BUDGET))
    }

    /// Returns a deadline earlier by this duration.
    pub(super) fn minus(self, by: Duration) -> Self {
        Self(self.0.checked_sub(by).unwrap_or_else(Instant::now))
    }

    /// Returns the deadline of work that begins now, at the latest this one.
    pub(super) fn at_most(self, budget: Duration) -> Self {
        Self(self.0.min(Self::after(budget).0))
    }

    /// True if no time is left.
    pub(super) fn has_passed(self) -> bool {
        !self.has_more_than(Duration::ZERO)
    }

    /// Awaits a future until the deadline; `None` if it passes first.
    pub(super) async fn timeout<F: Future>(self, future: F) -> Option<F::Output> {
        tokio::time::timeout_at(self.0, future).await.ok()
    }

    fn has_more_than(self, pause: Duration) -> bool {
        pause < self.0.saturating_duration_since(Instant::now())
    }
}

/// The retry loop for one registry.
#[derive(Clone, Debug)]
pub(super) struct RetryLoop {
    /// The registry, for the log.
    pub(super) registry: RegistryId,
    /// The maximum delay before the first retry. It doubles with each further retry.
    pub(super) backoff: Duration,
}

impl RetryLoop {
    /// Calls AWS until it responds, fails permanently or the deadline passes.
    pub(super) async fn call<T, E, F>(
        &self,
        operation: Operation,
        deadline: Deadline,
        send: impl Fn() -> F,
    ) -> Result<T, CallError>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let mut attempt = 1;
        loop {
            let started_at = Instant::now();
            // The SDK's futures are large: on the heap, they do not enlarge the futures of all callers.
            let error = match deadline.timeout(Box::pin(send())).await {
                Some(Ok(response)) => {
                    self.log_attempt(operation, attempt, started_at, "answered");
                    return Ok(response);
                }
                Some(Err(error)) => CallError::from_sdk(&error),
                None => CallError::timed_out(),
            };
            self.log_attempt(operation, attempt, started_at, error.code());
            let pause = self.next_delay(operation, &error, attempt).filter(|pause| deadline.has_more_than(*pause));
            let Some(pause) = pause else {
                self.log_failure(operation, attempt, &error);
                return Err(error);
            };
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// Returns the delay before the next attempt; `None` if another attempt would be futile or unsafe.
    fn next_delay(&self, operation: Operation, error: &CallError, attempt: u32) -> Option<Duration> {
        let max_attempts = match error.kind() {
            ErrorKind::Throttled => MAX_ATTEMPTS,
            ErrorKind::Unavailable | ErrorKind::Unreachable if operation.is_idempotent => MAX_ATTEMPTS,
            // The body may have been cut off. If it is malformed, a second retry would not help either.
            ErrorKind::Undecodable if operation.is_idempotent => 2,
            ErrorKind::Unavailable
            | ErrorKind::Unreachable
            | ErrorKind::Undecodable
            | ErrorKind::Denied
            | ErrorKind::Credentials
            | ErrorKind::Rejected => 1,
        };
        let max_delay = self.backoff.saturating_mul(1 << (attempt - 1).min(16)).min(MAX_DELAY);
        let delay = rand::random_range(Duration::ZERO..=max_delay);
        (attempt < max_attempts).then(|| error.retry_after().map_or(delay, |retry_after| retry_after.max(delay)))
    }

    fn log_attempt(&self, operation: Operation, attempt: u32, started_at: Instant, outcome: &str) {
        tracing::debug!(
            operation = operation.name,
            registry = %self.registry,
            attempt,
            elapsed_ms = u64::try_from(started_at.elapsed().as_millis()).unwrap_or(u64::MAX),
            outcome,
            "called AWS"
        );
    }

    fn log_failure(&self, operation: Operation, attempts: u32, error: &CallError) {
        match error.kind() {
            ErrorKind::Throttled | ErrorKind::Unavailable | ErrorKind::Undecodable => tracing::warn!(
                operation = operation.name,
                registry = %self.registry,
                attempts,
                code = error.code(),
                "AWS call failed; no further attempt"
            ),
            ErrorKind::Unreachable => tracing::warn!(
                operation = operation.name,
                registry = %self.registry,
                attempts,
                code = error.code(),
                body = error.message(),
                "something other than AWS answered; check proxy, DNS and endpoint"
            ),
            ErrorKind::Denied | ErrorKind::Credentials | ErrorKind::Rejected => {}
        }
    }
}
