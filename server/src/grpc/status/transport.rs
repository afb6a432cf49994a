//! Errors below the methods: requests that no method receives.

use http::HeaderValue;
use scangate_proto::v1::ErrorReason as Reason;
use tonic::{Code, Status, metadata::MetadataValue};

use super::{super::wire_check::Refusal, StatusBuilder};

/// The status of a request that is not one well-formed message with well-formed headers.
pub(crate) fn malformed_request(error: &str) -> Status {
    let message = format!("malformed request: {error}; check the client's library, and proxies on the way");
    StatusBuilder::new(Code::InvalidArgument, Reason::MalformedRequest, message).build()
}

/// The status of a request whose bytes the check refuses.
pub(crate) fn from_wire(refusal: Refusal) -> Status {
    match refusal {
        Refusal::UnknownField { message, path, number } => unknown_field(message, &path, number),
        Refusal::Malformed { path, error } if path.is_empty() => malformed_request(error),
        Refusal::Malformed { path, error } => malformed_request(&format!("{error}, at {path}")),
    }
}

fn unknown_field(message: &str, path: &str, number: u32) -> Status {
    let version = env!("CARGO_PKG_VERSION");
    let text = format!(
        "field {number} of {message} (at {path}) is unknown to this server, version {version}; upgrade the server before \
         callers use the field, or do not set it"
    );
    StatusBuilder::new(Code::InvalidArgument, Reason::UnknownField, text)
        .metadata("message", message)
        .metadata("number", number.to_string())
        .metadata("path", path)
        .metadata("server_version", version)
        .build()
}

/// The status of a request that exceeds the limit, before or after decompression.
pub(crate) fn request_too_large(limit: usize) -> Status {
    let message = format!("request exceeds the limit of {limit} bytes; split it, for example into smaller batches");
    StatusBuilder::new(Code::ResourceExhausted, Reason::RequestTooLarge, message)
        .metadata("limit_bytes", limit.to_string())
        .build()
}

/// The status of a call to a method that this server does not have.
pub(crate) fn unknown_method(path: &str) -> Status {
    let method = path.trim_start_matches('/');
    let message = format!(
        "method {method} not found on this server, version {}; check its name, or upgrade the server",
        env!("CARGO_PKG_VERSION")
    );
    StatusBuilder::new(Code::Unimplemented, Reason::UnknownMethod, message)
        .metadata("method", method)
        .metadata("server_version", env!("CARGO_PKG_VERSION"))
        .build()
}

/// The status of a request in an unsupported compression.
pub(crate) fn unsupported_compression(encoding: &HeaderValue, supported: &'static str) -> Status {
    let encoding = String::from_utf8_lossy(encoding.as_bytes());
    let message = format!("compression {encoding} is not supported; use one of: {supported}");
    let mut status = StatusBuilder::new(Code::Unimplemented, Reason::UnsupportedCompression, message)
        .metadata("supported", supported)
        .build();
    // gRPC requires this header beside the error.
    status.metadata_mut().insert("grpc-accept-encoding", MetadataValue::from_static(supported));
    status
}
