//! Prepares a decision for the log and for responses, once for all callers that share it.

use std::sync::Arc;

use scangate_core::{Decision, Verdict, decision::ManifestInput, image::Digest};

use super::{Error, EvaluateRequest};
use crate::{
    decision_log::PreparedRecord,
    decisions::{self, EvaluatedDecision, Evaluation},
    registry::Resolved,
};

/// A decision that can be recorded and returned any number of times.
#[derive(Clone, Debug)]
pub(super) struct PreparedDecision {
    pub(super) record: Arc<PreparedRecord>,
    pub(super) evaluated: Arc<EvaluatedDecision>,
}

impl PreparedDecision {
    /// Encodes a decision and its inputs.
    pub(super) fn new(
        request: &EvaluateRequest,
        resolved: &Resolved,
        inputs: &[ManifestInput],
        decision: Decision,
    ) -> Result<Self, Error> {
        let (image, environment) = (&resolved.image, request.environment.as_ref());
        let deploy = deployable(&decision, resolved);
        let platforms = &request.platforms;
        let record = decisions::prepare_record(image, environment, platforms, inputs, &decision, deploy.as_ref());
        let evaluation = Evaluation {
            image: image.clone(),
            environment: environment.cloned(),
            inputs: inputs.iter().map(outline).collect(),
            decision,
        };
        let evaluated = EvaluatedDecision { evaluation, deploy };
        Ok(Self { record: Arc::new(record.map_err(Error::Encode)?), evaluated: Arc::new(evaluated) })
    }
}

/// An input without its findings and first-seen times.
pub(super) fn outline(input: &ManifestInput) -> ManifestInput {
    ManifestInput {
        manifest: input.manifest.clone(),
        scan: Arc::new(input.scan.without_findings()),
        start: input.start.clone(),
        first_seen: Arc::default(),
    }
}

/// The digest that an ALLOW permits to deploy: the image if all of it was evaluated, else the only evaluated manifest.
fn deployable(decision: &Decision, resolved: &Resolved) -> Option<Digest> {
    if decision.verdict != Verdict::Allow {
        return None;
    }
    match decision.manifests.as_slice() {
        _ if resolved.is_complete => Some(resolved.image.digest.clone()),
        [only] => Some(only.digest.clone()),
        _ => None,
    }
}
