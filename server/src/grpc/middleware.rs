//! What every call gets before its handler: an id, a span, a place among the concurrent calls, and headers on the answer.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use http::{HeaderValue, Request, Response, header::HeaderName};
use tokio::sync::Semaphore;
use tonic::body::Body;
use tower::{Layer, Service};
use tracing::Instrument;

use super::status;

/// Carries the id of a request, both ways.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Names the server's version.
const VERSION: HeaderName = HeaderName::from_static("scangate-version");
/// Longest id that is taken from a caller.
const MAX_ID: usize = 128;

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the request that this task serves; empty outside of one.
pub(crate) fn current_request_id() -> String {
    CURRENT.try_with(Clone::clone).unwrap_or_default()
}

/// Does some of a request's work elsewhere, under its id.
pub(crate) fn with_request_id<F: Future>(id: String, work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(id, work.in_current_span())
}

/// Puts [`RequestService`] around the services.
#[derive(Clone, Debug)]
pub(crate) struct RequestLayer {
    permits: Arc<Semaphore>,
}

impl RequestLayer {
    /// A layer that lets this many calls run at once and refuses the rest.
    pub(crate) fn new(concurrent_calls: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(concurrent_calls)) }
    }
}

impl<S> Layer<S> for RequestLayer {
    type Service = RequestService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestService { inner, permits: Arc::clone(&self.permits) }
    }
}

/// See [`RequestLayer`].
#[derive(Clone, Debug)]
pub(crate) struct RequestService<S> {
    inner: S,
    permits: Arc<Semaphore>,
}

type ResponseFuture<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S> Service<Request<Body>> for RequestService<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let id = id_of(&request);
        let span = tracing::info_span!("call", method = request.uri().path().trim_start_matches('/'), request_id = %id);
        // The service that was polled ready is the one to call.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let permits = Arc::clone(&self.permits);
        let header = HeaderValue::from_str(&id).ok().map(|mut header| {
            // No two answers have the same: nothing to keep in the connection's table of headers.
            header.set_sensitive(true);
            header
        });
        let answering = async move {
            let began = Instant::now();
            let mut response = match permits.try_acquire() {
                Ok(_permit) => inner.call(request).await?,
                Err(_) => status::overloaded().into_http(),
            };
            // The status of a call that succeeds, or fails late, comes in the trailers: absent here.
            let code = response.headers().get("grpc-status").and_then(|code| code.to_str().ok()).unwrap_or("0");
            tracing::info!(
                code,
                elapsed_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
                "answered"
            );
            let headers = response.headers_mut();
            headers.extend(header.map(|header| (REQUEST_ID, header)));
            headers.insert(VERSION, HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
            Ok(response)
        };
        Box::pin(CURRENT.scope(id, answering.instrument(span)))
    }
}

/// The caller's id where it has a decent one, else a new one.
fn id_of(request: &Request<Body>) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    match given {
        Some(id) if (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) => id.to_owned(),
        Some(_) | None => format!("{:032x}", rand::random::<u128>()),
    }
}
