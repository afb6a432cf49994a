//! A unary call that is safe to repeat: deadline, attempts and the delays between them.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Request, Response, Status};

use crate::{error::Error, retry::RetryPolicy};

/// Upper bound of a call's timeout: a longer one could overflow the clock when added to the current time.
const MAX_TIMEOUT: Duration = Duration::from_hours(24 * 365);

/// The settings that all attempts of one call share.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) endpoint: &'a str,
    pub(crate) timeout: Duration,
    pub(crate) retry: &'a RetryPolicy,
}

impl Call<'_> {
    /// Repeats the call until it succeeds, fails permanently, or the next attempt would start after the deadline.
    pub(crate) async fn unary<Q, R, F>(&self, message: Q, send: impl Fn(Request<Q>) -> F) -> Result<R, Error>
    where
        Q: Clone,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let deadline = Instant::now() + self.timeout.min(MAX_TIMEOUT);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let error = match self.attempt(message.clone(), deadline, &send).await {
                Ok(response) => return Ok(response),
                Err(error) if error.is_transient() => error,
                Err(error) => return Err(error),
            };
            let retry_after = error.rejection().and_then(|rejection| rejection.retry_after);
            let Some(delay) = self.retry.delay(attempts, retry_after) else {
                return Err(error);
            };
            if delay >= deadline.saturating_duration_since(Instant::now()) {
                return Err(error);
            }
            sleep(delay).await;
        }
    }

    async fn attempt<Q, R, F>(&self, message: Q, deadline: Instant, send: impl Fn(Request<Q>) -> F) -> Result<R, Error>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let mut request = Request::new(message);
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        // Tonic's timer stops at the response headers; this one also covers the connection and the body.
        match timeout_at(deadline, send(request)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(Error::from_status(status, self.endpoint, self.timeout)),
            Err(_elapsed) => Err(Error::DeadlineExceeded { timeout: self.timeout }),
        }
    }
}
