//! Waivers as their owners manage them: created, updated, revoked, listed and imported from OpenVEX documents.

mod import;
mod list;
pub mod openvex;
mod purl;

use std::sync::Arc;

use jiff::Timestamp;
use scangate_core::{
    name::WaiverId,
    waiver::{Revision, Revocation, Waiver},
};

pub use self::{
    import::{ImportRequest, ImportResult},
    list::{Filter, Query, WaiverPage},
};
use crate::{
    id,
    observations::{self, Observations},
    policies::{self, Current, Policies, WriteOptions, waiver_change_notes},
    policy_store::{self, Change, Precondition, Resource, ResourceName},
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

/// The result of a write.
#[derive(Clone, Debug)]
pub struct WaiverWrite {
    /// The waiver as written.
    pub waiver: Option<StoredWaiver>,
    /// Notes on patterns that match nothing and on the change, one sentence each.
    pub notes: Vec<String>,
    /// The store's revision of the write.
    pub revision: u64,
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
}

/// Returns a new random id.
pub fn random_id() -> Option<WaiverId> {
    WaiverId::parse(&format!("w-{}", id::random_id())).ok()
}

impl Waivers {
    /// Creates the use cases over the waivers and the findings seen so far.
    pub fn new(policies: Arc<Policies>, observations: Arc<dyn Observations>) -> Self {
        Self { policies, observations }
    }

    /// Creates a waiver.
    pub async fn create(&self, waiver: Waiver, options: WriteOptions) -> Result<WaiverWrite, Error> {
        self.write(Change::Create(vec![Resource::Waiver(waiver)]), options).await
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
    ) -> Result<WaiverWrite, Error> {
        let CurrentWaiver { revision: old, expected } = current;
        let approval = old.waiver.approval_of_change(&waiver);
        let waiver = Waiver { requested_by: old.waiver.requested_by.clone(), approval, ..waiver };
        let changes = waiver_change_notes(&old.waiver, &waiver);
        let mut written = self.write(Change::Update { resource: Resource::Waiver(waiver), expected }, options).await?;
        written.notes.extend(changes);
        Ok(written)
    }

    /// Revokes a waiver. Revoking a revoked waiver again changes nothing.
    pub async fn revoke(
        &self,
        id: &WaiverId,
        expected: Precondition,
        reason: &str,
        options: WriteOptions,
    ) -> Result<WaiverWrite, Error> {
        let CurrentWaiver { revision: old, expected } = self.current(id, expected).await?;
        // With an idempotency key the store must see the request, since it records the key.
        let notes: Vec<String> =
            old.waiver.revocation.is_some().then(|| ALREADY_REVOKED.to_owned()).into_iter().collect();
        if old.waiver.revocation.is_some() && options.request_key.is_none() {
            let revision = old.revision;
            return Ok(WaiverWrite { waiver: Some(self.with_match_state(old).await?), notes, revision });
        }
        let is_dry_run = options.validate_only;
        let mut waiver = old.waiver.clone();
        waiver.revocation.get_or_insert_with(|| Revocation { at: Timestamp::now(), reason: reason.to_owned() });
        let written = self.write(Change::Update { resource: Resource::Waiver(waiver), expected }, options).await?;
        // A repeated request finds the waiver that its first attempt revoked.
        let is_repeated = !is_dry_run && written.revision <= old.revision;
        Ok(WaiverWrite { notes: if is_repeated { Vec::new() } else { notes }, ..written })
    }

    /// Reads a waiver for a change.
    pub async fn current(&self, id: &WaiverId, expected: Precondition) -> Result<CurrentWaiver, Error> {
        let Current { revision, expected } = self.policies.current(ResourceName::Waiver(id.clone()), expected).await?;
        match revision {
            policy_store::Revision::Waiver(revision) => Ok(CurrentWaiver { revision, expected }),
            policy_store::Revision::Policy(_) => Err(Error::NotFound(id.clone())),
        }
    }

    async fn write(&self, change: Change, options: WriteOptions) -> Result<WaiverWrite, Error> {
        let written = self.policies.write(change, options).await?;
        let waiver = match written.waivers().next() {
            Some(revision) => Some(self.with_match_state(Arc::clone(revision)).await?),
            None => None,
        };
        let notes = waiver.as_ref().map(StoredWaiver::notes).unwrap_or_default();
        Ok(WaiverWrite { waiver, notes, revision: written.revision })
    }

    /// Adds the match state of a waiver: true if a finding in its scope was ever seen.
    async fn with_match_state(&self, revision: Arc<Revision>) -> Result<StoredWaiver, Error> {
        let matches_findings = self.observations.was_seen(&revision.waiver.scope).await?;
        Ok(StoredWaiver { revision, matches_findings })
    }
}
