//! The requests of the operations listener.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE},
};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use tokio::time::timeout;

use super::Readiness;

/// The time within which the runtime must run a new task.
const LIVENESS_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers a request. The body of a request is never read.
pub(super) async fn answer(
    request: Request<Incoming>,
    readiness: Arc<Readiness>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = match (request.uri().path(), request.method()) {
        ("/livez" | "/readyz", method) if method != Method::GET && method != Method::HEAD => {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "use GET or HEAD\n".to_owned());
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            refused
        }
        ("/livez", _) => liveness().await,
        ("/readyz", _) => self::readiness(&readiness, request.uri().query() == Some("verbose")),
        _ => text(StatusCode::NOT_FOUND, "not found: use /livez, /readyz or /readyz?verbose\n".to_owned()),
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn liveness() -> Response<Full<Bytes>> {
    match timeout(LIVENESS_TIMEOUT, tokio::spawn(async {})).await {
        Ok(Ok(())) => text(StatusCode::OK, "alive\n".to_owned()),
        Ok(Err(_)) | Err(_) => {
            text(StatusCode::SERVICE_UNAVAILABLE, format!("not alive: no task ran within {LIVENESS_TIMEOUT:?}\n"))
        }
    }
}

fn readiness(readiness: &Readiness, is_verbose: bool) -> Response<Full<Bytes>> {
    let (status, summary) = if readiness.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    };
    text(status, if is_verbose { format!("{summary}{readiness}") } else { summary.to_owned() })
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}
