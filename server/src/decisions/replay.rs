//! Deciding again on what was recorded: under the policies of then, or under others.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use scangate_core::{
    Decision, decide,
    decide::Selection,
    decision::{Breach, ManifestInput},
    image::Digest,
    policy::{Policy, PolicySet, Revision},
};

use super::{Decisions, Error, EvaluatedDecision, RecordedDecision, distinct};
use crate::decision_log::{self, Blob, Cursor, DecisionId, Entry, EvaluationInputs, Filter, Hash, Outcome, read_blob};

/// A decision and what deciding again says.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// As it was recorded.
    pub recorded: RecordedDecision,
    /// As it is decided now on the same inputs, at the same instant.
    pub replayed: RecordedDecision,
    /// Whether both are the same in everything.
    pub same: bool,
}

/// A recorded decision with all that it was made of.
#[derive(Clone, Debug)]
pub(crate) struct LoadedDecision {
    pub(crate) id: DecisionId,
    pub(crate) inputs: EvaluationInputs,
    pub(crate) examined: Vec<ManifestInput>,
    pub(crate) outcome: Outcome,
    pub(crate) evaluated_at: Timestamp,
}

impl LoadedDecision {
    /// Decides again under a set of policies and waivers, by the policy that the caller had named if he had.
    pub(crate) fn decide(&self, set: &PolicySet) -> Decision {
        let named = self.inputs.policy.as_ref().and_then(|id| set.policies.get(id));
        let selection = match named {
            Some(policy) => Selection::Only { policy, waivers: &set.waivers, revision: set.revision },
            None => Selection::Governing(set),
        };
        self.decide_by(selection)
    }

    fn decide_by(&self, selection: Selection<'_>) -> Decision {
        let environment = self.inputs.environment.as_ref();
        decide(&self.inputs.image, environment, selection, &self.examined, self.evaluated_at)
    }
}

impl Decisions {
    /// Decides again: under the policies that were in force, which must say the same, or under this one, for advice.
    pub async fn replay(&self, id: &DecisionId, policy: Option<Policy>) -> Result<Replayed, Error> {
        let recorded = self.get(id).await?;
        let reopened = self.reopen(vec![self.log.get(id).await?]).await?;
        let Some(reopened) = reopened.into_iter().next() else {
            return Err(decision_log::Error::NotFound(id.clone()).into());
        };
        let set = self.set(reopened.outcome.decision.revision).await?;
        let was = &reopened.outcome.decision;
        let is_advice = policy.is_some();
        let decision = match policy {
            None => reopened.decide(&set),
            Some(policy) => {
                let policy = draft(policy, &set);
                reopened.decide_by(Selection::Only { policy: &policy, waivers: &set.waivers, revision: set.revision })
            }
        };
        let again = Decision { evaluated_at: Timestamp::UNIX_EPOCH, ..decision };
        let same = if is_advice { is_alike(&again, was) } else { again == *was };
        // What a decision of another time says may be deployed is for that time to say, and nothing for advice.
        let deploy = if same && again.authoritative { reopened.outcome.deploy } else { None };
        let judgement = EvaluatedDecision::from_record(&reopened.inputs, Outcome { decision: again, deploy });
        let replayed = RecordedDecision { judgement: Arc::new(judgement), ..recorded.clone() };
        Ok(Replayed { recorded, replayed, same })
    }

    /// Decisions with all that they were made of, newest first, and where the next page begins.
    pub(crate) async fn reopen_page(
        &self,
        filter: &Filter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<(Vec<LoadedDecision>, Option<Cursor>), Error> {
        let page = self.log.list(filter, after, limit).await?;
        Ok((self.reopen(page.decisions).await?, page.next))
    }

    /// The policies and waivers that a decision was made under.
    pub(crate) async fn set_of(&self, reopened: &LoadedDecision) -> Result<Arc<PolicySet>, Error> {
        self.set(reopened.outcome.decision.revision).await
    }

    async fn reopen(&self, recorded: Vec<Entry>) -> Result<Vec<LoadedDecision>, Error> {
        let hashes = recorded.iter().flat_map(|recorded| [recorded.case.inputs, recorded.case.outcome]).collect();
        let blobs = self.log.blobs(&distinct(hashes)).await?;
        let mut read = Vec::with_capacity(recorded.len());
        let mut needs = Vec::new();
        for recorded in recorded {
            let damaged = |source| Error::Damaged { id: recorded.id.clone(), source };
            let inputs: EvaluationInputs = read_blob(&blobs, recorded.case.inputs).map_err(damaged)?;
            let outcome: Outcome = read_blob(&blobs, recorded.case.outcome).map_err(damaged)?;
            needs.extend(inputs.needs());
            read.push((recorded, inputs, outcome));
        }
        let parts: BTreeMap<Hash, Blob> = self.log.blobs(&distinct(needs)).await?;
        let reopened = |(recorded, inputs, outcome): (Entry, EvaluationInputs, Outcome)| {
            let examined =
                inputs.examined(&parts).map_err(|source| Error::Damaged { id: recorded.id.clone(), source })?;
            Ok(LoadedDecision { id: recorded.id, inputs, examined, outcome, evaluated_at: recorded.evaluated_at })
        };
        read.into_iter().map(reopened).collect()
    }
}

/// Whether two decisions find the same wrong, whatever the policies that say so are called.
fn is_alike(one: &Decision, other: &Decision) -> bool {
    fn found(decision: &Decision) -> Vec<(&Digest, &Breach, &str)> {
        let violations = decision.violations.iter();
        violations.map(|found| (&found.manifest, &found.breach, found.description.as_str())).collect()
    }
    one.verdict == other.verdict && found(one) == found(other)
}

/// A policy that is not in the store, at the revision of those that are.
fn draft(policy: Policy, set: &PolicySet) -> Revision {
    let (create_time, update_time) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
    Revision { policy, revision: set.revision, content_digest: String::new(), create_time, update_time }
}
