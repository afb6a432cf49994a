//! One unary call that is safe to repeat: its deadline, its attempts, and the waits between them.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Request, Response, Status};

use crate::{error::Error, retry::RetryPolicy};

/// Longer than anybody waits, and short enough for every clock.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// What all attempts of one call have in common.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) endpoint: &'a str,
    pub(crate) timeout: Duration,
    pub(crate) retry: &'a RetryPolicy,
}

impl Call<'_> {
    /// Makes attempts until one is answered, fails for good, or no other would end in time.
    pub(crate) async fn unary<Q, R, F>(&self, message: Q, attempt: impl Fn(Request<Q>) -> F) -> Result<R, Error>
    where
        Q: Clone,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let deadline = Instant::now() + self.timeout.min(LONGEST);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let error = match self.attempt(message.clone(), deadline, &attempt).await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_transient() => error,
                Err(error) => return Err(error),
            };
            let asked_for = error.rejection().and_then(|rejection| rejection.retry_after);
            let Some(wait) = self.retry.wait(attempts, asked_for) else {
                return Err(error);
            };
            if wait >= deadline.saturating_duration_since(Instant::now()) {
                return Err(error);
            }
            sleep(wait).await;
        }
    }

    async fn attempt<Q, R, F>(
        &self,
        message: Q,
        deadline: Instant,
        attempt: impl Fn(Request<Q>) -> F,
    ) -> Result<R, Error>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let mut request = Request::new(message);
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        // Tonic's own timer stops at the response's headers; this one covers the connection and the body as well.
        match timeout_at(deadline, attempt(request)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(Error::from_status(status, self.endpoint, self.timeout)),
            Err(_elapsed) => Err(Error::DeadlineExceeded { timeout: self.timeout }),
        }
    }
}
