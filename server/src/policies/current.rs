//! The current version of a policy or waiver, read for a change.

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
        let read = match expected {
            Precondition::Revision(revision) => self.snapshot_at_least(Some(revision)).await,
            Precondition::Any => self.latest_snapshot().await,
        };
        let (set, is_reached) = match read {
            Err(Error::RevisionNotReached { .. }) => (self.snapshot_at_least(None).await?, false),
            set => (set?, true),
        };
        let Some(revision) = dry_run::find(&set, &name) else {
            return Err(policy_store::Error::NotFound(name).into());
        };
        if !is_reached {
            let actual = revision.revision();
            return Err(policy_store::Error::Conflict { name, actual }.into());
        }
        revision.check_understood()?;
        let expected = match expected {
            Precondition::Any => Precondition::Revision(revision.revision()),
            expected @ Precondition::Revision(_) => expected,
        };
        Ok(Current { revision, expected })
    }
}
