//! Records which findings an ALLOW admits to an environment: grace that runs from the first admission begins with it.

use std::{collections::BTreeSet, sync::Arc};

use scangate_core::{
    Decision,
    finding::Finding,
    severity::Severity,
    waiver::{ApplicableWaivers, Cover, Subject},
};

use super::{Attempt, EvaluateRequest, Evaluator};
use crate::{observations::SeenFinding, registry::Resolved};

impl Evaluator {
    /// Records the admission of an image with its findings, except those that a waiver covers.
    ///
    /// A waived finding is admitted by its waiver alone: it counts again from the waiver's end, and no grace may begin meanwhile.
    pub(super) async fn record_admission(&self, request: &EvaluateRequest, resolved: &Resolved, attempt: &Attempt) {
        let admitted = admitted_findings(request, resolved, attempt);
        if admitted.is_empty() {
            return;
        }
        let (repository, environment) = (resolved.repository(), request.environment.as_ref());
        let at = attempt.decision.evaluate_time;
        if let Err(error) = self.observations.record_admission(&repository, environment, &admitted, at).await {
            // Grace that does not begin is the stricter outcome.
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot record the admission of an image");
        }
    }
}

/// The findings without those that a waiver may cover in at least one manifest.
fn admitted_findings(request: &EvaluateRequest, resolved: &Resolved, attempt: &Attempt) -> Vec<SeenFinding> {
    let Attempt { inputs, policies, decision } = attempt;
    let mut covered = BTreeSet::new();
    for input in inputs {
        let subject = Subject {
            repository: &resolved.image.repository,
            image: &resolved.image.digest,
            manifest: &input.manifest.digest,
            platform: input.manifest.platform.as_ref(),
            environment: request.environment.as_ref(),
        };
        let waivers = policies.waivers.applicable_to(subject, decision.evaluate_time);
        let findings = input.scan.findings().iter();
        covered.extend(findings.filter(|finding| may_be_covered(finding, &waivers, decision)).map(finding_key));
    }
    let findings = inputs.iter().flat_map(|input| input.scan.findings());
    findings.filter(|finding| !covered.contains(&finding_key(finding))).map(SeenFinding::from_finding).collect()
}

/// True if waivers cover the finding under at least one ranking of unrated findings. Policies differ in that ranking, so the
/// lowest is used.
fn may_be_covered(finding: &Finding, waivers: &ApplicableWaivers<'_>, decision: &Decision) -> bool {
    Cover::of(finding, waivers, Severity::Informational).at(decision.evaluate_time).is_some()
}

/// The key under which first-seen times of a finding are recorded.
fn finding_key(finding: &Finding) -> (Arc<str>, Arc<str>) {
    (Arc::clone(&finding.id), Arc::clone(&finding.package.name))
}
