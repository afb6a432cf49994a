//! Errors of the registry: AWS, and images and repositories in it.

use scangate_core::registry::Registry as RegistryId;
use scangate_proto::v1::ErrorReason as Reason;
use tonic::{Code, Status};

use super::{LONG_RETRY_DELAY, StatusBuilder, internal_error, join, log};
use crate::registry::Error;

/// The status of a failed registry call.
pub(crate) fn from_registry(error: Error) -> Status {
    log(&error, "registry call failed");
    match error {
        Error::NotConfigured { registry, configured } => not_configured(&registry, &configured),
        Error::RepositoryNotFound(repository) => {
            let message = format!("repository {repository} not found; check its name, account and region");
            not_found(Reason::RepositoryNotFound, message, "repository", &repository.to_string())
        }
        Error::ImageNotFound { repository, image } => {
            let message = format!("image {image} not found in repository {repository}; check that it was pushed there");
            not_found(Reason::ImageNotFound, message, "image", &format!("{repository}:{image}"))
        }
        Error::TagDigestMismatch { tag, requested, actual } => tag_digest_mismatch(&tag, &requested, &actual),
        Error::AccessDenied { action, detail } => access_denied(action, &detail),
        Error::Credentials(_) => {
            let message = "AWS credentials unavailable: missing, invalid or expired; \
                           give the server an IAM role or renew its credentials";
            StatusBuilder::new(Code::FailedPrecondition, Reason::EcrCredentials, message).build()
        }
        // Found when the server starts, so no call can end with it.
        Error::TwoAccounts { .. } => internal_error(&error, "registries of two accounts"),
        Error::DamagedCache(_) => internal_error(&error, "the findings cache"),
        Error::Throttled { operation, retry_after } => {
            let message = format!("AWS unavailable: {operation} was throttled; retry later");
            StatusBuilder::new(Code::Unavailable, Reason::EcrThrottled, message).retry_after(retry_after).build()
        }
        Error::Unavailable { operation, source: _ } => unavailable(
            Reason::EcrUnavailable,
            format!("AWS unavailable: {operation} failed or timed out; retry later"),
        ),
        Error::Unreachable { operation, status, source: _ } => unreachable(operation, status),
        Error::MalformedResponse { operation, detail } => unavailable(
            Reason::EcrMalformedResponse,
            format!("AWS unavailable: {operation} returned a malformed response ({detail}); retry later"),
        ),
        Error::TooComplex(what) => {
            let message = format!("limit of this server exceeded: {what}; use a smaller image or request");
            StatusBuilder::new(Code::FailedPrecondition, Reason::ImageTooComplex, message).build()
        }
        Error::NoScanningRules(registry) => no_scanning_rules(&registry),
        Error::Rejected { operation, code, message } => {
            let message = format!("AWS rejected {operation} ({code}): {message}; correct the request");
            StatusBuilder::new(Code::FailedPrecondition, Reason::EcrRejected, message).metadata("code", code).build()
        }
    }
}

fn not_found(reason: Reason, message: String, kind: &str, name: &str) -> Status {
    StatusBuilder::new(Code::NotFound, reason, message).resource(kind, name).build()
}

fn unavailable(reason: Reason, message: String) -> Status {
    StatusBuilder::new(Code::Unavailable, reason, message).retry_after(LONG_RETRY_DELAY).build()
}

fn no_scanning_rules(registry: &RegistryId) -> Status {
    let message = format!(
        "registry {registry} accepts no scanning rules: its Region offers no enhanced scanning; \
         set scan_on_push of each repository instead"
    );
    StatusBuilder::new(Code::FailedPrecondition, Reason::EnhancedScanningUnavailable, message)
        .metadata("registry", registry.to_string())
        .build()
}

/// The body is untrusted, so it is logged in part and never sent.
fn unreachable(operation: &str, status: u16) -> Status {
    let message = format!(
        "AWS unreachable: {operation} was answered by something other than AWS (HTTP status {status}); \
         check the server's proxy, DNS and endpoint, then retry"
    );
    StatusBuilder::new(Code::Unavailable, Reason::EcrUnreachable, message)
        .metadata("operation", operation)
        .metadata("http_status", status.to_string())
        .retry_after(LONG_RETRY_DELAY)
        .build()
}

fn not_configured(registry: &RegistryId, configured: &[RegistryId]) -> Status {
    let configured = join(configured);
    let message = format!(
        "registry {registry} is not configured on this server (configured: {configured}); \
         use a configured registry, or ask the operator to add it with --registry"
    );
    StatusBuilder::new(Code::InvalidArgument, Reason::RegistryNotConfigured, message)
        .metadata("configured", configured)
        .build()
}

fn tag_digest_mismatch(tag: &str, requested: &str, actual: &str) -> Status {
    let message = if actual.is_empty() {
        format!("tag {tag} does not point at {requested}; send only the tag or the digest that you mean")
    } else {
        format!("tag {tag} points at {actual}, not at {requested}; send only the tag or the digest that you mean")
    };
    StatusBuilder::new(Code::FailedPrecondition, Reason::TagDigestMismatch, message)
        .precondition("TAG_DIGEST_MISMATCH", tag)
        .build()
}

/// `detail` may name principals and resources, so it is logged and never sent.
fn access_denied(action: String, detail: &str) -> Status {
    tracing::error!(action, detail, "AWS denied the server an action");
    let message = format!(
        "AWS denied this server {action}; grant it to the server's IAM role (see the IAM policy in the README)"
    );
    StatusBuilder::new(Code::FailedPrecondition, Reason::EcrAccessDenied, message).metadata("action", action).build()
}
