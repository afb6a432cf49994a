//! Every error that a caller can see: a canonical code, a stable reason, and a message with the next step.
//!
//! Each error enum has one exhaustive match, here or in a submodule. Causes are logged there, once, and never sent.

mod access;
mod registry;
mod stores;
mod transport;
mod use_cases;

use std::{collections::HashMap, error::Error as StdError, fmt::Display, time::Duration};

use scangate_core::name::{PolicyId, WaiverId};
use scangate_proto::v1::{self, BatchEvaluateGateError, ErrorReason as Reason};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

pub(crate) use self::{
    access::{from_refusal, grants_changed, identity_missing, identity_rejected, issuer_unavailable},
    registry::from_registry,
    stores::{from_decisions, from_policies},
    transport::{from_wire, malformed_request, request_too_large, unknown_method, unsupported_compression},
    use_cases::{
        from_evaluation, from_findings, from_policy_watch, from_preview, from_rollback, from_scans, from_waivers,
    },
};
use super::{convert::revision::render_revision, current_call};

/// Resource types of `ResourceInfo`.
const POLICY: &str = "scangate.dev/Policy";
const WAIVER: &str = "scangate.dev/Waiver";
const DECISION: &str = "scangate.dev/Decision";

/// The domain of every `ErrorInfo`.
const DOMAIN: &str = "scangate.dev";
/// The trailer that repeats the delay of `RetryInfo` in milliseconds: gRPC libraries obey it and do not read `RetryInfo`.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The suggested delay before a retry of a condition that clears by itself within moments.
const SHORT_RETRY_DELAY: Duration = Duration::from_secs(1);
/// The suggested delay before a retry of a failed dependency.
const LONG_RETRY_DELAY: Duration = Duration::from_secs(5);

/// The most field violations that the message lists; the details have all of them.
const MAX_LISTED_VIOLATIONS: usize = 5;
/// The longest list of field violations in the message, in percent-encoded bytes: message and details share the headers.
const MAX_LISTED_BYTES: usize = 1_200;

/// A builder of the status of one error.
struct StatusBuilder {
    code: Code,
    reason: Reason,
    message: String,
    metadata: HashMap<String, String>,
    details: ErrorDetails,
}

impl StatusBuilder {
    fn new(code: Code, reason: Reason, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), metadata: HashMap::new(), details: ErrorDetails::new() }
    }

    fn metadata(mut self, key: &str, value: impl Into<String>) -> Self {
        self.metadata.insert(key.to_owned(), value.into());
        self
    }

    fn retry_after(mut self, delay: Duration) -> Self {
        self.details.set_retry_info(Some(delay));
        self
    }

    fn resource(mut self, kind: &str, name: &str) -> Self {
        self.details.set_resource_info(kind, name, "", self.message.clone());
        self
    }

    fn precondition(mut self, kind: &str, subject: &str) -> Self {
        self.details.add_precondition_failure_violation(kind, subject, self.message.clone());
        self
    }

    fn quota(mut self, subject: &str) -> Self {
        self.details.add_quota_failure_violation(subject, self.message.clone());
        self
    }

    fn build(mut self) -> Status {
        self.details.set_error_info(reason_name(self.reason), DOMAIN, self.metadata);
        let delay = self.details.retry_info().and_then(|retry| retry.retry_delay);
        let mut status = Status::with_error_details(self.code, self.message, self.details);
        if let Some(delay) = delay {
            let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            status.metadata_mut().insert(PUSHBACK, millis.into());
        }
        status
    }
}

fn reason_name(reason: Reason) -> &'static str {
    reason.as_str_name().trim_start_matches("ERROR_REASON_")
}

fn log(error: &(dyn StdError + 'static), event: &'static str) {
    tracing::warn!(error, "{event}");
}

fn join(items: impl IntoIterator<Item = impl Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// The status of a request with malformed fields.
pub(crate) fn invalid_fields(violations: Vec<FieldViolation>) -> Status {
    let mut builder = StatusBuilder::new(Code::InvalidArgument, Reason::InvalidFields, summary(&violations));
    builder.details.set_bad_request(violations);
    builder.build()
}

/// Lists the first violations, cut to the space that the headers leave.
fn summary(violations: &[FieldViolation]) -> String {
    let listed: Vec<String> = violations
        .iter()
        .take(MAX_LISTED_VIOLATIONS)
        .map(|violation| format!("{} {}", violation.field, violation.description))
        .collect();
    let more = violations.len().saturating_sub(listed.len());
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let mut remaining = MAX_LISTED_BYTES;
    let mut fits = |letter: &char| {
        // gRPC percent-encodes messages: three bytes for each byte that is neither a letter nor a digit, at most.
        let length = if letter.is_ascii_alphanumeric() { 1 } else { 3 * letter.len_utf8() };
        remaining.checked_sub(length).map(|left| remaining = left).is_some()
    };
    let listed: String = listed.join("; ").chars().take_while(&mut fits).collect();
    format!("{listed}{more}")
}

/// The status of a defect in the server; the request id locates it in the log.
pub(crate) fn internal(event: &'static str) -> Status {
    tracing::error!(event, "internal error");
    internal_status()
}

/// The status of a defect in the server with a cause.
fn internal_error(error: &(dyn StdError + 'static), event: &'static str) -> Status {
    tracing::error!(error, event, "internal error");
    internal_status()
}

fn internal_status() -> Status {
    let id = current_call::request_id();
    let message = format!("internal error; report it to the operator with request id {id}");
    StatusBuilder::new(Code::Internal, Reason::Internal, message).metadata("x-request-id", id).build()
}

/// The status of a call whose deadline expired.
pub(crate) fn deadline() -> Status {
    let message = "deadline exceeded; retry with a longer deadline \
                   (work in progress continues, and the next call can use its result)";
    StatusBuilder::new(Code::DeadlineExceeded, Reason::Deadline, message).retry_after(SHORT_RETRY_DELAY).build()
}

/// The status of a call over a concurrency limit.
pub(crate) fn overloaded() -> Status {
    let message = "server overloaded: limit of concurrent calls reached; retry shortly";
    StatusBuilder::new(Code::ResourceExhausted, Reason::Overloaded, message).retry_after(SHORT_RETRY_DELAY).build()
}

/// The status of a stream that ends because the server stops.
pub(crate) fn shutting_down() -> Status {
    let message = "server shutting down; call again, on another replica if there is one; continue a watch with its last \
                   resume_token";
    StatusBuilder::new(Code::Unavailable, Reason::ShuttingDown, message).retry_after(SHORT_RETRY_DELAY).build()
}

/// The status of a watch whose resume token comes from another store.
pub(crate) fn foreign_resume_token() -> Status {
    let message = "resume_token is of another store, or of changes that this store lost when it was restored; watch \
                   without a token, and read what you need of the present state";
    StatusBuilder::new(Code::FailedPrecondition, Reason::ResumeTokenForeign, message).build()
}

/// The status of a watch whose next decisions no longer exist.
pub(crate) fn expired_resume_token() -> Status {
    let message = "resume_token is too old: decisions after it are past their retention and gone; watch without a token, \
                   and use ListDecisions for those that remain";
    StatusBuilder::new(Code::FailedPrecondition, Reason::ResumeTokenExpired, message).build()
}

/// The status of a request that names a missing policy.
pub(crate) fn policy_not_found(id: &PolicyId) -> Status {
    let name = id.resource_name();
    let message = format!("{name} not found; use ListPolicies to see existing policies");
    StatusBuilder::new(Code::NotFound, Reason::PolicyNotFound, message).resource(POLICY, &name).build()
}

/// The status of a request that names a missing waiver.
fn waiver_not_found(id: &WaiverId) -> Status {
    let name = id.resource_name();
    let message = format!("{name} not found; use ListWaivers to see existing waivers");
    StatusBuilder::new(Code::NotFound, Reason::WaiverNotFound, message).resource(WAIVER, &name).build()
}

/// The status of an approval of a waiver that has ended.
fn waiver_expired(id: &WaiverId) -> Status {
    let name = id.resource_name();
    let message =
        format!("{name} has expired, so an approval has no effect; move its expire_time with UpdateWaiver first");
    StatusBuilder::new(Code::FailedPrecondition, Reason::WaiverExpired, message).resource(WAIVER, &name).build()
}

/// The status of a rollback to a revision that the policy never had.
fn revision_not_found(id: &PolicyId, revision: u64) -> Status {
    let (name, revision) = (id.resource_name(), render_revision(revision));
    let message =
        format!("revision {revision} of {name} not found; use ListPolicyRevisions to see its existing revisions");
    StatusBuilder::new(Code::NotFound, Reason::RevisionNotFound, message).resource(POLICY, &name).build()
}

/// The status of a call that needs the caller's identity.
pub(crate) fn identity_required(method: &str, id: &WaiverId) -> Status {
    let name = id.resource_name();
    let message = format!(
        "{method} needs the identity of its caller, and this call has none; call with a client certificate, a token or over the \
         server's Unix socket"
    );
    StatusBuilder::new(Code::FailedPrecondition, Reason::IdentityRequired, message)
        .precondition("IDENTITY_REQUIRED", &name)
        .build()
}

/// Converts a status to the error of one item of a batch.
pub(crate) fn to_item_error(status: &Status) -> BatchEvaluateGateError {
    let details = status.get_error_details();
    let (reason, metadata) = details
        .error_info()
        .map(|info| (info.reason.clone(), info.metadata.clone().into_iter().collect()))
        .unwrap_or_default();
    let violations = details.bad_request().map(|request| request.field_violations.as_slice()).unwrap_or_default();
    BatchEvaluateGateError {
        code: status.code().into(),
        reason,
        message: status.message().to_owned(),
        metadata,
        field_violations: violations
            .iter()
            .map(|violation| v1::FieldViolation {
                field: violation.field.clone(),
                description: violation.description.clone(),
                reason: violation.reason.clone(),
            })
            .collect(),
        retry_after: details
            .retry_info()
            .and_then(|retry| retry.retry_delay)
            .and_then(|delay| prost_types::Duration::try_from(delay).ok()),
    }
}

#[cfg(test)]
mod tests;
