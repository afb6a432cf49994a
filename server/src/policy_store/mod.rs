//! The port to the shared store of policies and waivers. [`sql`] is the adapter; one contract suite holds every backend to what is
//! written here.

pub mod sql;

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use scangate_core::{
    name::{PolicyId, WaiverId},
    policy::{self, Policy, PolicySet},
    waiver::{self, Waiver},
};

use crate::idempotency::RequestKey;

/// The most policies that a store takes.
pub const MAX_POLICIES: u64 = 10_000;
/// The most waivers that a store takes, ended ones included.
pub const MAX_WAIVERS: u64 = 1_000_000;

/// The most documents that one write creates.
pub const MAX_CREATED: usize = 1_000;

/// Names a policy or a waiver.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceName {
    /// A policy.
    Policy(PolicyId),
    /// A waiver.
    Waiver(WaiverId),
}

impl fmt::Display for ResourceName {
    /// The resource name: `policies/{id}` or `waivers/{id}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(id) => write!(f, "policies/{id}"),
            Self::Waiver(id) => write!(f, "waivers/{id}"),
        }
    }
}

/// What a store keeps.
#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    /// A policy.
    Policy(Policy),
    /// A waiver.
    Waiver(Waiver),
}

impl Resource {
    /// What it is called.
    pub fn key(&self) -> ResourceName {
        match self {
            Self::Policy(policy) => ResourceName::Policy(policy.id.clone()),
            Self::Waiver(waiver) => ResourceName::Waiver(waiver.id.clone()),
        }
    }

    /// Refuses to bring a revoked waiver back.
    pub(crate) fn replaces(&self, old: &Revision) -> Result<(), Error> {
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

/// One immutable revision of a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Revision {
    /// Of a policy.
    Policy(Arc<policy::Revision>),
    /// Of a waiver.
    Waiver(Arc<waiver::Revision>),
}

impl Revision {
    /// What it is called.
    pub fn key(&self) -> ResourceName {
        match self {
            Self::Policy(revised) => ResourceName::Policy(revised.policy.id.clone()),
            Self::Waiver(revised) => ResourceName::Waiver(revised.waiver.id.clone()),
        }
    }

    /// The store's revision that wrote it.
    pub fn revision(&self) -> u64 {
        match self {
            Self::Policy(revised) => revised.revision,
            Self::Waiver(revised) => revised.revision,
        }
    }
}

/// What a write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Whatever there is.
    Any,
    /// Exactly this revision of the document.
    Revision(u64),
}

/// A change.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one is made for each write, and moved a few times")]
pub enum Change {
    /// Adds documents, all of them or none, at one revision; at least one, and at most [`MAX_CREATED`].
    Create(Vec<Resource>),
    /// Replaces a document as a whole.
    Update {
        /// The document as it shall be.
        document: Resource,
        /// What must be there.
        expected: Precondition,
    },
    /// Removes a policy. Waivers are revoked, and stay.
    Delete {
        /// Which.
        id: PolicyId,
        /// What must be there.
        expected: Precondition,
    },
}

/// A change with all that belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// What to change.
    pub change: Change,
    /// The caller's request, remembered for 24 hours.
    pub request: Option<RequestKey>,
    /// When. A store keeps times to the microsecond, and answers with what it keeps.
    pub at: Timestamp,
}

/// A write that is durable.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteResult {
    /// The store's revision of this write.
    pub revision: u64,
    /// The documents as written, in the order of their names; none after a removal.
    pub documents: Vec<Revision>,
}

impl WriteResult {
    /// The policy as written, where the write was of one.
    pub fn policy(&self) -> Option<&Arc<policy::Revision>> {
        self.documents.iter().find_map(|document| match document {
            Revision::Policy(revised) => Some(revised),
            Revision::Waiver(_) => None,
        })
    }

    /// The waivers as written.
    pub fn waivers(&self) -> impl Iterator<Item = &Arc<waiver::Revision>> {
        self.documents.iter().filter_map(|document| match document {
            Revision::Waiver(revised) => Some(revised),
            Revision::Policy(_) => None,
        })
    }
}

/// One entry of the store's history.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The document.
    pub key: ResourceName,
    /// The store's revision.
    pub revision: u64,
    /// When it was written.
    pub write_time: Timestamp,
    /// The document as it was from then on; `None`: removed.
    pub document: Option<Revision>,
}

/// What has changed in a store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangeSet {
    /// The revision that the store is at with them.
    pub revision: u64,
    /// When that revision was written.
    pub write_time: Timestamp,
    /// When the revision was written that they begin after; `None`: there is no such revision. Tells a store that has come to
    /// the same revision another way, as one does that is restored from a backup and written to again.
    pub begin_time: Option<Timestamp>,
    /// In the order of revisions and, within one, of names.
    pub entries: Vec<Entry>,
}

/// Why the store did not do as asked. Nothing was changed, except where it is [`Error::Unavailable`]: then nobody knows.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such document.
    #[error("{0} does not exist")]
    NotFound(ResourceName),
    /// There is one of that name.
    #[error("{0} exists already")]
    AlreadyExists(ResourceName),
    /// The document is at another revision than the write expects.
    #[error("{key} is at revision {actual}")]
    Conflict {
        /// The document.
        key: ResourceName,
        /// Its revision.
        actual: u64,
    },
    /// The request's id was used for another request.
    #[error("request id was used for another request")]
    RequestIdReused,
    /// A write that creates nothing, or too much at once.
    #[error("a write creates between 1 and {MAX_CREATED} documents")]
    BatchSize,
    /// The default policy cannot be removed.
    #[error("the default policy cannot be removed")]
    DefaultRequired,
    /// As many policies as a store takes.
    #[error("the store holds {MAX_POLICIES} policies")]
    TooManyPolicies,
    /// As many waivers as a store takes.
    #[error("the store holds {MAX_WAIVERS} waivers")]
    TooManyWaivers,
    /// The store does not answer.
    #[error("the store does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The waiver was revoked, and would no longer be.
    #[error("waivers/{0} was revoked, and stays so")]
    Revoked(WaiverId),
    /// The store holds what cannot be read.
    #[error("the store holds what cannot be read: {what}")]
    Corrupt {
        /// Which record.
        what: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What a store cannot be without.
#[derive(Debug, thiserror::Error)]
#[error("it is missing")]
struct Missing;

/// A store of policies and waivers.
///
/// `policies/default` is there from the start and cannot be removed. Every change, its history, the request that asked for it and
/// the store's new revision are written in one transaction: all of it or nothing. Revisions grow by one.
#[async_trait::async_trait]
pub trait PolicyStore: Send + Sync + fmt::Debug {
    /// What has changed after a revision; `None`: all that is in force. A document that cannot be read is [`Error::Corrupt`]:
    /// none is passed over.
    async fn changes(&self, after: Option<u64>) -> Result<ChangeSet, Error>;

    /// Everything as it was in force at a revision that the store has reached.
    async fn snapshot_at(&self, revision: u64) -> Result<PolicySet, Error>;

    /// The history of a policy, newest first, at most `limit` entries from before a revision; `None`: from the newest on.
    async fn history(&self, id: &PolicyId, before: Option<u64>, limit: usize) -> Result<Vec<Entry>, Error>;

    /// Applies a change and returns once it is durable.
    ///
    /// A request whose id and fingerprint are known returns what it returned before, and changes nothing. Of two concurrent
    /// writes that expect the same revision, exactly one succeeds; the other is a [`Error::Conflict`]. A caller that gives up
    /// leaves all of the change or nothing, and the next write finds the store as usable as before. A waiver that was revoked stays
    /// so, whatever the write expects: [`Error::Revoked`].
    async fn apply(&self, write: Write) -> Result<WriteResult, Error>;

    /// The gaps and unreadable entries of the history, one sentence each; empty if it is whole.
    async fn corrupt_revisions(&self) -> Result<Vec<String>, Error>;

    /// The content digest of a policy at a revision; `None` if the history lacks it.
    async fn content_digest(&self, id: &PolicyId, revision: u64) -> Result<Option<String>, Error>;

    /// Returns if the store answers.
    async fn ping(&self) -> Result<(), Error>;

    /// Whether others write to it, too, so that what was read of it may be old.
    fn is_shared(&self) -> bool;

    /// Resolves when somebody may have written. May resolve for nothing, and may miss a write: who must know asks again now and
    /// then. Never resolves where nobody else writes.
    async fn changed(&self);
}

/// The set that all that is in force makes.
pub fn into_snapshot(changes: ChangeSet) -> Result<PolicySet, Error> {
    let mut set = PolicySet::default();
    apply_changes(&mut set, changes);
    if set.policies.keys().any(PolicyId::is_default) {
        Ok(set)
    } else {
        Err(Error::Corrupt { what: "policies/default".to_owned(), source: Missing.into() })
    }
}

/// Brings a set up to date with what has changed since.
pub fn apply_changes(set: &mut PolicySet, changes: ChangeSet) {
    for entry in changes.entries {
        match (entry.key, entry.document) {
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
