//! Rolls a policy back to an earlier revision.

use std::sync::Arc;

use scangate_core::{
    name::PolicyId,
    policy::{self, Policy},
};

use super::Policies;
use crate::policy_store::{Change, Precondition, Resource, ResourceName, Revision};

/// A failure to roll a policy back. The policy is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The policies cannot be read or written.
    #[error(transparent)]
    Policies(#[from] super::Error),
    /// The policy has no such revision, or was deleted at it.
    #[error("policy {id} has no revision {revision}")]
    RevisionNotFound {
        /// The policy.
        id: PolicyId,
        /// The requested revision.
        revision: u64,
    },
}

/// A rollback that is ready to be written.
#[derive(Clone, Debug)]
pub struct Rollback {
    /// The policy as it is now; `None` if it is deleted.
    pub current: Option<Arc<policy::Revision>>,
    /// The policy as it will be.
    pub restored: Policy,
    /// The change.
    pub change: Change,
}

impl Policies {
    /// Prepares to write a policy again as it was at a revision. A deleted policy is created again if `expected` allows any revision.
    pub async fn prepare_rollback(
        &self,
        id: PolicyId,
        revision: u64,
        expected: Precondition,
    ) -> Result<Rollback, Error> {
        let entries = self.history(&ResourceName::Policy(id.clone()), Some(revision.saturating_add(1)), 1).await?;
        let entry = entries.into_iter().find(|entry| entry.revision == revision);
        let Some(resource) = entry.and_then(|entry| entry.resource) else {
            return Err(Error::RevisionNotFound { id, revision });
        };
        resource.check_understood().map_err(super::Error::Store)?;
        let Revision::Policy(old) = resource else { return Err(Error::RevisionNotFound { id, revision }) };
        let restored = old.policy.clone();
        let resource = Resource::Policy(restored.clone());
        let (current, expected) = match self.current_policy(&id, expected).await? {
            Some((current, expected)) => (Some(current), expected),
            None => (None, expected),
        };
        let change = match expected {
            Precondition::Any => Change::Create(vec![resource]),
            expected @ Precondition::Revision(_) => Change::Update { resource, expected },
        };
        Ok(Rollback { current, restored, change })
    }
}
