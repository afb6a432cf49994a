//! Rolls a policy back to an earlier revision.

use std::sync::Arc;

use scangate_core::{name::PolicyId, policy};

use super::{Policies, WriteOptions, lint, policy_change_notes};
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

/// The result of a rollback.
#[derive(Clone, Debug)]
pub struct Rollback {
    /// The policy as written.
    pub written: WriteResult,
    /// The policy before the rollback; `None` if it was deleted.
    pub replaced: Option<Arc<policy::Revision>>,
    /// Notes on the restored policy and on the change.
    pub notes: Vec<String>,
}

impl Policies {
    /// Writes a policy again as it was at a revision. A deleted policy is created again if `expected` allows any revision.
    pub async fn roll_back(
        self: &Arc<Self>,
        id: PolicyId,
        revision: u64,
        expected: Precondition,
        options: WriteOptions,
    ) -> Result<Rollback, Error> {
        let entries = self.history(&id, Some(revision.saturating_add(1)), 1).await?;
        let entry = entries.into_iter().find(|entry| entry.revision == revision);
        let Some(resource) = entry.and_then(|entry| entry.resource) else {
            return Err(Error::RevisionNotFound { id, revision });
        };
        resource.check_understood().map_err(super::Error::Store)?;
        let Revision::Policy(old) = resource else { return Err(Error::RevisionNotFound { id, revision }) };
        let replaced = self.snapshot_at_least(None).await?.policies.get(&id).cloned();
        let resource = Resource::Policy(old.policy.clone());
        let change = match expected {
            Precondition::Any if replaced.is_none() => Change::Create(vec![resource]),
            expected @ (Precondition::Any | Precondition::Revision(_)) => Change::Update { resource, expected },
        };
        let written = self.write(change, options).await?;
        let mut notes = lint(&old.policy);
        notes.extend(replaced.iter().flat_map(|replaced| policy_change_notes(&replaced.policy, &old.policy)));
        Ok(Rollback { written, replaced, notes })
    }
}
