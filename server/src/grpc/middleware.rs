//! The edge: everything that happens to each call before and after its method. No request reaches a method beside it.
//!
//! In this order: HTTP rules, a place among the concurrent calls, the caller's identity and permission, the method, the audit line
//! and the log line. The body is read by the method only, so that a refused call costs no parsing.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use http::{HeaderValue, Request, Response, header::HeaderName};
use scangate_proto::requests::Method;
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

use super::{
    audit::{self, AuditTrail, Entry, PendingLine},
    callers::{Callers, Refused},
    current_call, deadline,
    guarded_body::{Guard, GuardedBody},
    http_rules, status,
};
use crate::{auth::Authorization, listen::Peer};

/// The header of the request id, in requests and responses.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header of the server's version.
const VERSION: HeaderName = HeaderName::from_static("scangate-version");
/// The longest request id that is accepted from a caller, in bytes.
const MAX_REQUEST_ID: usize = 128;

/// The items of a batch that were refused for their scope: an extension of the response, for the audit trail.
#[derive(Clone, Copy, Debug)]
pub(super) struct RefusedItems(pub(super) usize);

/// A layer that wraps the services in an [`EdgeService`].
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    permits: Semaphore,
    callers: Arc<Callers>,
    audit: Arc<AuditTrail>,
}

impl Edge {
    /// A layer that admits this many concurrent calls, and the calls that the grants permit.
    pub(crate) fn new(max_concurrent_calls: usize, callers: Callers) -> Self {
        let permits = Semaphore::new(max_concurrent_calls);
        Self { shared: Arc::new(Shared { permits, callers: Arc::new(callers), audit: Arc::default() }) }
    }
}

impl<S> Layer<S> for Edge {
    type Service = EdgeService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        EdgeService { inner, shared: Arc::clone(&self.shared) }
    }
}

/// The service of an [`Edge`].
#[derive(Clone, Debug)]
pub(crate) struct EdgeService<S> {
    inner: S,
    shared: Arc<Shared>,
}

type ResponseFuture<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S> Service<Request<Body>> for EdgeService<S>
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
        let shared = Arc::clone(&self.shared);
        let header = HeaderValue::from_str(&id).ok();
        let respond = async move {
            let start = Instant::now();
            let (mut response, authorization) = match admit(&request, &shared.permits) {
                Ok(_permit) => shared.respond(&mut inner, request).await?,
                Err(refused) => (*refused, None),
            };
            log_response(&response, authorization.as_ref().map_or("", Authorization::name), start);
            add_headers(&mut response, header);
            Ok(response)
        };
        Box::pin(tracing::Instrument::instrument(current_call::with_request_id(id, respond), span))
    }
}

impl Shared {
    /// Calls the method, if the caller may. Returns the authorization with the response.
    async fn respond<S>(
        &self,
        inner: &mut S,
        mut request: Request<Body>,
    ) -> Result<(Response<Body>, Option<Authorization>), S::Error>
    where
        S: Service<Request<Body>, Response = Response<Body>>,
    {
        let path = request.uri().path();
        let Some(method) = Method::find(path) else {
            let is_open = http_rules::is_open(path);
            let response = if is_open { inner.call(request).await? } else { status::unknown_method(path).into_http() };
            return Ok((response, None));
        };
        let peer = request.extensions().get::<Peer>();
        let address = peer.and_then(|peer| peer.address);
        let authorized = match self.callers.authorize(method, request.headers(), peer).await {
            Ok(authorized) => authorized,
            Err(refused) => return Ok((self.refuse(method, refused, address), None)),
        };
        let authorization = authorized.authorization.clone();
        request.extensions_mut().insert(authorization.clone());
        let pending = audit::is_audited(method).then(|| PendingLine::new(entry(method, &authorization, address)));
        let response = inner.call(request).await?;
        let code = code(&response);
        let refused_items = response.extensions().get().map_or(0, |RefusedItems(count)| *count);
        let refused = match pending {
            Some(line) => line.finish(code),
            None if code == Code::PermissionDenied => Some(entry(method, &authorization, address)),
            None if refused_items > 0 => {
                let detail = format!("{refused_items} items of a batch");
                Some(Entry { detail, ..entry(method, &authorization, address) })
            }
            None => None,
        };
        if let Some(refused) = refused {
            let (code, resource) = (Code::PermissionDenied, current_call::target());
            self.audit.refusal(Entry { code, resource, reason: "denied", ..refused });
        }
        if !method.is_streaming() {
            return Ok((response, Some(authorization)));
        }
        let (callers, audit) = (Arc::clone(&self.callers), Arc::clone(&self.audit));
        let guard = Guard { method, callers, audit, peer: address, request_id: current_call::request_id() };
        let response = response.map(|body| Body::new(GuardedBody::new(body, guard, authorized)));
        Ok((response, Some(authorization)))
    }

    /// Returns the response to a call that may not be made, and records the refusal.
    fn refuse(&self, method: Method, refused: Refused, peer: Option<SocketAddr>) -> Response<Body> {
        let response = Status::clone(&refused.status).into_http();
        // The audit trail counts equal refusals; the log has the details of each.
        tracing::info!(reason = refused.reason, detail = refused.detail, "call refused");
        self.audit.refusal(refused.into_entry(method, peer, current_call::request_id()));
        response
    }
}

/// The line of an authorized call.
fn entry(method: Method, authorization: &Authorization, peer: Option<SocketAddr>) -> Entry {
    Entry {
        method,
        caller: authorization.name().to_owned(),
        source: authorization.caller().source(),
        peer,
        code: Code::Ok,
        reason: "",
        detail: String::new(),
        request_id: current_call::request_id(),
        resource: String::new(),
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

/// Returns the status code of a response. A success, or a failure after the first message, has it in the trailers: it counts as OK.
fn code(response: &Response<Body>) -> Code {
    response.headers().get(Status::GRPC_STATUS).map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}

fn log_response(response: &Response<Body>, caller: &str, start: Instant) {
    let elapsed_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    if response.status().is_success() {
        let code = i32::from(code(response));
        tracing::info!(code, caller, elapsed_us, "call finished");
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
