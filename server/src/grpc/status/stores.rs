//! Errors of the stores: policies and waivers, decisions, observations.

use scangate_proto::v1::ErrorReason as Reason;
use tonic::{Code, Status};

use super::{
    DECISION, LONG_RETRY_DELAY, POLICY, SHORT_RETRY_DELAY, StatusBuilder, WAIVER, expired_resume_token,
    foreign_resume_token, internal_error, log, overloaded, policy_not_found, waiver_not_found,
};
use crate::{
    decision_log, decisions,
    grpc::convert::revision::render_revision,
    observations, policies,
    policy_store::{self, ResourceName},
};

/// The status of a decision that was not recorded, or cannot be read.
pub(crate) fn from_decisions(error: decisions::Error) -> Status {
    match error {
        decisions::Error::Policies(error) => from_policies(error),
        decisions::Error::Log(error) => from_decision_log(error),
        decisions::Error::Damaged { ref id, .. } => {
            let name = format!("decisions/{id}");
            log(&error, "decision record is unreadable");
            damaged(&name)
        }
    }
}

fn from_decision_log(error: decision_log::Error) -> Status {
    use decision_log::Error;
    match error {
        Error::NotFound(id) => {
            let name = format!("decisions/{id}");
            let message =
                format!("{name} not found or removed by retention; use ListDecisions to see existing decisions");
            StatusBuilder::new(Code::NotFound, Reason::DecisionNotFound, message).resource(DECISION, &name).build()
        }
        Error::RequestIdReused => request_id_reused(),
        Error::Trimmed => expired_resume_token(),
        Error::OtherLog => foreign_resume_token(),
        Error::Overloaded => overloaded(),
        Error::Unavailable(_) => {
            log(&error, "decision log unavailable");
            let message = "decision log unavailable: decisions are only returned once recorded; retry later";
            StatusBuilder::new(Code::Unavailable, Reason::StoreUnavailable, message)
                .retry_after(SHORT_RETRY_DELAY)
                .build()
        }
        Error::Corrupt { ref what, .. } => {
            let what = what.clone();
            log(&error, "decision log is unreadable");
            damaged(&what)
        }
    }
}

fn damaged(what: &str) -> Status {
    let message = format!(
        "{what} cannot be read: it is damaged or incomplete, or was written by a newer server; send the request to an \
         upgraded server, or ask the operator to run `scangate-server verify-decisions`"
    );
    StatusBuilder::new(Code::DataLoss, Reason::DecisionDamaged, message).build()
}

fn request_id_reused() -> Status {
    let message = "request_id was already used for a different request; \
                   use a new request_id for a new request and the same one only for its retries";
    StatusBuilder::new(Code::AlreadyExists, Reason::RequestIdReused, message).build()
}

/// The status of a failed read or write of policies and waivers.
pub(crate) fn from_policies(error: policies::Error) -> Status {
    match error {
        policies::Error::Store(error) => from_policy_store(error),
        policies::Error::Stale => {
            let message = "policy store unavailable: cannot confirm that cached policies are current; retry later";
            StatusBuilder::new(Code::Unavailable, Reason::StoreUnavailable, message)
                .retry_after(SHORT_RETRY_DELAY)
                .build()
        }
        policies::Error::RevisionNotReached { required, current } => {
            let message = format!(
                "revision {} not reached (this server: {}); retry later",
                render_revision(required),
                render_revision(current)
            );
            StatusBuilder::new(Code::Unavailable, Reason::RevisionNotReached, message)
                .retry_after(SHORT_RETRY_DELAY)
                .build()
        }
        policies::Error::TaskFailed(error) => internal_error(&error, "write task failed"),
    }
}

/// The status of a failed read or write of observations.
pub(super) fn from_observations(error: &observations::Error) -> Status {
    log(error, "observations failed");
    let problem = match error {
        observations::Error::Unavailable(_) => "the store failed or timed out",
        observations::Error::Corrupt { .. } => "a record cannot be read",
    };
    let message = format!(
        "observations unavailable: {problem}, and grace periods need the times at which findings were first seen; retry \
         later, with the same request_id if you sent one"
    );
    StatusBuilder::new(Code::Unavailable, Reason::StoreUnavailable, message).retry_after(LONG_RETRY_DELAY).build()
}

fn from_policy_store(error: policy_store::Error) -> Status {
    use policy_store::Error;
    match error {
        Error::NotFound(ResourceName::Policy(id)) => policy_not_found(&id),
        Error::NotFound(ResourceName::Waiver(id)) => waiver_not_found(&id),
        Error::AlreadyExists(key) => already_exists(&key),
        Error::Conflict { name, actual } => conflict(&name, actual),
        Error::RequestIdReused => request_id_reused(),
        // Each service limits the size of its requests, so this is a defect.
        Error::BatchSize => internal_error(&error, "write batch has an invalid size"),
        Error::DefaultRequired => default_required(),
        Error::TooManyPolicies => {
            let message = format!("limit of {} policies reached; delete unused policies", policy_store::MAX_POLICIES);
            StatusBuilder::new(Code::ResourceExhausted, Reason::TooManyPolicies, message).quota("policies").build()
        }
        Error::TooManyWaivers => {
            let message =
                format!("limit of {} waivers reached; change existing waivers instead", policy_store::MAX_WAIVERS);
            StatusBuilder::new(Code::ResourceExhausted, Reason::TooManyWaivers, message).quota("waivers").build()
        }
        Error::Revoked(id) => {
            let name = id.resource_name();
            let message = format!("{name} is revoked, which cannot be undone; create a new waiver with CreateWaiver");
            StatusBuilder::new(Code::FailedPrecondition, Reason::WaiverRevoked, message).resource(WAIVER, &name).build()
        }
        Error::FromNewerServer { name, fields } => from_newer_server(&name, &fields),
        Error::Unavailable(_) | Error::Corrupt { .. } => store_failed(&error),
    }
}

fn from_newer_server(key: &ResourceName, fields: &str) -> Status {
    let name = key.to_string();
    let message = format!(
        "{name} was written by a newer server, and this server would drop what it does not understand ({fields}); upgrade \
         this server, or send the request to an upgraded one"
    );
    StatusBuilder::new(Code::FailedPrecondition, Reason::DocumentFromNewerServer, message)
        .metadata("not_understood", fields.to_owned())
        .resource(resource_type(key), &name)
        .build()
}

fn already_exists(key: &ResourceName) -> Status {
    let (reason, method) = match key {
        ResourceName::Policy(_) => (Reason::PolicyExists, "UpdatePolicy"),
        ResourceName::Waiver(_) => (Reason::WaiverExists, "UpdateWaiver"),
    };
    let name = key.to_string();
    let message = format!("{name} already exists; read it and change it with {method}");
    StatusBuilder::new(Code::AlreadyExists, reason, message).resource(resource_type(key), &name).build()
}

fn conflict(key: &ResourceName, actual: u64) -> Status {
    let name = key.to_string();
    let message = format!("{name} has changed since its etag was read; read it again and reapply your change");
    StatusBuilder::new(Code::Aborted, Reason::EtagMismatch, message)
        .metadata("revision", render_revision(actual))
        .resource(resource_type(key), &name)
        .build()
}

fn default_required() -> Status {
    let message = "policies/default cannot be deleted because it applies to every image; change its rules, or create a \
                   policy with replaces_default";
    StatusBuilder::new(Code::FailedPrecondition, Reason::DefaultPolicyRequired, message)
        .precondition("DEFAULT_POLICY_REQUIRED", "policies/default")
        .build()
}

fn store_failed(error: &policy_store::Error) -> Status {
    log(error, "store failed");
    let message =
        "store unavailable: the operation failed or timed out; retry later, with the same request_id if you sent one";
    StatusBuilder::new(Code::Unavailable, Reason::StoreUnavailable, message).retry_after(LONG_RETRY_DELAY).build()
}

fn resource_type(key: &ResourceName) -> &'static str {
    match key {
        ResourceName::Policy(_) => POLICY,
        ResourceName::Waiver(_) => WAIVER,
    }
}
