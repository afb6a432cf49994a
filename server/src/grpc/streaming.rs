//! Response streams with a concurrency permit, which end with an error when the server stops.

use std::{pin::Pin, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, interval_at},
};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::status;

/// A stream of responses.
pub(crate) type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Returns a stream over a channel. The stream holds its concurrency permit until the stream is dropped.
pub(crate) fn from_channel<T: Send>(
    receiver: mpsc::Receiver<T>,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = T> + Send {
    holding(ReceiverStream::new(receiver), permit)
}

/// Returns a stream that holds its concurrency permit until it is dropped.
pub(crate) fn holding<T>(
    items: impl Stream<Item = T> + Send,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = T> + Send {
    items.map(move |item| {
        let _held = &permit;
        item
    })
}

/// Spawns the work that feeds a stream. It is cancelled when the server stops.
pub(crate) fn spawn_until(stopping: &CancellationToken, work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(stopping.clone().run_until_cancelled_owned(work));
}

/// Ends a stream with SHUTTING_DOWN, never with OK, if the server stops before its work is done.
pub(crate) fn or_shutting_down<T: Send + 'static>(
    responses: impl Stream<Item = Result<T, Status>> + Send + 'static,
    stopping: CancellationToken,
) -> ResponseStream<T> {
    // Polled only at the end of the responses.
    let end =
        tokio_stream::once(()).filter_map(move |()| stopping.is_cancelled().then(|| Err(status::shutting_down())));
    Box::pin(responses.chain(end))
}

/// Ends a stream that has no end of its own with SHUTTING_DOWN when the server stops.
pub(crate) fn until_stopping<T: Send + 'static>(
    responses: impl Stream<Item = Result<T, Status>> + Send + 'static,
    stopping: CancellationToken,
) -> ResponseStream<T> {
    let stopped = tokio_stream::once(stopping.clone()).then(CancellationToken::cancelled_owned).map(|()| None);
    let responses = responses.map(Some).merge(stopped).map_while(|response| response);
    or_shutting_down(responses, stopping)
}

/// Adds a heartbeat, made from the last response, whenever none was sent for this long.
pub(crate) fn with_heartbeats<T: Clone + Send + 'static>(
    responses: impl Stream<Item = Result<T, Status>> + Send + 'static,
    interval: Duration,
    heartbeat: impl Fn(Option<&T>) -> T + Send + 'static,
) -> impl Stream<Item = Result<T, Status>> + Send + 'static {
    let mut last = None;
    responses.timeout_repeating(interval_at(Instant::now() + interval, interval)).map(move |response| match response {
        Ok(response) => {
            last = response.as_ref().ok().cloned();
            response
        }
        Err(_elapsed) => Ok(heartbeat(last.as_ref())),
    })
}
