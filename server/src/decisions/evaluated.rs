//! Decisions as use cases return them: evaluated, and recorded under an id.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use scangate_core::{
    Decision,
    decision::{AppliedWaiver, Breach, ManifestInput, Violation},
    finding::Finding,
    image::{Digest, Image, Repository},
    name::Environment,
};

use crate::decision_log::{DecisionId, Entry, EvaluationInputs, Outcome};

/// The estimated size of a reported finding without its longer texts, in bytes.
const FINDING_BYTES: usize = 1024;

/// An evaluation with the inputs that responses report. By itself it permits no deployment: it may be a simulation.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The image as resolved.
    pub image: Image,
    /// The requested environment.
    pub environment: Option<Environment>,
    /// The result.
    pub decision: Decision,
    /// The inputs without findings and first-seen times; not necessarily in the decision's order of manifests.
    pub inputs: Vec<ManifestInput>,
}

/// A decision under the policies that govern the image.
#[derive(Clone, Debug)]
pub struct EvaluatedDecision {
    /// The evaluation.
    pub evaluation: Evaluation,
    /// The digest to deploy; only on ALLOW, and only if one digest stands for everything that was evaluated.
    pub deploy: Option<Digest>,
}

impl Evaluation {
    /// An evaluation of recorded inputs, without their findings and first-seen times.
    pub(crate) fn from_record(inputs: &EvaluationInputs, decision: Decision) -> Self {
        Self {
            image: inputs.image.clone(),
            environment: inputs.environment.clone(),
            decision,
            inputs: inputs.outlines(),
        }
    }

    /// The repository of the image.
    pub(crate) fn repository(&self) -> Repository {
        Repository { registry: self.image.registry.clone(), name: self.image.repository.clone() }
    }
}

impl EvaluatedDecision {
    /// The decision of a record.
    pub(crate) fn from_record(inputs: &EvaluationInputs, outcome: Outcome) -> Self {
        Self { evaluation: Evaluation::from_record(inputs, outcome.decision), deploy: outcome.deploy }
    }

    /// The estimated memory of the findings that it reports, in bytes.
    pub(crate) fn finding_bytes(&self) -> usize {
        let of_violation = |violation: &Violation| match &violation.breach {
            Breach::Rule { findings, .. } => findings.iter().map(size_of_finding).sum(),
            Breach::Scan(_) | Breach::NotUnderstood => 0,
        };
        let decision = &self.evaluation.decision;
        let violations = decision.violations.iter().chain(&decision.warnings).map(of_violation).sum::<usize>();
        let waived = decision.waived.iter().map(|waived| {
            let waivers = waived.waivers.iter().map(|applied| {
                let texts = [&applied.reason, &applied.requested_by, &applied.approved_by];
                size_of::<AppliedWaiver>() + texts.map(String::len).iter().sum::<usize>()
            });
            size_of_finding(&waived.finding) + waivers.sum::<usize>()
        });
        violations + waived.sum::<usize>()
    }
}

fn size_of_finding(finding: &Finding) -> usize {
    let texts = [&finding.title, &finding.description, &finding.uri, &finding.arn].into_iter().flatten();
    FINDING_BYTES + texts.chain(&finding.related_ids).map(|text| text.len()).sum::<usize>()
}

/// A decision as recorded for one call.
#[derive(Clone, Debug)]
pub struct RecordedDecision {
    /// The id in the log.
    pub id: DecisionId,
    /// The decision; it may be shared with an earlier, equivalent call.
    pub evaluated: Arc<EvaluatedDecision>,
    /// The instant of evaluation.
    pub evaluate_time: Timestamp,
    /// The caller's name.
    pub caller: String,
    /// The labels of the caller.
    pub labels: BTreeMap<String, String>,
}

impl RecordedDecision {
    /// The decision of a log entry.
    pub(crate) fn new(entry: Entry, evaluated: Arc<EvaluatedDecision>) -> Self {
        let Entry { id, evaluate_time, caller, labels, record: _ } = entry;
        Self { id, evaluated, evaluate_time, caller, labels }
    }
}
