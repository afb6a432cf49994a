//! EvaluateCodec that come one after the other.

use std::pin::Pin;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::Status;

/// A stream of answers.
pub(crate) type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What is told, for as long as somebody reads it. The place among the streams is taken until then.
pub(crate) fn from_channel<T: Send>(
    told: mpsc::Receiver<T>,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = T> + Send {
    ReceiverStream::new(told).map(move |told| {
        let _taken = &place;
        told
    })
}
