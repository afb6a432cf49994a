//! Response streams that are fed by a channel.

use std::pin::Pin;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::Status;

/// A stream of responses.
pub(crate) type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Returns a stream over a channel. The stream holds its concurrency permit until the stream is dropped.
pub(crate) fn from_channel<T: Send>(
    receiver: mpsc::Receiver<T>,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = T> + Send {
    ReceiverStream::new(receiver).map(move |item| {
        let _held = &permit;
        item
    })
}
