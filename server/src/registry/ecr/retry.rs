//! One operation of AWS, asked until it answers, fails for good, or the time is up.
//!
//! The SDK's own retries are switched off: they repeat the 24-hour rule's LimitExceededException in vain and do not repeat
//! HTTP 429, which is what ECR's documentation says it throttles with.

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

/// Tries of one operation, the first among them.
const MAX_ATTEMPTS: u32 = 4;
/// The longest pause between two tries, unless AWS asks for a longer one.
const MAX_DELAY: Duration = Duration::from_secs(5);

/// A budget that no clock overflows at.
const MAX_BUDGET: Duration = Duration::from_hours(24);

/// The instant at which a whole reading, with every page and retry, must have ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Instant);

impl Deadline {
    /// The deadline of what begins now.
    pub(super) fn after(budget: Duration) -> Self {
        Self(Instant::now() + budget.min(MAX_BUDGET))
    }

    /// An instant so much before this one.
    pub(super) fn minus(self, by: Duration) -> Self {
        Self(self.0.checked_sub(by).unwrap_or_else(Instant::now))
    }

    /// Whether no time is left.
    pub(super) fn has_passed(self) -> bool {
        !self.has_more_than(Duration::ZERO)
    }

    /// What a future gives until the deadline.
    pub(super) async fn timeout<F: Future>(self, future: F) -> Option<F::Output> {
        tokio::time::timeout_at(self.0, future).await.ok()
    }

    fn has_more_than(self, pause: Duration) -> bool {
        pause < self.0.saturating_duration_since(Instant::now())
    }
}

/// Asks AWS about one registry.
#[derive(Clone, Debug)]
pub(super) struct RetryLoop {
    /// For the log.
    pub(super) registry: RegistryId,
    /// The pause before the second try, at most; it doubles with every further one.
    pub(super) backoff: Duration,
}

impl RetryLoop {
    /// Sends until there is an answer, a failure that no repetition mends, or no time left.
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
            let began = Instant::now();
            // The SDK's futures are large; on the heap they do not burden every caller's own.
            let error = match deadline.timeout(Box::pin(send())).await {
                Some(Ok(answer)) => {
                    self.log_attempt(operation, attempt, began, "answered");
                    return Ok(answer);
                }
                Some(Err(error)) => CallError::from_sdk(&error),
                None => CallError::timed_out(),
            };
            self.log_attempt(operation, attempt, began, error.code());
            let pause = self.next_delay(operation, &error, attempt).filter(|pause| deadline.has_more_than(*pause));
            let Some(pause) = pause else {
                self.log_failure(operation, attempt, &error);
                return Err(error);
            };
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// How long to wait before trying again; `None` where that would be in vain or unsafe.
    fn next_delay(&self, operation: Operation, error: &CallError, attempt: u32) -> Option<Duration> {
        let attempts = match error.kind() {
            ErrorKind::Throttled => MAX_ATTEMPTS,
            ErrorKind::Unavailable if operation.is_idempotent => MAX_ATTEMPTS,
            // A body that broke off; one that cannot be read will not be readable later either.
            ErrorKind::Undecodable if operation.is_idempotent => 2,
            ErrorKind::Unavailable
            | ErrorKind::Undecodable
            | ErrorKind::Denied
            | ErrorKind::Credentials
            | ErrorKind::Rejected => 1,
        };
        let longest = self.backoff.saturating_mul(1 << (attempt - 1).min(16)).min(MAX_DELAY);
        let jittered = rand::random_range(Duration::ZERO..=longest);
        (attempt < attempts).then(|| error.retry_after().map_or(jittered, |asked| asked.max(jittered)))
    }

    fn log_attempt(&self, operation: Operation, attempt: u32, began: Instant, outcome: &str) {
        tracing::debug!(
            operation = operation.name,
            registry = %self.registry,
            attempt,
            elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
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
                "AWS gave no usable answer; giving up"
            ),
            ErrorKind::Denied | ErrorKind::Credentials | ErrorKind::Rejected => {}
        }
    }
}
