//! The port to the shared store of policies and waivers.
//!
//! [`sql`] is the adapter. `server/tests/policy_store/contract.rs` is the contract suite; the methods' comments name its tests.

pub mod sql;

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use scangate_core::{
    name::{PolicyId, WaiverId},
    policy::{self, Policy, PolicySet},
    waiver::{self, Waiver},
};

use crate::idempotency::RequestKey;

/// Maximum number of policies in a store.
pub const MAX_POLICIES: u64 = 10_000;
/// Maximum number of waivers in a store, including expired and revoked ones.
pub const MAX_WAIVERS: u64 = 1_000_000;

/// Maximum number of resources that one write creates.
pub const MAX_CREATE_BATCH_SIZE: usize = 1_000;

/// Number of changes in a page. The page ends with a whole revision, so it may have up to [`MAX_CREATE_BATCH_SIZE`] more.
pub const CHANGES_PAGE_SIZE: usize = 1_000;

/// The name of a policy or a waiver.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceName {
    /// A policy.
    Policy(PolicyId),
    /// A waiver.
    Waiver(WaiverId),
}

impl fmt::Display for ResourceName {
    /// Writes `policies/{id}` or `waivers/{id}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(id) => write!(f, "policies/{id}"),
            Self::Waiver(id) => write!(f, "waivers/{id}"),
        }
    }
}

/// A policy or a waiver.
#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    /// A policy.
    Policy(Policy),
    /// A waiver.
    Waiver(Waiver),
}

impl Resource {
    /// The name of the resource.
    pub fn name(&self) -> ResourceName {
        match self {
            Self::Policy(policy) => ResourceName::Policy(policy.id.clone()),
            Self::Waiver(waiver) => ResourceName::Waiver(waiver.id.clone()),
        }
    }

    /// Refuses to reinstate a revoked waiver, and to drop fields that only a newer server understands.
    pub(crate) fn check_replaces(&self, old: &Revision) -> Result<(), Error> {
        old.check_understood()?;
        match (self, old) {
            (Self::Waiver(waiver), Revision::Waiver(old))
                if old.waiver.revocation.is_some() && waiver.revocation.is_none() =>
            {
                Err(Error::Revoked(waiver.id.clone()))
            }
            _ => Ok(()),
        }
    }
}

/// An immutable revision of a resource.
#[derive(Clone, Debug, PartialEq)]
pub enum Revision {
    /// A revision of a policy.
    Policy(Arc<policy::Revision>),
    /// A revision of a waiver.
    Waiver(Arc<waiver::Revision>),
}

impl Revision {
    /// The name of the resource.
    pub fn name(&self) -> ResourceName {
        match self {
            Self::Policy(revised) => ResourceName::Policy(revised.policy.id.clone()),
            Self::Waiver(revised) => ResourceName::Waiver(revised.waiver.id.clone()),
        }
    }

    /// The store's revision of the write.
    pub fn revision(&self) -> u64 {
        match self {
            Self::Policy(revised) => revised.revision,
            Self::Waiver(revised) => revised.revision,
        }
    }

    /// The parts of the stored resource that this server does not understand, because a newer server wrote them.
    pub fn not_understood(&self) -> &[String] {
        match self {
            Self::Policy(revised) => &revised.not_understood,
            Self::Waiver(revised) => &revised.not_understood,
        }
    }

    /// Refuses a resource of which this server understands only a part: to write it again would drop the rest.
    pub(crate) fn check_understood(&self) -> Result<(), Error> {
        match self.not_understood() {
            [] => Ok(()),
            fields => Err(Error::FromNewerServer { name: self.name(), fields: fields.join("; ") }),
        }
    }
}

/// A condition on the current revision of the resource to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Any revision.
    Any,
    /// Exactly this revision.
    Revision(u64),
}

/// A change.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one is made for each write, and moved a few times")]
pub enum Change {
    /// Creates 1 to [`MAX_CREATE_BATCH_SIZE`] resources atomically, at one revision.
    Create(Vec<Resource>),
    /// Replaces a whole resource.
    Update {
        /// The new content.
        resource: Resource,
        /// The precondition.
        expected: Precondition,
    },
    /// Deletes a policy. Waivers are revoked instead of deleted.
    Delete {
        /// The policy.
        id: PolicyId,
        /// The precondition.
        expected: Precondition,
    },
}

/// A change with its author, idempotency key and time.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The change.
    pub change: Change,
    /// The name of the caller who makes it; empty if the server itself does.
    pub author: String,
    /// The idempotency key, stored for the deduplication window.
    pub request: Option<RequestKey>,
    /// The time of the write. A store truncates it to microseconds, in its result, too.
    pub at: Timestamp,
}

/// The result of a durable write.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteResult {
    /// The store's revision of this write.
    pub revision: u64,
    /// The written resources in the order of their names; empty after a deletion.
    pub resources: Vec<Revision>,
    /// The resource before an update or a deletion; `None` if it could not be read.
    pub replaced: Option<Revision>,
}

impl WriteResult {
    /// The written policy, if the write was of a policy.
    pub fn policy(&self) -> Option<&Arc<policy::Revision>> {
        self.resources.iter().find_map(|resource| match resource {
            Revision::Policy(revised) => Some(revised),
            Revision::Waiver(_) => None,
        })
    }

    /// The policy before the write.
    pub fn replaced_policy(&self) -> Option<&Arc<policy::Revision>> {
        match &self.replaced {
            Some(Revision::Policy(revised)) => Some(revised),
            Some(Revision::Waiver(_)) | None => None,
        }
    }

    /// The waiver before the write.
    pub fn replaced_waiver(&self) -> Option<&Arc<waiver::Revision>> {
        match &self.replaced {
            Some(Revision::Waiver(revised)) => Some(revised),
            Some(Revision::Policy(_)) | None => None,
        }
    }

    /// The written waivers.
    pub fn waivers(&self) -> impl Iterator<Item = &Arc<waiver::Revision>> {
        self.resources.iter().filter_map(|resource| match resource {
            Revision::Waiver(revised) => Some(revised),
            Revision::Policy(_) => None,
        })
    }
}

/// An entry of the store's history.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The name of the resource.
    pub name: ResourceName,
    /// The store's revision of the write.
    pub revision: u64,
    /// The time of the write.
    pub write_time: Timestamp,
    /// The name of the caller who wrote it; empty if the server itself did.
    pub author: String,
    /// The resource as of this revision; `None` after its deletion.
    pub resource: Option<Revision>,
}

/// A page of the changes of a store after a revision, or its current content.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangeSet {
    /// The store's revision after these changes.
    pub revision: u64,
    /// True if the store has changes after that revision.
    pub has_more: bool,
    /// The time of the write of that revision.
    pub write_time: Timestamp,
    /// The write time of the revision from which these changes start (the `after` of the call); `None` if the store lacks that
    /// revision or the call has no `after`. If it differs from the time that the caller knows for this revision, the store was
    /// restored from a backup and then written to.
    pub begin_time: Option<Timestamp>,
    /// The changes, ordered by revision and, within one, by name.
    pub entries: Vec<Entry>,
}

/// A failure of the policy store. Nothing was changed, except that the outcome of [`Error::Unavailable`] is unknown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The resource does not exist.
    #[error("{0} not found")]
    NotFound(ResourceName),
    /// A resource of this name exists.
    #[error("{0} already exists")]
    AlreadyExists(ResourceName),
    /// The precondition failed: the resource is at another revision.
    #[error("{name} is at revision {actual}")]
    Conflict {
        /// The name of the resource.
        name: ResourceName,
        /// Its current revision.
        actual: u64,
    },
    /// The request id belongs to a request with another fingerprint.
    #[error("request id was used for a different request")]
    RequestIdReused,
    /// The write creates no resource, or more than [`MAX_CREATE_BATCH_SIZE`].
    #[error("a write must create 1 to {MAX_CREATE_BATCH_SIZE} resources")]
    BatchSize,
    /// The default policy cannot be deleted.
    #[error("the default policy cannot be deleted")]
    DefaultRequired,
    /// The store would exceed [`MAX_POLICIES`].
    #[error("the store is full: it has the maximum of {MAX_POLICIES} policies")]
    TooManyPolicies,
    /// The store would exceed [`MAX_WAIVERS`].
    #[error("the store is full: it has the maximum of {MAX_WAIVERS} waivers")]
    TooManyWaivers,
    /// The database is unavailable. A write may or may not have been applied.
    #[error("policy store unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The write would reinstate a revoked waiver.
    #[error("waivers/{0} is revoked and cannot be reinstated")]
    Revoked(WaiverId),
    /// The stored resource has fields that only a newer server understands: to replace it would drop them.
    #[error("{name} was written by a newer server ({fields})")]
    FromNewerServer {
        /// The name of the resource.
        name: ResourceName,
        /// The parts that this server does not understand.
        fields: String,
    },
    /// A stored record cannot be read.
    #[error("the policy store is corrupt: {what} cannot be read")]
    Corrupt {
        /// The record.
        what: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A store of policies and waivers.
///
/// A new store has `policies/default`, which cannot be deleted. One transaction writes a change, its history entry, its
/// idempotency key and the store's new revision. Revisions grow by one (`revisions_grow_by_one_per_accepted_write`).
#[async_trait::async_trait]
pub trait PolicyStore: Send + Sync + fmt::Debug {
    /// Returns the changes after a revision (`changes_since_revision_are_listed_in_order`), or the current content for `None`.
    ///
    /// Changes come in pages of [`CHANGES_PAGE_SIZE`] and whole revisions, so a caller makes progress however far it is behind
    /// (`changes_come_in_pages_of_whole_revisions`). The current content is one page, with the time limit of a load. Each call sees
    /// one revision as a whole, also during writes (`load_during_writes_sees_one_revision`,
    /// `changes_during_writes_are_complete_and_ordered`). A damaged resource is [`Error::Corrupt`]: to skip a policy would
    /// fail open. A resource of a newer server has `not_understood` (`newer_documents_are_read_in_part`).
    async fn changes(&self, after: Option<u64>) -> Result<ChangeSet, Error>;

    /// Returns the content as of a revision that the store has reached (`snapshot_at_past_revision_stays_readable`), with the time
    /// limit of a load.
    async fn snapshot_at(&self, revision: u64) -> Result<PolicySet, Error>;

    /// Returns at most `limit` entries of the history of a policy or a waiver, newest first, from before a revision; `None` starts
    /// at the newest. Each has its author (`history_states_authors`). An unknown resource has an empty history
    /// (`history_pages_newest_first_despite_later_writes`).
    async fn history(&self, name: &ResourceName, before: Option<u64>, limit: usize) -> Result<Vec<Entry>, Error>;

    /// Applies a change and returns once it is durable.
    ///
    /// A known idempotency key returns the first result and changes nothing (`repeated_update_returns_first_result`); a key
    /// with another fingerprint is [`Error::RequestIdReused`] (`reused_request_id_is_refused`). Keys belong to their caller
    /// (`equal_ids_of_callers_are_different_requests`).
    /// A missing resource is [`Error::NotFound`] (`missing_policy_is_neither_updated_nor_deleted`), a failed precondition
    /// [`Error::Conflict`] (`stale_revision_conflicts_and_changes_nothing`). Of concurrent writes that expect one revision,
    /// exactly one succeeds (`concurrent_writes_at_one_revision_one_wins`).
    /// A cancelled call applies the whole change or nothing (`cancelled_write_leaves_all_or_nothing`). A revoked waiver cannot
    /// be reinstated under any precondition: [`Error::Revoked`] (`revoked_waiver_stays_revoked`). A resource of a newer server
    /// can be deleted but not replaced: [`Error::FromNewerServer`] (`newer_documents_are_not_replaced`).
    async fn apply(&self, write: Write) -> Result<WriteResult, Error>;

    /// Returns the result of the write with an idempotency key; `None` if the key is unknown or has expired
    /// (`recorded_result_is_found_within_window`). A key with another fingerprint is [`Error::RequestIdReused`].
    async fn recorded(&self, request: &RequestKey, now: Timestamp) -> Result<Option<WriteResult>, Error>;

    /// Returns the gaps and unreadable entries of the history, one sentence each; empty if the history is complete.
    async fn corrupt_revisions(&self) -> Result<Vec<String>, Error>;

    /// Returns the content digest of a policy at a revision; `None` if the history lacks it.
    async fn content_digest(&self, id: &PolicyId, revision: u64) -> Result<Option<String>, Error>;

    /// Succeeds if the store answers.
    async fn ping(&self) -> Result<(), Error>;

    /// True if other servers write to the store, so that content read earlier may be stale.
    fn is_shared(&self) -> bool;

    /// Resolves when another server may have written; never for a store that is not shared. Wake-ups can be spurious or
    /// missing, so a caller that depends on current content also polls.
    async fn changed(&self);
}

/// Builds a policy set from the current content of a store.
pub fn into_snapshot(changes: ChangeSet) -> Result<PolicySet, Error> {
    let mut set = PolicySet::default();
    apply_changes(&mut set, changes);
    if set.policies.keys().any(PolicyId::is_default) {
        Ok(set)
    } else {
        Err(Error::Corrupt { what: "policies/default".to_owned(), source: "it is missing".into() })
    }
}

/// Applies changes to a policy set.
pub fn apply_changes(set: &mut PolicySet, changes: ChangeSet) {
    for entry in changes.entries {
        match (entry.name, entry.resource) {
            (_, Some(Revision::Policy(revised))) => {
                set.policies.insert(revised.policy.id.clone(), revised);
            }
            (_, Some(Revision::Waiver(revised))) => set.waivers.insert(revised),
            (ResourceName::Policy(id), None) => {
                set.policies.remove(&id);
            }
            (ResourceName::Waiver(id), None) => set.waivers.remove(&id),
        }
    }
    set.revision = changes.revision;
}
