//! The HTTP requests that reach a method: POST with a gRPC content type, and not from a browser's page.
//!
//! tonic runs a method for every HTTP method and content type. A page in an operator's browser could then send a form that writes a
//! policy.

use http::{HeaderValue, Request, Response, StatusCode, header};
use scangate_proto::requests::Method;
use tonic::body::Body;

/// The services beside those of the contract. They need no permission.
const OPEN_SERVICES: [&str; 3] =
    ["/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/"];

/// Returns the response to a request that must not reach a method; `None` for a gRPC call.
pub(super) fn refuse<B>(request: &Request<B>) -> Option<Response<Body>> {
    let headers = request.headers();
    if headers.contains_key(header::ORIGIN) {
        return Some(response(StatusCode::FORBIDDEN, "requests from browsers are not accepted; use a gRPC client\n"));
    }
    let (is_post, is_grpc) =
        (request.method() == http::Method::POST, headers.get(header::CONTENT_TYPE).is_some_and(is_grpc));
    if is_post && is_grpc {
        return None;
    }
    Some(if !is_method(request.uri().path()) {
        response(StatusCode::NOT_FOUND, "not found; this is a gRPC server\n")
    } else if is_post {
        response(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content type must be application/grpc; use a gRPC client\n")
    } else {
        let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, "the method must be POST; use a gRPC client\n");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        refused
    })
}

fn is_grpc(content_type: &HeaderValue) -> bool {
    let media_type = content_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    media_type.eq_ignore_ascii_case(b"application/grpc") || media_type.eq_ignore_ascii_case(b"application/grpc+proto")
}

/// True if the path is that of a method.
fn is_method(path: &str) -> bool {
    Method::find(path).is_some() || is_open(path)
}

/// True if the path is that of a method that needs no permission.
pub(super) fn is_open(path: &str) -> bool {
    OPEN_SERVICES.iter().any(|service| path.starts_with(service))
}

fn response(status: StatusCode, line: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::new(line.to_owned()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
