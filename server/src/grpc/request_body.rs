//! The body of a request: exactly one message, complete, within the size limit, with known fields only.
//!
//! tonic reads the body through this wrapper, so the rules hold for the router and for the fast path. tonic alone would wait for the
//! end of a body that never ends, refuse large messages with OUT_OF_RANGE, and send errors without details.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderValue, Request};
use http_body::{Body as HttpBody, Frame};
use prost::bytes::{Bytes, BytesMut};
use scangate_proto::requests::Message;
use tokio::time::{Sleep, sleep};
use tonic::{Status, body::Body};

use super::{
    compression::{DecompressError, ENCODING_HEADER, Encoding, SUPPORTED},
    message_frame::{self, COMPRESSED, PLAIN, Received},
    status, wire_check,
};

/// The maximum size of a request, in bytes. A policy whose lists are full of names of usual length fits.
pub(crate) const MAX_REQUEST_BYTES: usize = 4 * 1024 * 1024;

/// The time within which a message must be complete. A call holds one of the places for concurrent calls while it waits.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The body of a unary request.
#[derive(Debug)]
pub(super) struct RequestBody {
    body: Body,
    /// The message that the method takes.
    message: &'static Message,
    encoding: Option<Encoding>,
    /// The bytes of an incomplete message.
    received: BytesMut,
    is_complete: bool,
    /// The end of the time to wait. It starts with the first wait: usually a message arrives with the headers.
    timeout: Option<Pin<Box<Sleep>>>,
}

/// Wraps the body of a request, and takes over its decompression.
pub(super) fn wrap(mut request: Request<Body>, message: &'static Message) -> Result<Request<RequestBody>, Status> {
    let encoding = match request.headers_mut().remove(ENCODING_HEADER) {
        Some(name) => parse_encoding(&name)?,
        None => None,
    };
    Ok(request.map(|body| RequestBody {
        body,
        message,
        encoding,
        received: BytesMut::new(),
        is_complete: false,
        timeout: None,
    }))
}

fn parse_encoding(name: &HeaderValue) -> Result<Option<Encoding>, Status> {
    if name == "identity" {
        return Ok(None);
    }
    let encoding = name.to_str().ok().and_then(Encoding::parse);
    encoding.map(Some).ok_or_else(|| status::unsupported_compression(name, SUPPORTED))
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                ready!(self.timeout.get_or_insert_with(|| Box::pin(sleep(RECEIVE_TIMEOUT))).as_mut().poll(cx));
                return Poll::Ready(Some(Err(status::deadline())));
            };
            let Some(frame) = frame else {
                return Poll::Ready(self.end().err().map(Err));
            };
            match frame?.into_data() {
                Ok(data) => {
                    if let Some(message) = self.receive(data).transpose() {
                        return Poll::Ready(Some(message.map(Frame::data)));
                    }
                }
                Err(trailers) => return Poll::Ready(Some(self.end().map(|()| trailers))),
            }
        }
    }
}

impl RequestBody {
    /// Returns the message with its frame once it is complete and checked.
    fn receive(&mut self, data: Bytes) -> Result<Option<Bytes>, Status> {
        // Usually the message arrives as one piece, which is passed on without a copy.
        let data = if self.received.is_empty() {
            data
        } else {
            self.received.extend_from_slice(&data);
            Bytes::new()
        };
        let bytes = if data.is_empty() { self.received.as_ref() } else { data.as_ref() };
        if self.is_complete && !bytes.is_empty() {
            return Err(status::malformed_request("a second message follows the only one that the method takes"));
        }
        let Some(frame) = message_frame::parse(bytes) else {
            self.keep(&data);
            return Ok(None);
        };
        let is_complete = self.check_length(&frame)?;
        if !is_complete {
            self.keep(&data);
            return Ok(None);
        }
        let unpacked = self.unpack(&frame)?;
        self.is_complete = true;
        let received = std::mem::take(&mut self.received);
        Ok(Some(unpacked.unwrap_or(if data.is_empty() { received.freeze() } else { data })))
    }

    fn keep(&mut self, data: &Bytes) {
        self.received.extend_from_slice(data);
    }

    /// Returns true if the message is complete.
    fn check_length(&self, frame: &Received<'_>) -> Result<bool, Status> {
        match (frame.flag, self.encoding) {
            (PLAIN, _) | (COMPRESSED, Some(_)) => {}
            (COMPRESSED, None) => {
                return Err(status::malformed_request("the message is compressed, but grpc-encoding is not set"));
            }
            (_, _) => return Err(status::malformed_request("the compression flag of the message is neither 0 nor 1")),
        }
        if frame.length > MAX_REQUEST_BYTES {
            return Err(status::request_too_large(MAX_REQUEST_BYTES));
        }
        if frame.rest.len() > frame.length {
            return Err(status::malformed_request("a second message follows the only one that the method takes"));
        }
        Ok(frame.rest.len() == frame.length)
    }

    /// Checks the fields of a complete message; returns its frame anew if it was compressed.
    fn unpack(&self, frame: &Received<'_>) -> Result<Option<Bytes>, Status> {
        let Some(encoding) = self.encoding.filter(|_| frame.flag == COMPRESSED) else {
            wire_check::check(frame.rest, self.message).map_err(status::from_wire)?;
            return Ok(None);
        };
        let message = encoding.decompress(frame.rest, MAX_REQUEST_BYTES).map_err(|error| match error {
            DecompressError::TooLarge => status::request_too_large(MAX_REQUEST_BYTES),
            DecompressError::Malformed => {
                status::malformed_request("the message is not in the encoding of grpc-encoding")
            }
        })?;
        wire_check::check(&message, self.message).map_err(status::from_wire)?;
        Ok(Some(message_frame::plain(&message)))
    }

    fn end(&self) -> Result<(), Status> {
        if self.is_complete {
            Ok(())
        } else {
            Err(status::malformed_request("the request ends before its message is complete"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use scangate_proto::requests;
    use tonic::Code;

    use super::*;

    /// A body that never comes.
    struct Silent;

    impl HttpBody for Silent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn message_that_never_comes_ends_the_call() {
        let message = requests::Method::find("/scangate.v1.ScanGateService/EvaluateGate").unwrap().request();
        let mut body = wrap(Request::new(Body::new(Silent)), message).unwrap().into_body();

        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;

        assert_eq!(frame.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
    }
}
