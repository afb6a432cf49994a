//! What an ALLOW lets into an environment: grace that runs from the first admission begins with it.

use std::{collections::BTreeSet, sync::Arc};

use scangate_core::{
    Decision,
    decision::ManifestInput,
    finding::Finding,
    policy::PolicySet,
    severity::Severity,
    waiver::{ApplicableWaivers, Subject},
};

use super::{EvaluateRequest, Evaluator};
use crate::{observations::SeenFinding, registry::Resolved};

impl Evaluator {
    /// Notes that an image with these findings was allowed into an environment.
    ///
    /// What a waiver covers is let through by the waiver alone: it counts from the waiver's end on, as the decision says, and no
    /// grace may begin meanwhile.
    pub(super) async fn admit(
        &self,
        question: &EvaluateRequest,
        resolved: &Resolved,
        examined: &[ManifestInput],
        decision: &Decision,
    ) {
        let Ok(policies) = self.policies(question).await else { return };
        if policies.revision != decision.revision {
            // Nobody knows any more which waivers it was decided with. Grace that does not begin is the stricter way.
            return;
        }
        let met = admitted(question, resolved, examined, decision, &policies);
        if met.is_empty() {
            return;
        }
        let (repository, environment) = (resolved.repository(), question.environment.as_ref());
        let admitted = self.observations.admit(&repository, environment, &met, decision.evaluated_at).await;
        if let Err(error) = admitted {
            // The stricter way again.
            tracing::warn!(error = &error as &dyn std::error::Error, "what was allowed was not noted");
        }
    }
}

/// What was met and is covered by no waiver in any manifest.
fn admitted(
    question: &EvaluateRequest,
    resolved: &Resolved,
    examined: &[ManifestInput],
    decision: &Decision,
    policies: &PolicySet,
) -> Vec<SeenFinding> {
    let mut covered = BTreeSet::new();
    for examined in examined {
        let place = Subject {
            repository: &resolved.image.repository,
            image: &resolved.image.digest,
            manifest: &examined.manifest.digest,
            platform: examined.manifest.platform.as_ref(),
            environment: question.environment.as_ref(),
        };
        let waivers = policies.waivers.applicable_to(place, decision.evaluated_at);
        let findings = examined.scan.findings().iter();
        covered.extend(findings.filter(|finding| may_be_covered(finding, &waivers, decision)).map(key));
    }
    let findings = examined.iter().flat_map(|examined| examined.scan.findings());
    findings.filter(|finding| !covered.contains(&key(finding))).map(SeenFinding::from_finding).collect()
}

/// Whether a waiver covers the finding, however unrated findings rank: policies differ in that.
fn may_be_covered(finding: &Finding, waivers: &ApplicableWaivers<'_>, decision: &Decision) -> bool {
    let lowest = Severity::Informational;
    waivers
        .for_finding(finding)
        .any(|waiver| waiver.holds_at(decision.evaluated_at) && waiver.conditions.are_met_by(finding, lowest))
}

/// What a clock of findings is kept by.
fn key(finding: &Finding) -> (Arc<str>, Arc<str>) {
    (Arc::clone(&finding.id), Arc::clone(&finding.package.name))
}
