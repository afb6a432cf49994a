//! A unary call that is safe to repeat: deadline, attempts and the delays between them.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Request, Response, Status};

use crate::{credentials::Credentials, error::Error, retry::RetryPolicy};

/// Upper bound of a call's timeout: a longer one could overflow the clock when added to the current time.
const MAX_TIMEOUT: Duration = Duration::from_hours(24 * 365);

/// The settings that all attempts of one call share.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) endpoint: &'a str,
    pub(crate) timeout: Duration,
    pub(crate) retry: &'a RetryPolicy,
    pub(crate) credentials: &'a Credentials,
}

impl Call<'_> {
    /// Repeats the call until it succeeds, fails permanently, or the next attempt would start after the deadline. A refused token
    /// is replaced once, if its source can.
    pub(crate) async fn unary<Q, R, F>(&self, message: Q, send: impl Fn(Request<Q>) -> F) -> Result<R, Error>
    where
        Q: Clone,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let deadline = Instant::now() + self.timeout.min(MAX_TIMEOUT);
        let mut attempts = 0;
        let mut is_renewed = false;
        loop {
            attempts += 1;
            let began = self.begin(deadline).await?;
            let error = match self.attempt(message.clone(), deadline, &send).await {
                Ok(response) => return Ok(response),
                Err(error) if error.is_transient() => error,
                Err(error) if error.is_unauthenticated() && !is_renewed && self.credentials.renew(began).await => {
                    is_renewed = true;
                    continue;
                }
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

    /// Waits for a token, and returns the instant at which there is one.
    async fn begin(&self, deadline: Instant) -> Result<Instant, Error> {
        match timeout_at(deadline, self.credentials.prepare()).await {
            Ok(prepared) => Ok(prepared.map(|()| Instant::now())?),
            Err(_elapsed) => Err(Error::DeadlineExceeded { timeout: self.timeout }),
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
