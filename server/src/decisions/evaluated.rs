//! Decisions as use cases return them: evaluated, and recorded under a name.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use jiff::Timestamp;
use scangate_core::{
    Decision,
    decision::{Breach, ManifestInput, Violation},
    image::{Digest, Image},
    name::Environment,
};

use crate::decision_log::{DecisionId, EvaluationInputs, Outcome};

/// A decision with what answers tell of what it was made of.
#[derive(Clone, Debug)]
pub struct EvaluatedDecision {
    /// The image as resolved.
    pub image: Image,
    /// The environment that was asked about.
    pub environment: Option<Environment>,
    /// The decision.
    pub decision: Decision,
    /// What it was made of, in the decision's order of manifests or not; without findings and clocks.
    pub examined: Vec<ManifestInput>,
    /// What to deploy; only on ALLOW, and only where one digest stands for all that was judged.
    pub deploy: Option<Digest>,
    /// What is the same in all answers that tell of it, once the first who tells of it has put it into words.
    pub(crate) told: OnceLock<Arc<[u8]>>,
}

impl EvaluatedDecision {
    /// The decision of a record, without findings and first-seen times of its inputs.
    pub(crate) fn from_record(inputs: &EvaluationInputs, outcome: Outcome) -> Self {
        Self {
            image: inputs.image.clone(),
            environment: inputs.environment.clone(),
            decision: outcome.decision,
            examined: inputs.outlines(),
            deploy: outcome.deploy,
            told: OnceLock::new(),
        }
    }

    /// What all answers tell of it, put into words at most once.
    pub(crate) fn told(&self, tell: impl FnOnce() -> Vec<u8>) -> Arc<[u8]> {
        Arc::clone(self.told.get_or_init(|| tell().into()))
    }

    /// How many findings it shows.
    pub(crate) fn shown(&self) -> usize {
        let shown = |violation: &Violation| match &violation.breach {
            Breach::Rule { findings, .. } => findings.len(),
            Breach::Scan(_) => 0,
        };
        let decision = &self.decision;
        let violations = decision.violations.iter().chain(&decision.warnings).map(shown).sum::<usize>();
        violations + decision.waived.len()
    }
}

/// The answer to a question, as it is recorded.
#[derive(Clone, Debug)]
pub struct RecordedDecision {
    /// Its name in the log.
    pub id: DecisionId,
    /// What was decided; perhaps for an earlier question that was the same in all that matters.
    pub judgement: Arc<EvaluatedDecision>,
    /// When.
    pub evaluated_at: Timestamp,
    /// The caller's context.
    pub labels: BTreeMap<String, String>,
}
