//! Replays recorded decisions: under the policies of that time, or under others.

use std::sync::Arc;

use jiff::Timestamp;
use scangate_core::{
    Decision, decide,
    decide::Selection,
    decision::{Breach, ManifestInput},
    image::Digest,
    policy::{Policy, PolicySet, Revision},
};

use super::{Decisions, Error, EvaluatedDecision, Evaluation, RecordedDecision, distinct};
use crate::decision_log::{DecisionId, Entry, EvaluationInputs, Outcome};

/// A recorded decision and its replay.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The decision as recorded.
    pub recorded: RecordedDecision,
    /// The evaluation of the same inputs, at the same instant.
    pub replayed: Evaluation,
    /// True if both are equal, apart from texts.
    pub same: bool,
}

/// A recorded decision with its complete inputs.
#[derive(Clone, Debug)]
pub(crate) struct LoadedDecision {
    pub(crate) id: DecisionId,
    pub(crate) recorded_inputs: EvaluationInputs,
    pub(crate) inputs: Vec<ManifestInput>,
    pub(crate) outcome: Outcome,
    pub(crate) evaluate_time: Timestamp,
}

impl LoadedDecision {
    /// Decides again under a set of policies and waivers.
    pub(crate) fn decide(&self, set: &PolicySet) -> Decision {
        self.decide_with_selection(Selection::Governing(set))
    }

    fn decide_with_selection(&self, selection: Selection<'_>) -> Decision {
        let environment = self.recorded_inputs.environment.as_ref();
        decide(&self.recorded_inputs.image, environment, selection, &self.inputs, self.evaluate_time)
    }
}

impl Decisions {
    /// Replays a decision: under the policies of its revision, which must give the same decision, or under `policy` alone.
    pub async fn replay(&self, entry: Entry, policy: Option<Policy>) -> Result<Replayed, Error> {
        let loaded = self.load(entry.clone()).await?;
        let evaluated = EvaluatedDecision::from_record(&loaded.recorded_inputs, loaded.outcome.clone());
        let recorded = RecordedDecision::new(entry, Arc::new(evaluated));
        let set = self.policies_of(&loaded).await?;
        let original = &loaded.outcome.decision;
        let (decision, same) = match policy {
            None => {
                let decision = loaded.decide(&set);
                let same = without_texts(&decision) == without_texts(original);
                (decision, same)
            }
            Some(policy) => {
                let policy = Revision::unsaved(policy, set.revision);
                let decision = loaded.decide_with_selection(Selection::Only {
                    policy: &policy,
                    waivers: &set.waivers,
                    revision: set.revision,
                });
                let same = is_equivalent(&decision, original);
                (decision, same)
            }
        };
        let replayed = Evaluation::from_record(&loaded.recorded_inputs, decision);
        Ok(Replayed { recorded, replayed, same })
    }

    /// Returns the policies and waivers that a decision was made under.
    pub(crate) async fn policies_of(&self, loaded: &LoadedDecision) -> Result<Arc<PolicySet>, Error> {
        self.policies_at(loaded.outcome.decision.revision).await
    }

    /// Returns a decision with its complete inputs.
    pub(crate) async fn load(&self, entry: Entry) -> Result<LoadedDecision, Error> {
        let (recorded_inputs, outcome) = self.load_record(&entry).await?;
        let parts = self.log.blobs(&distinct(recorded_inputs.part_hashes().collect())).await?;
        let inputs =
            recorded_inputs.load_manifests(&parts).map_err(|source| Error::Damaged { id: entry.id.clone(), source })?;
        Ok(LoadedDecision { id: entry.id, recorded_inputs, inputs, outcome, evaluate_time: entry.evaluate_time })
    }
}

/// True if two decisions have the same verdict for the same breaches, whatever policies report them.
fn is_equivalent(one: &Decision, other: &Decision) -> bool {
    fn breaches(decision: &Decision) -> Vec<(&Digest, &Breach)> {
        decision.violations.iter().map(|found| (&found.manifest, &found.breach)).collect()
    }
    one.verdict == other.verdict && breaches(one) == breaches(other)
}

/// A decision without its time and without the gate's sentences, whose wording may differ between versions of the server.
fn without_texts(decision: &Decision) -> Decision {
    let mut decision = Decision { evaluate_time: Timestamp::UNIX_EPOCH, reasons: Vec::new(), ..decision.clone() };
    for manifest in &mut decision.manifests {
        manifest.reasons.clear();
        manifest.assessment = manifest.assessment.without_texts();
    }
    for violation in decision.violations.iter_mut().chain(&mut decision.warnings) {
        violation.description.clear();
    }
    if let Some(change) = &mut decision.next_change {
        change.reason.clear();
    }
    decision
}

#[cfg(test)]
mod tests {
    use scangate_core::{Verdict, decision::NextChange, scan::Scan};
    use serde_json::{Value, from_value, json, to_value};

    use super::*;

    /// A DENY of the default policy for one finding.
    fn denied() -> Decision {
        let time = "2026-03-01T12:00:00Z";
        let now: Timestamp = time.parse().unwrap();
        let digest = format!("sha256:{:064x}", 1);
        let image = json!({
            "registry": "123456789012/eu-west-1", "host": "host", "repository": "team/app", "tag": null,
            "digest": digest, "push_time": null,
        });
        let scan: Scan = from_value(json!({
            "read_time": time, "unchanged_since": time, "status": "COMPLETE", "scan_type": "BASIC", "frequency": "MANUAL",
            "report": {
                "complete_time": "2026-03-01T11:00:00Z", "source_update_time": "2026-03-01T11:00:00Z",
                "counts": { "CRITICAL": 1 }, "enumerated": { "CRITICAL": 1 },
                "findings": [{ "id": "CVE-1", "package": { "name": "openssl" }, "severity": "CRITICAL" }],
            },
        }))
        .unwrap();
        let manifest = from_value(json!({ "digest": digest, "push_time": "2026-03-01T10:00:00Z" })).unwrap();
        let input = ManifestInput { manifest, scan: Arc::new(scan), start: None, first_seen: Arc::default() };
        let policy = Revision::unsaved(Policy::built_in_default().unwrap(), 1);
        let set = PolicySet {
            revision: 1,
            policies: [(policy.policy.id.clone(), Arc::new(policy))].into(),
            ..PolicySet::default()
        };
        let decision = decide(&from_value(image).unwrap(), None, Selection::Governing(&set), &[input], now);
        let next_change =
            NextChange { change_time: now, verdict: Verdict::Allow, reason: "the grace period ends".into() };
        Decision { next_change: Some(next_change), ..decision }
    }

    /// Rewords every sentence of a decision's stored form.
    fn reword(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    match name.as_str() {
                        "reasons" => *field = json!(["reworded"]),
                        "reason" | "description" | "detail" | "cause" | "step" if field.is_string() => {
                            *field = json!("reworded");
                        }
                        _ => reword(field),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(reword),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn reworded_decision_is_the_same() {
        let decision = denied();
        let mut stored = to_value(&decision).unwrap();
        reword(&mut stored);
        let reworded: Decision = from_value(stored).unwrap();

        assert_ne!(reworded, decision);
        assert_eq!(without_texts(&reworded), without_texts(&decision));
        assert!(is_equivalent(&reworded, &decision));
    }

    #[test]
    fn other_verdict_or_breach_is_not_the_same() {
        let decision = denied();
        let indeterminate = Decision { verdict: Verdict::Indeterminate, ..decision.clone() };
        let without_breach = Decision { violations: Vec::new(), ..decision.clone() };

        for other in [indeterminate, without_breach] {
            assert_ne!(other, decision);
            assert_ne!(without_texts(&other), without_texts(&decision));
            assert!(!is_equivalent(&other, &decision));
        }
    }
}
