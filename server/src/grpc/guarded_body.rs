//! The body of a streamed response. It ends when the caller's identity ends, or when grants no longer give what they gave at first.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::HeaderMap;
use http_body::Frame;
use prost::bytes::Bytes;
use scangate_proto::requests::Method;
use tonic::{Status, body::Body};

use super::callers::{Authorized, Callers};

/// A body that checks the authorization of its call before each part.
#[derive(Debug)]
pub(super) struct GuardedBody {
    inner: Option<Body>,
    method: Method,
    callers: Arc<Callers>,
    authorized: Authorized,
}

impl GuardedBody {
    /// Wraps the body of an authorized call.
    pub(super) fn new(inner: Body, method: Method, callers: Arc<Callers>, authorized: Authorized) -> Self {
        Self { inner: Some(inner), method, callers, authorized }
    }
}

impl http_body::Body for GuardedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(inner).poll_frame(cx));
        if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
            return Poll::Ready(frame);
        }
        match this.callers.check_again(this.method, &mut this.authorized) {
            Ok(()) => Poll::Ready(frame),
            Err(status) => {
                this.inner = None;
                let mut trailers = HeaderMap::new();
                Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
            }
        }
    }
}
