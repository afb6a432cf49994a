//! The current version of a policy or waiver, read for a change.

use std::sync::Arc;

use scangate_core::{
    name::PolicyId,
    policy::{self, PolicySet},
};

use super::{Error, Policies, dry_run};
use crate::policy_store::{self, Precondition, ResourceName, Revision};

/// A policy or waiver read for a change.
#[derive(Clone, Debug)]
pub struct Current {
    /// The current version.
    pub revision: Revision,
    /// The precondition of the change. A concurrent write is then a conflict instead of being overwritten.
    pub expected: Precondition,
}

impl Policies {
    /// Reads a resource for a change, at least at the revision in `expected`. A resource that this server understands in part
    /// only is refused, since the change would drop the rest. For any revision, a shared store is read first: the snapshot may
    /// be a moment old.
    pub async fn current(&self, name: ResourceName, expected: Precondition) -> Result<Current, Error> {
        let (set, is_reached) = self.read_for_change(expected).await?;
        let Some(revision) = dry_run::find(&set, &name) else {
            return Err(policy_store::Error::NotFound(name).into());
        };
        let actual = revision.revision();
        let is_present = match expected {
            Precondition::Any => true,
            Precondition::Revision(expected) => is_reached && expected == actual,
        };
        if !is_present {
            return Err(policy_store::Error::Conflict { name, actual }.into());
        }
        revision.check_understood()?;
        let expected = Precondition::Revision(revision.revision());
        Ok(Current { revision, expected })
    }

    /// Reads a policy for a change that keeps nothing of it, with the precondition of the change; `None` if it does not exist. The
    /// change is then made on the version that was read, or it is a conflict.
    pub async fn current_policy(
        &self,
        id: &PolicyId,
        expected: Precondition,
    ) -> Result<Option<(Arc<policy::Revision>, Precondition)>, Error> {
        let (set, is_reached) = self.read_for_change(expected).await?;
        let Some(current) = set.policies.get(id) else { return Ok(None) };
        let actual = current.revision;
        match expected {
            Precondition::Revision(revision) if !is_reached || revision != actual => {
                Err(policy_store::Error::Conflict { name: ResourceName::Policy(id.clone()), actual }.into())
            }
            Precondition::Any | Precondition::Revision(_) => {
                Ok(Some((Arc::clone(current), Precondition::Revision(actual))))
            }
        }
    }

    /// Returns the snapshot that a change with this precondition is made on, and true if it has reached the expected revision.
    async fn read_for_change(&self, expected: Precondition) -> Result<(Arc<PolicySet>, bool), Error> {
        let read = match expected {
            Precondition::Revision(revision) => self.snapshot_at_least(Some(revision)).await,
            Precondition::Any => self.latest_snapshot().await,
        };
        match read {
            Err(Error::RevisionNotReached { .. }) => Ok((self.snapshot_at_least(None).await?, false)),
            set => Ok((set?, true)),
        }
    }
}
