//! The scopes of writes: a policy or waiver lies within a grant before and after the change.

use scangate_core::{
    policy::{self, Policy},
    waiver::Waiver,
};
use tonic::Status;

use super::status;
use crate::auth::{Authorization, Permission};

/// Refuses a policy that applies beyond the caller's grants. `policies/default` applies to everything.
pub(super) fn check_policy(authorization: &Authorization, policy: &Policy) -> Result<(), Status> {
    let matches = &policy.matches;
    authorization.check_patterns(&matches.repositories, &matches.environments).map_err(status::from_refusal)
}

/// Refuses a policy as a write leaves it: like [`check_policy`], and to take the place of the default is a permission of its own.
pub(super) fn check_written_policy(authorization: &Authorization, policy: &Policy) -> Result<(), Status> {
    check_policy(authorization, policy)?;
    if !policy.replaces_default {
        return Ok(());
    }
    let (permission, matches) = (Permission::PolicyReplaceDefault, &policy.matches);
    let covered = authorization.check_patterns_for(permission, &matches.repositories, &matches.environments);
    covered.map_err(status::from_refusal)
}

/// Refuses a policy that a write replaces or deletes, like [`check_policy`]. One that this server understands in part only may apply
/// to everything.
pub(super) fn check_replaced_policy(authorization: &Authorization, replaced: &policy::Revision) -> Result<(), Status> {
    if replaced.not_understood.is_empty() {
        return check_policy(authorization, &replaced.policy);
    }
    authorization.check_patterns(&[], &[]).map_err(status::from_refusal)
}

/// Refuses a waiver that covers findings beyond the caller's grants.
pub(super) fn check_waiver(authorization: &Authorization, waiver: &Waiver) -> Result<(), Status> {
    let (repository, environment) = (waiver.scope.repository.as_slice(), waiver.scope.environment.as_slice());
    authorization.check_patterns(repository, environment).map_err(status::from_refusal)
}
