//! Decisions as use cases return them: evaluated, and recorded under an id.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use scangate_core::{
    Decision,
    decision::{Breach, ManifestInput, Violation},
    image::{Digest, Image},
    name::Environment,
};

use crate::decision_log::{DecisionId, EvaluationInputs, Outcome};

/// A decision with the inputs that responses report.
#[derive(Clone, Debug)]
pub struct EvaluatedDecision {
    /// The image as resolved.
    pub image: Image,
    /// The requested environment.
    pub environment: Option<Environment>,
    /// The decision.
    pub decision: Decision,
    /// The inputs without findings and first-seen times; not necessarily in the decision's order of manifests.
    pub inputs: Vec<ManifestInput>,
    /// The digest to deploy; only on ALLOW, and only if one digest stands for everything that was evaluated.
    pub deploy: Option<Digest>,
}

impl EvaluatedDecision {
    /// The decision of a record, without findings and first-seen times of its inputs.
    pub(crate) fn from_record(inputs: &EvaluationInputs, outcome: Outcome) -> Self {
        Self {
            image: inputs.image.clone(),
            environment: inputs.environment.clone(),
            decision: outcome.decision,
            inputs: inputs.outlines(),
            deploy: outcome.deploy,
        }
    }

    /// The number of findings that it reports.
    pub(crate) fn finding_count(&self) -> usize {
        let count = |violation: &Violation| match &violation.breach {
            Breach::Rule { findings, .. } => findings.len(),
            Breach::Scan(_) | Breach::NotUnderstood => 0,
        };
        let decision = &self.decision;
        let violations = decision.violations.iter().chain(&decision.warnings).map(count).sum::<usize>();
        violations + decision.waived.len()
    }
}

/// A decision as recorded for one call.
#[derive(Clone, Debug)]
pub struct RecordedDecision {
    /// The id in the log.
    pub id: DecisionId,
    /// The decision; it may be shared with an earlier, equivalent call.
    pub evaluated: Arc<EvaluatedDecision>,
    /// The instant of evaluation.
    pub evaluated_at: Timestamp,
    /// The labels of the caller.
    pub labels: BTreeMap<String, String>,
}
