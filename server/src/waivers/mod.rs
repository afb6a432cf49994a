//! Waivers as their owners manage them: created, approved, updated, revoked, listed and imported from OpenVEX documents.

mod approve;
mod import;
mod list;
pub mod openvex;
mod purl;

use std::sync::Arc;

use jiff::Timestamp;
use scangate_core::{
    name::WaiverId,
    waiver::{Approval, Revision, Revocation, Waiver},
};

pub use self::{
    import::{Import, ImportWrite},
    list::{Filter, Query, WaiverPage},
};
use crate::{
    id,
    observations::{self, Observations},
    policies::{self, Current, Policies, WriteOptions, waiver_change_notes},
    policy_store::{self, Change, Precondition, Resource, ResourceName, WriteResult},
};

/// A failure to read or to write waivers.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The waivers cannot be read or written.
    #[error(transparent)]
    Policies(#[from] policies::Error),
    /// The findings in the scope of a waiver cannot be read.
    #[error(transparent)]
    Observations(#[from] observations::Error),
    /// The waiver does not exist.
    #[error("waiver {0} not found")]
    NotFound(WaiverId),
    /// The waiver has ended, so that an approval would have no effect.
    #[error("waiver {0} has expired")]
    Expired(WaiverId),
    /// The caller requested the waiver, or changed it since its last approval.
    #[error("waiver {0} must be approved by another caller")]
    SelfApproval(WaiverId),
    /// The task that compared a document with earlier imports was cancelled or panicked.
    #[error("the task that compared earlier imports failed")]
    TaskFailed(#[source] tokio::task::JoinError),
}

/// A waiver as stored, with its effect.
#[derive(Clone, Debug)]
pub struct StoredWaiver {
    /// The waiver.
    pub revision: Arc<Revision>,
    /// True if a finding in its scope was ever seen.
    pub matches_findings: bool,
}

impl StoredWaiver {
    /// Returns notes on patterns of the scope that match nothing, one sentence each.
    fn notes(&self) -> Vec<String> {
        let notes = policies::waiver_pattern_notes(&self.revision.waiver.scope);
        if notes.is_empty() && !self.matches_findings {
            return vec![NOTHING_SEEN.to_owned()];
        }
        notes
    }
}

/// The note on a waiver without a match.
const NOTHING_SEEN: &str =
    "this gate has seen no finding with the vulnerability, package and repository of this waiver";

/// The note on a revocation without effect.
const ALREADY_REVOKED: &str = "the waiver was already revoked; it keeps the time and the reason of its revocation";

/// A write of a waiver.
#[derive(Clone, Debug)]
pub struct WaiverWrite {
    /// The waiver as written.
    pub waiver: Option<StoredWaiver>,
    /// Notes on patterns that match nothing and on the change, one sentence each.
    pub notes: Vec<String>,
}

/// A waiver read for a change.
#[derive(Clone, Debug)]
pub struct CurrentWaiver {
    /// The waiver.
    pub revision: Arc<Revision>,
    /// The precondition of the change. A concurrent write is then a conflict instead of being overwritten.
    pub expected: Precondition,
}

/// The use cases on waivers.
#[derive(Clone, Debug)]
pub struct Waivers {
    policies: Arc<Policies>,
    observations: Arc<dyn Observations>,
    /// True if new waivers, and changes that do more than narrow one, need the approval of another caller.
    approval_is_demanded: bool,
}

/// Returns a new random id.
pub fn random_id() -> Option<WaiverId> {
    WaiverId::parse(&format!("w-{}", id::random_id())).ok()
}

impl Waivers {
    /// Creates the use cases over the waivers and the findings seen so far. With `approval_is_demanded`, new waivers, and changes
    /// that do more than narrow one, cover nothing until another caller approves them.
    pub fn new(policies: Arc<Policies>, observations: Arc<dyn Observations>, approval_is_demanded: bool) -> Self {
        Self { policies, observations, approval_is_demanded }
    }

    /// Returns a new waiver as a caller requests it.
    fn requested(&self, waiver: Waiver, caller: &str) -> Waiver {
        let approval = self.approval_is_demanded.then_some(Approval::Awaited);
        Waiver { requested_by: caller.to_owned(), approval, ..waiver }
    }

    /// Creates a waiver.
    pub async fn create(&self, waiver: Waiver, options: WriteOptions) -> Result<WriteResult, Error> {
        let waiver = self.requested(waiver, &options.caller);
        Ok(self.policies.write(Change::Create(vec![Resource::Waiver(waiver)]), options).await?)
    }

    /// Returns one waiver, at least at a revision.
    pub async fn get(&self, id: &WaiverId, at_least_as_fresh: Option<u64>) -> Result<(StoredWaiver, u64), Error> {
        let set = self.policies.snapshot_at_least(at_least_as_fresh).await?;
        let revision = set.waivers.get(id).ok_or_else(|| Error::NotFound(id.clone()))?;
        Ok((self.with_match_state(Arc::clone(revision)).await?, set.revision))
    }

    /// Replaces a waiver that was read by [`Waivers::current`]. It keeps its requester; its approval depends on the change.
    pub async fn update(
        &self,
        waiver: Waiver,
        current: CurrentWaiver,
        options: WriteOptions,
    ) -> Result<WriteResult, Error> {
        let CurrentWaiver { revision: old, expected } = current;
        let approval = old.waiver.approval_of_change(&waiver, self.approval_is_demanded);
        let waiver = Waiver { requested_by: old.waiver.requested_by.clone(), approval, ..waiver };
        Ok(self.policies.write(Change::Update { resource: Resource::Waiver(waiver), expected }, options).await?)
    }

    /// Revokes a waiver that was read by [`Waivers::current`]. Revoking a revoked waiver again changes nothing.
    pub async fn revoke(
        &self,
        current: CurrentWaiver,
        reason: &str,
        options: WriteOptions,
    ) -> Result<WriteResult, Error> {
        let CurrentWaiver { revision: old, expected } = current;
        // With an idempotency key the store must see the request, since it records the key.
        if old.waiver.revocation.is_some() && options.request_key.is_none() {
            let (revision, waiver) = (old.revision, policy_store::Revision::Waiver(old));
            return Ok(WriteResult { revision, resources: vec![waiver.clone()], replaced: Some(waiver) });
        }
        let mut waiver = old.waiver.clone();
        waiver.revocation.get_or_insert_with(|| Revocation { at: Timestamp::now(), reason: reason.to_owned() });
        Ok(self.policies.write(Change::Update { resource: Resource::Waiver(waiver), expected }, options).await?)
    }

    /// Reads a waiver for a change.
    pub async fn current(&self, id: &WaiverId, expected: Precondition) -> Result<CurrentWaiver, Error> {
        let Current { revision, expected } = self.policies.current(ResourceName::Waiver(id.clone()), expected).await?;
        match revision {
            policy_store::Revision::Waiver(revision) => Ok(CurrentWaiver { revision, expected }),
            policy_store::Revision::Policy(_) => Err(Error::NotFound(id.clone())),
        }
    }

    /// Describes the result of a write of one waiver.
    pub async fn describe(&self, written: &WriteResult) -> Result<WaiverWrite, Error> {
        let Some(revision) = written.waivers().next() else {
            return Ok(WaiverWrite { waiver: None, notes: Vec::new() });
        };
        let waiver = self.with_match_state(Arc::clone(revision)).await?;
        let old = written.replaced_waiver().map(|old| &old.waiver);
        let notes = if revision.waiver.revocation.is_some() {
            let was_revoked = old.is_some_and(|old| old.revocation.is_some());
            was_revoked.then(|| ALREADY_REVOKED.to_owned()).into_iter().collect()
        } else {
            let changes = match old {
                Some(old) => waiver_change_notes(old, &revision.waiver),
                None if revision.waiver.awaits_approval() => vec![approve::PROPOSED.to_owned()],
                None => Vec::new(),
            };
            [waiver.notes(), changes].concat()
        };
        Ok(WaiverWrite { waiver: Some(waiver), notes })
    }

    /// Adds the match state of a waiver: true if a finding in its scope was ever seen.
    async fn with_match_state(&self, revision: Arc<Revision>) -> Result<StoredWaiver, Error> {
        let matches_findings = self.observations.was_seen(&revision.waiver.scope).await?;
        Ok(StoredWaiver { revision, matches_findings })
    }
}
