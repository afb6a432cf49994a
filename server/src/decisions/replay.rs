//! Replays recorded decisions: under the policies of that time, or under others.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use scangate_core::{
    Decision, decide,
    decide::Selection,
    decision::{Breach, ManifestInput},
    image::Digest,
    policy::{Policy, PolicySet, Revision},
};

use super::{Decisions, Error, EvaluatedDecision, RecordedDecision, distinct, read_parts};
use crate::decision_log::{self, Blob, Cursor, DecisionId, Entry, EvaluationInputs, Filter, Hash, Outcome};

/// A recorded decision and its replay.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The decision as recorded.
    pub recorded: RecordedDecision,
    /// The decision as replayed on the same inputs, at the same instant.
    pub replayed: RecordedDecision,
    /// True if both are equal.
    pub same: bool,
}

/// A recorded decision with its complete inputs.
#[derive(Clone, Debug)]
pub(crate) struct LoadedDecision {
    pub(crate) id: DecisionId,
    pub(crate) recorded_inputs: EvaluationInputs,
    pub(crate) inputs: Vec<ManifestInput>,
    pub(crate) outcome: Outcome,
    pub(crate) evaluated_at: Timestamp,
}

impl LoadedDecision {
    /// Decides again under a set of policies and waivers; by the policy that the caller had named, if any.
    pub(crate) fn decide(&self, set: &PolicySet) -> Decision {
        let named = self.recorded_inputs.policy.as_ref().and_then(|id| set.policies.get(id));
        let selection = match named {
            Some(policy) => Selection::Only { policy, waivers: &set.waivers, revision: set.revision },
            None => Selection::Governing(set),
        };
        self.decide_with_selection(selection)
    }

    fn decide_with_selection(&self, selection: Selection<'_>) -> Decision {
        let environment = self.recorded_inputs.environment.as_ref();
        decide(&self.recorded_inputs.image, environment, selection, &self.inputs, self.evaluated_at)
    }
}

impl Decisions {
    /// Replays a decision: under the policies of its revision, which must give the same decision, or under `policy` for advice.
    pub async fn replay(&self, id: &DecisionId, policy: Option<Policy>) -> Result<Replayed, Error> {
        let recorded = self.get(id).await?;
        let loaded = self.load(vec![self.log.get(id).await?]).await?;
        let Some(loaded) = loaded.into_iter().next() else {
            return Err(decision_log::Error::NotFound(id.clone()).into());
        };
        let set = self.policies_of(&loaded).await?;
        let is_advice = policy.is_some();
        let decision = match policy {
            None => loaded.decide(&set),
            Some(policy) => {
                let policy = Revision::unsaved(policy, set.revision);
                loaded.decide_with_selection(Selection::Only {
                    policy: &policy,
                    waivers: &set.waivers,
                    revision: set.revision,
                })
            }
        };
        let replayed = Decision { evaluated_at: Timestamp::UNIX_EPOCH, ..decision };
        let original = &loaded.outcome.decision;
        let same = if is_advice { is_equivalent(&replayed, original) } else { replayed == *original };
        // A replay that differs, or is advice, permits nothing to be deployed.
        let deploy = if same && replayed.authoritative { loaded.outcome.deploy } else { None };
        let outcome = Outcome { decision: replayed, deploy };
        let evaluated = EvaluatedDecision::from_record(&loaded.recorded_inputs, outcome);
        let replayed = RecordedDecision { evaluated: Arc::new(evaluated), ..recorded.clone() };
        Ok(Replayed { recorded, replayed, same })
    }

    /// Returns a page of decisions with their complete inputs, newest first, and the start of the next page.
    pub(crate) async fn load_page(
        &self,
        filter: &Filter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<(Vec<LoadedDecision>, Option<Cursor>), Error> {
        let page = self.log.list(filter, after, limit).await?;
        Ok((self.load(page.decisions).await?, page.next))
    }

    /// Returns the policies and waivers that a decision was made under.
    pub(crate) async fn policies_of(&self, loaded: &LoadedDecision) -> Result<Arc<PolicySet>, Error> {
        self.policies_at(loaded.outcome.decision.revision).await
    }

    async fn load(&self, entries: Vec<Entry>) -> Result<Vec<LoadedDecision>, Error> {
        let hashes = entries.iter().flat_map(|entry| [entry.record.inputs, entry.record.outcome]).collect();
        let blobs = self.log.blobs(&distinct(hashes)).await?;
        let mut resolved = Vec::with_capacity(entries.len());
        let mut part_hashes = Vec::new();
        for entry in entries {
            let (inputs, outcome) = read_parts(&blobs, &entry)?;
            part_hashes.extend(inputs.part_hashes());
            resolved.push((entry, inputs, outcome));
        }
        let parts: BTreeMap<Hash, Blob> = self.log.blobs(&distinct(part_hashes)).await?;
        let load = |(entry, recorded_inputs, outcome): (Entry, EvaluationInputs, Outcome)| {
            let inputs = recorded_inputs
                .load_manifests(&parts)
                .map_err(|source| Error::Damaged { id: entry.id.clone(), source })?;
            Ok(LoadedDecision { id: entry.id, recorded_inputs, inputs, outcome, evaluated_at: entry.evaluated_at })
        };
        resolved.into_iter().map(load).collect()
    }
}

/// True if two decisions have the same verdict for the same breaches, whatever policies report them.
fn is_equivalent(one: &Decision, other: &Decision) -> bool {
    fn breaches(decision: &Decision) -> Vec<(&Digest, &Breach, &str)> {
        let violations = decision.violations.iter();
        violations.map(|found| (&found.manifest, &found.breach, found.description.as_str())).collect()
    }
    one.verdict == other.verdict && breaches(one) == breaches(other)
}
