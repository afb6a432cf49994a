//! The port to the shared policy store. [`sql`] is the adapter; one contract suite holds every backend to what is written here.

pub mod sql;

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use scangate_core::{
    name::PolicyId,
    policy::{Policy, PolicySet, Revised},
};

/// The most policies that a store takes.
pub const MAX_POLICIES: u64 = 10_000;

/// What a write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Whatever there is.
    Any,
    /// Exactly this revision of the policy.
    Revision(u64),
}

/// A change to one policy.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Adds a policy.
    Create(Policy),
    /// Replaces a policy as a whole.
    Update {
        /// The policy as it shall be.
        policy: Policy,
        /// What must be there.
        expected: Expected,
    },
    /// Removes a policy.
    Delete {
        /// Which.
        id: PolicyId,
        /// What must be there.
        expected: Expected,
    },
}

/// Names a request, so that a retry does not act twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The caller's id.
    pub id: String,
    /// SHA-256 over the request's meaning, base64: tells a retry from a reuse.
    pub fingerprint: String,
}

/// A change with all that belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// What to change.
    pub change: Change,
    /// The caller's request, remembered for 24 hours.
    pub request: Option<Request>,
    /// When. A store keeps times to the microsecond, and answers with what it keeps.
    pub at: Timestamp,
}

/// A write that is durable.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The store's revision of this write.
    pub revision: u64,
    /// The policy as written; `None` after a removal.
    pub policy: Option<Arc<Revised>>,
}

/// Why the store did not do as asked. Nothing was changed, except where it is [`Error::Unavailable`]: then nobody knows.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such policy.
    #[error("policy {0} does not exist")]
    NotFound(PolicyId),
    /// There is one of that id.
    #[error("policy {0} exists already")]
    AlreadyExists(PolicyId),
    /// The policy is at another revision than the write expects.
    #[error("policy {id} is at revision {actual}")]
    Conflict {
        /// The policy.
        id: PolicyId,
        /// Its revision.
        actual: u64,
    },
    /// The request's id was used for another request.
    #[error("request id was used for another request")]
    RequestIdReused,
    /// The default policy cannot be removed.
    #[error("the default policy cannot be removed")]
    DefaultRequired,
    /// As many policies as a store takes.
    #[error("the store holds {MAX_POLICIES} policies")]
    TooManyPolicies,
    /// The store does not answer.
    #[error("the store does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
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

/// A store of policies.
///
/// `policies/default` is there from the start and cannot be removed. Every change, its history entry, the request that asked
/// for it and the store's new revision are written in one transaction: all of it or nothing. Revisions grow by one.
#[async_trait::async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Reads every policy at one revision. One that cannot be read, or no default, is [`Error::Corrupt`]: none is passed over.
    async fn load(&self) -> Result<PolicySet, Error>;

    /// Applies a change and returns once it is durable.
    ///
    /// A request whose id and fingerprint are known returns what it returned before, and changes nothing. Of two concurrent
    /// writes that expect the same revision, exactly one succeeds; the other is a [`Error::Conflict`]. A caller that gives up
    /// leaves all of the change or nothing, and the next write finds the store as usable as before.
    async fn apply(&self, write: Write) -> Result<Written, Error>;

    /// Answers where the store can.
    async fn ping(&self) -> Result<(), Error>;
}
