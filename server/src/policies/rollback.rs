//! Rolls a policy back to an earlier revision.

use std::sync::Arc;

use scangate_core::name::PolicyId;

use super::{Policies, WriteOptions};
use crate::policy_store::{Change, Precondition, Resource, Revision, WriteResult};

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

impl Policies {
    /// Writes a policy again as it was at a revision. A deleted policy is created again if `expected` allows any revision.
    pub async fn roll_back(
        self: &Arc<Self>,
        id: PolicyId,
        revision: u64,
        expected: Precondition,
        options: WriteOptions,
    ) -> Result<WriteResult, Error> {
        let entries = self.history(&id, Some(revision.saturating_add(1)), 1).await?;
        let entry = entries.into_iter().find(|entry| entry.revision == revision);
        let Some(resource) = entry.and_then(|entry| entry.resource) else {
            return Err(Error::RevisionNotFound { id, revision });
        };
        resource.check_understood().map_err(super::Error::Store)?;
        let Revision::Policy(old) = resource else { return Err(Error::RevisionNotFound { id, revision }) };
        let is_deleted = !self.snapshot_at_least(None).await?.policies.contains_key(&id);
        let resource = Resource::Policy(old.policy.clone());
        let change = match expected {
            Precondition::Any if is_deleted => Change::Create(vec![resource]),
            expected @ (Precondition::Any | Precondition::Revision(_)) => Change::Update { resource, expected },
        };
        Ok(self.write(change, options).await?)
    }
}
