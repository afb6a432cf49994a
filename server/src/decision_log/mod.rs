//! The port to the decision log: an append-only log with a hash chain per writer, so that tampering is detectable.
//!
//! [`sql`] is the adapter. `server/tests/decision_log/contract.rs` is the contract suite; the methods' comments name its tests.

mod blob;
mod cursors;
mod record;
pub mod sql;
mod unreadable;

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use jiff::Timestamp;
use scangate_core::{
    Verdict,
    image::{Digest, RepositoryName, Tag},
    name::{Environment, PolicyId},
    registry::Registry,
};
use serde::{Deserialize, Serialize};

pub(crate) use self::record::decode_blob;
pub use self::{
    blob::{Blob, Hash, InvalidHash},
    cursors::{Bookmark, ChainCursor, Cursors},
    record::{CorruptRecord, EvaluationInputs, Outcome},
    unreadable::{Outline, PartialTerms, Unreadable},
};
use crate::{auth::Scope, idempotency::RequestKey};

/// The id of a decision: the writer that recorded it, and its sequence number in that writer's chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DecisionId {
    /// The random name of a server process: lower-case letters and digits.
    pub writer: Arc<str>,
    /// The sequence number, from 1.
    pub sequence: u64,
}

/// Text that is not a decision id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a decision id as in the decision's resource name")]
pub struct InvalidDecisionId;

impl FromStr for DecisionId {
    type Err = InvalidDecisionId;

    fn from_str(text: &str) -> Result<Self, InvalidDecisionId> {
        let (writer, sequence) = text.split_once('-').ok_or(InvalidDecisionId)?;
        let is_writer = (1..=32).contains(&writer.len())
            && writer.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let sequence = sequence.parse().map_err(|_| InvalidDecisionId)?;
        let id = Self { writer: writer.into(), sequence };
        // One canonical id per decision: no leading zeroes, no sign.
        if is_writer && sequence > 0 && id.to_string() == text { Ok(id) } else { Err(InvalidDecisionId) }
    }
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.writer, self.sequence)
    }
}

impl TryFrom<String> for DecisionId {
    type Error = InvalidDecisionId;

    fn try_from(text: String) -> Result<Self, InvalidDecisionId> {
        text.parse()
    }
}

impl From<DecisionId> for String {
    fn from(id: DecisionId) -> Self {
        id.to_string()
    }
}

/// The terms under which a decision is indexed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexTerms {
    /// The registry.
    pub registry: Registry,
    /// The repository.
    pub repository: RepositoryName,
    /// The digest of the image, then those of its other manifests.
    pub digests: Vec<Digest>,
    /// The environment of the request.
    pub environment: Option<Environment>,
    /// The verdict.
    pub verdict: Verdict,
    /// The policies that were applied.
    pub policies: Vec<PolicyId>,
}

/// The content that many decisions can share: everything but the time, the caller, the labels and the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionRecord {
    /// Its index terms.
    pub keys: IndexTerms,
    /// The requested tag of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// The first reason of its decision.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// The blob of its [`EvaluationInputs`].
    pub inputs: Hash,
    /// The blob of its [`Outcome`].
    pub outcome: Hash,
}

/// A [`DecisionRecord`] with its blobs, ready to be appended.
#[derive(Clone, Debug)]
pub struct PreparedRecord {
    /// Its index terms.
    pub keys: IndexTerms,
    /// The [`DecisionRecord`] as a blob.
    pub blob: Blob,
    /// The blobs that it references directly or through its inputs.
    pub parts: Vec<Blob>,
}

/// A decision to append.
#[derive(Clone, Debug)]
pub struct AppendRequest {
    /// Its record, which requests may share.
    pub record: Arc<PreparedRecord>,
    /// The time of the evaluation.
    pub evaluate_time: Timestamp,
    /// The caller's name.
    pub caller: String,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
    /// The idempotency key, stored for its window.
    pub request_key: Option<RequestKey>,
    /// The decision that the key stands for so far, and that this one supersedes.
    pub supersedes: Option<DecisionId>,
}

/// A recorded decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its id.
    pub id: DecisionId,
    /// The time of the evaluation.
    pub evaluate_time: Timestamp,
    /// The caller's name.
    pub caller: String,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
    /// Its record, which entries may share.
    pub record: Arc<DecisionRecord>,
}

/// A decision as lists and watches return it.
#[derive(Clone, Debug, PartialEq)]
pub enum Listed {
    /// The entry of the log.
    Entry(Entry),
    /// A decision that this server cannot read as a whole.
    Unreadable(Box<Unreadable>),
}

/// The result of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendResult {
    /// The decision is durable.
    Recorded(DecisionId),
    /// The idempotency key is known: this decision was recorded for it, and nothing was appended.
    Replayed(DecisionId),
}

/// A filter over decisions. All its conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The repository, in any registry.
    pub repository: Option<RepositoryName>,
    /// The digest of the image or of one of its manifests.
    pub digest: Option<Digest>,
    /// The environment of the request.
    pub environment: Option<Environment>,
    /// The accepted verdicts; empty for all.
    pub verdicts: Vec<Verdict>,
    /// A policy that was applied.
    pub policy: Option<PolicyId>,
    /// The caller's name.
    pub caller: Option<String>,
    /// The earliest time of the evaluation, inclusive.
    pub start: Option<Timestamp>,
    /// The latest time of the evaluation, exclusive.
    pub end: Option<Timestamp>,
    /// The scopes of which one must cover the repository and the environment; `None`: no condition. An empty list admits nothing.
    pub within: Option<Vec<Scope>>,
}

impl Filter {
    /// Returns true if a decision meets all conditions, or may meet them.
    pub fn admits(&self, listed: &Listed) -> bool {
        match listed {
            Listed::Entry(entry) => self.matches(entry),
            Listed::Unreadable(unreadable) => self.may_match(unreadable),
        }
    }

    /// Returns true if a readable decision meets all conditions.
    fn matches(&self, entry: &Entry) -> bool {
        let keys = &entry.record.keys;
        let covers = |scope: &Scope| scope.covers(&keys.repository, keys.environment.as_ref());
        self.within.as_ref().is_none_or(|scopes| scopes.iter().any(covers))
            && self.repository.as_ref().is_none_or(|repository| *repository == keys.repository)
            && self.digest.as_ref().is_none_or(|digest| keys.digests.contains(digest))
            && self.environment.as_ref().is_none_or(|environment| keys.environment.as_ref() == Some(environment))
            && (self.verdicts.is_empty() || self.verdicts.contains(&keys.verdict))
            && self.policy.as_ref().is_none_or(|policy| keys.policies.contains(policy))
            && self.caller.as_ref().is_none_or(|caller| *caller == entry.caller)
            && self.start.is_none_or(|start| start <= entry.evaluate_time)
            && self.end.is_none_or(|end| entry.evaluate_time < end)
    }
}

/// The position in a list after which the next page begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The latest evaluation time in the segment, in microseconds.
    pub last_time: i64,
    /// The writer of the segment.
    pub writer: Arc<str>,
    /// The first sequence number of the segment.
    pub first_sequence: u64,
    /// The last listed decision of the segment.
    pub sequence: u64,
}

/// A page of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The decisions, newest first, each with the position after it. A page may be short although more follow, to bound the time
    /// it takes.
    pub decisions: Vec<(Listed, Cursor)>,
    /// The start of the next page; `None` after the last page.
    pub next: Option<Cursor>,
}

/// A failure of the decision log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The decision does not exist, or retention has removed it.
    #[error("decision {0} not found")]
    NotFound(DecisionId),
    /// The request id belongs to a request with another fingerprint.
    #[error("request id was used for a different request")]
    RequestIdReused,
    /// Decisions after a bookmark have been removed by retention.
    #[error("decisions after this position have been removed by retention")]
    Trimmed,
    /// A bookmark of another log, or of a history that a restore has replaced.
    #[error("the position is of another decision log, or of a history that was lost")]
    OtherLog,
    /// The queue of pending appends is full; nothing was recorded.
    #[error("too many decisions are waiting to be recorded")]
    Overloaded,
    /// The database is unavailable. An append may or may not have been recorded.
    #[error("decision log unavailable")]
    Unavailable(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// A stored record cannot be read: it is damaged, or a newer server wrote it.
    #[error("{what} of the decision log cannot be read: it is damaged or was written by a newer server")]
    Corrupt {
        /// The record.
        what: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The result of verifying the whole log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The number of verified chains.
    pub writers: u64,
    /// The number of decisions with a correct hash.
    pub decisions: u64,
    /// The number of blobs whose content matches their hash.
    pub blobs: u64,
    /// The number of decisions that retention has removed. The log only has their count, not a proof.
    pub removed: u64,
    /// The applied policies by id, revision and content digest, each with one outcome that names it. The policy store can
    /// confirm them.
    pub policies: BTreeMap<(PolicyId, u64, String), Hash>,
    /// The defects, one sentence each.
    pub damage: Vec<String>,
}

impl Report {
    /// Adds a damage sentence. Sentences after the first 1,000 are dropped: they would repeat that the log is damaged.
    pub fn add_damage(&mut self, damage: String) {
        const MAX_DAMAGE: usize = 1_000;
        if self.damage.len() < MAX_DAMAGE {
            self.damage.push(damage);
        }
    }
}

/// A log of decisions.
#[async_trait::async_trait]
pub trait DecisionLog: Send + Sync + fmt::Debug {
    /// Appends a decision, and returns once it is durable (`appended_decision_reads_back_unchanged`).
    ///
    /// A known idempotency key returns the decision recorded for it and appends nothing
    /// (`repeated_request_returns_first_decision`), unless the append supersedes exactly that decision: then the key stands for
    /// the new one, for another window (`superseding_decision_takes_over_request`). Of concurrent appends with one key, one is
    /// recorded (`concurrent_repeated_requests_record_once`), also if all of them supersede the same decision
    /// (`concurrent_superseding_requests_record_once`). A key with another fingerprint is [`Error::RequestIdReused`]. Keys belong
    /// to their caller (`equal_ids_of_callers_are_different_requests`). An append that the caller cancels is recorded whole or not
    /// at all (`cancelled_append_leaves_whole_record_or_none`).
    async fn append(&self, request: AppendRequest) -> Result<AppendResult, Error>;

    /// Succeeds if decisions can be recorded. After a failed append it probes with a write, so that recovery is detected.
    async fn ping(&self) -> Result<(), Error>;

    /// Returns the decision that an idempotency key stands for, `None` for an unknown key and after the key's window
    /// (`repeated_request_returns_first_decision`, `request_is_forgotten_after_its_window`). A key with another fingerprint is
    /// [`Error::RequestIdReused`].
    async fn find_by_request(&self, request: &RequestKey) -> Result<Option<DecisionId>, Error>;

    /// Returns a decision; a missing one is [`Error::NotFound`] (`unknown_decision_is_not_found`).
    async fn get(&self, id: &DecisionId) -> Result<Entry, Error>;

    /// Returns a page of decisions, newest first (`list_returns_matching_decisions_newest_first`). Concurrent appends do not
    /// move decisions between pages (`later_appends_do_not_move_pages`). A page reads no inputs, outcomes or findings: an entry
    /// states the image, its tag, the environment, the verdict and the policies (`list_reads_no_parts`). An unreadable decision is
    /// listed with its readable parts (`unreadable_decision_is_listed_in_part`); a condition on an unreadable part counts as met.
    /// Damage makes the decisions in its segment unreadable, and hides no others.
    async fn list(&self, filter: &Filter, after: Option<&Cursor>, limit: usize) -> Result<Page, Error>;

    /// Returns the end of every chain, from which [`Self::read_from`] can start.
    async fn tail_positions(&self) -> Result<Cursors, Error>;

    /// Returns the position of a bookmark: reading goes on exactly after it (`bookmark_resumes_without_gap_or_repetition`).
    /// If retention has removed decisions after it, [`Error::Trimmed`] (`bookmark_of_trimmed_decisions_is_refused`); if its
    /// decisions are unknown, [`Error::OtherLog`] (`bookmark_of_another_log_is_refused`).
    async fn resume(&self, bookmark: &Bookmark) -> Result<Cursors, Error>;

    /// Returns at most `limit` decisions recorded after `cursors`, oldest first within each chain, and advances `cursors`. Each
    /// decision is returned once, also while writers append (`read_from_returns_each_decision_once`). Chains are read in turn, so
    /// that no busy writer hides the others (`busy_writer_does_not_hide_others`). An unreadable decision is returned as in a list.
    /// If retention has removed decisions after `cursors`, [`Error::Trimmed`] (`reading_on_past_trimmed_decisions_is_refused`).
    async fn read_from(&self, cursors: &mut Cursors, limit: usize) -> Result<Vec<Listed>, Error>;

    /// Returns blobs by their hashes; missing blobs are left out.
    async fn blobs(&self, hashes: &[Hash]) -> Result<BTreeMap<Hash, Blob>, Error>;

    /// Verifies every chain, blob and index record. Defects are reported, not returned as errors.
    async fn verify(&self) -> Result<Report, Error>;

    /// Removes decisions from before an instant, oldest first, with the blobs that only they reference. Returns the number of
    /// removed decisions. The remaining chain stays verifiable (`trim_keeps_remaining_chain_verifiable`). Concurrent appends
    /// continue.
    async fn trim(&self, before: Timestamp) -> Result<u64, Error>;
}
