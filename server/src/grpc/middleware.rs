//! Middleware for all calls: HTTP rules, request id, tracing span, concurrency limit, response headers.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use http::{HeaderValue, Request, Response, header::HeaderName};
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::{Status, body::Body};
use tower::{Layer, Service};
use tracing::Instrument;

use super::{deadline, http_rules, status};

/// The header of the request id, in requests and responses.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header of the server's version.
const VERSION: HeaderName = HeaderName::from_static("scangate-version");
/// The longest request id that is accepted from a caller, in bytes.
const MAX_REQUEST_ID: usize = 128;

tokio::task_local! {
    static CURRENT_REQUEST_ID: String;
}

/// Returns the id of the request that this task serves; empty outside of a request.
pub(crate) fn current_request_id() -> String {
    CURRENT_REQUEST_ID.try_with(Clone::clone).unwrap_or_default()
}

/// Runs a part of a request on another task, under the request's id and in its span.
pub(crate) fn with_request_id<F: Future>(id: String, work: F) -> impl Future<Output = F::Output> {
    CURRENT_REQUEST_ID.scope(id, work.in_current_span())
}

/// A layer that wraps the services in a [`RequestService`].
#[derive(Clone, Debug)]
pub(crate) struct RequestLayer {
    permits: Arc<Semaphore>,
}

impl RequestLayer {
    /// A layer that admits this many concurrent calls and refuses the rest.
    pub(crate) fn new(max_concurrent_calls: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(max_concurrent_calls)) }
    }
}

impl<S> Layer<S> for RequestLayer {
    type Service = RequestService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestService { inner, permits: Arc::clone(&self.permits) }
    }
}

/// The service of a [`RequestLayer`].
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
        let id = request_id(&request);
        let span = tracing::info_span!("call", method = request.uri().path().trim_start_matches('/'), request_id = %id);
        // The service that was polled ready is the one to call.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let permits = Arc::clone(&self.permits);
        let header = HeaderValue::from_str(&id).ok();
        let respond = async move {
            let start = Instant::now();
            let mut response = match admit(&request, &permits) {
                Ok(_permit) => inner.call(request).await?,
                Err(refused) => *refused,
            };
            log_response(&response, start);
            add_headers(&mut response, header);
            Ok(response)
        };
        Box::pin(CURRENT_REQUEST_ID.scope(id, respond.instrument(span)))
    }
}

/// Returns the permit of a call, or the response to a request that must not run.
fn admit<'a>(request: &Request<Body>, permits: &'a Semaphore) -> Result<SemaphorePermit<'a>, Box<Response<Body>>> {
    if let Some(refused) = http_rules::refuse(request) {
        return Err(Box::new(refused));
    }
    let permit = deadline::check_timeout(request.headers())
        .and_then(|()| permits.try_acquire().map_err(|_| status::overloaded()));
    permit.map_err(|status| Box::new(status.into_http()))
}

fn log_response(response: &Response<Body>, start: Instant) {
    // A success, or a failure after the first message, has its status in the trailers and thus not here.
    let code = response.headers().get(Status::GRPC_STATUS).and_then(|code| code.to_str().ok()).unwrap_or("0");
    let elapsed_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    if response.status().is_success() {
        tracing::info!(code, elapsed_us, "call finished");
    } else {
        tracing::info!(http_status = response.status().as_u16(), elapsed_us, "request refused: not a gRPC call");
    }
}

fn add_headers(response: &mut Response<Body>, request_id: Option<HeaderValue>) {
    let headers = response.headers_mut();
    headers.extend(request_id.map(|mut id| {
        // Ids are unique: the connection's HPACK table should not index them.
        id.set_sensitive(true);
        (REQUEST_ID, id)
    }));
    headers.insert(VERSION, HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
}

/// Returns the caller's request id if it is short printable ASCII, else a random one.
fn request_id(request: &Request<Body>) -> String {
    let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    match id {
        Some(id) if (1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) => {
            id.to_owned()
        }
        Some(_) | None => format!("{:032x}", rand::random::<u128>()),
    }
}
