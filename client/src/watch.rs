//! Watches: streams that continue on a new connection after a failure, without gaps or repetitions.

use std::{fmt, future::Future, time::Duration};

use tokio::time::{sleep, timeout};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    call::Call,
    client::Client,
    error::Error,
    v1::{
        ErrorReason, WatchDecisionsRequest, WatchDecisionsResponse, WatchPoliciesRequest, WatchPoliciesResponse,
        WatchScanRequest, WatchScanResponse,
    },
};

/// The longest time between two messages. The contract promises one every 25 seconds; this allows one to be missed.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// A request of a watch.
pub trait WatchRequest: Clone + fmt::Debug + Send + sealed::Sealed {
    /// The messages of the watch.
    type Message: fmt::Debug + Send;
    /// True if the watch ends by itself.
    #[doc(hidden)]
    const ENDS: bool;

    /// Opens the stream.
    #[doc(hidden)]
    fn open(
        client: &Client,
        request: Request<Self>,
    ) -> impl Future<Output = Result<Response<Streaming<Self::Message>>, Status>> + Send;

    /// Sets the request to continue after a message.
    #[doc(hidden)]
    fn resume_after(&mut self, message: &Self::Message);
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::v1::WatchScanRequest {}
    impl Sealed for crate::v1::WatchPoliciesRequest {}
    impl Sealed for crate::v1::WatchDecisionsRequest {}
}

impl WatchRequest for WatchScanRequest {
    type Message = WatchScanResponse;
    const ENDS: bool = true;

    async fn open(client: &Client, request: Request<Self>) -> Result<Response<Streaming<Self::Message>>, Status> {
        client.gate().watch_scan(request).await
    }

    /// A new watch begins with the present state of each scan.
    fn resume_after(&mut self, _: &Self::Message) {}
}

impl WatchRequest for WatchPoliciesRequest {
    type Message = WatchPoliciesResponse;
    const ENDS: bool = false;

    async fn open(client: &Client, request: Request<Self>) -> Result<Response<Streaming<Self::Message>>, Status> {
        client.policies().watch_policies(request).await
    }

    fn resume_after(&mut self, message: &Self::Message) {
        self.resume_token.clone_from(&message.resume_token);
    }
}

impl WatchRequest for WatchDecisionsRequest {
    type Message = WatchDecisionsResponse;
    const ENDS: bool = false;

    async fn open(client: &Client, request: Request<Self>) -> Result<Response<Streaming<Self::Message>>, Status> {
        client.decisions().watch_decisions(request).await
    }

    fn resume_after(&mut self, message: &Self::Message) {
        self.resume_token.clone_from(&message.resume_token);
    }
}

/// A stream of the messages of a watch, heartbeats included. Dropping it cancels the call.
///
/// If the connection breaks, the server stops or no message arrives for a minute, [`next`](Self::next) opens the stream again
/// after the last message, as often as the client's [`RetryPolicy`](crate::RetryPolicy) allows in a row.
///
/// ```no_run
/// # use scangate_client::{Client, Error, v1::WatchScanRequest};
/// # async fn watch(client: Client) -> Result<(), Error> {
/// let request = WatchScanRequest { image: "team/app:2.3.0".into(), ..Default::default() };
/// let mut watch = client.watch(request).await?;
/// while let Some(message) = watch.next().await? {
///     println!("{} of {} scans have ended", message.ended_count, message.total_count);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Watch<Q: WatchRequest> {
    client: Client,
    request: Q,
    messages: Option<Streaming<Q::Message>>,
    /// The failures since the last message.
    failures: u32,
}

impl<Q: WatchRequest> Watch<Q> {
    pub(crate) async fn open(client: Client, request: Q) -> Result<Self, Error> {
        let messages = open(&client, &request).await?;
        Ok(Self { client, request, messages: Some(messages), failures: 0 })
    }

    /// Returns the next message; `None` once the scans of all manifests have ended. Watches of policies and of decisions never
    /// end.
    ///
    /// Fails if the server refuses to continue, e.g. because the resume token is too old, or stays unreachable.
    pub async fn next(&mut self) -> Result<Option<Q::Message>, Error> {
        loop {
            let messages = match &mut self.messages {
                Some(messages) => messages,
                closed @ None => closed.insert(open(&self.client, &self.request).await?),
            };
            let error = match receive(messages, &self.client.call()).await {
                Ok(Some(message)) => {
                    self.failures = 0;
                    self.request.resume_after(&message);
                    return Ok(Some(message));
                }
                Ok(None) if Q::ENDS => return Ok(None),
                Ok(None) => Error::Incomplete { missing: "a watch without an end has ended" },
                Err(error) => error,
            };
            self.messages = None;
            self.failures += 1;
            let retry_after = error.rejection().and_then(|rejection| rejection.retry_after);
            match self.client.call().retry.delay(self.failures, retry_after).filter(|_| self.can_continue(&error)) {
                Some(delay) => sleep(delay).await,
                None => return Err(error),
            }
        }
    }
}

impl<Q: WatchRequest> Watch<Q> {
    /// True if the same watch may continue on a new stream: with a new token if the earlier one has expired, and under the present
    /// grants of the caller if they changed.
    fn can_continue(&self, error: &Error) -> bool {
        let has_changed_grants =
            error.rejection().is_some_and(|rejection| rejection.error_reason() == ErrorReason::GrantsChanged);
        error.is_transient()
            || has_changed_grants
            || error.is_unauthenticated() && self.client.call().credentials.can_change()
            || matches!(error, Error::DeadlineExceeded { .. } | Error::Incomplete { .. })
    }
}

async fn receive<M>(messages: &mut Streaming<M>, call: &Call<'_>) -> Result<Option<M>, Error> {
    match timeout(IDLE_TIMEOUT, messages.message()).await {
        Ok(message) => message.map_err(|status| Error::from_status(status, call.endpoint, IDLE_TIMEOUT)),
        Err(_elapsed) => Err(Error::DeadlineExceeded { timeout: IDLE_TIMEOUT }),
    }
}

async fn open<Q: WatchRequest>(client: &Client, request: &Q) -> Result<Streaming<Q::Message>, Error> {
    // A new request without the deadline: the stream lasts as long as it is read.
    client.call().unary(request.clone(), |request| Q::open(client, Request::new(request.into_inner()))).await
}
