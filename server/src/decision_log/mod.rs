//! The port to the log of decisions: appended to before an answer leaves, never changed, chained so that a change would show.

mod blob;
mod record;
pub mod sql;

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use jiff::Timestamp;
use scangate_core::{
    Verdict,
    image::{Digest, RepositoryName},
    name::{Environment, PolicyId},
    registry::Registry,
};
use serde::{Deserialize, Serialize};

pub(crate) use self::record::read_blob;
pub use self::{
    blob::{Blob, Hash, InvalidHash},
    record::{CorruptRecord, EvaluationInputs, Outcome},
};
use crate::idempotency::RequestKey;

/// Names a decision: the writer that recorded it, and its place in that writer's chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DecisionId {
    /// A server process, by a random name: lower-case letters and digits.
    pub writer: Arc<str>,
    /// Counts from 1.
    pub sequence: u64,
}

/// Text that names no decision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the id of a decision, as its name has it")]
pub struct InvalidDecisionId;

impl FromStr for DecisionId {
    type Err = InvalidDecisionId;

    fn from_str(given: &str) -> Result<Self, InvalidDecisionId> {
        let (writer, sequence) = given.split_once('-').ok_or(InvalidDecisionId)?;
        let is_writer = (1..=32).contains(&writer.len())
            && writer.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let sequence = sequence.parse().map_err(|_| InvalidDecisionId)?;
        let id = Self { writer: writer.into(), sequence };
        // One name for each: no leading zeroes, no sign.
        if is_writer && sequence > 0 && id.to_string() == given { Ok(id) } else { Err(InvalidDecisionId) }
    }
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.writer, self.sequence)
    }
}

impl TryFrom<String> for DecisionId {
    type Error = InvalidDecisionId;

    fn try_from(given: String) -> Result<Self, InvalidDecisionId> {
        given.parse()
    }
}

impl From<DecisionId> for String {
    fn from(id: DecisionId) -> Self {
        id.to_string()
    }
}

/// What a decision can be found by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexTerms {
    /// The registry.
    pub registry: Registry,
    /// The repository.
    pub repository: RepositoryName,
    /// Of the image and its manifests.
    pub digests: Vec<Digest>,
    /// The environment asked about.
    pub environment: Option<Environment>,
    /// The verdict.
    pub verdict: Verdict,
    /// The policies it rests on.
    pub policies: Vec<PolicyId>,
}

/// What many decisions may have in common: everything but when, and who asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionRecord {
    /// What it can be found by.
    pub keys: IndexTerms,
    /// The blob of its inputs.
    pub inputs: Hash,
    /// The blob of its outcome.
    pub outcome: Hash,
}

/// A case with its blobs, ready to be recorded.
#[derive(Clone, Debug)]
pub struct PreparedRecord {
    /// What it can be found by.
    pub keys: IndexTerms,
    /// The [`DecisionRecord`] as a blob.
    pub case: Blob,
    /// Every blob that it refers to, by way of its inputs, too.
    pub parts: Vec<Blob>,
}

/// A decision to be recorded.
#[derive(Clone, Debug)]
pub struct AppendRequest {
    /// What it is about.
    pub case: Arc<PreparedRecord>,
    /// When it was made.
    pub evaluated_at: Timestamp,
    /// The caller's context.
    pub labels: BTreeMap<String, String>,
    /// The caller's request, remembered for 24 hours.
    pub request: Option<RequestKey>,
}

/// A decision as it was recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its name.
    pub id: DecisionId,
    /// When it was made.
    pub evaluated_at: Timestamp,
    /// The caller's context.
    pub labels: BTreeMap<String, String>,
    /// What it is about.
    pub case: Arc<DecisionRecord>,
}

/// What became of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendResult {
    /// It is recorded, durably.
    Recorded(DecisionId),
    /// The request was answered before, by this decision.
    Replayed(DecisionId),
}

/// Narrows decisions: all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The repository, in whatever registry.
    pub repository: Option<RepositoryName>,
    /// Of the image or of one of its manifests.
    pub digest: Option<Digest>,
    /// The environment asked about.
    pub environment: Option<Environment>,
    /// Any of these; empty: any.
    pub verdicts: Vec<Verdict>,
    /// One it rests on.
    pub policy: Option<PolicyId>,
    /// Decided then or later.
    pub start: Option<Timestamp>,
    /// Decided before.
    pub end: Option<Timestamp>,
}

impl Filter {
    /// Whether a decision is among them.
    pub fn admits(&self, recorded: &Entry) -> bool {
        let keys = &recorded.case.keys;
        self.repository.as_ref().is_none_or(|repository| *repository == keys.repository)
            && self.digest.as_ref().is_none_or(|digest| keys.digests.contains(digest))
            && self.environment.as_ref().is_none_or(|environment| keys.environment.as_ref() == Some(environment))
            && (self.verdicts.is_empty() || self.verdicts.contains(&keys.verdict))
            && self.policy.as_ref().is_none_or(|policy| keys.policies.contains(policy))
            && self.start.is_none_or(|start| start <= recorded.evaluated_at)
            && self.end.is_none_or(|end| recorded.evaluated_at < end)
    }
}

/// How far a list has come: everything newer has been told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The time of the batch.
    pub last_time: i64,
    /// Who recorded it.
    pub writer: Arc<str>,
    /// Its first decision.
    pub first_sequence: u64,
    /// The decision of it that was told last.
    pub sequence: u64,
}

/// A page of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// Newest first; perhaps fewer than asked for although there are more, so that a page is never long in coming.
    pub decisions: Vec<Entry>,
    /// Where the next page begins; `None`: there is none.
    pub next: Option<Cursor>,
}

/// How far each writer's chain has been followed.
pub type Cursors = BTreeMap<Arc<str>, u64>;

/// Why the log did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such decision, or retention has removed it.
    #[error("decision {0} does not exist")]
    NotFound(DecisionId),
    /// The request's id was used for another request.
    #[error("request id was used for another request")]
    RequestIdReused,
    /// More is to be recorded than the store takes; nothing was recorded.
    #[error("more decisions wait to be recorded than may")]
    Overloaded,
    /// The store does not answer: nobody knows whether it was recorded.
    #[error("the store does not answer")]
    Unavailable(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The log holds what cannot be read.
    #[error("the log holds what cannot be read: {what}")]
    Corrupt {
        /// Which record.
        what: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What a check of the whole log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Writers whose chains were followed.
    pub writers: u64,
    /// Decisions whose hashes were found right.
    pub decisions: u64,
    /// Blobs whose content was found to be that of their hashes.
    pub blobs: u64,
    /// Decisions that are no longer there, by what was noted as retention removed them.
    pub removed: u64,
    /// The policies that decisions were made under, by id, revision and content digest, each with one outcome that names it. The
    /// policy store can confirm them.
    pub policies: BTreeMap<(PolicyId, u64, String), Hash>,
    /// What is wrong, one sentence each.
    pub damage: Vec<String>,
}

/// A log of decisions.
#[async_trait::async_trait]
pub trait DecisionLog: Send + Sync + fmt::Debug {
    /// Records a decision, and returns once it is durable. Of a request that is known, the decision that it got is named and
    /// nothing is recorded; concurrent appends of one request record one. A caller that gives up leaves a whole record or none.
    async fn append(&self, record: AppendRequest) -> Result<AppendResult, Error>;

    /// Answers where decisions can be recorded. What was not recorded a moment ago is no reason to say no for ever: then it is tried.
    async fn ping(&self) -> Result<(), Error>;

    /// The decision that a request got within the last 24 hours.
    async fn answered(&self, request: &RequestKey) -> Result<Option<DecisionId>, Error>;

    /// One decision.
    async fn get(&self, id: &DecisionId) -> Result<Entry, Error>;

    /// Decisions, newest first. Decisions recorded later move nothing on later pages.
    async fn list(&self, filter: &Filter, after: Option<&Cursor>, limit: usize) -> Result<Page, Error>;

    /// How far every writer's chain goes now.
    async fn tail_positions(&self) -> Result<Cursors, Error>;

    /// What was recorded since, oldest first within each chain, at most so many; moves `followed` on.
    async fn read_from(&self, followed: &mut Cursors, limit: usize) -> Result<Vec<Entry>, Error>;

    /// Blobs by their hashes; one that is missing is left out.
    async fn blobs(&self, hashes: &[Hash]) -> Result<BTreeMap<Hash, Blob>, Error>;

    /// Follows every chain and reads every blob.
    async fn verify(&self) -> Result<Report, Error>;

    /// Removes decisions from before an instant, oldest first, and what only they rested on. What is left stays provable. Returns
    /// how many were removed.
    async fn trim(&self, before: Timestamp) -> Result<u64, Error>;
}
