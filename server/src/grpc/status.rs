//! Every error that a caller can see: a canonical code, a stable reason, and a sentence that says what to do next.
//!
//! One exhaustive match for each error of ours. Causes are logged here, once, and never sent.

use std::{collections::HashMap, error::Error as StdError, time::Duration};

use prost::Message;
use scangate_proto::v1::ErrorReason as Reason;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use super::middleware::current_request_id;
use crate::{
    decisions::{self, preview},
    evaluation, findings, observations, policies,
    policy_store::{self, ResourceName},
    registry, scan_reader, scans, waivers,
};

/// What `ResourceInfo` calls things.
const POLICY: &str = "scangate.v1.Policy";
const WAIVER: &str = "scangate.v1.Waiver";

/// The domain of every `ErrorInfo` of ours.
pub(crate) const DOMAIN: &str = "scangate";

const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(5);

/// A refusal in the making.
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

    fn with(mut self, key: &str, value: impl Into<String>) -> Self {
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

    fn build(mut self) -> Status {
        self.details.set_error_info(reason_name(self.reason), DOMAIN, self.metadata);
        Status::with_error_details(self.code, self.message, self.details)
    }
}

fn reason_name(reason: Reason) -> &'static str {
    reason.as_str_name().trim_start_matches("ERROR_REASON_")
}

fn log(error: &(dyn StdError + 'static), what: &'static str) {
    tracing::warn!(error, "{what}");
}

/// The longest list of malformed fields in a message, in bytes of the header that it travels in, as do the details.
const MAX_LISTED: usize = 1_200;

/// Fields are malformed.
pub(crate) fn invalid_fields(violations: Vec<FieldViolation>) -> Status {
    let listed: Vec<String> =
        violations.iter().take(5).map(|violation| format!("{} {}", violation.field, violation.description)).collect();
    let more = violations.len().saturating_sub(listed.len());
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let mut room = MAX_LISTED;
    let mut fits = |letter: &char| {
        // Encoded, by percent.
        let length = if letter.is_ascii_alphanumeric() { 1 } else { 3 * letter.len_utf8() };
        room.checked_sub(length).map(|left| room = left).is_some()
    };
    let listed: String = listed.join("; ").chars().take_while(&mut fits).collect();
    let mut refusal = StatusBuilder::new(Code::InvalidArgument, Reason::InvalidFields, format!("{listed}{more}"));
    refusal.details.set_bad_request(violations);
    refusal.build()
}

/// A bug of ours.
pub(crate) fn internal(what: &'static str) -> Status {
    tracing::error!(what, "internal error");
    let id = current_request_id();
    let message = format!("an internal error; report it with request id {id}");
    StatusBuilder::new(Code::Internal, Reason::Internal, message).with("request_id", id).build()
}

/// The call's deadline came first.
pub(crate) fn deadline() -> Status {
    let message =
        "the deadline came before the answer; call again with a longer one: what was begun goes on and is kept";
    StatusBuilder::new(Code::DeadlineExceeded, Reason::Deadline, message).retry_after(SOON).build()
}

/// No room for another call.
pub(crate) fn overloaded() -> Status {
    let message = "this server is at its limit of concurrent calls; try again in a moment";
    StatusBuilder::new(Code::ResourceExhausted, Reason::Overloaded, message).retry_after(SOON).build()
}

/// No such policy.
pub(crate) fn policy_not_found(id: &scangate_core::name::PolicyId) -> Status {
    let name = id.resource_name();
    let message = format!("{name} does not exist; ListPolicies tells which do");
    StatusBuilder::new(Code::NotFound, Reason::PolicyNotFound, message).resource(POLICY, &name).build()
}

/// No such waiver.
fn waiver_not_found(id: &scangate_core::name::WaiverId) -> Status {
    let name = id.resource_name();
    let message = format!("{name} does not exist; ListWaivers tells which do");
    StatusBuilder::new(Code::NotFound, Reason::WaiverNotFound, message).resource(WAIVER, &name).build()
}

/// The policy was never as it is to be again.
fn revision_not_found(id: &scangate_core::name::PolicyId, revision: u64) -> Status {
    let name = id.resource_name();
    let message = format!("{name} has no revision {revision} to go back to; ListPolicyRevisions tells which there are");
    StatusBuilder::new(Code::NotFound, Reason::RevisionNotFound, message).resource(POLICY, &name).build()
}

/// A refusal as a message, for answers that carry several.
pub(crate) fn to_message(refused: &Status) -> tonic_types::Status {
    tonic_types::Status::decode(refused.details()).unwrap_or_else(|_| tonic_types::Status {
        code: refused.code().into(),
        message: refused.message().to_owned(),
        details: Vec::new(),
    })
}

/// An image was not evaluated.
pub(crate) fn from_evaluation(error: evaluation::Error) -> Status {
    match error {
        evaluation::Error::Registry(error) => from_registry(error),
        evaluation::Error::Scans(error) => from_scan_reader(error),
        evaluation::Error::Policies(error) => from_policies(error),
        evaluation::Error::Observations(error) => from_observations(error),
        evaluation::Error::Decisions(error) => from_decisions(error),
        evaluation::Error::Unrecordable(error) => {
            log(&error, "a decision cannot be written down");
            internal("a decision cannot be written down")
        }
        evaluation::Error::PolicyNotFound(id) => policy_not_found(&id),
        evaluation::Error::EnvironmentUnknown { environment, known } => {
            let known = join(&known);
            let message = format!("environment {environment} is none of this server's: {known}");
            StatusBuilder::new(Code::InvalidArgument, Reason::EnvironmentUnknown, message).with("known", known).build()
        }
    }
}

fn from_scan_reader(error: scan_reader::Error) -> Status {
    match error {
        scan_reader::Error::Registry(error) => from_registry(error),
        scan_reader::Error::PlatformNotFound { missing, available } => {
            let available = join(&available);
            let message = format!("the image has no manifest for {missing}; it has {available}");
            StatusBuilder::new(Code::NotFound, Reason::PlatformNotFound, message)
                .with("available", available)
                .resource("platform", &missing.to_string())
                .build()
        }
        scan_reader::Error::Lost(error) => lost(&error),
    }
}

/// Findings were not listed.
pub(crate) fn from_findings(error: findings::Error) -> Status {
    match error {
        findings::Error::Registry(error) => from_registry(error),
        findings::Error::Scans(error) => from_scan_reader(error),
        findings::Error::Changed => {
            let message = "the scan has changed between two pages; start again with the first page";
            StatusBuilder::new(Code::Aborted, Reason::FindingsChanged, message).build()
        }
    }
}

/// Scans were not started, or not watched to their end.
pub(crate) fn from_scans(error: scans::Error) -> Status {
    match error {
        scans::Error::Registry(error) => from_registry(error),
        scans::Error::Scans(error) => from_scan_reader(error),
        scans::Error::Lost(error) => lost(&error),
    }
}

fn lost(error: &tokio::task::JoinError) -> Status {
    log(error, "a reading was lost");
    internal("a reading was lost")
}

/// Waivers were not read, or not changed.
pub(crate) fn from_waivers(error: waivers::Error) -> Status {
    match error {
        waivers::Error::Policies(error) => from_policies(error),
        waivers::Error::Observations(error) => from_observations(error),
        waivers::Error::NotFound(id) => waiver_not_found(&id),
        waivers::Error::Lost(error) => {
            log(&error, "earlier imports were not looked through");
            internal("earlier imports were not looked through")
        }
    }
}

/// A policy was not rolled back.
pub(crate) fn from_rollback(error: policies::RollbackError) -> Status {
    match error {
        policies::RollbackError::Policies(error) => from_policies(error),
        policies::RollbackError::RevisionNotFound { id, revision } => revision_not_found(&id, revision),
    }
}

/// A watch of policies ended.
pub(crate) fn from_policy_watch(error: policies::WatchError) -> Status {
    match error {
        policies::WatchError::Policies(error) => from_policies(error),
        policies::WatchError::Observations(error) => from_observations(error),
    }
}

/// A preview cannot begin.
pub(crate) fn from_preview(error: preview::Error) -> Status {
    match error {
        preview::Error::Policies(error) => from_policies(error),
        preview::Error::PolicyNotFound(id) => policy_not_found(&id),
    }
}

/// The registry gave no answer.
pub(crate) fn from_registry(error: registry::Error) -> Status {
    use registry::Error;
    log(&error, "the registry gave no answer");
    match error {
        Error::NotConfigured { registry, configured } => {
            let configured = join(&configured);
            let message =
                format!("registry {registry} is none of this server's: {configured}; configure it with --registry");
            StatusBuilder::new(Code::InvalidArgument, Reason::RegistryNotConfigured, message)
                .with("configured", configured)
                .build()
        }
        Error::RepositoryNotFound(repository) => {
            let message =
                format!("repository {repository} does not exist; check its spelling, the account and the region");
            StatusBuilder::new(Code::NotFound, Reason::RepositoryNotFound, message)
                .resource("repository", &repository.to_string())
                .build()
        }
        Error::ImageNotFound { repository, image } => {
            let message = format!("repository {repository} has no image {image}; check that it was pushed there");
            StatusBuilder::new(Code::NotFound, Reason::ImageNotFound, message)
                .resource("image", &format!("{repository}:{image}"))
                .build()
        }
        Error::TagDigestMismatch { tag, asked, actual } => {
            let now = if actual.is_empty() { String::new() } else { format!(" but at {actual}") };
            let message = format!("tag {tag} does not point at {asked}{now}; name the one that you mean");
            StatusBuilder::new(Code::FailedPrecondition, Reason::TagDigestMismatch, message)
                .precondition("TAG_DIGEST_MISMATCH", &tag)
                .build()
        }
        Error::AccessDenied { action, detail } => {
            tracing::error!(action, detail, "AWS refuses this server an action");
            let message = format!(
                "AWS refuses this server {action}; grant it to the server's role (see the README's IAM policy)"
            );
            StatusBuilder::new(Code::FailedPrecondition, Reason::EcrAccessDenied, message)
                .with("action", action)
                .build()
        }
        Error::Credentials(_) => {
            let message = "this server has no valid AWS credentials; give it a role or renew what it has";
            StatusBuilder::new(Code::FailedPrecondition, Reason::EcrCredentials, message).build()
        }
        Error::Throttled { operation, retry_after } => {
            let message = format!("AWS throttles {operation}; try again later");
            StatusBuilder::new(Code::Unavailable, Reason::EcrThrottled, message).retry_after(retry_after).build()
        }
        Error::Unavailable { operation, source: _ } => {
            let message = format!("AWS does not answer {operation}; try again later");
            StatusBuilder::new(Code::Unavailable, Reason::EcrUnavailable, message).retry_after(LATER).build()
        }
        Error::MalformedResponse { operation, detail } => {
            let message = format!("AWS answers {operation} with what cannot be trusted: {detail}; try again later");
            StatusBuilder::new(Code::Unavailable, Reason::EcrMalformedResponse, message).retry_after(LATER).build()
        }
        Error::TooComplex(what) => {
            let message = format!("the image is more than this server reads: {what}");
            StatusBuilder::new(Code::FailedPrecondition, Reason::ImageTooComplex, message).build()
        }
        Error::Rejected { operation, code, message } => {
            let message = format!("AWS refuses {operation}: {code}: {message}");
            StatusBuilder::new(Code::FailedPrecondition, Reason::EcrRejected, message).with("code", code).build()
        }
    }
}

/// A decision was not recorded, or cannot be told.
pub(crate) fn from_decisions(error: decisions::Error) -> Status {
    match error {
        decisions::Error::Policies(error) => from_policies(error),
        decisions::Error::Log(error) => from_decision_log(error),
        decisions::Error::Damaged { ref id, .. } => {
            let name = format!("decisions/{id}");
            log(&error, "a decision is not recorded as it should be");
            damaged(&name)
        }
    }
}

fn from_decision_log(error: crate::decision_log::Error) -> Status {
    use crate::decision_log::Error;
    match error {
        Error::NotFound(id) => {
            let name = format!("decisions/{id}");
            let message = format!("{name} does not exist, or its time has passed; ListDecisions tells which do");
            StatusBuilder::new(Code::NotFound, Reason::DecisionNotFound, message)
                .resource("scangate.v1.Decision", &name)
                .build()
        }
        Error::RequestIdReused => request_id_reused(),
        Error::Overloaded => overloaded(),
        Error::Unavailable(_) => {
            log(&error, "a decision was not recorded");
            let message =
                "the decision log does not answer, and no decision is given that is not recorded; try again later";
            StatusBuilder::new(Code::Unavailable, Reason::StoreUnavailable, message).retry_after(SOON).build()
        }
        Error::Corrupt { ref what, .. } => {
            let what = what.clone();
            log(&error, "the log of decisions is damaged");
            damaged(&what)
        }
    }
}

fn damaged(what: &str) -> Status {
    let message = format!("{what} is damaged or incomplete; ask the operator to run scangate-server verify-decisions");
    StatusBuilder::new(Code::DataLoss, Reason::DecisionDamaged, message).build()
}

fn request_id_reused() -> Status {
    let message = "this request_id was used for another request; take a new one for each";
    StatusBuilder::new(Code::AlreadyExists, Reason::RequestIdReused, message).build()
}

/// The policies are not to be had, or were not changed.
pub(crate) fn from_policies(error: policies::Error) -> Status {
    match error {
        policies::Error::Store(error) => from_policy_store(error),
        policies::Error::Stale => {
            let message =
                "the policy store does not answer, so nobody knows whether its policies are in force; try again later";
            StatusBuilder::new(Code::Unavailable, Reason::StoreUnavailable, message).retry_after(SOON).build()
        }
        policies::Error::RevisionNotReached { asked, reached } => {
            let message =
                format!("this server is at revision {reached} and has not seen revision {asked} yet; try again");
            StatusBuilder::new(Code::Unavailable, Reason::RevisionNotReached, message).retry_after(SOON).build()
        }
        policies::Error::Lost(error) => {
            log(&error, "a write was lost");
            internal("a write was lost")
        }
    }
}

/// The observations are unavailable, or unreadable.
fn from_observations(error: observations::Error) -> Status {
    from_policy_store(match error {
        observations::Error::Unavailable(source) => policy_store::Error::Unavailable(source),
        observations::Error::Corrupt { what, source } => policy_store::Error::Corrupt { what, source },
    })
}

fn from_policy_store(error: policy_store::Error) -> Status {
    use policy_store::Error;
    match error {
        Error::NotFound(ResourceName::Policy(id)) => policy_not_found(&id),
        Error::NotFound(ResourceName::Waiver(id)) => waiver_not_found(&id),
        Error::AlreadyExists(key) => {
            let (kind, reason, method) = match &key {
                ResourceName::Policy(_) => (POLICY, Reason::PolicyExists, "UpdatePolicy"),
                ResourceName::Waiver(_) => (WAIVER, Reason::WaiverExists, "UpdateWaiver"),
            };
            let name = key.to_string();
            let message = format!("{name} exists already; read it and change it with {method}");
            StatusBuilder::new(Code::AlreadyExists, reason, message).resource(kind, &name).build()
        }
        Error::Conflict { name: key, actual } => {
            let name = key.to_string();
            let message =
                format!("{name} has changed since its etag was read; read it again, and write your change onto that");
            StatusBuilder::new(Code::Aborted, Reason::EtagMismatch, message)
                .with("revision", actual.to_string())
                .resource(if matches!(key, ResourceName::Policy(_)) { POLICY } else { WAIVER }, &name)
                .build()
        }
        Error::RequestIdReused => request_id_reused(),
        // Each service bounds its requests before it asks.
        Error::BatchSize => {
            log(&error, "a write was of no size that the store takes");
            internal("a write was of no size that the store takes")
        }
        Error::DefaultRequired => {
            let message = "policies/default cannot be deleted, since it governs what no other policy does; change its rules instead";
            StatusBuilder::new(Code::FailedPrecondition, Reason::DefaultPolicyRequired, message)
                .precondition("DEFAULT_POLICY_REQUIRED", "policies/default")
                .build()
        }
        Error::TooManyPolicies => {
            let message =
                format!("the store holds {} policies and takes no more; delete some", policy_store::MAX_POLICIES);
            let mut refusal = StatusBuilder::new(Code::ResourceExhausted, Reason::TooManyPolicies, message.clone());
            refusal.details.add_quota_failure_violation("policies", message);
            refusal.build()
        }
        Error::TooManyWaivers => {
            let message = format!("the store holds {} waivers and takes no more", policy_store::MAX_WAIVERS);
            let mut refusal = StatusBuilder::new(Code::ResourceExhausted, Reason::TooManyWaivers, message.clone());
            refusal.details.add_quota_failure_violation("waivers", message);
            refusal.build()
        }
        Error::Revoked(id) => {
            let name = id.resource_name();
            let message = format!("{name} has been revoked and stays so; make a new one with CreateWaiver");
            StatusBuilder::new(Code::FailedPrecondition, Reason::WaiverRevoked, message).resource(WAIVER, &name).build()
        }
        Error::Unavailable(_) | Error::Corrupt { .. } => {
            log(&error, "the policy store failed");
            let message = "the policy store does not answer; try again later, with the same request_id if you sent one";
            StatusBuilder::new(Code::Unavailable, Reason::StoreUnavailable, message).retry_after(LATER).build()
        }
    }
}

fn join(items: impl IntoIterator<Item = impl std::fmt::Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
