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

use super::error::{Failure, Kind};

/// Tries of one operation, the first among them.
const MOST_ATTEMPTS: u32 = 4;
/// The longest pause between two tries, unless AWS asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A budget that no clock overflows at.
const LONGEST_BUDGET: Duration = Duration::from_hours(24);

/// An operation of AWS.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    /// Its name, e.g. `DescribeImages`.
    pub(super) name: &'static str,
    /// The service's prefix in IAM actions.
    service: &'static str,
    /// Whether sending it twice is as good as once.
    repeatable: bool,
}

impl Operation {
    /// A read of ECR.
    pub(super) const fn read(name: &'static str) -> Self {
        Self { name, service: "ecr", repeatable: true }
    }

    /// A read of Inspector.
    pub(super) const fn inspector(name: &'static str) -> Self {
        Self { name, service: "inspector2", repeatable: true }
    }

    /// A write to ECR, sent again only where AWS says that it did not take it.
    pub(super) const fn write(name: &'static str) -> Self {
        Self { name, service: "ecr", repeatable: false }
    }

    /// The IAM action that it needs.
    pub(super) fn action(self) -> String {
        format!("{}:{}", self.service, self.name)
    }
}

/// The instant at which a whole reading, with every page and retry, must have ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Instant);

impl Deadline {
    /// The deadline of what begins now.
    pub(super) fn after(budget: Duration) -> Self {
        Self(Instant::now() + budget.min(LONGEST_BUDGET))
    }

    /// An instant so much before this one.
    pub(super) fn earlier(self, by: Duration) -> Self {
        Self(self.0.checked_sub(by).unwrap_or_else(Instant::now))
    }

    /// Whether no time is left.
    pub(super) fn is_over(self) -> bool {
        !self.leaves(Duration::ZERO)
    }

    /// What a future gives until the deadline.
    pub(super) async fn bound<F: Future>(self, future: F) -> Option<F::Output> {
        tokio::time::timeout_at(self.0, future).await.ok()
    }

    fn leaves(self, pause: Duration) -> bool {
        pause < self.0.saturating_duration_since(Instant::now())
    }
}

/// Asks AWS about one registry.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// For the log.
    pub(super) registry: RegistryId,
    /// The pause before the second try, at most; it doubles with every further one.
    pub(super) backoff: Duration,
}

impl Caller {
    /// Sends until there is an answer, a failure that no repetition mends, or no time left.
    pub(super) async fn call<T, E, F>(
        &self,
        operation: Operation,
        deadline: Deadline,
        send: impl Fn() -> F,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let mut attempt = 1;
        loop {
            let began = Instant::now();
            // The SDK's futures are large; on the heap they do not burden every caller's own.
            let failure = match deadline.bound(Box::pin(send())).await {
                Some(Ok(answer)) => {
                    self.note(operation, attempt, began, "answered");
                    return Ok(answer);
                }
                Some(Err(error)) => Failure::of(&error),
                None => Failure::out_of_time(),
            };
            self.note(operation, attempt, began, failure.code());
            let pause = self.pause(operation, &failure, attempt).filter(|pause| deadline.leaves(*pause));
            let Some(pause) = pause else {
                self.give_up(operation, attempt, &failure);
                return Err(failure);
            };
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// How long to wait before trying again; `None` where that would be in vain or unsafe.
    fn pause(&self, operation: Operation, failure: &Failure, attempt: u32) -> Option<Duration> {
        let attempts = match failure.kind() {
            Kind::Throttled => MOST_ATTEMPTS,
            Kind::Unavailable if operation.repeatable => MOST_ATTEMPTS,
            // A body that broke off; one that cannot be read will not be readable later either.
            Kind::Undecodable if operation.repeatable => 2,
            Kind::Unavailable | Kind::Undecodable | Kind::Denied | Kind::Credentials | Kind::Refused => 1,
        };
        let longest = self.backoff.saturating_mul(1 << (attempt - 1).min(16)).min(LONGEST_PAUSE);
        let jittered = rand::random_range(Duration::ZERO..=longest);
        (attempt < attempts).then(|| failure.retry_after().map_or(jittered, |asked| asked.max(jittered)))
    }

    fn note(&self, operation: Operation, attempt: u32, began: Instant, outcome: &str) {
        tracing::debug!(
            operation = operation.name,
            registry = %self.registry,
            attempt,
            elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            outcome,
            "called AWS"
        );
    }

    fn give_up(&self, operation: Operation, attempts: u32, failure: &Failure) {
        match failure.kind() {
            Kind::Throttled | Kind::Unavailable | Kind::Undecodable => tracing::warn!(
                operation = operation.name,
                registry = %self.registry,
                attempts,
                code = failure.code(),
                "AWS gave no usable answer; giving up"
            ),
            Kind::Denied | Kind::Credentials | Kind::Refused => {}
        }
    }
}
