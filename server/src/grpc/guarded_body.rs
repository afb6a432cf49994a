//! The body of a streamed response. It ends when the caller's identity ends, or when grants no longer give what they gave at first.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::HeaderMap;
use http_body::Frame;
use prost::bytes::Bytes;
use scangate_proto::requests::Method;
use tonic::{Status, body::Body};

use super::{
    audit::AuditTrail,
    callers::{Authorized, Callers},
};

/// A body that checks the authorization of its call before each part.
#[derive(Debug)]
pub(super) struct GuardedBody {
    inner: Option<Body>,
    guard: Guard,
    authorized: Authorized,
}

/// The parts of a call that its stream is checked with.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) method: Method,
    pub(super) callers: Arc<Callers>,
    pub(super) audit: Arc<AuditTrail>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) request_id: String,
}

impl GuardedBody {
    /// Wraps the body of an authorized call.
    pub(super) fn new(inner: Body, guard: Guard, authorized: Authorized) -> Self {
        Self { inner: Some(inner), guard, authorized }
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
        let Guard { method, callers, audit, peer, request_id } = &this.guard;
        match callers.check_again(*method, &mut this.authorized) {
            Ok(()) => Poll::Ready(frame),
            Err(refused) => {
                this.inner = None;
                let mut trailers = HeaderMap::new();
                let ended = refused.status.add_header(&mut trailers).map(|()| Frame::trailers(trailers));
                audit.refusal(refused.into_entry(*method, *peer, request_id.clone()));
                Poll::Ready(Some(ended))
            }
        }
    }
}
