//! What was decided: recorded before an answer leaves, read again, decided again.

mod evaluated;
pub mod preview;
mod replay;
mod verify;

use std::{
    collections::{BTreeMap, btree_map},
    sync::Arc,
};

use moka::sync::Cache;
use scangate_core::{
    Decision,
    decision::ManifestInput,
    image::{Digest, Image, Platform},
    name::{Environment, PolicyId},
    policy::PolicySet,
};

pub(crate) use self::replay::LoadedDecision;
pub use self::{
    evaluated::{EvaluatedDecision, RecordedDecision},
    replay::Replayed,
    verify::verify,
};
use crate::{
    decision_log::{
        self, AppendRequest, AppendResult, Blob, CorruptRecord, Cursor, Cursors, DecisionId, DecisionLog,
        DecisionRecord, Entry, EvaluationInputs, Filter, Hash, IndexTerms, Outcome, PreparedRecord, read_blob,
    },
    idempotency::RequestKey,
    policies::{self, Policies},
};

/// Sets of policies that are kept once read: decisions of one time rest on few revisions.
const SETS: u64 = 32;

/// Why a decision was not recorded, or cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log said no, or nothing.
    #[error(transparent)]
    Log(#[from] decision_log::Error),
    /// The policies that it rests on are not to be had.
    #[error(transparent)]
    Policies(#[from] policies::Error),
    /// What was recorded is not all there.
    #[error("decision {id} is not recorded as it should be")]
    Damaged {
        /// Which.
        id: DecisionId,
        /// Why.
        #[source]
        source: CorruptRecord,
    },
}

/// What was decided.
#[derive(Debug)]
pub struct Decisions {
    log: Arc<dyn DecisionLog>,
    policies: Arc<Policies>,
    sets: Cache<u64, Arc<PolicySet>>,
}

/// Takes down a decision, ready to be recorded as often as it is given.
pub(crate) fn prepare(
    image: &Image,
    environment: Option<&Environment>,
    platforms: &[Platform],
    policy: Option<&PolicyId>,
    examined: &[ManifestInput],
    decision: &Decision,
    deploy: Option<&Digest>,
) -> Result<PreparedRecord, serde_json::Error> {
    let (inputs, mut parts) = EvaluationInputs::of(image, environment, platforms, policy, examined)?;
    let inputs = Blob::of(&inputs)?;
    let outcome = Blob::of(&Outcome::of(decision, deploy))?;
    let mut digests = vec![image.digest.clone()];
    digests.extend(examined.iter().map(|examined| examined.manifest.digest.clone()));
    digests.sort();
    digests.dedup();
    let keys = IndexTerms {
        registry: image.registry.clone(),
        repository: image.repository.clone(),
        digests,
        environment: environment.cloned(),
        verdict: decision.verdict,
        policies: decision.policies.iter().map(|applied| applied.id.clone()).collect(),
    };
    let case = Blob::of(&DecisionRecord { keys: keys.clone(), inputs: inputs.hash(), outcome: outcome.hash() })?;
    parts.extend([inputs, outcome]);
    Ok(PreparedRecord { keys, case, parts })
}

impl Decisions {
    /// The decisions of a log, over the policies that they rest on.
    pub fn new(log: Arc<dyn DecisionLog>, policies: Arc<Policies>) -> Self {
        Self { log, policies, sets: Cache::new(SETS) }
    }

    /// Answers where decisions can be recorded.
    pub async fn ping(&self) -> Result<(), Error> {
        Ok(self.log.ping().await?)
    }

    /// Records a decision.
    pub async fn record(&self, record: AppendRequest) -> Result<AppendResult, Error> {
        Ok(self.log.append(record).await?)
    }

    /// The decision that a request got before, if it was sent before.
    pub async fn answered(&self, request: &RequestKey) -> Result<Option<RecordedDecision>, Error> {
        match self.log.answered(request).await? {
            Some(id) => self.get(&id).await.map(Some),
            None => Ok(None),
        }
    }

    /// One decision.
    pub async fn get(&self, id: &DecisionId) -> Result<RecordedDecision, Error> {
        let recorded = self.log.get(id).await?;
        let mut answers = self.answers(vec![recorded]).await?;
        answers.pop().ok_or_else(|| decision_log::Error::NotFound(id.clone()).into())
    }

    /// Decisions, newest first, and where the next page begins.
    pub async fn list(
        &self,
        filter: &Filter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<(Vec<RecordedDecision>, Option<Cursor>), Error> {
        let page = self.log.list(filter, after, limit).await?;
        Ok((self.answers(page.decisions).await?, page.next))
    }

    /// Where those begin who follow from now on.
    pub async fn heads(&self) -> Result<Cursors, Error> {
        Ok(self.log.tail_positions().await?)
    }

    /// What has been decided since, of what the filter admits.
    pub async fn follow(
        &self,
        followed: &mut Cursors,
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<RecordedDecision>, Error> {
        let mut recorded = self.log.read_from(followed, limit).await?;
        recorded.retain(|recorded| filter.admits(recorded));
        self.answers(recorded).await
    }

    /// Entry decisions as answers, with no more of their scans than answers tell.
    async fn answers(&self, recorded: Vec<Entry>) -> Result<Vec<RecordedDecision>, Error> {
        let hashes: Vec<Hash> =
            recorded.iter().flat_map(|recorded| [recorded.case.inputs, recorded.case.outcome]).collect();
        let blobs = self.log.blobs(&distinct(hashes)).await?;
        let mut judgements: BTreeMap<(Hash, Hash), Arc<EvaluatedDecision>> = BTreeMap::new();
        let mut answers = Vec::with_capacity(recorded.len());
        for recorded in recorded {
            let key = (recorded.case.inputs, recorded.case.outcome);
            let judgement = match judgements.entry(key) {
                btree_map::Entry::Occupied(kept) => kept.into_mut(),
                btree_map::Entry::Vacant(empty) => {
                    let damaged = |source| Error::Damaged { id: recorded.id.clone(), source };
                    let inputs: EvaluationInputs = read_blob(&blobs, key.0).map_err(damaged)?;
                    let outcome: Outcome = read_blob(&blobs, key.1).map_err(damaged)?;
                    empty.insert(Arc::new(EvaluatedDecision::from_record(&inputs, outcome)))
                }
            };
            answers.push(RecordedDecision {
                judgement: Arc::clone(judgement),
                id: recorded.id,
                evaluated_at: recorded.evaluated_at,
                labels: recorded.labels,
            });
        }
        Ok(answers)
    }

    /// The policies and waivers as they were in force at a revision.
    async fn set(&self, revision: u64) -> Result<Arc<PolicySet>, Error> {
        if let Some(set) = self.sets.get(&revision) {
            return Ok(set);
        }
        let set = Arc::new(self.policies.at(revision).await?);
        self.sets.insert(revision, Arc::clone(&set));
        Ok(set)
    }
}

fn distinct(mut hashes: Vec<Hash>) -> Vec<Hash> {
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}
