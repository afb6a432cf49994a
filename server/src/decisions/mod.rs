//! Decisions: recorded before they are returned, read, watched, replayed and previewed.

mod evaluated;
mod listed;
pub mod preview;
mod replay;
mod verify;
mod watch;

use std::sync::Arc;

use moka::sync::Cache;
use scangate_core::{
    Decision,
    decision::ManifestInput,
    image::{Digest, Image, Platform},
    name::Environment,
    policy::PolicySet,
};

pub(crate) use self::replay::LoadedDecision;
pub use self::{
    evaluated::{EvaluatedDecision, Evaluation, RecordedDecision},
    listed::{ListedDecision, ListedLoader},
    replay::Replayed,
    verify::verify,
    watch::WatchEvent,
};
use crate::{
    auth::Scope,
    decision_log::{
        self, AppendRequest, AppendResult, Blob, Bookmark, CorruptRecord, Cursor, Cursors, DecisionId, DecisionLog,
        DecisionRecord, Entry, EvaluationInputs, Filter, Hash, IndexTerms, Listed, Outcome, Page, PreparedRecord,
        decode_blob,
    },
    idempotency::RequestKey,
    policies::{self, Policies},
};

/// The capacity of the cache of historical policy sets: decisions of one period rest on few revisions.
const MAX_CACHED_SETS: u64 = 32;

/// A failure to record or to read a decision.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The decision log failed or refused the request.
    #[error(transparent)]
    Log(#[from] decision_log::Error),
    /// The policies that the decision rests on are unavailable.
    #[error(transparent)]
    Policies(#[from] policies::Error),
    /// The record of a decision is incomplete or unreadable.
    #[error("decision {id} unavailable: its record is damaged or was written by a newer server; run verify-decisions")]
    Damaged {
        /// The decision.
        id: DecisionId,
        /// The cause.
        #[source]
        source: CorruptRecord,
    },
}

/// The decision that an idempotency key stands for.
#[derive(Debug)]
pub enum Known {
    /// Its record can be read.
    Readable(RecordedDecision),
    /// Its record is damaged, or has fields of a newer server.
    Unreadable(DecisionId),
}

/// The use cases on recorded decisions.
#[derive(Debug)]
pub struct Decisions {
    log: Arc<dyn DecisionLog>,
    policies: Arc<Policies>,
    sets: Cache<u64, Arc<PolicySet>>,
}

/// Encodes a decision and its inputs as a record that can be appended any number of times.
pub(crate) fn prepare_record(
    image: &Image,
    environment: Option<&Environment>,
    platforms: &[Platform],
    inputs: &[ManifestInput],
    decision: &Decision,
    deploy: Option<&Digest>,
) -> Result<PreparedRecord, serde_json::Error> {
    let mut digests: Vec<Digest> = inputs.iter().map(|input| input.manifest.digest.clone()).collect();
    digests.retain(|digest| *digest != image.digest);
    digests.sort();
    digests.dedup();
    digests.insert(0, image.digest.clone());
    let keys = IndexTerms {
        registry: image.registry.clone(),
        repository: image.repository.clone(),
        digests,
        environment: environment.cloned(),
        verdict: decision.verdict,
        policies: decision.policies.iter().map(|applied| applied.id.clone()).collect(),
    };
    let (inputs, mut parts) = EvaluationInputs::new(image, environment, platforms, inputs)?;
    let inputs = Blob::encode(&inputs)?;
    let outcome = Blob::encode(&Outcome::new(decision, deploy))?;
    let blob = Blob::encode(&DecisionRecord {
        keys: keys.clone(),
        tag: image.tag.clone(),
        summary: decision.reasons.first().cloned().unwrap_or_default(),
        inputs: inputs.hash(),
        outcome: outcome.hash(),
    })?;
    parts.extend([inputs, outcome]);
    Ok(PreparedRecord { keys, blob, parts })
}

impl Decisions {
    /// Creates the use cases over a log and the policies that its decisions rest on.
    pub fn new(log: Arc<dyn DecisionLog>, policies: Arc<Policies>) -> Self {
        Self { log, policies, sets: Cache::new(MAX_CACHED_SETS) }
    }

    /// Succeeds if decisions can be recorded.
    pub async fn ping(&self) -> Result<(), Error> {
        Ok(self.log.ping().await?)
    }

    /// Records a decision.
    pub async fn record(&self, record: AppendRequest) -> Result<AppendResult, Error> {
        Ok(self.log.append(record).await?)
    }

    /// Returns the decision that a request with this idempotency key got before.
    pub async fn find_by_request(&self, key: &RequestKey) -> Result<Option<Known>, Error> {
        match self.log.find_by_request(key).await? {
            Some(id) => self.get_known(id).await.map(Some),
            None => Ok(None),
        }
    }

    /// Returns the decision that a key stands for. An unreadable record is no error: a new decision can take its place.
    pub async fn get_known(&self, id: DecisionId) -> Result<Known, Error> {
        match self.get(&id).await {
            Ok(recorded) => Ok(Known::Readable(recorded)),
            Err(error @ (Error::Damaged { .. } | Error::Log(decision_log::Error::Corrupt { .. }))) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, decision = %id, "decision of a repeated request is unreadable; it is made again");
                Ok(Known::Unreadable(id))
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the log's entry of one decision.
    pub async fn entry(&self, id: &DecisionId) -> Result<Entry, Error> {
        Ok(self.log.get(id).await?)
    }

    /// Returns the log's entry of one decision within the scopes; `None`: any. One outside of them is not found, nor is one that
    /// cannot be read: its place is unknown.
    pub async fn entry_within(&self, id: &DecisionId, scopes: Option<&[Scope]>) -> Result<Entry, Error> {
        let Some(scopes) = scopes else { return self.entry(id).await };
        let not_found = || Err(decision_log::Error::NotFound(id.clone()).into());
        match self.entry(id).await {
            Ok(entry) => {
                let keys = &entry.record.keys;
                let is_within = scopes.iter().any(|scope| scope.covers(&keys.repository, keys.environment.as_ref()));
                if is_within { Ok(entry) } else { not_found() }
            }
            Err(Error::Log(decision_log::Error::Corrupt { .. }) | Error::Damaged { .. }) => not_found(),
            Err(error) => Err(error),
        }
    }

    /// Returns one decision.
    pub async fn get(&self, id: &DecisionId) -> Result<RecordedDecision, Error> {
        let entry = self.entry(id).await?;
        self.resolve(entry).await
    }

    /// Returns a page of decisions, newest first, without their inputs and outcomes.
    pub async fn list(&self, filter: &Filter, after: Option<&Cursor>, limit: usize) -> Result<Page, Error> {
        Ok(self.log.list(filter, after, limit).await?)
    }

    /// Returns the current end of the log: the start of a watch.
    pub async fn tail_positions(&self) -> Result<Cursors, Error> {
        Ok(self.log.tail_positions().await?)
    }

    /// Returns the position that a bookmark stands for: the start of a resumed watch.
    pub async fn resume(&self, bookmark: &Bookmark) -> Result<Cursors, Error> {
        Ok(self.log.resume(bookmark).await?)
    }

    /// Returns the matching decisions recorded after the cursors, and advances the cursors.
    async fn read_from(&self, cursors: &mut Cursors, filter: &Filter, limit: usize) -> Result<Vec<Listed>, Error> {
        let mut listed = self.log.read_from(cursors, limit).await?;
        listed.retain(|listed| filter.admits(listed));
        Ok(listed)
    }

    /// Adds the inputs and the outcome to a log entry, without the findings of its scans.
    pub async fn resolve(&self, entry: Entry) -> Result<RecordedDecision, Error> {
        let evaluated = self.load_evaluated(&entry).await?;
        Ok(RecordedDecision::new(entry, evaluated))
    }

    async fn load_evaluated(&self, entry: &Entry) -> Result<Arc<EvaluatedDecision>, Error> {
        let (inputs, outcome) = self.load_record(entry).await?;
        Ok(Arc::new(EvaluatedDecision::from_record(&inputs, outcome)))
    }

    /// Returns the inputs of a decision, without their large parts, and its outcome.
    async fn load_record(&self, entry: &Entry) -> Result<(EvaluationInputs, Outcome), Error> {
        let blobs = self.log.blobs(&distinct(vec![entry.record.inputs, entry.record.outcome])).await?;
        let damaged = |source| Error::Damaged { id: entry.id.clone(), source };
        let inputs = decode_blob(&blobs, entry.record.inputs).map_err(damaged)?;
        let outcome = decode_blob(&blobs, entry.record.outcome).map_err(damaged)?;
        Ok((inputs, outcome))
    }

    /// Returns the policies and waivers that were current at a revision.
    async fn policies_at(&self, revision: u64) -> Result<Arc<PolicySet>, Error> {
        if let Some(set) = self.sets.get(&revision) {
            return Ok(set);
        }
        let set = Arc::new(self.policies.snapshot_at(revision).await?);
        self.sets.insert(revision, Arc::clone(&set));
        Ok(set)
    }
}

/// Reads the inputs and the outcome of a log entry.
fn distinct(mut hashes: Vec<Hash>) -> Vec<Hash> {
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}
