//! Errors of use cases: evaluation, scans and findings, waivers, policies, previews.

use scangate_core::{image::Platform, name::Environment};
use scangate_proto::v1::ErrorReason as Reason;
use tonic::{Code, Status};

use super::{
    StatusBuilder, access::self_approval, foreign_resume_token, from_decisions, from_policies, from_registry,
    internal_error, join, policy_not_found, revision_not_found, stores::from_observations, waiver_expired,
    waiver_not_found,
};
use crate::{decisions::preview, evaluation, findings, policies, scan_reader, scans, waivers};

/// The status of a failed evaluation.
pub(crate) fn from_evaluation(error: evaluation::Error) -> Status {
    match error {
        evaluation::Error::Registry(error) => from_registry(error),
        evaluation::Error::Scans(error) => from_scan_reader(error),
        evaluation::Error::Policies(error) => from_policies(error),
        evaluation::Error::Observations(error) => from_observations(&error),
        evaluation::Error::Decisions(error) => from_decisions(error),
        evaluation::Error::Encode(error) => internal_error(&error, "decision record cannot be encoded"),
        evaluation::Error::PolicyNotFound(id) => policy_not_found(&id),
        evaluation::Error::EnvironmentUnknown { environment, known } => environment_unknown(&environment, join(&known)),
    }
}

/// The status of a failed list of findings.
pub(crate) fn from_findings(error: findings::Error) -> Status {
    match error {
        findings::Error::Registry(error) => from_registry(error),
        findings::Error::Scans(error) => from_scan_reader(error),
        findings::Error::Changed => {
            let message = "scan changed since the previous page; restart from the first page";
            StatusBuilder::new(Code::Aborted, Reason::FindingsChanged, message).build()
        }
    }
}

/// The status of scans that were not started, or whose watch failed.
pub(crate) fn from_scans(error: scans::Error) -> Status {
    match error {
        scans::Error::Registry(error) => from_registry(error),
        scans::Error::Scans(error) => from_scan_reader(error),
        scans::Error::TaskFailed(error) => internal_error(&error, "scan start task failed"),
    }
}

/// The status of a failed read or write of waivers.
pub(crate) fn from_waivers(error: waivers::Error) -> Status {
    match error {
        waivers::Error::Policies(error) => from_policies(error),
        waivers::Error::Observations(error) => from_observations(&error),
        waivers::Error::NotFound(id) => waiver_not_found(&id),
        waivers::Error::Expired(id) => waiver_expired(&id),
        waivers::Error::SelfApproval(id) => self_approval(&id),
        waivers::Error::TaskFailed(error) => internal_error(&error, "waiver import task failed"),
    }
}

/// The status of a failed rollback.
pub(crate) fn from_rollback(error: policies::RollbackError) -> Status {
    match error {
        policies::RollbackError::Policies(error) => from_policies(error),
        policies::RollbackError::RevisionNotFound { id, revision } => revision_not_found(&id, revision),
    }
}

/// The status of a failed watch of policies.
pub(crate) fn from_policy_watch(error: policies::WatchError) -> Status {
    match error {
        policies::WatchError::Policies(error) => from_policies(error),
        policies::WatchError::Observations(error) => from_observations(&error),
        policies::WatchError::OtherHistory => foreign_resume_token(),
    }
}

/// The status of a preview that cannot start.
pub(crate) fn from_preview(error: preview::Error) -> Status {
    match error {
        preview::Error::Policies(error) => from_policies(error),
        preview::Error::PolicyNotFound(id) => policy_not_found(&id),
    }
}

fn from_scan_reader(error: scan_reader::Error) -> Status {
    match error {
        scan_reader::Error::Registry(error) => from_registry(error),
        scan_reader::Error::PlatformNotFound { missing, available } => platform_not_found(&missing, join(&available)),
        scan_reader::Error::TaskFailed(error) => internal_error(&error, "scan read task failed"),
    }
}

fn environment_unknown(environment: &Environment, known: String) -> Status {
    let message = format!("unknown environment {environment}; use one of: {known}");
    StatusBuilder::new(Code::InvalidArgument, Reason::EnvironmentUnknown, message).metadata("known", known).build()
}

fn platform_not_found(missing: &Platform, available: String) -> Status {
    let message = format!("platform {missing} not found in the image; request one of its platforms: {available}");
    StatusBuilder::new(Code::NotFound, Reason::PlatformNotFound, message)
        .metadata("available", available)
        .resource("platform", &missing.to_string())
        .build()
}
